"""What all operations on tenants have in common, on an engine in memory."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
import threading
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _job
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Operation,
    operate,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import SCRATCH

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy

node = test_deploy.node  # a fixture: the engine, with the edge's answers left out


class Work(Operation):
    """Stops the app behind a held gate, leaves files, and fails if it is told to."""

    name = "work"

    def __init__(self, failure=None):
        self.failure = failure
        self.seen = {}

    def run(self, job):
        with job.step("hold"):
            job.hold()
        self.seen["gate"] = json.loads(pathlib.Path(job.paths.gate).read_text())
        self.seen["record"] = json.loads(json.dumps(job.record))
        job.drain()
        pathlib.Path(job.work, "dump").touch()
        if self.failure:
            raise self.failure
        job.bring()
        job.release()
        return {"message": "done"}


def work_on(node, operation, **variables):
    given = {"platform_tls_mode": "off", "tenant_uid": "0" * 8 + "abcdef01", **variables}
    platform, tenant, secrets = tenant_data.make(node.data_dir, "acme", **given)
    return operate(Node(platform, "ben@desk"), operation, [tenant], {"acme": secrets}, {}, {})[0]


def test_an_operation_holds_requests_and_leaves_the_tenant_as_it_was(node):
    node.converge("acme")
    work = Work()
    answer = work_on(node, work)
    assert answer["changed"] and answer["message"] == "done" and "error" not in answer
    assert "hold" in answer["seconds"] and answer["held_seconds"] > 0
    assert work.seen["gate"]["state"] == "updating" and work.seen["gate"]["hold_seconds"] == 20
    assert work.seen["record"]["operation"]["owner"] == "ben@desk"
    assert "operation" not in node.record("acme")
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert not node.plan("acme")["acme"].drift


@pytest.mark.parametrize("error", [MemcloudError("no room"), OSError(28, "No space left")])
def test_a_failure_brings_the_tenant_back(node, error):
    node.converge("acme")
    answer = work_on(node, Work(error))
    assert answer["error"].startswith("acme: ") and str(error) in answer["error"]
    assert not answer["changed"]
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert node.record("acme")["state"] == "running"
    assert not node.plan("acme")["acme"].drift


@pytest.mark.parametrize("failure", [None, MemcloudError("no room")])
def test_tenants_are_held_one_after_the_other_as_processors_allow(node, monkeypatch, failure):
    # Each start keeps two processors busy: all at once, the clients of all would wait for all.
    monkeypatch.setattr(_job, "_HOLDS", threading.BoundedSemaphore(1))
    names = ("acme", "globex", "initech")
    node.converge(*names)
    held, most = set(), []

    def cannot(*_arguments):
        raise MemcloudError("no engine")

    class Counted(Work):
        def run(self, job):
            job.hold()
            held.add(job.name)
            most.append(len(held))
            time.sleep(0.05)
            if self.failure and job.name == "acme":
                job.bring = cannot  # not even back; the others have their turn all the same
            held.remove(job.name)
            return super().run(job)

    made, tenants, secrets = node.made(names, {"platform_parallelism": 3})
    answers = operate(made, Counted(failure), tenants, secrets, {}, {})
    assert most == [1, 1, 1]
    assert [bool(answer.get("error")) for answer in answers] == [bool(failure)] * 3


def test_what_a_killed_operation_left_is_found_and_finished_by_the_next_run(node):
    node.converge("acme")
    with pytest.raises(KeyboardInterrupt):
        # As after SIGKILL: not even the way back was gone.
        class Killed(Work):
            def run(self, job):
                job.hold()
                job.drain()
                (node.data_dir / "tenants/acme/work").mkdir()
                job.record["was"] = "killed"
                job.save()
                job.bring = None
                raise KeyboardInterrupt

        try:
            work_on(node, Killed())
        except TypeError as error:
            raise KeyboardInterrupt from error
    assert node.record("acme")["operation"]["name"] == "work"
    plan = node.plan("acme")["acme"]
    assert any("unfinished work of ben@desk" in drift.words() for drift in plan.drift)
    result = node.converge("acme")["acme"]
    assert result.error == "" and result.proof
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert not node.plan("acme")["acme"].drift


def test_what_a_killed_restore_left_running_goes_before_the_volumes_that_it_holds(node):
    node.converge("acme")

    class Killed(Work):
        def run(self, job):
            desired, _contents = job.desired(generation=job.next_generation)
            for volume in desired.volumes:
                job.engine.create_volume(desired, volume)
            server = next(c for c in desired.containers if c.role == "neo4j")
            scratch = dataclasses.replace(server, name=f"{server.name}-scratch")
            job.engine.create_container(dataclasses.replace(desired, kind=SCRATCH), scratch)
            job.engine.start(scratch.name)
            job.clean = None  # as after SIGKILL: nothing is taken away
            raise KeyboardInterrupt

    with pytest.raises(TypeError):
        work_on(node, Killed())
    assert node.record("acme")["operation"]["name"] == "work"
    assert len(node.engine.found_volumes) == 4
    assert "error" not in work_on(node, Work())
    assert len(node.engine.found_volumes) == 2
    assert sorted(node.engine.found_containers) == sorted(
        f"mc-acme-{role}" for role in ("app", "neo4j", "postgres")
    )


def test_nothing_works_on_a_deleted_tenant_and_schedules_pass_it_over(node):
    node.converge("acme")
    node.converge("acme", tenant_state="deleted")
    answer = work_on(node, Work(), tenant_state="deleted")
    assert "acme: is deleted" in answer["error"] and "create_tenant" in answer["error"]

    class Schedule(Work):
        of_every_tenant = True

    answer = work_on(node, Schedule(), tenant_state="deleted")
    assert "error" not in answer and "is deleted" in answer["message"]


def test_volumes_of_an_abandoned_generation_go_and_those_that_are_kept_stay(node):
    node.converge("acme")

    class NextGeneration(Work):
        def run(self, job):
            job.record["generation"] = 2
            job.record["previous"] = {"generation": 1}
            job.bring()
            return {}

    assert "error" not in work_on(node, NextGeneration())
    assert len(node.engine.found_volumes) == 4
    assert not node.plan("acme")["acme"].drift

    class Forget(Work):
        def run(self, job):
            del job.record["previous"]
            return {}

    assert "error" not in work_on(node, Forget())
    assert len(node.engine.found_volumes) == 2
    assert all(name.endswith("-g2") for name in node.engine.found_volumes)
    assert not node.plan("acme")["acme"].drift
