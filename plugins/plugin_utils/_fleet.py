# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of many tenants, read on the controller with as little templating as possible.

A tenant's variables are what the user wrote once; everything derived from them is derived in
Python. Values without a template mark are never handed to the templating engine, which costs
about a millisecond each.
"""

from __future__ import annotations

import base64
import getpass
import json
import logging
import os
import socket
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.context import CLIARGS
from ansible.parsing.vault import EncryptedString
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import (
    backup_access,
    platform_inputs,
    sent_secrets,
    tenant_inputs,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._model import SECRET_FIELDS
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import (
    Platform,
    parse_platform,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import (
    Tenant,
    check_fleet,
    parse_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import kind_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    check_run_variables,
)

# Settings of the machine itself: the node's own variables win over the tenant's.
NODE_VARIABLES = (
    "platform_name",
    "platform_data_dir",
    "platform_docker_host",
    "platform_node_venv",
    "platform_subnet_pool",
    "platform_image_source",
    "platform_parallelism",
    "platform_http_port",
    "platform_https_port",
    "platform_edge_api_port",
    "platform_gate_port",
    "platform_metrics_address",
    "platform_demo_model_port",
    "platform_tls_mode",
    "platform_public_address",
    "platform_manage_hosts_file",
)
# What no node needs to be set up: whoever does it may not have them.
_SECRETS = frozenset(
    {
        "platform_root_keys",
        "platform_backup_environment",
        "platform_backup_prune_environment",
        "platform_awx_token",
    }
    | {"platform_model_" + name for name in SECRET_FIELDS}
)
_ANY_ROOT_KEYS = {1: base64.b64encode(bytes(range(32))).decode()}


class FleetVariables:
    """Tenants of the inventory, parsed.

    :param task_vars: the task's variables, with ``hostvars`` and ``groups``.
    :param templar: the action's templar.
    :raises MemcloudError: when the run was given a misspelt variable.
    """

    def __init__(self, task_vars: Mapping[str, Any], templar: Any) -> None:
        check_run_variables(task_vars)
        self._hostvars = task_vars["hostvars"]
        self._templar = templar
        groups = task_vars["groups"]
        self._nodes = frozenset(groups.get("nodes") or ())
        self._groups = frozenset(groups)
        self._platforms: dict[str, Platform] = {}
        self._node_settings: dict[str, dict[str, Any]] = {}

    def tenants(self, names: Iterable[str]) -> tuple[list[tuple[Tenant, Platform]], list[str]]:
        """The tenants of these names with their platforms, and every error found in words."""
        parsed: list[tuple[Tenant, Platform]] = []
        errors: list[VariableError] = []
        for name in names:
            try:
                parsed.append(self.tenant(name))
            except VariableError as error:
                errors.append(error)
            except MemcloudError as error:
                errors.append(VariableError(name, "variables", str(error)))
        errors += check_fleet(tenant for tenant, _platform in parsed)
        return parsed, list(dict.fromkeys(str(error) for error in errors))

    def tenant(self, name: str, node: str = "") -> tuple[Tenant, Platform]:
        """One tenant and the platform it belongs to.

        :param node: another node than the one that its entry names.
        """
        raw = self._hostvars.raw_get(name)
        tenant = self._read(name, raw, "tenant_")
        if node:
            tenant["tenant_node"] = node
        carrier = tenant.get("tenant_node")
        platform = self._platform(raw, carrier if isinstance(carrier, str) else "")
        values = {**load_defaults(), **tenant}
        return (
            parse_tenant(name, values, platform, nodes=self._nodes, reserved=self._groups),
            platform,
        )

    def platform_of_node(self, node: str) -> Platform:
        """The platform of a node, whether it carries a tenant or not."""
        return self._platform(self._hostvars.raw_get(node), node)

    def check_settings(self, node: str) -> None:
        """Raise for a variable of the fleet that a node, too, would be set up with."""
        values = self._read("platform", self._hostvars.raw_get(node), "platform_", _SECRETS)
        parse_platform({**load_defaults(), **values, "platform_root_keys": _ANY_ROOT_KEYS})

    def _platform(self, raw: Mapping[str, Any], node: str) -> Platform:
        own = {key: raw[key] for key in raw if str(key).startswith("platform_")}
        own.update(self._settings_of(node))
        # The same text gives the same platform, unless a template in it looks at the tenant.
        key = repr(sorted(own.items(), key=lambda item: item[0]))
        if key not in self._platforms:
            values = self._read("platform", {**raw, **own}, "platform_")
            self._platforms[key] = parse_platform({**load_defaults(), **values})
        return self._platforms[key]

    def _settings_of(self, node: str) -> dict[str, Any]:
        """The node's own settings, read once."""
        if node not in self._nodes:
            return {}
        if node not in self._node_settings:
            raw = self._hostvars.raw_get(node)
            self._node_settings[node] = {key: raw[key] for key in NODE_VARIABLES if key in raw}
        return self._node_settings[node]

    def _read(
        self, owner: str, raw: Mapping[str, Any], prefix: str, but: Collection[str] = ()
    ) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        templates: dict[str, Any] = {}
        for name, value in raw.items():
            if not isinstance(name, str):
                raise VariableError(
                    owner,
                    str(name),
                    f"is {kind_of(name)} and no name of a variable. What belongs below another one "
                    "is indented, as the versions of platform_root_keys are",
                )
            if name.startswith(prefix) and name not in but:
                (templates if _needs_templating(value) else plain)[name] = value
        if templates:
            templar = self._templar.copy_with_new_env(available_variables=raw)
            for name, value in templates.items():
                try:
                    plain[name] = templar.template(value)
                except Exception as error:
                    raise VariableError(
                        owner, name, f"cannot be evaluated: {error}. Correct the expression"
                    ) from error
        return plain


def _needs_templating(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(_needs_templating(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_needs_templating(item) for item in value)
    return isinstance(value, EncryptedString)


def batches(
    parsed: Iterable[tuple[Tenant, Platform]], run: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The tenants' inputs by node: what one call to a node gets.

    The tenants are one JSON string: Ansible walks through every value of a result several times.

    :param run: who runs what, for the journal.
    """
    tenants: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for tenant, platform in parsed:
        key = (tenant.node, platform.name, platform.data_dir)
        if key not in found:
            found[key] = {
                "node": tenant.node,
                "representative": tenant.name,
                "interpreter": os.path.join(platform.node_venv, "bin", "python"),
                "platform": {**platform_inputs(platform), "run": dict(run or {})},
            }
        tenants.setdefault(key, []).append(tenant_inputs(tenant, platform))
    for key, batch in found.items():
        batch["tenants"] = json.dumps(tenants[key])
    return list(found.values())


def batch_without_tenants(node: str, platform: Platform) -> dict[str, Any]:
    """What one call to a node gets that is about no tenant of the inventory."""
    return {
        "node": node,
        "representative": node,
        "interpreter": os.path.join(platform.node_venv, "bin", "python"),
        "platform": platform_inputs(platform),
        "tenants": "[]",
    }


def tenants_of(batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tenants of a batch."""
    return list(json.loads(batch["tenants"]))


def secrets_of(parsed: Iterable[tuple[Tenant, Platform]]) -> dict[str, dict[str, str]]:
    """The secrets of tenants by name, for their node alone."""
    return {tenant.name: sent_secrets(tenant, platform) for tenant, platform in parsed}


def run_origin(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Who runs this, which playbook it is, the job if there is one, and whether it only looks."""
    user = task_vars.get("awx_user_name") or task_vars.get("tower_user_name") or getpass.getuser()
    job = os.environ.get("JOB_ID") or os.environ.get("AWX_JOB_ID")
    played = [os.path.splitext(os.path.basename(path))[0] for path in CLIARGS.get("args") or ()]
    return {
        "who": f"{user}@{socket.gethostname()}",
        "playbook": ", ".join(name.rpartition(".")[2] for name in played),
        "job": str(job or ""),
        # Of the whole run: plans do their work in check mode, too.
        "check": bool(task_vars.get("ansible_check_mode")),
    }


def platform_text(batch: Mapping[str, Any]) -> str:
    """The platform's inputs as a node gets them that is to change something.

    With them goes how long ago the run read the inventory, since clocks of controllers differ, and
    the moment, since that of the node may be wrong.
    """
    platform = batch["platform"]
    return json.dumps({**platform, "run": {**platform["run"], "age": _age(), "at": now()}})


def _age() -> float:
    """Seconds since this run began, before it read the inventory.

    The lower one of two figures, each of which can be too high: Python's own, if the clock was set
    meanwhile, and the system's, where a shell gave its process to Ansible.
    """
    loaded = logging.makeLogRecord({}).relativeCreated / 1000
    return round(max(0.0, min(loaded, _age_of_process(loaded))), 2)


def _age_of_process(otherwise: float) -> float:
    """What the system says of the process whose child works on this task."""
    try:
        with open(f"/proc/{os.getppid()}/stat", encoding="ascii", errors="replace") as stream:
            ticks = int(stream.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as stream:
            up = float(stream.read().split()[0])
    except (OSError, ValueError, IndexError):
        return otherwise
    return up - ticks / os.sysconf("SC_CLK_TCK")


def access_of(
    parsed: Iterable[tuple[Tenant, Platform]], params: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The access to the restore points of tenants by name, for their node alone.

    :param params: where an entry has C(source) and C(source_uid), that tenant's points are what
        is read.
    """
    access = {}
    for tenant, platform in parsed:
        told = params.get(tenant.name) or {}
        version = tenant.root_key_version
        entry = {"repository": backup_access(tenant.name, tenant.uid, version, platform)}
        if told.get("source"):
            given = (str(told["source"]), str(told["source_uid"]), version, platform)
            entry["source"] = backup_access(*given)
        access[tenant.name] = entry
    return access


def run_owner(task_vars: Mapping[str, Any]) -> str:
    """Who runs this, for the locks: a person, a machine, and the job if there is one."""
    origin = run_origin(task_vars)
    owner = f"{origin['who']} (process {os.getppid()})"
    return f"{owner}, job {origin['job']}" if origin["job"] else owner
