# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says about a tenant, checked and typed.

Input is a plain dictionary of templated values, defaults included; output is frozen
dataclasses. Whatever is wrong with a variable is found here, before anything is touched.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT
from ansible_collections.memcloud.memmachine.plugins.module_utils._model import (
    Model,
    laid_over,
    model_settings,
    resolve_model,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import (
    LABEL,
    is_own_certificate,
    taken,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import (
    Platform,
    server_version,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import (
    is_sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tiers import (
    EdgeLimits,
    Tier,
    edge_limits,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    MODEL_SUFFIXES,
    Reader,
    hostname_of,
    kind_of,
    known_words,
    reject_unknown,
    suggestion,
)

STATES = ("running", "paused", "suspended", "deleted")
BACKENDS = ("docker",)
_UID = re.compile(r"[0-9a-f]{16}\Z")
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_TENANT_MODEL_VARIABLES = tuple("tenant_" + suffix for suffix in MODEL_SUFFIXES)


@dataclass(frozen=True)
class ApiKey:
    name: str
    sha256: str
    created: str | None
    expires: str | None


@dataclass(frozen=True)
class Tenant:
    name: str
    uid: str
    node: str
    node_group: str
    tier: Tier
    hostname: str
    version: str
    state: str
    wake: bool
    api_keys: tuple[ApiKey, ...]
    secret_epoch: int
    root_key_version: int
    owner: str
    edge: EdgeLimits
    pinned: bool
    canary: bool
    backend: str
    model: Model
    endpoint: str


def parse_tenant(
    name: str,
    variables: Mapping[str, Any],
    platform: Platform,
    *,
    nodes: Collection[str] | None = None,
    reserved: Collection[str] = (),
) -> Tenant:
    """A tenant's variables; raises VariableError for the first that cannot be used.

    :param nodes: names of the nodes; the tenant's node must be one of them.
    :param reserved: names of groups, which a tenant cannot have.
    """
    check_name(name, nodes or (), reserved)
    reject_unknown(name, variables)
    reader = Reader(name, variables)
    node = reader.text("tenant_node", required="name the node that carries the tenant")
    if nodes is not None and node not in nodes:
        raise reader.bad("tenant_node", "is %r, which is no node of the inventory%s"
                         % (node, known_words(node, nodes)))  # fmt: skip
    tier_name = reader.text("tenant_tier", required="name its tier")
    tier = platform.tiers.get(tier_name)
    if tier is None:
        raise reader.bad("tenant_tier", "is %r, which is no tier%s"
                         % (tier_name, known_words(tier_name, platform.tiers)))  # fmt: skip
    version = reader.text("tenant_version")
    hostname = _hostname(reader, name, platform)
    return Tenant(
        name=name,
        uid=_uid(reader),
        node=node,
        node_group=reader.text("tenant_node_group") or "nodes",
        tier=tier,
        hostname=hostname,
        version=server_version(reader, "tenant_version", version)
        if version
        else platform.memmachine_version,
        state=reader.choice("tenant_state", STATES),
        wake=tier.wake if reader.get("tenant_wake") is None else reader.boolean("tenant_wake"),
        api_keys=_api_keys(reader),
        secret_epoch=reader.integer("tenant_secret_epoch", 1),
        root_key_version=_root_key_version(reader, platform),
        owner=reader.text("tenant_owner"),
        edge=edge_limits(reader, tier.edge),
        pinned=reader.boolean("tenant_pinned"),
        canary=reader.boolean("tenant_canary"),
        backend=reader.choice("tenant_backend", BACKENDS),
        model=_tenant_model(reader, platform),
        endpoint=platform.endpoint(hostname),
    )


def check_fleet(tenants: Iterable[Tenant]) -> list[VariableError]:
    """One error for every tenant that has the hostname or the uid of another one."""
    hostnames: dict[str, list[str]] = {}
    uids: dict[str, list[str]] = {}
    for tenant in tenants:
        uids.setdefault(tenant.uid, []).append(tenant.name)
        if tenant.state != "deleted":
            hostnames.setdefault(tenant.hostname, []).append(tenant.name)
    return [
        *_shared("tenant_hostname", hostnames, "give each tenant a hostname of its own"),
        *_shared(
            "tenant_uid",
            uids,
            "an entry was copied: remove tenant_uid and tenant_api_keys from the copy",
        ),
    ]


def check_name(name: str, nodes: Collection[str] = (), reserved: Collection[str] = ()) -> None:
    """Raise unless a tenant can have this name: it is part of hostnames and container names."""
    if not LABEL.match(name):
        raise VariableError(
            name,
            "name",
            "is no DNS label: 1 to 63 characters of a-z, 0-9 and '-', not at the beginning or "
            "the end%s. Rename its host_vars entry"
            % (" (it has %d)" % len(name) if len(name) > 63 else ""),
        )
    problem = taken(name, reserved) or ("is the name of a node" if name in nodes else "")
    if problem:
        raise VariableError(name, "name", problem + "; choose another one")


def _hostname(reader: Reader, name: str, platform: Platform) -> str:
    variable = "tenant_hostname"
    text = reader.text(variable) or "%s.%s" % (name, platform.domain)
    hostname = hostname_of(reader, variable, text)
    if hostname == platform.domain:
        raise reader.bad(
            variable,
            "is %s, which is platform_domain: its certificate is the edge's own for hostnames that "
            "no tenant has. Give the tenant another hostname" % hostname,
        )
    if is_own_certificate(hostname):
        raise reader.bad(
            variable,
            "is %s, which is the name of a certificate file of the edge itself. Give the tenant "
            "another hostname" % hostname,
        )
    return hostname


def _uid(reader: Reader) -> str:
    uid = reader.text(
        "tenant_uid",
        required="16 hex digits, made once and never changed: take what "
        "`openssl rand -hex 8` prints, in quotes, or let create_tenant write the entry",
    )
    if not _UID.match(uid):
        raise reader.bad("tenant_uid", "is %r; it must be 16 digits of 0-9a-f" % uid)
    return uid


def _root_key_version(reader: Reader, platform: Platform) -> int:
    version = reader.integer("tenant_root_key_version", 1)
    if version not in platform.root_keys:
        raise reader.bad(
            "tenant_root_key_version",
            "is %d, but platform_root_keys has only version %s"
            % (version, ", ".join(map(str, sorted(platform.root_keys)))),
        )
    return version


def _api_keys(reader: Reader) -> tuple[ApiKey, ...]:
    keys = tuple(_api_key(reader, entry) for entry in reader.sequence("tenant_api_keys"))
    names: dict[str, str] = {}
    for key in keys:
        other = names.setdefault(key.sha256, key.name)
        if other != key.name:
            raise reader.bad(
                "tenant_api_keys",
                "has one sha256 under two names, %s and %s: whoever revokes one leaves the other. "
                "Give each its own key" % (other, key.name),
            )
    lasting = [key.name for key in keys if key.expires is None]
    if len(set(lasting)) != len(lasting):
        raise reader.bad(
            "tenant_api_keys",
            "has two keys of the same name; one that was replaced needs an end (expires)",
        )
    return keys


def _api_key(reader: Reader, entry: Any) -> ApiKey:
    variable = "tenant_api_keys"
    if not isinstance(entry, Mapping):
        raise reader.bad(
            variable, "needs entries of the form {name: …, sha256: …}, not %s" % kind_of(entry)
        )
    for key in entry:
        if key not in ("name", "sha256", "created", "expires"):
            raise reader.bad(
                variable,
                "has an entry with %r%s"
                % (key, suggestion(str(key), ("name", "sha256", "created", "expires"))),
            )
    name, sha256 = entry.get("name"), entry.get("sha256")
    if not isinstance(name, str) or not _KEY_NAME.match(name):
        raise reader.bad(variable, "has an entry without a name of a-z, 0-9, '.', '_', '@', '-'")
    if not isinstance(sha256, str) or not is_sha256(sha256):
        plaintext = isinstance(sha256, str) and sha256.startswith("mb_")
        raise reader.bad(
            variable,
            "%s: sha256 is %s"
            % (
                name,
                "the key itself: replace the key, since it stands in a file now, and write its "
                "hash only"
                if plaintext
                else "not 64 lower-case hex digits: take what "
                '`printf %s "$KEY" | sha256sum` prints',
            ),
        )
    return ApiKey(
        name=str(name),
        sha256=str(sha256),
        created=_timestamp(reader, name, "created", entry.get("created")),
        expires=_timestamp(reader, name, "expires", entry.get("expires")),
    )


def _timestamp(reader: Reader, key: str, what: str, value: Any) -> str | None:
    if value is None:
        return None
    moment: datetime.datetime | None = None
    if isinstance(value, datetime.datetime):
        moment = value
    elif isinstance(value, datetime.date):
        moment = datetime.datetime(value.year, value.month, value.day)
    elif isinstance(value, str):
        try:
            moment = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value.strip()))
        except ValueError:
            moment = None
    # Python cannot bring the first and the last day of its calendar to UTC.
    if moment is None or not 1970 <= moment.year < 9999:
        raise reader.bad(
            "tenant_api_keys", "%s: %s is no moment; write 2026-12-01T00:00:00Z" % (key, what)
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc).strftime(MOMENT)


def _tenant_model(reader: Reader, platform: Platform) -> Model:
    if all(reader.get(variable) is None for variable in _TENANT_MODEL_VARIABLES):
        model, problem = platform.model, platform.model_problem
    else:
        own = model_settings(reader, "tenant")
        shared = platform.model_settings
        # With a provider of its own a tenant never sends the fleet's key to somebody else.
        if own.provider == "auto" and not own.base_url:
            own = laid_over(shared, own)
        model, problem = resolve_model(own, _demo_url(platform))
    if problem is not None:
        suffix, message = problem
        raise reader.bad(
            "tenant_" + suffix,
            "%s (for one tenant; platform_%s for the whole fleet)" % (message, suffix),
        )
    return model


def _demo_url(platform: Platform) -> str:
    return "http://%s:%d/v1" % (platform.node_address, platform.demo_model_port)


def _shared(variable: str, owners: Mapping[str, list[str]], advice: str) -> list[VariableError]:
    return [
        VariableError(
            name,
            variable,
            "%s is that of %s too; %s"
            % (value, " and ".join(other for other in names if other != name), advice),
        )
        for value, names in owners.items()
        if len(names) > 1
        for name in names
    ]
