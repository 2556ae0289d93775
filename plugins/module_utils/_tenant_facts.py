# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants are and use on their node, as it is now. Changes nothing."""

from __future__ import annotations

import datetime
import json
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import IMAGE_OF
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import told
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    NodeState,
    addresses_of,
    images_for,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import DEPARTED
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    observe,
    read_json,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_ROLE,
    LABEL_UID,
)

# Port on which each of a tenant's servers answers.
PORTS = {"postgres": 5432, "neo4j": 7687, "app": 8080}
_ROLES = tuple(PORTS)
# Label of each server's image that says its version.
_VERSION_LABELS = {
    "postgres": "memcloud.postgres.version",
    "neo4j": "memcloud.neo4j.version",
    "app": "memcloud.memmachine",
}
_ANSWER_SECONDS = 2.0
# The engine and the disk wait for each other rarely; more threads than this gain nothing.
_THREADS = 16


def facts_of_tenants(given: Mapping[str, Any], _check_mode: bool) -> dict[str, Any]:
    """What the module tenant_facts returns."""
    platform, tenants = (json.loads(given[name]) for name in ("platform", "tenants"))
    return {"changed": False, "tenants": tenant_facts(platform, tenants)}


def tenant_facts(
    platform: Mapping[str, Any], tenants: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The facts of tenants of one node.

    :param platform: the platform's inputs, as the controller sends them.
    :param tenants: the tenants' inputs.
    """
    tenants = list(tenants)
    engine = Engine(platform["docker_host"])
    state = NodeState(platform["data_dir"])
    found = observe(engine, platform["name"], [tenant["tenant"] for tenant in tenants])
    slots = state.node()["slots"]
    images = read_json(state.path("images.json")) or {}
    journal = Journal(state, platform)
    journal.rebuild(tenants)
    registry = {row["uid"]: row for row in journal.registry()}

    def one(tenant: Mapping[str, Any]) -> dict[str, Any]:
        mine = found.get(tenant["tenant"], Found())
        entry = slots.get(tenant["uid"])
        slot = int(entry["slot"]) if entry else None
        row = registry.get(tenant["uid"]) or {}
        try:
            facts = _facts(engine, state, platform, tenant, mine, slot, images)
        except Exception as error:
            name = tenant["tenant"]
            return {"tenant": name, "state": "unknown", "error": told(name, error)}
        return {
            **facts,
            # The registry remembers when a purge that is to be finished took the record.
            "purge_after": facts["purge_after"]
            or purge_after(row.get("deleted"), int(platform["keep_deleted_days"])),
            "versions": row.get("versions") or {},
            "deleted": row.get("deleted"),
            "last_error": row.get("error") or None,
        }

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, tenants))


def _facts(
    engine: Engine,
    state: NodeState,
    platform: Mapping[str, Any],
    tenant: Mapping[str, Any],
    found: Found,
    slot: int | None,
    images: Mapping[str, Any],
) -> dict[str, Any]:
    record = state.tenant(tenant["tenant"])
    activity = state.activity(tenant["tenant"], tenant["uid"])
    containers = {
        container["Config"]["Labels"].get(LABEL_ROLE, ""): _container(engine, container)
        for container in found.containers.values()
    }
    volumes = {
        (volume.get("Labels") or {}).get(LABEL_ROLE, name): disk_usage(volume["Mountpoint"])
        for name, volume in found.volumes.items()
        if (volume.get("Labels") or {}).get(LABEL_UID) == tenant["uid"]
    }
    addresses = addresses_of(platform["subnet_pool"], slot) if slot is not None else None
    return {
        "tenant": tenant["tenant"],
        "outdated": outdated(containers, images_for(images, tenant["version"])),
        "state": state_of(tenant["state"], record.get("state"), containers),
        "healthy": is_healthy(containers),
        "slot": slot,
        "addresses": dict(vars(addresses)) if addresses else {},
        "containers": containers,
        "memory_bytes": sum(container["memory_bytes"] for container in containers.values()),
        "disk_bytes": sum(volumes.values()),
        "volumes": volumes,
        "running_version": containers.get("app", {}).get("version", ""),
        "created": record.get("created"),
        "changed": record.get("changed"),
        "deleted": record.get("deleted"),
        "departed": record.get(DEPARTED),
        "purge_after": purge_after(record.get("deleted"), int(platform["keep_deleted_days"])),
        "proved": record.get("proved"),
        "embedder": record.get("embedder"),
        "asleep": record.get("asleep"),
        "woken": record.get("woken"),
        "writes": record.get("writes") or "open",
        "storage": record.get("storage"),
        "last_activity": activity.get("last_activity"),
    }


def state_of(wanted: str, recorded: str | None, containers: Mapping[str, Mapping[str, Any]]) -> str:
    """The state word for what is on the node.

    :param wanted: the state in the inventory.
    :param recorded: the state that the last run recorded.
    """
    running = [role for role in _ROLES if containers.get(role, {}).get("running")]
    if wanted == "deleted":
        return "deleting" if containers else "deleted"
    if recorded in (None, "deleted", "deploying"):
        return "deploying"
    if recorded == "running":
        return "running" if len(running) == len(_ROLES) else "error"
    if recorded in ("paused", "suspended"):
        return "error" if running and recorded == "paused" else recorded
    return recorded


def outdated(containers: Mapping[str, Mapping[str, Any]], images: Mapping[str, str]) -> list[str]:
    """The servers of a tenant that run another image than the node has now for their version."""
    present = {role: containers[role]["image"] for role in _ROLES if role in containers}
    return [role for role, image in present.items() if images.get(IMAGE_OF[role], image) != image]


def is_healthy(containers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all three servers answer."""
    return all(containers.get(role, {}).get("health") == "answers" for role in _ROLES)


def purge_after(deleted: str | None, days: int) -> str | None:
    """When the kept data of a deleted tenant is due to go."""
    if not deleted:
        return None
    moment = datetime.datetime.strptime(deleted, MOMENT) + datetime.timedelta(days=days)
    return moment.strftime(MOMENT)


def memory_in_use(statistics: Mapping[str, Any]) -> int:
    """What a container uses without the page cache that the kernel can take back."""
    memory = statistics.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))
    return max(0, int(memory.get("usage", 0)) - int(cache))


def _container(engine: Engine, container: Mapping[str, Any]) -> dict[str, Any]:
    state = container["State"]
    running = bool(state.get("Running")) and not state.get("Restarting")
    labels = container["Config"]["Labels"]
    role = labels.get(LABEL_ROLE, "")
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = {
        name: network["IPAddress"] for name, network in networks.items() if network.get("IPAddress")
    }
    memory = 0
    if running:
        memory = memory_in_use(engine.client.stats(container["Id"], stream=False, one_shot=True))
    return {
        "name": container["Name"].lstrip("/"),
        "status": state.get("Status", ""),
        "running": running,
        "health": _health(state, running, addresses, PORTS.get(role, 0)),
        "exit_code": state.get("ExitCode", 0),
        "out_of_memory": bool(state.get("OOMKilled")),
        "restarts": container.get("RestartCount", 0),
        "started": state.get("StartedAt", ""),
        "image": container["Image"],
        "version": labels.get(_VERSION_LABELS.get(role, ""), ""),
        "addresses": addresses,
        "memory_bytes": memory,
        "memory_limit_bytes": (container.get("HostConfig") or {}).get("Memory", 0),
    }


def _health(
    state: Mapping[str, Any], running: bool, addresses: Mapping[str, str], port: int
) -> str:
    """A word or two: answers, no answer, paused, restarting, exited (3)."""
    if state.get("Paused"):
        return "paused"
    if not running:
        status = str(state.get("Status", "missing"))
        return f"{status} ({state.get('ExitCode')})" if status == "exited" else status
    answered = any(_answers(address, port) for address in addresses.values())
    return "answers" if answered else "no answer"


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), _ANSWER_SECONDS):
            return True
    except OSError:
        return False
