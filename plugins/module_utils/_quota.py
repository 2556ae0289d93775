# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a tenant stores, and whether it may store more.

What counts is what its volumes take on the disk, without the databases' logs, and without the space
inside their files that deletes have freed: both databases write there first before a file grows. So
a customer who deletes gets room again, and the files stay within the tier's figure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._bolt import Bolt
from ansible_collections.memcloud.memmachine.plugins.module_utils._capacity import stored_bytes
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import DATABASES
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import addresses_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import parse_size

# Shares of the tier's `storage`: from SOFT on there is a warning, from the whole on writes are
# closed, and below REOPEN they are open again. The node's keeper has the same rule.
SOFT = 0.8
REOPEN = 0.95
# What bounds the databases' logs: Neo4j begins a new one before it removes the oldest.
_LOG_SIZES = (
    ("postgres", "max_wal_size"),
    ("neo4j", "tx_log_size"),
    ("neo4j", "tx_log_retention"),
)
# Where the memories' graph is on Neo4j's volume, and how many of its records fit a page.
_GRAPH = os.path.join("neo4j", "databases", "neo4j")
_PAGE = 8192
_NODE_BYTES = 15
_NODES = "neostore.nodestore.db"
_RECORDS = (_NODES, "neostore.relationshipstore.db", "neostore.propertystore.db")
_POSTGRES_FREE = """
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_freespacemap;
VACUUM;
SELECT coalesce(sum(avail), 0) FROM pg_class, LATERAL pg_freespace(oid)
WHERE relkind IN ('r', 't', 'm', 'i') AND relpersistence = 'p';
"""


@dataclass(frozen=True)
class Usage:
    """What a tenant stores, in bytes.

    :param files: what its volumes take on the disk.
    :param uncounted: the part of it that is logs, or that deletes have freed.
    """

    files: int
    uncounted: int
    limit: int

    @property
    def used(self) -> int:
        """What counts."""
        return max(0, self.files - self.uncounted)

    @property
    def share(self) -> float:
        """The used part of what the tier allows."""
        return self.used / self.limit if self.limit else 0.0

    def writes(self, before: str) -> str:
        """Whether writes are open: closed from the limit on, open again below 95 % of it."""
        if before == "closed":
            return "open" if self.share < REOPEN else "closed"
        return "closed" if self.share >= 1 else "open"

    def words(self, writes: str) -> str:
        """What a person wants to know."""
        text = f"stores {_mib(self.used)} of {_mib(self.limit)} MiB ({self.share:.0%})"
        if writes == "closed":
            return text + ", writes are closed: delete memories or change the tier"
        if self.share >= SOFT:
            return text + f", more than {SOFT:.0%}: writes will be closed when it is full"
        return text


def mind_storage(job: Job) -> dict[str, Any]:
    """Measure a tenant's storage and record it, and whether writes are open.

    Returns what was found; ``changed`` says whether the gate has to be told.
    """
    record = job.record
    known = record.get("storage") or {}
    paths = [job.volume_path(role) for role in DATABASES]
    files, limit = sum(map(disk_usage, paths)), job.tenant["storage"]
    logs = files - sum(map(stored_bytes, paths))
    usage = Usage(files, logs, limit)  # what is free need not be known
    if usage.share >= SOFT:
        running = job.tenant["state"] == "running"
        freed = reusable(job) if running else int(known.get("uncounted", logs)) - logs
        usage = Usage(files, logs + max(0, freed), limit)
    before = str(record.get("writes") or "open")
    after = usage.writes(before)
    record["storage"] = {
        "limit": usage.limit,
        "files": usage.files,
        "uncounted": usage.uncounted,
        "log_room": max(0, _most_logs(job.tenant) - logs),
        "measured": now(),
    }
    record["writes"] = after
    return {
        "changed": before != after,
        "writes": after,
        "storage": {**record["storage"], "used": usage.used, "share": round(usage.share, 3)},
        "message": usage.words(after),
    }


def _most_logs(tenant: Mapping[str, Any]) -> int:
    """Bytes that the databases' logs may take by their settings."""
    sizes = [tenant[role]["sizes"].get(key) for role, key in _LOG_SIZES]
    return sum(parse_size(size) for size in sizes if size is not None)


def measure_at_last(job: Job) -> tuple[bool, str]:
    """Measure a tenant whose work is done and recorded, while its clients are served already.

    Done stays done when this fails: the next run measures again.

    :returns: whether writes were closed or opened, and why nothing could be measured.
    """
    try:
        changed = bool(mind_storage(job)["changed"])
        job.keep()
        if changed:
            job.release()
    except Exception as error:
        return False, f"what it stores could not be measured ({error})"
    return changed, ""


def reusable(job: Job) -> int:
    """Bytes within the files of a running tenant's databases that new memories can take."""
    return _postgres_reusable(job) + _neo4j_reusable(job)


def _postgres_reusable(job: Job) -> int:
    """What PostgreSQL's maps of free space say after a VACUUM."""
    answer = psql(job, _POSTGRES_FREE).split()
    return int(answer[-1]) if answer else 0


def _neo4j_reusable(job: Job) -> int:
    """An estimate: records that no node has any more, times the size of the stores of records.

    Neo4j gives records free one by one, of nodes, relationships and properties alike, and tells
    their number of nodes only.
    """
    directory = os.path.join(job.volume_path("neo4j"), _GRAPH)
    room = _size(directory, _NODES) // _PAGE * (_PAGE // _NODE_BYTES)
    if not room:
        return 0
    address = addresses_of(job.platform["subnet_pool"], job.slot).neo4j
    with Bolt(address, job.secrets["neo4j"]) as neo4j:
        nodes = neo4j.run("MATCH (n) RETURN count(n)")[0][0]
    stores = sum(
        _size(directory, name)
        for name in os.listdir(directory)
        if name.startswith(_RECORDS) and not name.endswith(".id")
    )
    return int(stores * max(0.0, 1 - nodes / room))


def _size(directory: str, name: str) -> int:
    try:
        return os.stat(os.path.join(directory, name)).st_blocks * 512
    except FileNotFoundError:
        return 0


def psql(job: Job, script: str) -> str:
    """What the tenant's PostgreSQL prints for a script of its administrator."""
    command = (
        "PGPASSWORD=$(cat /run/memcloud/admin_password) exec psql --no-psqlrc --quiet "
        "--tuples-only --no-align --set ON_ERROR_STOP=1 --username postgres memmachine"
    )
    try:
        printed = job.execute("postgres", ["sh", "-c", command], script.encode())
    except MemcloudError as error:
        raise MemcloudError(f"{job.name}: its PostgreSQL cannot be asked: {error}") from error
    return printed.decode().strip()


def _mib(size: int) -> int:
    return round(size / 1024**2)
