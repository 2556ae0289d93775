# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another server version or other database images under a tenant's memories, and the way back.

Requests wait at the gate from before the first change until the tenant has proved itself. What the
tenant was before is left alone until then, and kept for a while afterwards.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import server_versions
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    IMAGE_OF,
    MISSING_IMAGE,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import ROLES, Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT, now
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    DONE,
    Operation,
    check_embedder,
    is_done,
    unfinished,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import cluster_major
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_schema import (
    describe_server,
    read_database,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_data import (
    check_room,
    copy_data,
    database_up,
    dump_data,
    reload_data,
    restore_dump,
    sql,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_plan import (
    COPYING,
    NONE,
    REFUSE,
    RELOAD,
    UpdatePlan,
    last_time,
    plan_update,
    slower,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._volumes import Volumes

# Seconds in which the tenant has to prove itself after the servers have been started.
PATIENCE = 90.0
# Memory round trips before and after, where the update is to find out whether they became slower.
_ROUNDS = 5
# A server that has just started is slow at first: how often its round trips are measured again, and
# after how many seconds.
_SLOW_AT_FIRST = 3
_WARMING_SECONDS = 5.0


class PlanUpdate(Operation):
    """Says what an update would do, and changes nothing."""

    name = "update_plan"
    marks = False
    looks = True

    def run(self, job: Job) -> dict[str, Any]:
        """The plan with words for a person; C(missing) when the node has no image yet.

        A tenant that a killed run left half done can be planned for when it has been finished.
        """
        told = {"version": job.tenant["version"], "from": job.record.get("version")}
        _must_be_settled(job)
        words = _finished_first(job)
        if _has_no_image(job):
            words.append(f"image of MemMachine {job.tenant['version']} is not on the node yet")
            told["missing"] = job.tenant["version"]
        if words:
            return {**told, "message": "; ".join(words)}
        plan = plan_of(job)
        message = ": ".join((plan.kind, plan.reason))
        known = last_time(job.record.get("update_seconds") or {}, plan.kind)
        return {
            **told,
            "plan": plan.as_dict(),
            "last_seconds": (job.record.get("update_seconds") or {}).get(plan.kind),
            "message": f"{message}; {known}" if known else message,
        }


class Update(Operation):
    """Brings a tenant to the version of its inputs and to the node's images."""

    name = "update"

    def check(self, job: Job) -> None:
        """Raise while the tenant is as it was."""
        if _has_no_image(job):
            raise MemcloudError(
                f"{job.name}: its node has no image of MemMachine {job.tenant['version']}: "
                "run setup_node, or update_tenant, which builds it"
            )
        _must_be_settled(job)
        plan = plan_of(job)
        if plan.kind == REFUSE:
            raise VariableError(job.name, "tenant_version", f"{plan.reason}. Nothing was touched")
        job.node.try_first(_trial(job), job.secrets)
        if plan.kind in COPYING:
            check_room(job)

    def run(self, job: Job) -> dict[str, Any]:
        """Exchange images, migrate a copy, or load memories anew; prove; commit; release."""
        plan = plan_of(job)
        if plan.kind == NONE:
            return {"changed": False, "plan": plan.as_dict(), "message": plan.reason}
        times = float(job.params.get("slower") or 0)
        rounds = _ROUNDS if times else 0
        before = _round_trips(job, rounds)
        began = time.monotonic()
        was = _remember(job)
        try:
            _change(job, plan)
            with job.step("prove"):
                job.prove(float(job.params.get("patience") or PATIENCE))
        except (MemcloudError, OSError) as error:
            raise _failed(job, was["version"], error) from error
        generation = job.next_generation if plan.kind in COPYING else job.generation
        _commit(job, plan.kind, was, time.monotonic() - began, generation)
        job.release()
        after = _round_trips_at_last(job, before, rounds, times)
        _sleep_again(job)
        return {
            "plan": plan.as_dict(),
            "from": was["version"],
            "version": job.tenant["version"],
            "rounds_before": before,
            "rounds_after": after,
            "slower": slower(before, after, times),
            "message": f"{plan.kind}: {was['version']} -> {job.tenant['version']}",
        }


class Rollback(Operation):
    """Goes back to what a tenant was before its last update."""

    name = "rollback"

    def check(self, job: Job) -> None:
        """Raise while the tenant is as it is, with what going back would cost."""
        _must_be_settled(job)
        previous = previous_of(job)
        if job.tenant["version"] != previous["version"]:
            raise VariableError(
                job.name,
                "tenant_version",
                f"is {job.tenant['version']}, but before its last update the tenant was on "
                f"{previous['version']}: run rollback_tenant, which writes it",
            )
        before = {**job.record, "generation": previous["generation"]}
        Volumes(job.tenant, job.platform, before, job.found()).check_there()
        cost = cost_of(job, previous)
        if cost and not job.params.get("force"):
            raise MemcloudError(f"{job.name}: {cost}. Nothing was touched: add -e force=true")

    def run(self, job: Job) -> dict[str, Any]:
        """Bring back version, images and data of before; what was there now is kept instead."""
        previous = previous_of(job)
        cost = cost_of(job, previous)
        began = time.monotonic()
        was = _remember(job)
        try:
            job.hold()
            with job.step("swap"):
                job.drain()
                generation = int(previous["generation"])
                if generation != job.generation:
                    job.record["passwords"] = previous["passwords"]  # they may have changed since
                job.bring(_trial(job, previous["images"]), generation)
            with job.step("prove"):
                job.prove(float(job.params.get("patience") or PATIENCE))
        except (MemcloudError, OSError) as error:
            raise _failed(job, was["version"], error) from error
        if generation != was["generation"]:
            job.forget_import()
        # Done again, it would go forward.
        job.record["operation"]["done"] = True
        _commit(job, "rollback", was, time.monotonic() - began, generation)
        job.release()
        _sleep_again(job)
        return {
            "from": was["version"],
            "version": previous["version"],
            "message": f"{was['version']} -> {previous['version']}" + (f"; {cost}" if cost else ""),
        }


class PlanRollback(Operation):
    """Says to which version a rollback would go, and changes nothing."""

    name = "rollback_plan"
    marks = False
    looks = True

    def run(self, job: Job) -> dict[str, Any]:
        """The version, and what it costs."""
        if is_done(job.record, Rollback.name):
            return {"version": job.record["version"], "message": DONE}
        previous = previous_of(job)
        check_embedder(job.tenant, job.record)
        cost = cost_of(job, previous)
        if cost and not job.params.get("force"):
            raise MemcloudError(f"{job.name}: {cost}. Nothing was touched: add -e force=true")
        words = [f"back to MemMachine {previous['version']} of {previous['until']}"]
        words += [cost] * bool(cost) + _finished_first(job)
        return {"version": previous["version"], "message": "; ".join(words)}


def plan_of(job: Job) -> UpdatePlan:
    """What brings a tenant to the version of its inputs and to the node's images."""
    version = job.tenant["version"]
    images = job.node.images_of(version)
    server = describe_server(
        job.engine.client, job.state.path("checked"), images["memmachine"], version
    )
    wanted = {role: job.engine.image_id(images[IMAGE_OF[role]]) for role in ROLES}
    present = job.images()
    drifted = tuple(role for role in ROLES if wanted[role] != present.get(IMAGE_OF[role]))
    here = job.node.postgres_major()
    majors = (cluster_major(job.volume_path("postgres")) or here, here)
    before, after = (server_versions(job, found)["neo4j"] for found in (present, images))
    with database_up(job):
        database = read_database(lambda query: sql(job, query))
    return plan_update(
        job.record.get("version") or version, database, server, drifted, majors, (before, after)
    )


def previous_of(job: Job) -> dict[str, Any]:
    """What the tenant was before its last update.

    :raises MemcloudError: when nothing was kept.
    """
    previous = job.record.get("previous")
    if not previous:
        raise MemcloudError(
            f"{job.name}: nothing is kept of before an update: an update keeps it for "
            "platform_update_keep hours. restore_tenant goes back to a restore point"
        )
    return dict(previous)


def cost_of(job: Job, previous: dict[str, Any]) -> str:
    """What going back loses, in words; empty where both versions use the same data."""
    if previous["generation"] == job.generation:
        return ""
    since = datetime.datetime.strptime(previous["until"], MOMENT)
    spent = datetime.datetime.strptime(now(), MOMENT) - since
    minutes = max(1, round(spent.total_seconds() / 60))
    return (
        f"going back to MemMachine {previous['version']} leaves behind what was stored in the "
        f"{minutes} minutes since {previous['until']}"
    )


def _must_be_settled(job: Job) -> None:
    """An update begins with a tenant that was proved before; one that sleeps is woken for it.

    It changes servers under the stored vectors, never the model that they are of.
    """
    if job.tenant["state"] == "deleted" or "embedder" not in job.record:
        raise VariableError(
            job.name,
            "tenant_state",
            "there is nothing to update: the tenant "
            + ("is deleted" if job.tenant["state"] == "deleted" else "never ran, deploy it"),
        )
    check_embedder(job.tenant, job.record)


def _finished_first(job: Job) -> list[str]:
    words = unfinished(job.record)
    return [f"{words}, which the next run finishes"] if words else []


def _has_no_image(job: Job) -> bool:
    image = job.node.images_of(job.tenant["version"]).get("memmachine", MISSING_IMAGE)
    return job.engine.image_id(image) is None


def _trial(job: Job, images: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The tenant's inputs with the images that are tried, the node's when none are given."""
    images = images or job.node.images_of(job.tenant["version"])
    return {**job.tenant, "state": "running", "wake": False, "images": images}


def _remember(job: Job) -> dict[str, Any]:
    """What the tenant is now; a run that is killed finds the images in the record."""
    images = job.record["images"] = job.images()
    job.save()
    version = job.record.get("version") or job.tenant["version"]
    return {
        "version": version,
        "generation": job.generation,
        "images": images,
        "passwords": job.record.get("passwords"),
    }


def _change(job: Job, plan: UpdatePlan) -> None:
    """Everything between the hold and the proof."""
    job.hold()
    if plan.kind not in COPYING:
        with job.step("swap"):
            job.drain()
            job.bring(_trial(job))
        return
    trial = _trial(job)
    if plan.kind == RELOAD:
        reload_data(job, trial)
        return
    with job.step("stop"):
        job.drain()
    if plan.dump:
        dump_data(job)
    copy_data(job, trial, ("neo4j",) if plan.dump else ("postgres", "neo4j"))
    if plan.dump:
        restore_dump(job, trial)
    with job.step("start"):
        job.bring(trial, job.next_generation)


def _commit(job: Job, kind: str, was: dict[str, Any], seconds: float, generation: int) -> None:
    """From here on the tenant is what was proved; what it was is kept for the way back."""
    version, keep = job.tenant["version"], int(job.platform["update_keep"])
    moment = datetime.datetime.strptime(now(), MOMENT)
    job.record.update(
        version=version,
        generation=generation,
        images=job.images(),
        previous={
            **was,
            "until": moment.strftime(MOMENT),
            "keep_until": (moment + datetime.timedelta(hours=keep)).strftime(MOMENT),
        },
        update_seconds={**(job.record.get("update_seconds") or {}), kind: round(seconds, 1)},
    )
    job.save()


def _sleep_again(job: Job) -> None:
    """Have a tenant that was woken for the update go on sleeping."""
    if any(not container.running for container in job.desired()[0].containers):
        with job.step("stop"):
            job.bring()


def _round_trips(job: Job, count: int) -> list[float]:
    """Seconds of some memory round trips of the tenant, while it serves."""
    if job.record.get("state") not in ("running", "updating") or not count:
        return []
    with job.step("rounds"):
        return [job.probe().round_trip().deleted for _number in range(count)]


def _round_trips_at_last(job: Job, before: list[float], count: int, times: float) -> list[float]:
    """Round trips after the update, once the new server is warm.

    The update is done by then: where they cannot be taken (the clients that waited use up the
    tenant's rate), nothing is compared.
    """
    after: list[float] = []
    with contextlib.suppress(MemcloudError, OSError):
        after = _round_trips(job, count)
        for _again in range(_SLOW_AT_FIRST):
            if not slower(before, after, times):
                break
            time.sleep(_WARMING_SECONDS)
            after = _round_trips(job, count)
    return after


def _failed(job: Job, version: str, error: Exception) -> MemcloudError:
    words = str(error)
    log = job.engine.logs(job.container("app"), 12).strip()[-1500:]
    if log and "last lines" not in words:
        words += f"; the last lines of {job.container('app')}: {log}"
    return MemcloudError(
        f"{job.name}: the update to MemMachine {job.tenant['version']} failed and was undone, the "
        f"tenant is on {version} with its data as before. What failed: {words}"
    )
