# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant's data on its way into the next generation of its volumes.

The present generation is only read: a copy migrates, or empty databases take in what the old
server hands out.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    APP_PORT,
    DATABASES,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import EngineError
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job, as_recorded
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import (
    MemoryServer,
    Project,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import (
    export_memories,
    file_sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable_import import (
    Cursor,
    import_memories,
    prove_import,
    switch_off,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._reservation import (
    reserve,
    volume_bytes,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import BEING_DELETED

_START_SECONDS = 60.0
# How often an export is repeated when semantic memory worked on something meanwhile, and how long
# it is given to come to rest where nobody stores anything more.
_EXPORTS = 5
_REST_SECONDS = 120.0
_REST_PAUSE = 2.0
_AS_ADMIN = 'PGPASSWORD="$(cat /run/memcloud/admin_password)" exec '


class StillWorking(MemcloudError):
    """Semantic memory did not rest while memories were exported."""


def server_of(job: Job) -> MemoryServer:
    """The tenant's server, past edge and gate: their limits are for its clients."""
    return MemoryServer(job.name, f"{job.address('app')}:{APP_PORT}")


def sql(job: Job, query: str) -> str:
    """What the tenant's PostgreSQL answers to its administrator."""
    command = _AS_ADMIN + 'psql -U postgres -d memmachine -v ON_ERROR_STOP=1 -Atc "$1"'
    return job.execute("postgres", ["sh", "-c", command, "sh", query]).decode().strip()


@contextlib.contextmanager
def database_up(job: Job) -> Iterator[None]:
    """Have PostgreSQL answer for the time of the block, also of a tenant that sleeps."""
    if job.engine.state(job.container("postgres")).get("Running"):
        yield
        return
    _start_postgres(job)
    try:
        yield
    finally:
        job.stop("postgres")


def check_room(job: Job) -> None:
    """Raise unless the node has room for a second generation of the tenant's data, and a dump."""
    sizes = volume_bytes(job)
    copies = {job.engine.volumes_directory(): sum(sizes.values())}
    reserve(job, {**copies, job.state.data_dir: sizes["postgres"]})


def copy_data(job: Job, trial: Mapping[str, Any], roles: Sequence[str]) -> None:
    """Stop the databases and copy their volumes into the next generation."""
    with job.step("stop"):
        job.stop(*DATABASES)
    with job.step("copy"):
        desired, _contents = job.desired(trial, job.next_generation)
        for volume in desired.volumes:
            if volume.role not in roles:
                continue
            job.engine.remove_volume(volume.name)
            job.engine.create_volume(desired, volume)
            source = job.volume_path(volume.role)
            target = job.volume_path(volume.role, job.next_generation)
            _copy(source, target)


def dump_data(job: Job) -> None:
    """Dump PostgreSQL while nothing writes to it."""
    command = _AS_ADMIN + "pg_dump -U postgres -Fc memmachine"
    with job.step("dump"), database_up(job), open(_dump_path(job), "wb") as stream:
        job.execute("postgres", ["sh", "-c", command], stdout=stream)


def restore_dump(job: Job, trial: Mapping[str, Any]) -> None:
    """Take a dump into the empty PostgreSQL of the next generation."""
    command = _AS_ADMIN + (
        "pg_restore -U postgres -d memmachine --clean --if-exists --single-transaction"
    )
    with job.step("restore"):
        job.bring({**trial, "state": "paused"}, job.next_generation)
        _start_postgres(job)
        with open(_dump_path(job), "rb") as stream:
            job.execute("postgres", ["sh", "-c", command], stdin=stream)


def reload_data(job: Job, trial: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Carry the memories from the old server into a new one with empty databases; what moved."""
    path = os.path.join(job.work, "memories.ndjson")
    server = server_of(job)
    with job.step("export"):
        # Requests that were under way when the others began to wait have ended then.
        job.drain()
        job.bring({**as_recorded(job.tenant, job.record), "state": "running", "wake": False})
        job.probe().wait_ready()
        projects = write_memories(job, server, path)
        server.close()
    with job.step("start"):
        job.drain()
        for role in DATABASES:
            job.engine.remove_volume(job.volume(role, job.next_generation))
        job.bring(trial, job.next_generation)
        job.prove()  # Neo4j may come up after the server, and an import would not wait for it
    with job.step("import"):
        cursor = Cursor.load(path + ".cursor", file_sha256(path))
        import_memories(server, path, cursor, projects)
        moved = prove_import(server, path, projects, exact=True)
        switch_off(server, projects)
        server.close()
    return moved


def write_memories(
    job: Job, server: MemoryServer, path: str, attempts: int = _EXPORTS
) -> list[dict[str, Any]]:
    """Write all memories, all seen in one state of semantic memory; what was written.

    :raises StillWorking: when semantic memory worked on something each time.
    """
    projects = _projects(_distinct(job, "session_key", "episodestore"))
    for attempt in range(attempts):
        if attempt and job.held:
            _wait_for_rest(job)
        pending = _pending(job)
        deleted = _projects(_distinct(job, "session_key", f"({BEING_DELETED}) AS deleted"))
        with open(path, "wb") as stream:
            told = export_memories(
                server,
                stream,
                more_projects=projects,
                deleted=deleted,
                pending=pending,
                more_sets=_distinct(job, "set_id", "feature"),
            )
            stream.flush()
            os.fsync(stream.fileno())
        if _pending(job) == pending:
            return told
    raise StillWorking(
        f"{job.name}: semantic memory went on working while its memories were exported, "
        f"{attempts} times: run this again when the tenant has less to do"
    )


def _projects(keys: Iterable[str]) -> list[Project]:
    parts = (key.partition("/") for key in keys)
    return [(org, project) for org, slash, project in parts if slash]


def _wait_for_rest(job: Job) -> None:
    """Wait until semantic memory takes up nothing more; it may have much to catch up with."""
    deadline = time.monotonic() + _REST_SECONDS
    before, now = None, _pending(job)
    while now != before and time.monotonic() < deadline:
        time.sleep(_REST_PAUSE)
        before, now = now, _pending(job)


def _pending(job: Job) -> frozenset[str]:
    return frozenset(_distinct(job, "history_id", "set_ingested_history", "NOT ingested"))


def _distinct(job: Job, column: str, table: str, condition: str = "true") -> list[str]:
    query = f"SELECT coalesce(json_agg(DISTINCT {column}), '[]') FROM {table} WHERE {condition}"
    return [str(entry) for entry in json.loads(sql(job, query))]


def _start_postgres(job: Job) -> None:
    job.engine.start(job.container("postgres"))
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            sql(job, "SELECT 1")
            return
        except EngineError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def _dump_path(job: Job) -> str:
    return os.path.join(job.work, "postgres.dump")


def _copy(source: str, target: str) -> None:
    # A server writes out what it changes, not what it finds: a loss of power after the commit would
    # leave files that are empty.
    copy = ["cp", "-a", "--reflink=auto", source + "/.", target]
    for command in (copy, ["sync", "--file-system", target]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MemcloudError(f"{source} cannot be copied: {done.stderr.strip()[-500:]}")
