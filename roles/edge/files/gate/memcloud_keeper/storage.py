# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Minding the storage of tenants without a controller: close writes before a disk is full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from memcloud_keeper.engine import Engine
from memcloud_keeper.node import Busy, Node
from memcloud_keeper.wake import say

REOPEN = 0.95
DATABASES = ("postgres", "neo4j")


def writes_for(used: int, limit: int, writes: str) -> str:
    """Whether writes are open at this use: closed from the limit on, open again below 95 % of it.

    :param writes: what they are now.
    """
    if limit <= 0:
        return "open"
    if writes == "closed":
        return "open" if used < REOPEN * limit else "closed"
    return "closed" if used >= limit else "open"


def files_of(record: Mapping[str, Any], sizes: Mapping[str, int], prefix: str) -> int | None:
    """Bytes of the volumes that a tenant lives on; None where one of them is not known.

    Volumes of another generation (kept for a while after an update) do not count.
    """
    generation = int(record.get("generation") or 1)
    end = "" if generation == 1 else f"-g{generation}"
    names = [f"{prefix}-{str(record.get('uid'))[:8]}-{role}{end}" for role in DATABASES]
    return sum(sizes[name] for name in names) if all(name in sizes for name in names) else None


def sizes_of(volumes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Bytes of each volume by its name, where the engine knows them."""
    sizes = {v["Name"]: int((v.get("UsageData") or {}).get("Size", -1)) for v in volumes}
    return {name: size for name, size in sizes.items() if size >= 0}


class Measurer:
    """Looks at all tenants of the platform now and then."""

    def __init__(self, node: Node, engine: Engine, platform: str) -> None:
        self._node = node
        self._engine = engine
        self._platform = platform

    def measure(self) -> None:
        """Close and open writes where the sizes of the files say so."""
        sizes = sizes_of(self._engine.volumes())
        for tenant in self._node.tenants():
            prefix = f"{self._platform}-{tenant}"
            files = files_of(self._node.record(tenant), sizes, prefix)
            if files is not None and self._due(tenant, files) is not None:
                self._set(tenant, files)

    def _due(self, tenant: str, files: int) -> str | None:
        """What writes should become; None when they are that already."""
        record = self._node.record(tenant)
        storage = record.get("storage") or {}
        # Logs, and what deletes freed inside the files, as a run of the collection measured it.
        used = files - int(storage.get("uncounted", 0))
        writes = str(record.get("writes", "open"))
        if writes == "open":
            # The engine does not tell logs from data: nobody is shut out for logs that have grown.
            used -= int(storage.get("log_room", 0))
        due = writes_for(used, int(storage.get("limit", 0)), writes)
        return due if due != writes else None

    def _set(self, tenant: str, files: int) -> None:
        try:
            with self._node.locked(tenant, 0.0):
                due = self._due(tenant, files)
                if due is None:
                    return
                self._node.change_gate(tenant, writes=due)
                self._node.write_record(tenant, {**self._node.record(tenant), "writes": due})
                say(f"writes {due}", tenant=tenant, bytes=files)
                self._node.note(tenant, "storage", f"writes {due} at {files / 1e6:.0f} MB")
        except Busy:
            pass  # that run measures as well
