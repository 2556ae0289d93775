# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node carries a new tenant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import size


@dataclass(frozen=True)
class Need:
    """What a tenant may use at most: the sums of its tier, in bytes."""

    memory: int
    storage: int


def choose_node(
    tenant: str,
    nodes: Sequence[str],
    carried: Mapping[str, Collection[str]],
    rooms: Mapping[str, Mapping[str, Any]],
    need: Need,
) -> str:
    """The node with the most memory left for this tenant; of equal ones that with fewest tenants.

    Entries that their node does not know yet are counted as if they needed what this one does.

    :param carried: the tenants of each node, as the inventory says.
    :param rooms: what M(node_room) answered for each node; a node that is not in it was not asked,
        and where none was, the number of tenants alone decides.
    :raises MemcloudError: when no node has room, with the reason of each.
    """
    if not any(rooms.get(node) for node in nodes):
        return min(nodes, key=lambda node: (len(carried.get(node, ())), nodes.index(node)))
    reasons: dict[str, str] = {}
    left: dict[str, int] = {}
    for node in nodes:
        room = rooms.get(node) or {}
        waiting = len(set(carried.get(node, ())) - set(room.get("tenants") or ()))
        reason = _reason(room, waiting, need)
        if reason:
            reasons[node] = reason
        else:
            left[node] = int(room["memory"]) - waiting * need.memory
    if not left:
        told = "; ".join(f"{node}: {reason}" for node, reason in reasons.items())
        raise MemcloudError(
            f"{tenant}: no node has room for it ({told}). Nothing was written: make room, add a "
            f"node, or name one yourself: create_tenant -e tenant={tenant} -e node=<name>, or "
            "tenant_node in an entry made by hand"
        )
    # Within a twentieth memory is equal: what is available changes from moment to moment.
    best = max(left.values())
    equal = [node for node in left if left[node] >= best - max(best // 20, 0)]
    return min(equal, key=lambda node: (len(carried.get(node, ())), nodes.index(node)))


def _reason(room: Mapping[str, Any], waiting: int, need: Need) -> str:
    """Why a node cannot carry one more, empty when it can."""
    if "memory" not in room:
        return str(room.get("msg") or "it does not answer").strip().splitlines()[0][:200]
    if int(room["slots"]) <= waiting:
        return "its platform_subnet_pool has no network left"
    memory = int(room["memory"]) - waiting * need.memory
    if memory < need.memory:
        return f"{size(max(memory, 0))} of memory are available, {size(need.memory)} are needed"
    disk = int(room["disk"]) - waiting * need.storage
    if disk < need.storage:
        return f"{size(max(disk, 0))} of its disk are free, {size(need.storage)} are needed"
    return ""
