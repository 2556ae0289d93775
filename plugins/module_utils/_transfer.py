# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exporting a tenant, importing into one, moving one to another embedding model."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._archive import (
    MEMORIES,
    NEO4J_DUMP,
    POSTGRES_DUMP,
    older,
    pack,
    read_manifest,
    unpack_memories,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import (
    Held,
    server_versions,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    remove_stale,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import (
    Job,
    check_provider_stays,
    embedder_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import MemoryServer
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Operation,
    check_version,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import (
    PortableError,
    file_sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable_import import (
    Cursor,
    import_memories,
    prove_import,
    switch_off,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import (
    PROBE_ORGANISATION,
    PROBE_PROJECT,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._reservation import (
    reserve,
    volume_bytes,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import (
    dump_postgres,
    dump_store,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_data import (
    StillWorking,
    database_up,
    reload_data,
    server_of,
    sql,
    write_memories,
)

# Attempts to export a tenant while its clients go on, and how long one may have taken to be made
# once more while they wait, unasked.
_LIVE = 3
_HELD_SECONDS = 60.0
# Where archives stay on a node, in the tenant's own directory: a purge takes them along.
EXPORTS = "exports"


@contextlib.contextmanager
def awake(job: Job) -> Iterator[None]:
    """Have the servers run for the time of the block, also those of a tenant that sleeps."""
    sleeps = any(not container.running for container in job.desired()[0].containers)
    if sleeps:
        job.bring({**job.tenant, "state": "running", "wake": False})
        job.probe().wait_ready()
    yield
    if sleeps:
        job.bring()


def half_archive(tenant: str) -> str:
    """What the file of an export that has not ended is named, as a regular expression."""
    return re.escape(tenant) + r"-\d{8}T\d{6}Z\.tar\.gz\.part"


def totals(projects: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How much an archive holds."""
    projects = list(projects)
    return {
        "projects": len(projects),
        "episodic": sum(int(entry["episodic"]) for entry in projects),
        "semantic": sum(int(entry["semantic"]) for entry in projects),
    }


def _must_run(job: Job, what: str) -> None:
    if job.tenant["state"] != "running" or not job.record.get("embedder"):
        raise MemcloudError(
            f"{job.name}: is {job.record.get('state') or 'not deployed'}, and {what} needs its "
            "server: run resume_tenant (or deploy_tenant) for it first. Nothing was touched"
        )


class Export(Operation):
    """Writes a tenant's portable archive on its node."""

    name = "export"
    restarts = True

    def check(self, job: Job) -> None:
        """The tenant runs, and there is room."""
        _must_run(job, "an export")
        sizes = volume_bytes(job)
        needed = 2 * sizes["postgres"]  # lines, and the archive
        if job.params.get("native"):  # the store's copy, both dumps, and the archive
            needed += 2 * sizes["postgres"] + 3 * sizes["neo4j"]
        reserve(job, {job.state.data_dir: needed})

    def run(self, job: Job) -> dict[str, Any]:
        """Memories through the server's own interface while it serves, then the native dumps."""
        with awake(job), job.step("memories"), contextlib.closing(server_of(job)) as server:
            projects = _write(job, server)
        exported = now()
        about = {
            **job.identity,
            "tier": job.tenant["tier"],
            "version": job.record["version"],
            "embedder": job.record["embedder"],
            "exported": exported,
            "projects": projects,
            "totals": totals(projects),
        }
        directory = os.path.join(job.paths.home, EXPORTS)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        # Of a killed export: one goes on at a time, and each has a name of its own.
        remove_stale(directory, half_archive(job.name))
        stamp = re.sub(r"[-:]", "", exported)
        path = os.path.join(directory, f"{job.name}-{stamp}.tar.gz")
        names = [MEMORIES]
        if job.params.get("native"):
            names += self._dump(job)
            about["servers"] = server_versions(job, job.images())
        elif job.held:
            job.release()
        with job.step("pack"):
            pack(job.work, names, about, path)
        count = about["totals"]
        return {
            "archive": {
                "path": path,
                "bytes": os.path.getsize(path),
                "sha256": file_sha256(path),
                "exported": exported,
                **count,
            },
            "message": f"{count['episodic']} memories and {count['semantic']} semantic ones of "
            f"{count['projects']} projects are in {path}",
        }

    def _dump(self, job: Job) -> list[str]:
        """Both databases as of one moment, for which requests wait at the gate."""
        point = os.path.join(job.work, "point")
        os.makedirs(point, mode=0o711)
        os.chmod(job.work, 0o711)
        snapshot, session = Held(job, resume=True).begin(point)
        with session, job.step("dump"):
            postgres = os.path.join(job.work, POSTGRES_DUMP)
            dump_postgres(job.engine, job.container("postgres"), snapshot, postgres)
        with job.step("dump"):
            neo4j = os.path.join(job.work, NEO4J_DUMP)
            dump_store(job.engine, job.desired()[0], point, neo4j)
        return [POSTGRES_DUMP, NEO4J_DUMP]


def _write(job: Job, server: MemoryServer) -> list[dict[str, Any]]:
    """Write all memories while clients go on; of a tenant that never rests, while they wait."""
    path = os.path.join(job.work, MEMORIES)
    began = time.monotonic()
    try:
        return write_memories(job, server, path, _LIVE)
    except StillWorking as error:
        seconds = (time.monotonic() - began) / _LIVE
        if seconds > _HELD_SECONDS and not job.params.get("hold"):
            raise MemcloudError(
                f"{error}. Or let its clients wait meanwhile, about {seconds:.0f} s, with -e "
                "hold=true"
            ) from None
    job.hold()
    return write_memories(job, server, path)


class Import(Operation):
    """Stores the memories of a portable archive in a tenant."""

    name = "import"
    restarts = True

    def settled(self, job: Job) -> str:
        """A run that was killed may have been finished on the node by what it left there."""
        imported = job.record.get("imported") or {}
        if job.params.get("force") or not imported:
            return ""
        if imported["memories"] != read_manifest(_archive_of(job))["files"][MEMORIES]["sha256"]:
            return ""
        return (
            f"these memories were imported at {imported['at']}; -e force=true adds those that are "
            "not there any more"
        )

    def check(self, job: Job) -> None:
        """The archive can be read, the server is new enough, nothing is mixed unasked."""
        _must_run(job, "an import")
        path = _archive_of(job)
        manifest = read_manifest(path)
        if older(job.tenant["version"], manifest["version"]):
            raise MemcloudError(
                f"{job.name}: has MemMachine {job.tenant['version']}, the archive is from "
                f"{manifest['version']}: import it into a tenant of that version or a newer one. "
                "Nothing was touched"
            )
        sizes = {name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
        grown = 4 * sum(sizes.values())
        place = {job.state.data_dir: sizes[MEMORIES], job.engine.volumes_directory(): grown}
        reserve(job, place)
        if job.params.get("force") or _cursor(job, manifest).begun:
            return
        with database_up(job):
            stored = int(
                sql(
                    job,
                    "SELECT count(*) FROM episodestore WHERE session_key <> "
                    f"'{PROBE_ORGANISATION}/{PROBE_PROJECT}'",
                )
            )
        if stored:
            raise MemcloudError(
                f"{job.name}: has {stored} memories already. Say -e force=true to add those of the "
                "archive to them (none is stored twice), or import into an empty tenant. Nothing "
                "was touched"
            )

    def run(self, job: Job) -> dict[str, Any]:
        """Store what is missing, then hold every memory against the server once more."""
        path = _archive_of(job)
        manifest = read_manifest(path)
        with job.step("unpack"):
            lines = unpack_memories(path, job.work, manifest)
        cursor = _cursor(job, manifest)
        if not job.params.get("force"):
            job.hold()
        with awake(job):
            with contextlib.closing(server_of(job)) as server:
                with job.step("import"):
                    done = import_memories(server, lines, cursor, manifest["projects"])
                with job.step("compare"):
                    projects = _prove(job, server, lines, manifest["projects"])
                    switch_off(server, manifest["projects"])
            with job.step("prove"):
                proof = job.prove()
        job.record["imported"] = {"memories": cursor.archive, "at": now()}
        job.save()
        remove_tree(cursor.path)
        return {
            **done,
            "changed": done["added"] > 0,
            "projects": projects,
            "proof": proof,
            "message": f"{done['added']} memories stored, {done['present']} were there; "
            f"{len(projects)} projects have what the archive says",
        }


def _prove(
    job: Job, server: MemoryServer, lines: str, projects: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Hold what was imported against the server; the next run believes nothing of one that fails.

    Clients may have stored or deleted something since the run began that the cursor is of.
    """
    try:
        return prove_import(server, lines, projects, exact=not job.params.get("force"))
    except PortableError as error:
        job.forget_import()
        job.save()
        raise PortableError(
            f"{error}. Run the import again with -e force=true: it adds what is not there, and "
            "leaves what else the tenant has"
        ) from error


def _archive_of(job: Job) -> str:
    path = str(job.params.get("archive") or "")
    if not os.path.isfile(path):
        raise MemcloudError(
            f"{job.name}: there is no archive {path or '(none was named)'} on its node: name the "
            "controller's with -e file=…, or the node's with -e archive=…. Nothing was touched"
        )
    return path


def _cursor(job: Job, manifest: Mapping[str, Any]) -> Cursor:
    """How far an earlier run came with these memories in this tenant."""
    return Cursor.load(job.import_cursor, str(manifest["files"][MEMORIES]["sha256"]))


class Reembed(Operation):
    """Moves a tenant to the embedding model that its entry names."""

    name = "reembed"

    def settled(self, job: Job) -> str:
        """Nothing is to be done when the memories are of that model already."""
        if job.record.get("embedder") == embedder_of(job.tenant) and not job.record.get(
            "operation"
        ):
            return "the memories are of {model} ({dimensions} dimensions) already".format(
                **embedder_of(job.tenant)
            )
        return ""

    def check(self, job: Job) -> None:
        """The tenant runs, the new model answers, and there is room for both.

        The new databases are of the server that the record names: it goes on with them.
        """
        _must_run(job, "moving to another embedding model")
        check_provider_stays(job.tenant, job.record)
        check_version(job.tenant, job.record)
        sizes = volume_bytes(job)
        before, after = job.record["embedder"]["dimensions"], embedder_of(job.tenant)["dimensions"]
        grown = int(sum(sizes.values()) * max(1, after / before))
        places = {job.state.data_dir: sizes["postgres"], job.engine.volumes_directory(): grown}
        reserve(job, places)
        job.node.try_first(job.tenant, job.secrets)

    def run(self, job: Job) -> dict[str, Any]:
        """Out of the old databases, into empty ones, compared, proved, and only then in force."""
        before, after = job.record["embedder"], embedder_of(job.tenant)
        generation = job.next_generation
        job.hold()
        projects = reload_data(job, {**job.tenant, "state": "running", "wake": False})
        with job.step("prove"):
            proof = job.prove()
        job.record.update(generation=generation, embedder=after)
        job.record.pop("previous", None)  # its vectors are of the old model
        job.save()
        job.release()
        moved = sum(entry["stored"] for entry in projects)
        return {
            "projects": projects,
            "proof": proof,
            "embedder": after,
            "message": f"{moved} memories of {len(projects)} projects moved "
            f"from {before['model']} ({before['dimensions']}) to {after['model']} "
            f"({after['dimensions']})",
        }
