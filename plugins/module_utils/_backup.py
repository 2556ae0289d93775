# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking restore points: both databases of a tenant at one moment."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import (
    Job,
    as_recorded,
    embedder_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    DEPARTED,
    Busy,
    Operation,
    check_embedder,
    check_version,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._reservation import (
    reserve,
    volume_bytes,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    Repository,
    newest,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import (
    DUMP,
    MANIFEST,
    SCHEMA,
    checksums,
    total,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import (
    due_in,
    moment_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import (
    Session,
    check_store,
    copy_store,
    dump_postgres,
    wait_for_postgres,
)

# What Neo4j prints when it is up, and when it begins to stop; the latter not when it was still
# starting, in which case it ends with 0 as well, and leaves the store unrecovered.
_STARTED, _STOPPING = "Started.", "Stopping..."
_LOG_LINES = 1000
# For a Neo4j that has a store to put right: to come up, and to write it all when it stops.
_START_SECONDS, _STOP_SECONDS = 180.0, 180
_SERVERS = {"postgres": "memcloud.postgres.version", "neo4j": "memcloud.neo4j.version"}


def repository_of(job: Job, which: str = "repository") -> Repository:
    """The repository that this run was given the access to."""
    return job.once(which, lambda: _repository(job, which))


def _repository(job: Job, which: str) -> Repository:
    access = job.private.get(which)
    if not access:
        raise MemcloudError(f"{job.name}: this run was not given the access to its restore points")
    scratch = os.path.join(job.work, "restic")
    os.makedirs(scratch, mode=0o700, exist_ok=True)
    return Repository(job.name, access, scratch)


def never_ran(job: Job) -> bool:
    """Whether nothing can be stored in a tenant yet: none of its servers was ever started."""
    if "embedder" in job.record:
        return False
    return not os.path.isdir(os.path.join(job.volume_path("neo4j"), "neo4j"))


def check_backup(job: Job) -> None:
    """Raise when a restore point cannot be taken: nothing there, no room, no repository."""
    for role in ("postgres", "neo4j"):
        if job.engine.inspect(job.container(role)) is None:
            raise MemcloudError(
                f"{job.name}: container {job.container(role)} is missing, so there is nothing to "
                "back up: run deploy_tenant for it"
            )
    size = sum(volume_bytes(job).values())
    needed = {job.state.data_dir: size}
    url = repository_of(job).url
    if is_local(url) and (job.record.get("restore_point") or {}).get("url") != url:
        needed[url] = size  # later points share most of their data with the first
    reserve(job, needed)
    begun_anew(job)


def begun_anew(job: Job) -> str:
    """Make sure that there is a repository; in words, when earlier points are gone from it."""
    return job.once("begun", lambda: _begun_anew(job))


def _begun_anew(job: Job) -> str:
    repository = repository_of(job)
    new = repository.ensure()
    known = job.record.get("restore_point") or {}
    if not new or known.get("url") != repository.url:
        return ""
    return f"; the earlier restore points are gone from {repository.url}, this one is the first"


def check_not_anew(job: Job) -> None:
    """Raise for a tenant that was made anew and has restore points of before.

    What it has now would be the latest one, which is what its restore goes by.
    """
    if job.record.get("restore_point") or job.record.get("restored"):
        return
    repository = repository_of(job)
    points = repository.points()
    if not points:
        return
    taken = str(newest(points)["taken"])
    # One of a killed run is younger than the tenant.
    if moment_of(taken) >= moment_of(str(job.record["created"])):
        return
    raise MemcloudError(
        f"{job.name}: was made anew on this node at {job.record['created']}, and {repository.url} "
        f"has restore points of before, the latest one of {taken[:19]}Z. None is taken by a "
        f"schedule until its memories are back: restore_tenant -e tenant={job.name}. Where what it "
        f"has now is what counts, backup_tenant -e tenant={job.name} takes the first one"
    )


def take_restore_point(job: Job, reason: str, resume: bool = True) -> dict[str, Any]:
    """Take a restore point of a tenant and store it.

    Requests wait while the app ends and Neo4j's store is copied, and no longer: everything else
    is done from PostgreSQL's snapshot and from the copy.

    :param reason: why, as it stands in the list of restore points.
    :param resume: False leaves the tenant stopped behind the held gate, for what comes next.
    :returns: id, moment, bytes, memories, held seconds.
    """
    point = os.path.join(job.work, "point")
    shutil.rmtree(point, ignore_errors=True)
    os.makedirs(point, mode=0o711)
    os.chmod(job.work, 0o711)
    moment = _Stopped(job) if _is_stopped(job) else Held(job, resume)
    manifest = _manifest(job, reason)
    snapshot, session = moment.begin(point)
    try:
        with job.step("dump"):
            dump_postgres(
                job.engine, job.container("postgres"), snapshot, os.path.join(point, DUMP)
            )
        with job.step("count"):
            manifest.update(counts=session.counts(), alembic=session.alembic())
    finally:
        session.__exit__()
        moment.end()
    with job.step("check"):
        check_store(job.engine, job.desired()[0], point, urgent=job.held)
    with job.step("store"):
        return _store(job, point, manifest)


def _store(job: Job, point: str, manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["held_seconds"] = job.held_seconds
    manifest["parts"] = checksums(point)
    with open(os.path.join(point, MANIFEST), "w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=1, sort_keys=True)
    repository = repository_of(job)
    tags = {**job.identity, "reason": manifest["reason"]}
    stored = repository.store(point, manifest["taken"], tags, urgent=job.held)
    shutil.rmtree(point, ignore_errors=True)
    taken = {
        **stored,
        "url": repository.url,
        "taken": manifest["taken"],
        "reason": manifest["reason"],
        "version": manifest["version"],
        "memories": total(manifest["counts"]),
        "held_seconds": job.held_seconds,
    }
    job.record["restore_point"] = taken
    job.record.setdefault("first_restore_point", taken["taken"])
    job.save()
    return taken


def _manifest(job: Job, reason: str) -> dict[str, Any]:
    recorded = as_recorded(job.tenant, job.record)
    return {
        "schema": SCHEMA,
        "id": secrets.token_hex(8),
        "taken": now(),
        "reason": reason,
        "platform": job.platform["name"],
        **job.identity,
        "tier": job.tenant["tier"],
        "version": recorded["version"],
        "embedder": job.record.get("embedder") or embedder_of(recorded),
        "servers": server_versions(job, job.images()),
    }


def server_versions(job: Job, images: Mapping[str, str]) -> dict[str, str]:
    """Versions of PostgreSQL and Neo4j in images, by kind."""
    versions = {}
    for kind, label in _SERVERS.items():
        image = images.get(kind, "")
        found = job.engine.client.inspect_image(image) if image else {}
        versions[kind] = str(((found.get("Config") or {}).get("Labels") or {}).get(label, ""))
    return versions


def _is_stopped(job: Job) -> bool:
    return not job.engine.state(job.container("app")).get("Running") and not job.held


class Held:
    """The moment of a tenant that runs: its clients wait at the gate."""

    def __init__(self, job: Job, resume: bool) -> None:
        self._job = job
        self._resume = resume

    def begin(self, point: str) -> tuple[str, Session]:
        """Stop the app and Neo4j, take snapshot and copy, start both and let requests pass.

        What is started is what was stopped: a changed entry is for a deployment, which checks it.
        """
        job = self._job
        with job.step("hold"):
            job.hold()
        with job.step("quiesce"):
            job.drain()
            session = Session(job.engine, job.container("postgres"))
            snapshot = session.snapshot()
            _stop_neo4j(job)
        with job.step("copy"):
            copy_store(job.volume_path("neo4j"), point)
        if self._resume:
            with job.step("start"):
                job.start("neo4j", "app")
                if job.record.get("state") == "running":
                    job.prove()
                job.release()
        return snapshot, session

    def end(self) -> None:
        """Nothing is left to be done."""


class _Stopped:
    """The moment of a tenant that is paused or suspended: nobody writes."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began: list[str] = []

    def begin(self, point: str) -> tuple[str, Session]:
        """Copy the store of the stopped Neo4j, start PostgreSQL alone."""
        job = self._job
        if not _ended_well(job):
            with job.step("quiesce"):
                _stop_neo4j(job)
        with job.step("copy"):
            copy_store(job.volume_path("neo4j"), point)
        postgres = job.container("postgres")
        if not job.engine.state(postgres).get("Running"):
            self._began.append(postgres)
            job.engine.start(postgres)
        wait_for_postgres(job.engine, postgres)
        session = Session(job.engine, postgres)
        return session.snapshot(), session

    def end(self) -> None:
        """Stop what was started for this."""
        if self._began:
            self._job.stop("postgres")


def _stop_neo4j(job: Job) -> None:
    """Stop Neo4j with a store that can be copied; one that had to be killed puts it right first."""
    job.stop("neo4j")
    if _ended_well(job):
        return
    name = job.container("neo4j")
    job.engine.start(name)
    deadline = time.monotonic() + _START_SECONDS
    while _STARTED not in _said(job, job.engine.state(name)) and time.monotonic() < deadline:
        time.sleep(0.5)
    job.engine.stop(name, _STOP_SECONDS)
    if not _ended_well(job):
        raise MemcloudError(
            f"{job.name}: Neo4j does not stop in order (container {name}, exit code "
            f"{job.engine.state(name).get('ExitCode')}), so its store cannot be copied; its last "
            f"lines: {job.engine.logs(name, 8).strip()[-1200:]}"
        )


def _ended_well(job: Job) -> bool:
    """Whether Neo4j stands still with a store that needs no recovery."""
    state = job.engine.state(job.container("neo4j"))
    ended = not state.get("Running") and state.get("ExitCode") == 0
    return ended and _STOPPING in _said(job, state)


def _said(job: Job, state: Mapping[str, Any]) -> str:
    """What Neo4j has printed since it was started last."""
    since = str(state.get("StartedAt") or "")
    return job.engine.logs(job.container("neo4j"), _LOG_LINES, since)


def _young_enough(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Why no restore point is due yet; empty when one is."""
    newest: Mapping[str, Any] = record.get("restore_point") or {}
    left = due_in(newest.get("taken"), int(tenant["backup"]["every_hours"]), now())
    if left.total_seconds() <= 0:
        return ""
    hours = left.total_seconds() / 3600
    return f"restore point {newest['id']} is young enough, the next is due in {hours:.1f} h"


class Backup(Operation):
    """Takes a restore point."""

    name = "backup"
    of_every_tenant = True
    restarts = True

    def settled(self, job: Job) -> str:
        """There is nothing to back up; with C(due), or the newest point is young enough."""
        if never_ran(job):
            return "never ran, there is nothing to back up"
        return _young_enough(job.tenant, job.record) if job.params.get("due") else ""

    def busy(self, busy: Busy) -> dict[str, Any] | None:
        """A schedule that would not have taken one does not fail over who works on the tenant."""
        young = _young_enough(busy.tenant, busy.record) if busy.params.get("due") else ""
        return {"message": young} if young else None

    def check(self, job: Job) -> None:
        """No room, no containers, no repository: said before anything is touched."""
        check_backup(job)
        if job.params.get("due"):
            check_not_anew(job)

    def run(self, job: Job) -> dict[str, Any]:
        """Take it, of the tenant in the state that it is in."""
        job.stay(job.record.get("state"))
        taken = take_restore_point(job, str(job.params.get("reason") or "manual"))
        return {
            "restore_point": taken,
            "message": f"restore point {taken['id']} of {taken['memories']} memories, "
            f"{taken['bytes'] // 1024} KiB, {taken['added_bytes'] // 1024} KiB of them new"
            + begun_anew(job),
        }


class PlanDepart(Operation):
    """Says whether a tenant's memories can go on elsewhere as its entry has it by now."""

    name = "depart_plan"
    marks = False
    looks = True
    moves_on = True

    def run(self, job: Job) -> dict[str, Any]:
        """Raise while the tenant still answers: nothing could be restored over there."""
        check_embedder(job.tenant, job.record)
        check_version(job.tenant, job.record)
        return {"message": "can be moved"}


class Depart(Operation):
    """Takes a last restore point and leaves the tenant stopped: it goes on elsewhere from there."""

    name = "depart"
    moves_on = True

    def check(self, job: Job) -> None:
        """As for a restore point; a tenant that never ran needs none."""
        if not never_ran(job):
            check_backup(job)

    def run(self, job: Job) -> dict[str, Any]:
        """Nothing is written between this restore point and the tenant's next life."""
        taken = None if never_ran(job) else take_restore_point(job, "move", resume=False)
        # Told to come again, never woken here; resume_tenant brings it back if it has to.
        stopped = dict(job.tenant, state="suspended")
        job.bring(as_recorded(stopped, job.record))
        job.tenant = stopped  # not before: where that fails, it goes on here
        job.record[DEPARTED] = now()
        if taken is None:
            return {"message": "never ran, so there are no memories to take along"}
        return {
            "restore_point": taken,
            "message": f"stopped; restore point {taken['id']} of {taken['memories']} memories"
            + begun_anew(job),
        }
