# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's files that the keeper reads and writes, in the form that the collection gives them.

tests/unit/services/keeper holds both sides together: same bytes, same locks, same rules.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TENANT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_POLL_SECONDS = 0.1
_SPOOLED_SECONDS = 10.0


class Busy(Exception):
    """Another run holds the tenant's lock."""


def now() -> str:
    """This moment as it is written in every file of a node."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Node:
    """Below one directory: `wake`, `gate` (its entries), `tenants`, `locks`, `notes`, `spool`."""

    def __init__(self, root: Path) -> None:
        self._wake = root / "wake"
        self._gate = root / "gate"
        self._tenants = root / "tenants"
        self._locks = root / "locks"
        self._notes = root / "notes"
        self._spool = root / "spool"

    def signals(self) -> list[str]:
        """Tenants that somebody waits for; what is no tenant's name is taken away."""
        names = sorted(os.listdir(self._wake))
        for name in names:
            if not TENANT_NAME.fullmatch(name):
                self.forget_signal(name)
        return [name for name in names if TENANT_NAME.fullmatch(name)]

    def signal_age(self, name: str) -> float:
        """Seconds since a signal was left; endless where there is none."""
        try:
            return time.time() - os.stat(self._wake / name).st_mtime
        except OSError:
            return math.inf

    def forget_signal(self, name: str) -> None:
        """Take a signal away."""
        with contextlib.suppress(OSError):
            os.unlink(self._wake / name)

    def sweep(self) -> None:
        """Take away answers that Traefik keeps for good because their clients went away.

        One that is on its way is read to its end all the same: its file is open.
        """
        limit = time.time() - _SPOOLED_SECONDS
        for path in self._spool.glob("temp-multibuf-*"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < limit:
                    path.unlink()

    def tenants(self) -> list[str]:
        """Every tenant with a record."""
        return sorted(name for name in os.listdir(self._tenants) if TENANT_NAME.fullmatch(name))

    def record(self, tenant: str) -> dict[str, Any]:
        """A tenant's record, empty when there is none that can be read."""
        return _read(self._tenants / tenant / "state.json")

    def write_record(self, tenant: str, record: dict[str, Any]) -> None:
        """Replace a tenant's record."""
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        _replace(self._tenants / tenant / "state.json", text, 0o600)

    def change_gate(self, tenant: str, **changes: Any) -> None:
        """Change fields of a tenant's entry at the gate."""
        path = self._gate / f"{tenant}.json"
        entry = _read(path)
        if entry:
            # To the byte what a deploy would write: otherwise the next one found a difference.
            text = json.dumps({**entry, **changes}, sort_keys=True) + "\n"
            _replace(path, text, 0o640)

    def note(
        self, tenant: str, operation: str, change: str, error: str = "", seconds: float = 0.0
    ) -> None:
        """Leave a row for the node's journal, which the next run of the collection takes over."""
        row = {
            "at": now(),
            "who": "keeper",
            "tenant": tenant,
            "uid": str(self.record(tenant).get("uid", "")),
            "operation": operation,
            "change": change,
            "result": "failed" if error else "done",
            "error": error,
            "seconds": round(seconds, 1),
        }
        with contextlib.suppress(OSError):
            _replace(self._notes / f"{time.time_ns()}.json", json.dumps(row) + "\n", 0o600)

    @contextlib.contextmanager
    def locked(self, tenant: str, wait: float) -> Iterator[None]:
        """Hold a tenant's lock: a flock, and beside it a file that says who and since when."""
        lock, lease = (self._locks / f"tenant-{tenant}.{end}" for end in ("lock", "json"))
        handle = _acquire(lock, wait)
        try:
            lease.write_text(
                json.dumps({"owner": "the node's keeper", "since": now(), "pid": os.getpid()}),
                encoding="utf-8",
            )
            yield
        finally:
            for left in (lease, lock):
                left.unlink(missing_ok=True)
            os.close(handle)


def _acquire(lock: Path, wait: float) -> int:
    deadline = time.monotonic() + wait
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder removes the file.
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        if time.monotonic() >= deadline:
            raise Busy(lock.name)
        time.sleep(_POLL_SECONDS)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _replace(path: Path, text: str, mode: int) -> None:
    scratch = path.with_name(f"{path.name}.{os.urandom(4).hex()}.new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
