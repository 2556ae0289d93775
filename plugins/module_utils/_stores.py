# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of a tenant's two databases: out of them, into new volumes, counted.

Work on data that the tenant does not live on is done in scratch containers without a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import NEO4J_UID
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    Engine,
    EngineError,
    Execution,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import DUMP, STORE
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    SCRATCH,
    Container,
    Desired,
    Mount,
)

_RESTORED = "/restored"
_READY_SECONDS = 90
# The parts of Neo4j's data directory that are the tenant's; the rest is the server's own, with
# the password among it.
_NEO4J_PARTS = ("databases/neo4j", "transactions/neo4j")
PSQL = [
    "sh",
    "-c",
    "PGPASSWORD=$(cat /run/memcloud/admin_password) "
    "exec psql -X -q -At -v ON_ERROR_STOP=1 -U postgres -d memmachine",
]
_DUMP = (
    "PGPASSWORD=$(cat /run/memcloud/admin_password) "
    'exec pg_dump -U postgres -d memmachine --snapshot="$1" -Fc -Z0'
)
# As the tenant's own role: what stands in a dump never acts as the administrator.
_RESTORE = f"""set -e
pg_restore --list {_RESTORED}/{DUMP} | grep -vE ' (COMMENT - )?EXTENSION ' > /tmp/list
PGPASSWORD=$(cat /run/memcloud/app_password) exec pg_restore -U memmachine -d memmachine \\
  --no-owner --no-privileges --exit-on-error --single-transaction -L /tmp/list {_RESTORED}/{DUMP}
"""
# The data directory that a new tenant starts with, the tenant's database in it, then its name.
_PLACE = """set -eu
umask 077
new=/data/.new
rm -rf "$new"
cp -a /usr/share/memcloud/neo4j-data "$new"
cp /run/memcloud/auth.ini "$new/dbms/auth.ini"
mkdir -p "$new/databases" "$new/transactions"
for part in databases transactions; do
    rm -rf "$new/$part/neo4j"
    cp -a --reflink=auto "/restored/neo4j/$part/neo4j" "$new/$part/neo4j"
done
find "$new" -exec sync {} +
rm -rf /data/neo4j
mv -T "$new" /data/neo4j
sync /data
"""
# Neo4j's own tool with a heap, options of the JVM and its words. The archive of the server's
# classes and, for a small store, no optimising save half of its processor time.
_ADMIN = """set -eu
mkdir -p /tmp/conf /tmp/report
echo db.tx_log.preallocate=false > /tmp/conf/neo4j.conf
echo server.directories.data=/restored/neo4j >> /tmp/conf/neo4j.conf
export NEO4J_HOME=/opt/neo4j NEO4J_CONF=/tmp/conf
heap=$1 options=$2; shift 2
exec java -XX:SharedArchiveFile=/usr/share/memcloud/neo4j.jsa $options \\
  @/opt/neo4j/image.args -Xmx"$heap" @/opt/neo4j/class-path.args \\
  org.neo4j.cli.AdminTool database "$@"
"""
_SMALL_STORE_BYTES = 64 * 1024**2
# Of the processors, beside the hundreds of a server that customers wait for.
_BACKGROUND_SHARES = 16
# The probe's own project comes and goes.
_COUNTS = {
    "episodes": """SELECT session_key AS project, count(*) AS count,
  sum(('x' || substr(md5(e::text), 1, 15))::bit(60)::bigint)::text AS digest
  FROM episodestore AS e WHERE session_key <> 'memcloud/probe' GROUP BY 1""",
    "semantic": """SELECT set_id AS project, count(*) AS count,
  sum(('x' || substr(md5(e::text), 1, 15))::bit(60)::bigint)::text AS digest
  FROM feature AS e WHERE set_id NOT LIKE '%org\\_memcloud\\_project\\_probe%' GROUP BY 1""",
}
# Keys of projects whose deletion was accepted and is not through: their server goes on with it
# whenever it starts, and lists them until then. An older one has no such state.
BEING_DELETED = "SELECT session_key FROM sessions WHERE to_jsonb(sessions) ->> 'status' = 'delete'"
_SETTINGS = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1;\n"


class Session:
    """A psql of the administrator in a PostgreSQL container, kept open.

    :param container: name of a container whose PostgreSQL answers.
    """

    def __init__(self, engine: Engine, container: str) -> None:
        self._running = Execution(engine, container, PSQL)
        self._container = container
        self._frames = self._running.frames()
        self._rest = b""
        self._running.write(_SETTINGS.encode())

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *details: object) -> None:
        self._running.__exit__(*details)

    def snapshot(self) -> str:
        """Begin to see the data as it is now; the name by which pg_dump sees the same."""
        self._running.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n")
        return str(self.rows("SELECT pg_export_snapshot() AS id")[0]["id"])

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        wrapped = f"SELECT coalesce(json_agg(rows), '[]')::jsonb FROM ({query}) rows;\n"
        self._running.write(wrapped.encode())
        return list(json.loads(self._line()))

    def run(self, statement: str) -> None:
        """Run a statement to its end."""
        self._running.write(f"{statement};\nSELECT 1;\n".encode())
        self._line()

    def counts(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Memories of each project by kind: how many, and a digest of their content."""
        present = self.rows(
            "SELECT relname AS name FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        )
        tables = {row["name"] for row in present}
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for kind, table in (("episodes", "episodestore"), ("semantic", "feature")):
            rows = self.rows(_COUNTS[kind]) if table in tables else []
            found[kind] = {
                row["project"]: {"count": row["count"], "digest": row["digest"]} for row in rows
            }
        return found

    def alembic(self) -> str:
        """The revision of the semantic memory's tables; empty where there are none."""
        if not self.rows("SELECT 1 WHERE to_regclass('public.alembic_version') IS NOT NULL"):
            return ""
        return ",".join(
            str(row["version_num"]) for row in self.rows("SELECT version_num FROM alembic_version")
        )

    def _line(self) -> bytes:
        errors = b""
        while b"\n" not in self._rest:
            kind, data = next(self._frames, (0, b""))
            if kind == 0:
                raise EngineError(
                    f"container {self._container}: psql ended: "
                    + errors.decode("utf-8", "replace").strip()[-600:]
                )
            if kind == 2:
                errors += data
            else:
                self._rest += data
        line, _newline, self._rest = self._rest.partition(b"\n")
        return line


def wait_for_postgres(engine: Engine, container: str, seconds: float = _READY_SECONDS) -> None:
    """Wait until the PostgreSQL of a container answers its administrator."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            engine.execute(container, PSQL, b"SELECT 1;\n")
        except EngineError as error:
            if time.monotonic() > deadline or not engine.state(container).get("Running"):
                said = engine.logs(container, 8).strip()[-600:]
                raise EngineError(f"{error}; its last lines: {said}") from error
            time.sleep(0.2)
        else:
            return


def dump_postgres(engine: Engine, container: str, snapshot: str, path: str) -> None:
    """Write what a snapshot sees into a file: custom format, not compressed (restic does that)."""
    with open(path, "wb") as stream:
        engine.execute(container, ["sh", "-c", _DUMP, "sh", snapshot], stdout=stream)


def copy_store(volume: str, point: str) -> None:
    """Copy the tenant's database out of the volume of a Neo4j that is stopped."""
    for part in _NEO4J_PARTS:
        target = os.path.join(point, STORE, os.path.dirname(part))
        os.makedirs(target, exist_ok=True)
        source = os.path.join(volume, "neo4j", part)
        done = subprocess.run(
            ["cp", "-a", "--reflink=auto", source, target],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MemcloudError(f"the store of Neo4j cannot be copied: {done.stderr.strip()}")


def give_to(uid: int, *paths: str) -> None:
    """Let a container's user read and write files."""
    for path in paths:
        os.chown(path, uid, uid)
        for directory, directories, files in os.walk(path):
            for name in (*directories, *files):
                os.lchown(os.path.join(directory, name), uid, uid)


def check_store(engine: Engine, desired: Desired, point: str, urgent: bool = False) -> None:
    """Let Neo4j's own tool look whether a copied store is consistent.

    :param urgent: somebody waits for it; else servers get the processors first.
    """
    _administer(
        engine,
        desired,
        point,
        urgent,
        "check",
        "neo4j",
        f"--from-path-data={_RESTORED}/neo4j/databases",
        f"--from-path-txn={_RESTORED}/neo4j/transactions",
        "--report-path=/tmp/report",
        f"--max-off-heap-memory={_memory_of_tool(desired) // 4}m",
    )


def dump_store(engine: Engine, desired: Desired, point: str, path: str) -> None:
    """Let Neo4j's own tool write a copied store as a dump that any Neo4j of the version loads."""
    store = os.path.join(point, STORE)
    words = ("dump", "neo4j", f"--to-path={_RESTORED}/neo4j", "--overwrite-destination=true")
    _administer(engine, desired, point, False, *words)
    os.replace(os.path.join(store, "neo4j.dump"), path)
    os.chown(path, 0, 0)


def _administer(engine: Engine, desired: Desired, point: str, urgent: bool, *words: str) -> None:
    """Run neo4j-admin database on a copied store."""
    store = os.path.join(point, STORE)
    give_to(NEO4J_UID, store)
    options = "-XX:TieredStopAtLevel=1" if disk_usage(store) < _SMALL_STORE_BYTES else ""
    command = ("-c", _ADMIN, "sh", f"{_memory_of_tool(desired)}m", options, *words)
    container = _scratch(desired, "neo4j", command, point, copy=True)
    if not urgent:
        container = replace(container, cpus=min(1.0, container.cpus), cpu_shares=_BACKGROUND_SHARES)
    code, said = run_scratch(engine, desired, container)
    if code:
        raise MemcloudError(
            f"{desired.tenant}: the copied store of Neo4j: neo4j-admin database {words[0]} ended "
            f"with {code}: {said[-800:]}"
        )


def _memory_of_tool(desired: Desired) -> int:
    """MiB of heap: half of what the tenant's Neo4j may have."""
    return max(128, _of_role(desired, "neo4j").memory // 1024**2) // 2


def fill_volumes(
    engine: Engine, desired: Desired, point: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """Load a restore point into the empty volumes of a desired state; what they hold then.

    The passwords are those of the desired state's files, whatever the data had before.
    """
    for volume in desired.volumes:
        engine.create_volume(desired, volume)
    give_to(NEO4J_UID, os.path.join(point, STORE))
    place = _scratch(desired, "neo4j", ("-c", _PLACE), point)
    code, said = run_scratch(engine, desired, place)
    if code:
        raise MemcloudError(f"{desired.tenant}: the store of Neo4j cannot be placed: {said[-800:]}")
    server = _of_role(desired, "postgres")
    _let_read(server, os.path.join(point, DUMP))
    loading = replace(
        _scratch(desired, "postgres", server.command, point),
        entrypoint=(),
        stop_signal=server.stop_signal,
        shm_size=server.shm_size,
    )
    with started(engine, desired, loading) as name:
        wait_for_postgres(engine, name)
        engine.execute(name, ["sh", "-c", _RESTORE])
        with Session(engine, name) as session:
            session.run("ANALYZE")
            counts = session.counts()
        engine.stop(name, 60)
    return counts


def run_scratch(engine: Engine, desired: Desired, container: Container) -> tuple[int, str]:
    """Run a scratch container to its end: its exit code and the last it said, without traces."""
    with started(engine, desired, container) as name:
        while True:
            # Not `wait`: its connection gives up after the client's time-out.
            state = engine.state(name)
            if not state.get("Running"):
                said = engine.logs(name, 60).strip().splitlines()
                words = [line for line in said if not line.startswith(("\tat ", "\t... "))]
                return int(state.get("ExitCode", -1)), "\n".join(words)
            time.sleep(0.2)


@contextlib.contextmanager
def started(engine: Engine, desired: Desired, container: Container) -> Iterator[str]:
    """A scratch container while it is needed."""
    engine.remove_container(container.name, passing=True)
    try:
        engine.create_container(replace(desired, kind=SCRATCH), container)
        engine.start(container.name)
        yield container.name
    finally:
        engine.remove_container(container.name, passing=True)


def _scratch(
    desired: Desired, role: str, command: tuple[str, ...], point: str, copy: bool = False
) -> Container:
    """A container like one of the tenant's servers, without a network, with a restore point.

    :param copy: work on the restore point's files alone, and write to them.
    """
    server = _of_role(desired, role)
    mounts = tuple(mount for mount in server.mounts if not copy or mount.type == "tmpfs")
    return replace(
        server,
        name=f"{server.name}-scratch",
        networks=(),
        network_mode="none",
        entrypoint=("sh",),
        command=command,
        restart="no",
        shm_size=0,
        stop_signal="",
        mounts=(*mounts, Mount("bind", _RESTORED, point, read_only=not copy)),
    )


def _of_role(desired: Desired, role: str) -> Container:
    return next(container for container in desired.containers if container.role == role)


def _let_read(server: Container, path: str) -> None:
    uid = int(server.user.partition(":")[0])
    os.chown(path, uid, uid)
    os.chmod(path, 0o400)
