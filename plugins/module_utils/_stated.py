# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant's entry says, in the order in which runs read it.

A run reads the inventory when it begins and may come to a tenant hours later. Were a key revoked or
the tenant suspended meanwhile, it would bring back what has gone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    canonical_json,
    sha256,
)

# How much later than it was a run may seem to have begun: calls take their time to reach a node.
_ON_ITS_WAY = 60.0  # seconds
_BOOT = "/proc/sys/kernel/random/boot_id"


def began(run: Mapping[str, Any]) -> float | None:
    """When a run read the inventory, in seconds since this node was booted.

    Clocks of controllers differ and all of them can be set, so none is asked for the time of day.

    :param run: the run's origin, with ``age``, how many seconds ago that was (where it is known).
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) - float(run["age"]) if "age" in run else None


def accept(
    tenant: Mapping[str, Any],
    run: Mapping[str, Any],
    since: float | None,
    record: dict[str, Any],
) -> None:
    """Take a run's inputs as the tenant's present ones.

    :param tenant: the inputs as stated in the tenant's entry.
    :param run: who runs this, for those that come too late.
    :param since: when it read the inventory, as :func:`began` tells.
    :raises MemcloudError: when a run that began later has brought other inputs.
    """
    mine = sha256(canonical_json(tenant))
    last = record.get("stated") or {}
    if last.get("sha256") == mine:
        return
    boot = _boot()
    late = since is not None and since + _ON_ITS_WAY < float(last.get("began") or 0)
    if late and boot == last.get("boot"):
        raise MemcloudError(
            f"{tenant['tenant']}: {last['playbook'] or 'a run'} of {last['who']} changed it after "
            "this run had read its entry, which it would undo: run this again. Nothing was touched"
        )
    record["stated"] = {
        "sha256": mine,
        "boot": boot,
        "began": 0 if since is None else round(since, 2),
        "who": str(run.get("who") or ""),
        "playbook": str(run.get("playbook") or ""),
    }


def _boot() -> str:
    """Which boot of the node this is."""
    try:
        with open(_BOOT, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
