# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenants of this node, kept in step with their files.

The directory is listed and every file's stat compared twice a second, in slices between which
decisions go on: 1,000 tenants take 5 ms a look, 1 % of a core. It needs nothing beyond the
standard library, sees renames, edits in place and changes of mode alike, and cannot lose an event
as a full inotify queue can.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from memcloud_gate.log import Log
from memcloud_gate.record import TENANT_NAME, BadRecord, Record, parse_record
from memcloud_gate.tenant import Tenant

MAX_FILE_BYTES = 256 * 1024
FILES_PER_SLICE = 100


class TenantStore:
    """All tenants by name. `ready` says whether the directory could be read."""

    def __init__(self, directory: Path, log: Log) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.ready = False
        self._directory = directory
        self._log = log
        self._loaded = False

    async def run(self, seconds: Callable[[], float]) -> None:
        """Keep looking for changes until cancelled, `seconds()` after each look."""
        while True:
            await asyncio.sleep(seconds())
            await self.refresh()

    async def refresh(self) -> None:
        """Look once at every file and take over those that changed."""
        found = self._list()
        if found is None:
            return
        for name in [name for name in self.tenants if name not in found]:
            self.tenants.pop(name).update(None, "removed")
            self._log.info("tenant removed", tenant=name)
        for index, name in enumerate(found, 1):
            if self._differs(name):
                self._load(name)
            if index % FILES_PER_SLICE == 0:
                await asyncio.sleep(0)
        if not self._loaded:
            self._loaded = True
            self._log.info("tenants loaded", tenants=len(self.tenants), broken=len(self.broken))
        self.ready = True

    @property
    def broken(self) -> dict[str, str]:
        """Tenants whose file cannot be used, and why."""
        return {name: t.problem for name, t in self.tenants.items() if t.problem is not None}

    def _list(self) -> set[str] | None:
        found = set()
        try:
            for file in os.listdir(self._directory):
                name, dot, suffix = file.rpartition(".")
                if dot and suffix == "json" and TENANT_NAME.fullmatch(name):
                    found.add(name)
        except OSError as error:
            self._close(error)
            return None
        return found

    def _close(self, error: OSError) -> None:
        """Without its directory the gate knows nobody: every tenant is closed until it is back."""
        if self.ready or not self._loaded:
            self._log.error(
                "tenants directory cannot be read, nobody passes",
                path=str(self._directory),
                reason=str(error.strerror),
            )
        self.ready = False
        self._loaded = True
        for tenant in self.tenants.values():
            tenant.signature = None
            tenant.update(None, "the tenants directory cannot be read")

    def _differs(self, name: str) -> bool:
        tenant = self.tenants.get(name)
        if tenant is None or tenant.signature is None:
            return True
        try:
            return tenant.signature != _signature(os.lstat(self._directory / f"{name}.json"))
        except OSError:
            return True

    def _load(self, name: str) -> None:
        tenant = self.tenants.get(name)
        if tenant is None:
            tenant = self.tenants[name] = Tenant(name)
        old = (tenant.record, tenant.problem)
        tenant.digest = None
        try:
            tenant.signature, raw = _read(self._directory / f"{name}.json")
            tenant.digest = hashlib.sha256(raw).hexdigest()
            tenant.update(parse_record(name, raw), None)
        except BadRecord as error:
            tenant.update(None, str(error))
        except OSError as error:
            tenant.signature = None
            tenant.update(None, f"cannot be read: {error.strerror}")
        except Exception as error:
            # Whatever is wrong with one file, it closes its tenant and must not end the task that
            # follows all the others.
            tenant.signature = None
            tenant.update(None, f"cannot be understood: {type(error).__name__}")
        if (tenant.record, tenant.problem) != old:
            self._report(tenant.record, tenant)

    def _report(self, record: Record | None, tenant: Tenant) -> None:
        if record is None:
            self._log.error(
                "tenant file broken, nobody passes", tenant=tenant.name, reason=str(tenant.problem)
            )
        elif self._loaded:
            self._log.info(
                "tenant changed",
                tenant=tenant.name,
                state=record.state,
                keys=len(record.keys),
                writes_open=record.writes_open,
            )


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: Path) -> tuple[tuple[int, ...], bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        signature = _signature(os.fstat(descriptor))
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise BadRecord(f"larger than {MAX_FILE_BYTES} bytes")
    return signature, raw
