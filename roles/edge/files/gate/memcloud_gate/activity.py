# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Last activity and counts of every tenant, written to files beside the decisions.

One small file a tenant, replaced atomically by a thread, only when something changed. What could
not be written (disk full) stays in memory, which is bounded by the number of tenants, and is
written again with the next turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memcloud_gate.log import Log
from memcloud_gate.tenant import OUTCOMES, Tenant

COMPLAIN_SECONDS = 60.0


@dataclass(frozen=True)
class Entry:
    """What is to be added to one tenant's file."""

    tenant: str
    uid: str
    last_activity: float | None
    added: tuple[int, ...]
    counts: tuple[int, ...]


class ActivityWriter:
    """Collects what changed since the last turn and writes it from a thread."""

    def __init__(self, directory: Path, tenants: Mapping[str, Tenant], log: Log) -> None:
        self.failed_writes = 0
        self._directory = directory
        self._tenants = tenants
        self._log = log
        self._written: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._complained = float("-inf")

    @property
    def pending(self) -> int:
        """How many tenants have something that is not written yet."""
        return len(self._collect())

    async def run(self, seconds: float) -> None:
        """Write every `seconds` until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write what changed; a failure is reported once a minute and tried again next time."""
        for name in [name for name in self._written if name not in self._tenants]:
            del self._written[name]
        entries = self._collect()
        if not entries:
            return
        written, failure = await asyncio.to_thread(write_entries, self._directory, entries)
        for entry in written:
            self._written[entry.tenant] = (entry.uid, entry.counts)
        if failure is None:
            return
        self.failed_writes += len(entries) - len(written)
        if time.monotonic() - self._complained > COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            self._log.error(
                "activity cannot be written, kept in memory",
                path=str(self._directory),
                reason=failure,
                tenants=len(entries) - len(written),
            )

    def _collect(self) -> list[Entry]:
        entries = []
        for name, tenant in self._tenants.items():
            if tenant.record is None:
                continue
            uid = tenant.record.uid
            counts = tuple(tenant.counts)
            known_uid, known = self._written.get(name, (uid, (0,) * len(OUTCOMES)))
            if known_uid != uid:
                known = (0,) * len(OUTCOMES)
            if counts != known:
                added = tuple(new - old for new, old in zip(counts, known))
                entries.append(Entry(name, uid, tenant.last_activity, added, counts))
        return entries


def write_entries(directory: Path, entries: Iterable[Entry]) -> tuple[list[Entry], str | None]:
    """Add each entry to its file; return those written and the first reason for a failure."""
    written: list[Entry] = []
    failure: str | None = None
    for entry in entries:
        try:
            _write_entry(directory, entry)
            written.append(entry)
        except OSError as error:
            failure = failure or str(error.strerror)
    return written, failure


def _write_entry(directory: Path, entry: Entry) -> None:
    path = directory / f"{entry.tenant}.json"
    before = _read_entry(path, entry.uid)
    counts = {o.name.lower(): entry.added[o] + _count(before, o.name.lower()) for o in OUTCOMES}
    content = {
        "schema": 1,
        "tenant": entry.tenant,
        "uid": entry.uid,
        "last_activity": before.get("last_activity")
        if entry.last_activity is None
        else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.last_activity)),
        "counts": counts,
    }
    scratch = directory / f".{entry.tenant}.tmp"
    try:
        scratch.write_text(json.dumps(content) + "\n", encoding="ascii")
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _read_entry(path: Path, uid: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or data.get("uid") != uid:
        return {}
    return data


def _count(before: Mapping[str, Any], name: str) -> int:
    counts = before.get("counts")
    value = counts.get(name, 0) if isinstance(counts, dict) else 0
    return value if isinstance(value, int) else 0
