# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant is made of: the one function that decides it.

:func:`desired_tenant` turns a tenant's inputs (``_inputs.py``) and what its node knows (slot, image
ids, processors) into its whole desired state. It reads nothing and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import leaf_path
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import forward_path
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_config import (
    tenant_configuration,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import unique_name
from ansible_collections.memcloud.memmachine.plugins.module_utils._neo4j import (
    auth_ini,
    jvm_args,
    neo4j_conf,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    Addresses,
    addresses_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import server_arguments
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import (
    Route,
    RouteLimits,
    gate_entry,
    traefik_dynamic,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    Attachment,
    Container,
    Desired,
    Directory,
    File,
    Mount,
    Network,
    Volume,
    sha256,
)

POSTGRES_UID = 30010
NEO4J_UID = 30011
APP_UID = 30012
TRAEFIK_UID = 30013
GATE_UID = 30014
APP_PORT = 8080
DATABASES = ("postgres", "neo4j")
# As long as Traefik and the official client wait for an answer, with room to give one.
HOLD_SECONDS = 20
# What a node decides by itself (a tenant sleeps because it was idle, or a request woke it), and
# what the tenant's entry must say for that to count.
DECISIONS = {"asleep": "running", "woken": "paused"}
# Name of each server's image in the node's record of images.
IMAGE_OF = {"postgres": "postgres", "neo4j": "neo4j", "app": "memmachine"}
# What stands for an image that the node does not have yet.
MISSING_IMAGE = "missing"


@dataclass(frozen=True)
class Facts:
    """What only the node knows.

    :param slot: the tenant's slot.
    :param images: id of the image of each kind; ``memmachine`` that of the tenant's version.
    :param cpus: processors of the node; a limit above it is refused by the engine.
    :param generation: which of its volumes the tenant lives on; a restore or a migration makes
        new ones and leaves the old alone until the tenant has proved itself.
    :param held: whether the gate keeps requests waiting, because an operation is at work.
    :param asleep: whether it was put to sleep because it was idle, though its entry says running.
    :param woken: whether a request woke it, though its entry says paused.
    :param writes: ``open``, or ``closed`` because its storage is used up.
    :param hostname_taken: whether the hostname of a deleted tenant is another one's by now.
    """

    slot: int
    images: Mapping[str, str]
    cpus: int
    generation: int = 1
    held: bool = False
    asleep: bool = False
    woken: bool = False
    writes: str = "open"
    hostname_taken: bool = False


def run_state(tenant: Mapping[str, Any], asleep: bool, woken: bool) -> str:
    """The state a tenant should be in now: what its entry says, unless it may sleep and wake.

    Paused with wake means that it sleeps until somebody comes. An operator's no (suspended) and a
    deletion are never overruled.
    """
    stated = str(tenant["state"])
    if stated == "running" and tenant["wake"] and asleep:
        return "paused"
    if stated == "paused" and tenant["wake"] and woken:
        return "running"
    return stated


def in_force(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """A tenant's inputs with the state that is in force after what its node decided since."""
    asleep, woken = bool(record.get("asleep")), bool(record.get("woken"))
    return {**tenant, "state": run_state(tenant, asleep, woken)}


def overruled(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Which decisions of the node count no longer, because the entry says something else now."""
    return [
        decision
        for decision, stated in DECISIONS.items()
        if record.get(decision) and not (tenant["wake"] and tenant["state"] == stated)
    ]


@dataclass(frozen=True)
class TenantPaths:
    """Where the files of a tenant are on its node."""

    home: str
    postgres: str
    neo4j: str
    app: str
    configuration: str
    edge: str
    route: str
    forward: str
    gate: str

    @classmethod
    def of(cls, data_dir: str, tenant: str) -> TenantPaths:
        """The paths below a platform's data directory."""
        home = os.path.join(data_dir, "tenants", tenant)
        return cls(
            home=home,
            postgres=os.path.join(home, "postgres"),
            neo4j=os.path.join(home, "neo4j"),
            app=os.path.join(home, "app"),
            configuration=os.path.join(home, "app", "configuration.yml"),
            edge=os.path.join(data_dir, "edge"),
            route=os.path.join(data_dir, "edge", "dynamic", f"{tenant}.yml"),
            forward=forward_path(data_dir, tenant),
            gate=os.path.join(data_dir, "gate", "tenants", f"{tenant}.json"),
        )


def desired_tenant(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    facts: Facts,
    secrets: Mapping[str, str] | None = None,
) -> tuple[Desired, dict[str, str]]:
    """The desired state of a tenant, and the text of its files that hold secrets.

    :param secrets: the tenant's secrets; without them the second value is empty and the files
        with secrets are known by their fingerprints alone.
    """
    paths = TenantPaths.of(platform["data_dir"], tenant["tenant"])
    tenant = {**tenant, "state": run_state(tenant, facts.asleep, facts.woken)}
    if tenant["state"] == "deleted":
        gone = [paths.route, paths.gate, paths.postgres, paths.neo4j, paths.app]
        if not facts.hostname_taken:
            gone.append(leaf_path(os.path.join(paths.edge, "certs"), tenant["hostname"]))
        return _owner(tenant, platform, absent=tuple(gone)), {}
    addresses = addresses_of(platform["subnet_pool"], facts.slot)
    marks = _secret_files(tenant, paths, addresses, tenant["fingerprints"], _auth_mark)
    contents = _secret_files(tenant, paths, addresses, secrets) if secrets else {}
    files = _plain_files(tenant, platform, paths, addresses, facts)
    owners = {paths.postgres: POSTGRES_UID, paths.neo4j: NEO4J_UID, paths.app: APP_UID}
    for path, text in marks.items():
        uid = owners[os.path.dirname(path)]
        files.append(File(path, 0o600, uid, uid, fingerprint=sha256(text)))
    desired = _owner(
        tenant,
        platform,
        networks=_networks(tenant, platform, facts.slot, addresses),
        # It would go before the tenant's own route.
        absent=(paths.forward,),
        volumes=tuple(
            Volume(volume_of(tenant, platform, role, facts.generation), role) for role in DATABASES
        ),
        directories=(
            Directory(paths.home, 0o711),
            *(Directory(path, 0o700, uid, uid) for path, uid in owners.items()),
        ),
        files=tuple(files),
        containers=_containers(tenant, platform, facts, paths, addresses),
    )
    return desired, contents


def volume_name(platform: str, tenant: str, uid: str, role: str, generation: int = 1) -> str:
    """Name of a tenant's volume: of its identity, so that a re-used name gets a new one."""
    name = f"{platform}-{unique_name(tenant, uid)}-{role}"
    return name if generation == 1 else f"{name}-g{generation}"


def volume_of(
    tenant: Mapping[str, Any], platform: Mapping[str, Any], role: str, generation: int
) -> str:
    """Name of the volume of a tenant's database in a generation."""
    return volume_name(platform["name"], tenant["tenant"], tenant["uid"], role, generation)


def container_name(platform: str, tenant: str, role: str) -> str:
    """Name of a tenant's container."""
    return f"{platform}-{tenant}-{role}"


def _owner(tenant: Mapping[str, Any], platform: Mapping[str, Any], **parts: Any) -> Desired:
    return Desired(
        platform=platform["name"],
        kind="tenant",
        tenant=tenant["tenant"],
        uid=tenant["uid"],
        **parts,
    )


def _secret_files(
    tenant: Mapping[str, Any],
    paths: TenantPaths,
    addresses: Addresses,
    secrets: Mapping[str, str],
    neo4j_auth: Callable[[str, bytes], str] = auth_ini,
) -> dict[str, str]:
    """The files with secrets; with fingerprints in place of secrets, what marks their state."""
    return {
        os.path.join(paths.postgres, "admin_password"): secrets["postgres_admin"],
        os.path.join(paths.postgres, "app_password"): secrets["postgres_app"],
        os.path.join(paths.neo4j, "auth.ini"): neo4j_auth(
            secrets["neo4j"], secrets["neo4j_salt"].encode()
        ),
        paths.configuration: tenant_configuration(
            version=tenant["version"],
            postgres_host=addresses.postgres,
            neo4j_host=addresses.neo4j,
            model=tenant["model"],
            secrets=secrets,
        ),
    }


def _auth_mark(password: str, salt: bytes) -> str:
    """What marks the state of auth.ini, without the 1,024 rounds of the real one."""
    return f"auth.ini 1 {password} {salt.decode()}"


def _plain_files(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    paths: TenantPaths,
    addresses: Addresses,
    facts: Facts,
) -> list[File]:
    app = f"{addresses.app}:{APP_PORT}"
    route = traefik_dynamic(
        Route(
            tenant=tenant["tenant"],
            hostname=tenant["hostname"],
            app=app,
            limits=RouteLimits.from_dict(tenant["edge"]),
            gate_port=platform["gate_port"],
            tls_mode=platform["tls_mode"],
        )
    )
    gate = gate_entry(
        tenant=tenant["tenant"],
        uid=tenant["uid"],
        state="updating" if facts.held else tenant["state"],
        keys=tenant["keys"],
        probe_sha256=tenant["probe_sha256"],
        app=app,
        writes=facts.writes,
        hold_seconds=HOLD_SECONDS if facts.held or tenant["wake"] else 0,
        wake=tenant["wake"],
        pace=min(tenant["edge"]["requests_per_second"], tenant["edge"]["in_flight"]),
    )
    sizes = tenant["neo4j"]["sizes"]
    return [
        File(os.path.join(paths.neo4j, "neo4j.conf"), 0o644, content=neo4j_conf(sizes)),
        File(os.path.join(paths.neo4j, "jvm.args"), 0o644, content=jvm_args(sizes)),
        File(paths.gate, 0o640, 0, GATE_UID, content=gate),
        # Traefik reads the whole directory again for each change in it.
        File(paths.route, 0o640, 0, TRAEFIK_UID, content=route, scratch_dir=paths.edge),
    ]


def _networks(
    tenant: Mapping[str, Any], platform: Mapping[str, Any], slot: int, addresses: Addresses
) -> tuple[Network, ...]:
    prefix = platform["name"]
    return (
        Network(
            name=f"{prefix}-{tenant['tenant']}-data",
            bridge=f"{prefix}-d{slot}",
            subnet=addresses.data_subnet,
            gateway=addresses.data_gateway,
            role="data",
            internal=True,
        ),
        Network(
            name=f"{prefix}-{tenant['tenant']}-app",
            bridge=f"{prefix}-a{slot}",
            subnet=addresses.app_subnet,
            gateway=addresses.app_gateway,
            role="app",
        ),
    )


def _containers(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    facts: Facts,
    paths: TenantPaths,
    addresses: Addresses,
) -> tuple[Container, ...]:
    prefix, name = platform["name"], tenant["tenant"]
    data, app = f"{prefix}-{name}-data", f"{prefix}-{name}-app"
    running = tenant["state"] == "running"

    def common(role: str, uid: int) -> dict[str, Any]:
        resources = tenant[role]
        return {
            "name": container_name(prefix, name, role),
            "role": role,
            "image": facts.images.get(IMAGE_OF[role], MISSING_IMAGE),
            "user": f"{uid}:{uid}",
            "memory": resources["memory"],
            "cpus": min(resources["cpus"], float(facts.cpus)),
            "cpu_shares": resources["cpu_shares"],
            "pids": resources["pids"],
            "running": running,
        }

    def secrets_of(home: str) -> Mount:
        return Mount("bind", "/run/memcloud", home, read_only=True)

    def volume(role: str, target: str) -> Mount:
        return Mount("volume", target, volume_of(tenant, platform, role, facts.generation))

    def scratch(target: str, size: str, uid: int) -> Mount:
        return Mount("tmpfs", target, options=f"size={size},mode=0700,uid={uid},gid={uid}")

    return (
        Container(
            **common("postgres", POSTGRES_UID),
            command=tuple(server_arguments(tenant["postgres"]["sizes"])),
            mounts=(
                secrets_of(paths.postgres),
                volume("postgres", "/var/lib/postgresql/data"),
                scratch("/run/postgresql", "1m", POSTGRES_UID),
                scratch("/tmp", "64m", POSTGRES_UID),
            ),
            networks=(Attachment(data, addresses.postgres),),
            shm_size=max(64 * 1024**2, tenant["postgres"]["memory"] // 4),
            stop_signal="SIGINT",
            stop_timeout=30,
            reads=(
                os.path.join(paths.postgres, "admin_password"),
                os.path.join(paths.postgres, "app_password"),
            ),
        ),
        Container(
            **common("neo4j", NEO4J_UID),
            mounts=(
                secrets_of(paths.neo4j),
                volume("neo4j", "/data"),
                scratch("/tmp", "64m", NEO4J_UID),
            ),
            networks=(Attachment(data, addresses.neo4j),),
            stop_timeout=30,
            reads=(
                os.path.join(paths.neo4j, "neo4j.conf"),
                os.path.join(paths.neo4j, "jvm.args"),
            ),
        ),
        Container(
            **common("app", APP_UID),
            mounts=(secrets_of(paths.app), scratch("/tmp", "128m", APP_UID)),
            networks=(Attachment(app, addresses.app), Attachment(data, addresses.app_data)),
            stop_timeout=15,
            reads=(paths.configuration,),
        ),
    )
