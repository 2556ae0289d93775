# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room a node has for another tenant."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    FIRST_SLOT,
    NodeState,
    slots_of,
)


def room_of(data_dir: str, subnet_pool: str, meminfo: str = "/proc/meminfo") -> dict[str, Any]:
    """Free slots, memory and disk of this node, and the tenants that it knows.

    :raises MemcloudError: when the machine is not set up as a node.
    """
    state = NodeState(data_dir)
    state.images()
    return {
        "slots": slots_of(subnet_pool) - FIRST_SLOT - len(state.node()["slots"]),
        "memory": _available_memory(meminfo),
        "disk": shutil.disk_usage(data_dir).free,
        "processors": os.cpu_count() or 1,
        "tenants": state.tenants(),
    }


def _available_memory(path: str) -> int:
    with open(path, encoding="ascii") as handle:
        for line in handle:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
