# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on tenants: what they have in common (the list of them is in ``_operations.py``).

An operation works on one tenant under its lock. What it leaves when it is killed is taken away by
whatever runs next (see :meth:`Job.clean`), so it keeps to what that knows: the job's work
directory, containers and networks with the tenant's labels, volumes of the next generation.
"""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import check_gate
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
    told,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import (
    Job,
    as_recorded,
    check_provider_stays,
    embedder_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import (
    LockedError,
    locked,
    now,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import measure_at_last
from ansible_collections.memcloud.memmachine.plugins.module_utils._stated import accept

# In the record: since when a tenant is stopped here because it goes on elsewhere. With the state
# deleted it was taken off, too.
DEPARTED = "departed"
# In the record: what the memories are of, which the entry names too.
_NAMED = ("version", "embedder")
_STOP_ORDER = ("app", "neo4j", "postgres")
DONE = "was done by the run that was killed"


@dataclass(frozen=True)
class Busy:
    """A tenant that another run works on.

    :param record: as that run has left it so far.
    :param params: what the operation is told that came too late.
    """

    error: LockedError
    tenant: Mapping[str, Any]
    record: Mapping[str, Any]
    params: Mapping[str, Any]


class Operation(abc.ABC):
    """One kind of work on a tenant."""

    name: str
    """As it stands in the record, the journal and the playbooks."""
    marks = True
    """Whether it changes something that a killed run would leave half done."""

    looks = False
    """Whether it only looks: what a killed run left is told, and finished by one that works."""

    of_every_tenant = False
    """Whether schedules name every tenant: one that is deleted is passed over, not refused."""

    restarts = False
    """Whether it starts again just the servers that it stopped, as they were: changes of the entry
    wait for a deployment, also when it fails or is killed."""

    replaces = False
    """Whether it puts other data in the place of what is there, which need not be whole for it."""

    moves_on = False
    """Whether it works on a tenant that was stopped here to be moved."""

    touches = True
    """Whether it stops or changes the tenant itself: what it leaves when it is killed is brought
    back, else only taken away."""

    lock_wait = 120.0
    """Seconds to wait for whoever works on the tenant already: the module that a killed controller
    left behind goes on to its end."""

    def settled(self, job: Job) -> str:
        """Why nothing is to be done now; empty when there is something."""
        return ""

    def busy(self, busy: Busy) -> dict[str, Any] | None:
        """What to report of a tenant that another run works on; None makes it a failure."""
        return None

    def check(self, job: Job) -> None:  # noqa: B027 - many operations have nothing to refuse
        """Raise, with what to do, before anything is touched."""

    @abc.abstractmethod
    def run(self, job: Job) -> dict[str, Any]:
        """Do it. Returns plain data, C(changed) among it, without a secret."""


def operate(
    node: Node,
    operation: Operation,
    tenants: Iterable[Mapping[str, Any]],
    secrets: Mapping[str, Mapping[str, str]],
    params: Mapping[str, Mapping[str, Any]],
    private: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Work on tenants side by side; one's failure does not stop the others.

    :param params: by tenant, what the operation is told.
    :param private: by tenant, the part of it that must not be shown.
    """

    def one(tenant: Mapping[str, Any]) -> dict[str, Any]:
        name = tenant["tenant"]
        answer: dict[str, Any] = {"tenant": name, "operation": operation.name, "changed": False}
        worked = operation.marks
        record: Mapping[str, Any] = {}
        began = time.monotonic()
        try:
            own = (secrets[name], params.get(name), private.get(name))
            lock = locked(node.state.locks, f"tenant-{name}", node.owner, operation.lock_wait)
            with lock, Job(node, tenant, *own) as job:
                record = job.record
                answer.update(_run(operation, job))
                # Schedules find nothing to do most of the time: that is no event.
                worked = worked and not answer.pop("idle", False)
        except Exception as error:
            busy = None
            if isinstance(error, LockedError):
                with contextlib.suppress(MemcloudError):
                    found = node.state.tenant(name)
                    busy = operation.busy(Busy(error, tenant, found, params.get(name) or {}))
            if busy is not None:
                return {**answer, **busy}
            answer["error"] = told(name, error)
            # What its entry has to name again, whatever a killed run wrote there.
            answer["recorded"] = {key: record[key] for key in _NAMED if record.get(key)}
        if worked or answer["changed"] or answer.get("error"):
            words = [str(answer.get("message") or "")]
            hidden = {**secrets[name], **_texts(private.get(name) or {})}
            spent = time.monotonic() - began
            failure = str(answer.get("error") or "")
            node.journal.note(tenant, hidden, operation.name, words, failure, spent)
        return answer

    with ThreadPoolExecutor(max(1, int(node.platform["parallelism"]))) as pool:
        return list(pool.map(one, tenants))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The texts among values, however deep."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, Mapping):
            found.update({f"{name}.{inner}": text for inner, text in _texts(value).items()})
    return found


def _run(operation: Operation, job: Job) -> dict[str, Any]:
    if job.tenant["state"] == "deleted":
        if operation.of_every_tenant:
            message = "is deleted; its restore points stay as they are"
            return {"changed": False, "message": message, "idle": True}
        raise MemcloudError(
            f"{job.name}: is deleted (tenant_state in its entry), so there are no servers to work "
            f"with: bring it back with create_tenant -e tenant={job.name}, then run this again. "
            "Nothing was touched"
        )
    if not job.record.get("uid"):
        raise MemcloudError(
            f"{job.name}: its node has no record of it: run deploy_tenant for it first. Nothing "
            "was touched"
        )
    check_identity(job.tenant, job.record)
    key = job.tenant["root_key"]
    job.state.check_root_key(job.name, key["version"], key["check"])
    accept(job.stated, job.node.run, job.node.began, job.record)
    if not operation.moves_on or job.record.get("state") == "deleted":
        check_not_departed(job.tenant, job.record)
    killed = bool(job.record.get("operation")) and not operation.looks
    brings = operation.marks and operation.touches and not operation.restarts
    if brings or (killed and "running" not in job.record["operation"]):
        check_gate(job.platform["gate_port"], job.name)
    left = unfinished(job.record).replace("has", "was brought back from", 1) if killed else ""
    done = killed and is_done(job.record, operation.name)
    if killed or operation.marks:
        # It is proved by its certificate: schedules go on where nobody deploys for a year.
        job.node.certificate(job.tenant)
    if killed:
        try:
            finish_killed(job)
        except (MemcloudError, OSError):
            if not operation.replaces:
                raise
            _give_up(job)
    try:
        settled = DONE if done else operation.settled(job)
        if not settled:
            if operation.marks:
                job.volumes().check_used()
            operation.check(job)
    except BaseException:
        job.clean()
        raise
    if settled:
        job.remove_work()
        return _told({"changed": False, "message": settled, "idle": not killed}, left)
    if not operation.marks:
        result = {"changed": False, **operation.run(job), "seconds": job.seconds}
        return _told(result, left)
    before = job.record.get("state")
    job.record["operation"] = {
        "name": operation.name,
        "started": now(),
        "owner": job.node.owner,
        "state": before,
        "touches": operation.touches,
    }
    if operation.restarts:
        job.record["operation"]["running"] = job.running()
    job.save()
    try:
        result = operation.run(job)
    except BaseException as error:
        try:
            _recall(job)
            finish(job)
        except (MemcloudError, OSError) as second:
            raise MemcloudError(
                f"{error}. Bringing the tenant back failed too ({second}). {_ways_out(job)}"
            ) from error
        raise
    if job.held:
        job.release()
    job.clean()
    if job.record["state"] in ("updating", "deploying"):
        job.record["state"] = before
    job.record.pop("operation", None)
    job.save()
    _changed, unmeasured = measure_at_last(job)
    if unmeasured:
        result["message"] = f"{result.get('message') or operation.name}; {unmeasured}"
    result = {
        "changed": True,
        **result,
        "seconds": job.seconds,
        "held_seconds": job.held_seconds,
    }
    return _told(result, left)


def _told(result: dict[str, Any], left: str) -> dict[str, Any]:
    """What is reported: bringing a tenant back from what a killed run left is a change, too."""
    if not left or result["changed"]:
        return result
    words = "; ".join(filter(None, (left, result.get("message"))))
    return {**result, "changed": True, "message": words}


def _recall(job: Job) -> None:
    """Take the record as it stands on the disk: what could not be written there does not count.

    Going by it, the next run would remove what this one believed to be the tenant's data.
    """
    recorded = job.state.tenant(job.name)
    job.record.clear()
    job.record.update(recorded)


def unfinished(record: Mapping[str, Any]) -> str:
    """What a killed run left undone, in words; empty when there is nothing."""
    left = record.get("operation")
    return f"has an unfinished {left['name']} of {left['owner']}" if left else ""


def is_done(record: Mapping[str, Any], name: str) -> bool:
    """Whether a killed run of this operation had done all but its last words."""
    left = record.get("operation") or {}
    return bool(left.get("name") == name and left.get("done"))


def finish_killed(job: Job) -> None:
    """Bring a tenant back whose last operation ended without a word.

    The engine may still be stopping what it was told to stop, and a container that is being stopped
    looks like one that runs: it is let stop first.
    """
    left = job.record["operation"]
    if left.get("touches", True):
        if "running" in (job.tenant["state"], left.get("state")):
            job.hold()
        job.stop(*_STOP_ORDER)
    try:
        _finish_or_repair(job)
    except (MemcloudError, OSError) as error:
        words = f"It {unfinished(job.record)} and could not be brought back from it"
        raise MemcloudError(f"{told(job.name, error)}. {words}. {_ways_out(job)}") from error


def _finish_or_repair(job: Job) -> None:
    try:
        finish(job)
    except (MemcloudError, OSError):
        # Servers that do not go on as they were are made as they should be.
        if job.record["operation"].pop("running", None) is None:
            raise
        finish(job)


def _ways_out(job: Job) -> str:
    return (
        "Run deploy_tenant for it; where its data is damaged or gone, restore_tenant "
        f"-e tenant={job.name} -e force=true brings back a restore point"
    )


def _give_up(job: Job) -> None:
    """Leave a tenant that could not be brought back to what replaces its data.

    It stays held at the gate, and its record unfinished, until that has begun.
    """
    job.give_way()
    job.clean()
    left = job.record.pop("operation")
    job.record["state"] = left.get("state") or job.record.get("state")


def check_identity(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop what would stop, change or take off another tenant of that name."""
    if record.get("uid") in (None, tenant["uid"]):
        return
    written = ", and tenant_state, which is deleted by now," if tenant["state"] == "deleted" else ""
    raise VariableError(
        tenant["tenant"],
        "tenant_uid",
        f"is {tenant['uid']}, but this node keeps data of another tenant of that name (uid "
        f"{record['uid']}). Nothing of it was touched: where it is this one, set "
        f"tenant_uid{written} back in the entry; else give this one another name",
    )


def check_not_departed(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop what would start a tenant again that goes on elsewhere from its last restore point."""
    if not record.get(DEPARTED) or tenant["state"] == "deleted":
        return
    name = tenant["tenant"]
    if record.get("state") != "deleted":
        raise MemcloudError(
            f"{name}: was stopped on this node at {record[DEPARTED]} to be moved; what it stored "
            f"here from now on would be lost. Finish with move_tenant -e tenant={name}, or have "
            f"it stay here with resume_tenant -e tenant={name}. Nothing was touched"
        )
    raise MemcloudError(
        f"{name}: this node keeps what it had here when it went to another one at "
        f"{record[DEPARTED]}, with which it must not come back: have that purged first with "
        f"move_tenant -e tenant={name} -e node=<the node where it is now> -e confirm=true. Where "
        "that node is lost, set tenant_node to this one; resume_tenant has it go on with what is "
        "here. Nothing was touched"
    )


def check_embedder(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop another embedding model from being put on vectors that were stored before."""
    known, wanted = record.get("embedder"), embedder_of(tenant)
    if known is None or known == wanted:
        return
    check_provider_stays(tenant, record)
    raise VariableError(
        tenant["tenant"],
        "tenant_embedder_model",
        f"the tenant's memories were stored with {known['model']} ({known['dimensions']} "
        f"dimensions) and cannot be found with {wanted['model']} ({wanted['dimensions']}): move "
        f"them with reembed_tenant -e tenant={tenant['tenant']} "
        f"-e embedder_model={wanted['model']} -e embedder_dimensions={wanted['dimensions']}, or "
        "set tenant_embedder_model and tenant_embedder_dimensions back to the stored values. "
        "Nothing was touched",
    )


def check_version(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop another server version from touching memories that were stored before.

    A newer server migrates a part of the database and may not read the rest (0.4.0 answers 500 to
    every write on a database of 0.3.9); an older one does not start on a migrated database.
    """
    stored = record.get("version")
    if "embedder" not in record or stored in (None, tenant["version"]):
        return
    raise VariableError(
        tenant["tenant"],
        "tenant_version",
        f"is {tenant['version']}, but the tenant's memories were stored by MemMachine {stored}: "
        f"run update_tenant -e tenant={tenant['tenant']}, which brings them along and goes back "
        f"by itself when it fails, or set tenant_version to {stored}. Nothing was touched",
    )


def finish(job: Job) -> None:
    """Bring a tenant back to what its record says after an operation that did not end.

    The record names the generation (and version) that was last proved; whatever the operation
    made beside it goes away.
    """
    left = job.record.get("operation") or {}
    job.clean()
    if "running" in left:
        _start_again(job, left)
    elif left.get("touches", True):
        recorded = as_recorded(job.tenant, job.record)
        job.bring(recorded)
        if recorded["state"] == "running":
            job.prove()
        job.release()
        job.record["state"] = left.get("state") or recorded["state"]
    job.record.pop("operation", None)
    try:
        job.save()
    except OSError:
        job.record["operation"] = left  # as it stands on the disk, which may be full
        raise


def _start_again(job: Job, left: Mapping[str, Any]) -> None:
    """Have those servers run that ran before, as they were."""
    job.volumes().check_there()
    stated = job.tenant
    job.stay(left.get("state"))
    try:
        job.stop(*(role for role in _STOP_ORDER if role not in left["running"]))
        job.start(*left["running"])
        if left.get("state") == "running" and "app" in left["running"]:
            job.prove()
        job.release()
    finally:
        job.tenant = stated
