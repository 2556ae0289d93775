# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on a node and on its tenants.

Two things together: an ``flock`` that the module holds while it works (the kernel frees it when
the process dies, a controller that was killed leaves its remote module running and the lock with
it), and a lease, a small file that says who works here, since when and until when, for the people
and runs that find the lock taken.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)

# How moments are written, in entries and in every file of a node.
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.005, 0.2


class LockedError(MemcloudError):
    """Somebody else works on it."""


def now() -> str:
    """This moment in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime(MOMENT)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as handle:
            lease = json.load(handle)
            return lease if isinstance(lease, dict) else {}
    except (FileNotFoundError, ValueError):
        return {}


def describe(lease: dict[str, Any]) -> str:
    """Who holds a lock and since when, in words."""
    if not lease:
        return "another run"
    return f"{lease.get('owner', 'another run')} since {lease.get('since', '?')}"


@contextlib.contextmanager
def locked(directory: str, name: str, owner: str, wait: float = 30.0) -> Iterator[None]:
    """Hold the lock of a name for the time of the block.

    :param directory: the platform's lock directory on the node.
    :param owner: who works, for those who find the lock taken: person, host, playbook.
    :param wait: seconds to wait for another holder before giving up.
    :raises LockedError: with the holder's name and since when it holds the lock.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, name)
    lock, lease = path + ".lock", path + ".json"
    handle = _acquire(lock, lease, name, wait)
    try:
        with open(lease, "w", encoding="utf-8") as stream:
            json.dump({"owner": owner, "since": now(), "pid": os.getpid()}, stream)
        yield
    finally:
        for left in (lease, lock):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left)
        os.close(handle)


def _acquire(lock: str, lease: str, name: str, wait: float) -> int:
    deadline = time.monotonic() + wait
    pause = _FIRST_POLL_SECONDS
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{name}: is locked by {describe(_read(lease))}; waited {wait:.0f} s. Let that "
                    "run end, then run this again"
                ) from None
            time.sleep(pause)
            pause = min(_POLL_SECONDS, pause * 1.5)
            continue
        if _is_at(handle, lock):
            return handle
        os.close(handle)  # its last holder removed the file in between


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def holder(directory: str, name: str) -> str | None:
    """Who holds a lock now, in words; None when nobody does."""
    path = os.path.join(directory, name)
    try:
        handle = os.open(path + ".lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return describe(_read(path + ".json"))
    finally:
        os.close(handle)
