# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring: into new volumes beside the present ones, which stay until the new ones are proved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import (
    repository_of,
    server_versions,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import MISSING_IMAGE
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job, embedder_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import Operation
from ansible_collections.memcloud.memmachine.plugins.module_utils._reservation import reserve
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    LATEST,
    Damaged,
    Repository,
    RepositoryError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import (
    DUMP,
    checksums,
    count_differences,
    damaged,
    parse_manifest,
    refusals,
    total,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import (
    Session,
    fill_volumes,
)


def choose(job: Job, target: Mapping[str, Any]) -> tuple[Repository, str, dict[str, Any]]:
    """The repository, id and manifest of the point that is asked for, once it may be restored.

    What was chosen stays chosen for the job, also where a newer point appears meanwhile.

    :param target: the inputs of the tenant that it is restored into.
    :raises MemcloudError: naming everything that speaks against it.
    """
    return job.once("chosen", lambda: _choose(job, target))


def _choose(job: Job, target: Mapping[str, Any]) -> tuple[Repository, str, dict[str, Any]]:
    source = job.params.get("source")
    repository = repository_of(job, "source" if source else "repository")
    repository.open()
    point = repository.point(str(job.params.get("restore_point") or LATEST))["id"]
    manifest = parse_manifest(repository.manifest(point), point)
    known = job.identity
    if source:
        known = {"tenant": str(source), "uid": str(job.params["source_uid"])}
    images = job.node.facts(target, job.record, 0).images
    reasons = refusals(manifest, target, known, server_versions(job, images))
    if reasons:
        raise MemcloudError(
            f"{job.name}: restore point {point} cannot be restored: {'; '.join(reasons)}. "
            "Nothing was touched"
        )
    size = sum(int(part["bytes"]) for part in manifest["parts"].values())
    loaded = size + int(manifest["parts"][DUMP]["bytes"])  # indexes are not in a dump
    reserve(job, {job.state.data_dir: size, job.engine.volumes_directory(): loaded})
    return repository, point, manifest


def fetch(job: Job, repository: Repository, point: str, manifest: Mapping[str, Any]) -> str:
    """Read a restore point and compare every file with its manifest; where its files are."""
    directory = os.path.join(job.work, "point")
    shutil.rmtree(directory, ignore_errors=True)
    os.chmod(job.work, 0o711)
    try:
        repository.restore(point, directory)
        problems = damaged(manifest, checksums(directory))
    except Damaged as error:
        problems = [str(error)]
    except RepositoryError as error:
        raise MemcloudError(
            f"{job.name}: restore point {point} could not be read: {error}. The tenant was not "
            "touched: run this again. If it stays so, check_backups says whether the repository "
            "is whole"
        ) from error
    if problems:
        raise MemcloudError(
            f"{job.name}: restore point {point} is damaged: {'; '.join(problems[:5])}. The tenant "
            "was not touched: take an older point (list_backups shows them), and look at the "
            "repository with check_backups"
        )
    os.chmod(directory, 0o711)
    return directory


class PlanRestore(Operation):
    """Says whether the node has the server that a restore goes to, and changes nothing."""

    name = "restore_plan"
    marks = False
    looks = True

    def run(self, job: Job) -> dict[str, Any]:
        """C(missing) when the node has no image of it."""
        version = job.tenant["version"]
        if _has_server(job):
            return {"message": f"MemMachine {version} is on the node"}
        words = f"image of MemMachine {version} is not on the node yet"
        return {"missing": version, "message": words}


class Restore(Operation):
    """Brings a tenant to what a restore point holds."""

    name = "restore"
    replaces = True

    def check(self, job: Job) -> None:
        """The point exists, is of this tenant, can be read; no data is overwritten; the server
        that it is for is here, and its configuration and model provider answer."""
        choose(job, job.tenant)
        if not job.params.get("force"):
            stored = stored_memories(job)
            if stored:
                what = f"{stored} memories" if stored > 0 else "data (it does not run now)"
                raise MemcloudError(
                    f"{job.name}: has {what}, which a restore replaces: say "
                    "-e force=true if it shall, or restore into another tenant. Nothing was "
                    "touched"
                )
        if not _has_server(job):
            version = job.tenant["version"]
            raise MemcloudError(
                f"{job.name}: its node has no image of MemMachine {version}: run restore_tenant "
                f"with -e version={version}, which builds it. Nothing was touched"
            )
        images = job.node.facts(job.tenant, job.record, 0).images
        job.node.try_first({**job.tenant, "images": images}, job.secrets)

    def run(self, job: Job) -> dict[str, Any]:
        """Load it beside the present data, switch behind the held gate, prove, commit."""
        repository, point, manifest = choose(job, job.tenant)
        with job.step("fetch"):
            files = fetch(job, repository, point, manifest)
        generation = job.next_generation
        running = dict(job.tenant, state="running", wake=False)
        desired, _contents = job.desired(running, generation)
        with job.step("load"):
            counts = fill_volumes(job.engine, desired, files)
            problems = count_differences(manifest["counts"], counts)
            if problems:
                raise MemcloudError(
                    f"{job.name}: restore point {point} was loaded, but {'; '.join(problems[:5])}: "
                    "the tenant was not touched. Take an older point"
                )
        shutil.rmtree(files, ignore_errors=True)
        with job.step("switch"):
            job.hold()
            job.drain()
            job.stop("neo4j", "postgres")
            job.bring(running, generation)
            proof = job.prove()
        previous = job.generation
        job.forget_import()
        _go_on_with_way_back(job, generation)
        job.record.update(
            generation=generation,
            version=job.tenant["version"],
            images=job.images(),
            embedder=embedder_of(job.tenant),
            restored={
                "point": point,
                "taken": manifest["taken"],
                "tenant": manifest["tenant"],
                "at": now(),
            },
        )
        job.save()
        if job.tenant["state"] != "running":
            job.bring()
        job.release()
        return {
            "restore_point": {"id": point, "taken": manifest["taken"]},
            "memories": total(counts),
            "generations": [previous, generation],
            "proof": proof,
            "message": f"{total(counts)} memories of {manifest['tenant']} as of "
            f"{manifest['taken']} (restore point {point}), all counts and contents as they were",
        }


def _go_on_with_way_back(job: Job, generation: int) -> None:
    """An update of images alone goes back on the data that the tenant has, which is other data now.

    Else what the restore replaces would be kept, and a rollback would bring it back.
    """
    before = job.record.get("previous") or {}
    if before.get("generation") != job.generation:
        return
    if job.tenant["version"] == job.record.get("version"):
        job.record["previous"] = {**before, "generation": generation}
    else:
        job.record.pop("previous")  # it cannot be known to read this


def _has_server(job: Job) -> bool:
    images = job.node.facts(job.tenant, job.record, 0).images
    return job.node.image_id(images.get("memmachine", MISSING_IMAGE)) is not None


def stored_memories(job: Job) -> int:
    """How many memories a tenant has; -1 where its PostgreSQL does not run to say it."""
    if not job.engine.state(job.container("postgres")).get("Running"):
        return -1 if job.record.get("embedder") else 0
    with Session(job.engine, job.container("postgres")) as session:
        counts = session.counts()
    return total(counts) + total(counts, "semantic")
