# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on a node's disks, set aside for what operations write beside the databases of everybody.

A job's share is a file in its work directory, which goes with the job; it counts for as long as
the lock of its tenant is held.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import DATABASES
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    disk_usage,
    existing,
    read_text,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import holder, locked

# What stays free for the databases of all tenants, which stop when they cannot write. Half of what
# a deployment wants: an operation gives back most of what it takes, and small nodes take backups.
LEAST_FREE = 1024**3
_SHARE = "room.json"
_LOOK_SECONDS = 1.0
# How long others may take that have the room now.
_WAIT_SECONDS = 3600.0


def reserve(job: Job, needed: Mapping[str, int]) -> None:
    """Set room aside until the job ends; where others have it that work now, wait for their ends.

    Called once a job, before it touches anything. A disk that has neither databases nor files of
    the platform (one for restore points alone) may become full.

    :param needed: bytes by the path below which they will be written.
    :raises MemcloudError: when there is not enough, with what is free and what is needed.
    """
    homes = {_device(path) for path in (job.state.data_dir, job.engine.volumes_directory())}
    mine = {path: size for path, size in needed.items() if _device(path) in homes}
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        with locked(job.state.locks, "room", job.node.owner, wait=120):
            if _fits(job, mine):
                atomic_write(os.path.join(job.work, _SHARE), json.dumps(mine), 0o600)
                return
        time.sleep(_LOOK_SECONDS)
    raise MemcloudError(
        f"{job.name}: what works on other tenants of its node has set aside the room that this "
        f"needs, for more than {_WAIT_SECONDS / 60:.0f} minutes: run this again later. Nothing was "
        "touched"
    )


def volume_bytes(job: Job) -> dict[str, int]:
    """Bytes on the disk of each of a tenant's databases, logs and all."""
    return {role: disk_usage(job.volume_path(role)) for role in DATABASES}


def _fits(job: Job, mine: Mapping[str, int]) -> bool:
    """Whether there is room now; raises when there would not be, even if all others ended."""
    set_aside: Counter[int] = Counter()
    for share in _others(job):
        set_aside.update(_by_device(share))
    fits = True
    for device, size in _by_device(mine).items():
        wanted = size + LEAST_FREE
        places = [path for path in mine if _device(path) == device]
        free = shutil.disk_usage(existing(places[0])).free
        if wanted > free + set_aside[device]:
            raise MemcloudError(
                f"{job.name}: {free // 1024**2} MiB are free below {' and '.join(places)} on its "
                f"node, {wanted // 1024**2} MiB are needed ({LEAST_FREE // 1024**2} of them stay "
                "free, for everybody's databases): make room and run this again. Nothing was "
                "touched"
            )
        fits = fits and wanted <= free - set_aside[device]
    return fits


def _others(job: Job) -> Iterator[dict[str, int]]:
    """What other jobs of this node that go on now have set aside."""
    for name in job.state.tenants():
        share = read_text(os.path.join(job.state.tenant_dir(name), "work", _SHARE))
        if share and name != job.name and holder(job.state.locks, f"tenant-{name}"):
            yield json.loads(share)


def _by_device(sizes: Mapping[str, int]) -> Counter[int]:
    found: Counter[int] = Counter()
    for path, size in sizes.items():
        found[_device(path)] += size
    return found


def _device(path: str) -> int:
    return os.stat(existing(path)).st_dev
