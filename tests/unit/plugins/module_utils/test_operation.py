"""What all operations on tenants have in common, on an engine in memory."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import threading
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _edge_api,
    _job,
    _quota,
    _stated,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
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


def journal_of(node):
    """What stands in the node's journal."""
    return Journal(NodeState(str(node.data_dir)), {}).entries()


def work_on(node, operation, age=0, **variables):
    given = {"platform_tls_mode": "off", "tenant_uid": "0" * 8 + "abcdef01", **variables}
    platform, tenant, secrets = tenant_data.make(node.data_dir, "acme", **given)
    platform["run"] = {"who": "ben@desk", "playbook": "work_tenant", "age": age}
    return operate(Node(platform, "ben@desk"), operation, [tenant], {"acme": secrets}, {}, {})[0]


def test_an_operation_does_not_touch_another_tenant_of_that_name(node):
    node.converge("acme")
    node.engine.calls.clear()
    answer = work_on(node, Work(), tenant_uid="f" * 16)
    assert "another tenant of that name (uid 00000000abcdef01)" in answer["error"]
    assert node.engine.calls == [] and "operation" not in node.record("acme")


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


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemcloudError("no room"), "acme: no room"),
        (MemcloudError("acme: is locked"), "acme: is locked"),
        (MemcloudError("acmeval files"), "acme: acmeval files"),
        (OSError(28, "No space left"), "acme: No space left: make room on the node's disk, then"),
        (OSError(5, "Input/output error"), "acme: [Errno 5] Input/output error"),
        (KeyError("x"), "acme: unexpected KeyError: 'x' (test_operation.py:"),
    ],
)
def test_a_failure_brings_the_tenant_back(node, error, words):
    node.converge("acme")
    answer = work_on(node, Work(error), tenant_version="0.3.9")
    assert answer["error"].startswith(words)
    assert not answer["changed"]
    # What an entry can be set back to, whatever it says.
    embedder = {"model": "demo-embedding", "dimensions": 384}
    assert answer["recorded"] == {"version": "0.4.0", "embedder": embedder}
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert node.record("acme")["state"] == "running"
    assert not node.plan("acme")["acme"].drift


@pytest.mark.parametrize(("kind", "refused"), [({}, True), ({"restarts": True}, False)])
def test_a_node_of_an_older_collection_is_set_up_before_routes_are_written(
    node, monkeypatch, kind, refused
):
    node.converge("acme")
    monkeypatch.setattr(_edge_api, "ask", lambda *args: (404, {}))
    work = Work()
    for name, value in kind.items():
        monkeypatch.setattr(work, name, value, raising=False)
    answer = work_on(node, work)
    assert ("run setup_node for the node" in answer.get("error", "")) is refused
    assert bool(work.seen) is not refused


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

    assert "acme: unexpected TypeError" in work_on(node, Killed())["error"]
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

    assert "acme: unexpected TypeError" in work_on(node, Killed())["error"]
    assert node.record("acme")["operation"]["name"] == "work"
    assert len(node.engine.found_volumes) == 4
    assert "error" not in work_on(node, Work())
    assert len(node.engine.found_volumes) == 2
    assert sorted(node.engine.found_containers) == sorted(
        f"mc-acme-{role}" for role in ("app", "neo4j", "postgres")
    )


@pytest.fixture
def neo4j(node, monkeypatch):
    """The password that Neo4j has on each volume, and what is told on its change."""
    has, told = {}, []

    def change(_host, password, candidates):
        mounts = node.engine.inspect("mc-acme-neo4j")["Mounts"]
        (volume,) = (m["Name"] for m in mounts if m["Name"].startswith("mc-acme"))
        known = has.get(volume, has.get("mc-acme-00000000-neo4j")) in (*candidates, password)
        if known:
            has[volume] = password
            for act in told:
                act()
        return known

    monkeypatch.setattr(_job, "set_neo4j_password", change)

    def secret(**variables):
        given = {"platform_tls_mode": "off", "tenant_uid": "0" * 8 + "abcdef01", **variables}
        return tenant_data.make(node.data_dir, "acme", **given)[2]["neo4j"]

    node.converge("acme")
    has["mc-acme-00000000-neo4j"] = secret()
    return has, told, secret


NEW = {"tenant_secret_epoch": 2}


def test_a_password_that_changed_on_volumes_that_were_tried_is_not_taken_for_the_present_one(
    node, neo4j
):
    """The entry has new passwords that were not deployed, and an operation fails."""
    has, _told, secret = neo4j

    class Tries(Work):
        def run(self, job):
            job.hold()
            job.bring(generation=job.next_generation)
            raise MemcloudError("acme: no")

    assert work_on(node, Tries(), **NEW)["error"] == "acme: no"
    assert has == {f"mc-acme-00000000-neo4j{end}": secret(**NEW) for end in ("", "-g2")}
    assert node.record("acme")["passwords"] == {"root_key": 1, "epoch": 2}
    assert not node.plan("acme", **NEW)["acme"].drift


def test_a_password_that_is_replaced_while_a_run_is_killed_is_asked_for_by_the_next(
    node, neo4j, monkeypatch
):
    """Also by one that wants the former one again."""
    has, told, secret = neo4j

    def killed():
        raise KeyboardInterrupt

    def forget(_volume, _auth_ini):
        has["mc-acme-00000000-neo4j"] = secret()

    told.append(killed)
    with pytest.raises(KeyboardInterrupt):
        node.converge("acme", **NEW)
    assert has["mc-acme-00000000-neo4j"] == secret(**NEW)
    told.clear()
    monkeypatch.setattr(_job, "forget_neo4j_users", forget)
    assert any("(not known -> epoch 1" in d.words() for d in node.plan("acme")["acme"].drift)
    assert node.converge("acme")["acme"].error == ""
    assert has["mc-acme-00000000-neo4j"] == secret()
    assert not node.plan("acme")["acme"].drift


def test_nothing_works_on_a_deleted_tenant_and_schedules_pass_it_over(node):
    node.converge("acme")
    node.converge("acme", tenant_state="deleted")
    answer = work_on(node, Work(), tenant_state="deleted")
    assert "acme: is deleted" in answer["error"] and "create_tenant" in answer["error"]

    class Schedule(Work):
        of_every_tenant = True

    before = journal_of(node)
    answer = work_on(node, Schedule(), tenant_state="deleted")
    assert "error" not in answer and "is deleted" in answer["message"]
    assert journal_of(node) == before


def test_a_schedule_that_finds_nothing_to_do_is_no_event_and_clears_no_error(node):
    node.converge("acme")
    assert "no room" in work_on(node, Work(MemcloudError("no room")))["error"]
    before = journal_of(node)
    assert before[-1]["result"] == "failed"

    class Settled(Work):
        def settled(self, job):
            return "is young enough"

    answer = work_on(node, Settled())
    assert answer["message"] == "is young enough" and not answer["changed"]
    assert "idle" not in answer
    assert journal_of(node) == before
    # What a killed run left was taken away: that is one.
    left = {"name": "x", "owner": "ann", "state": "y"}
    state = NodeState(str(node.data_dir))
    state.write_tenant("acme", {**node.record("acme"), "operation": left})
    answer = work_on(node, Settled())
    assert len(journal_of(node)) == len(before) + 1
    assert answer["changed"]
    assert answer["message"] == "was brought back from an unfinished x of ann; is young enough"


def measured_as(node, monkeypatch, found):
    """Have the next measurements find this; the gate's word at each of them."""
    served = []

    def measure(job):
        served.append(json.loads(pathlib.Path(job.paths.gate).read_text())["state"])
        if isinstance(found, Exception):
            raise found
        job.record["writes"] = "closed"
        return {"changed": found}

    monkeypatch.setattr(_quota, "mind_storage", measure)
    return served


def test_a_measurement_that_fails_undoes_nothing_and_clients_do_not_wait_for_it(node, monkeypatch):
    node.converge("acme")
    record = {**node.record("acme"), "storage": {"limit": 1, "files": 0, "uncounted": 0}}
    NodeState(str(node.data_dir)).write_tenant("acme", record)
    served = measured_as(node, monkeypatch, MemcloudError("acme: its PostgreSQL cannot be asked"))
    answer = work_on(node, Work())
    words = "what it stores could not be measured (acme: its PostgreSQL cannot be asked)"
    assert "error" not in answer and answer["message"] == f"done; {words}"
    assert "operation" not in node.record("acme")
    node.engine.stop("mc-acme-postgres", 1)
    result = node.converge("acme")["acme"]
    assert (result.error, result.note) == ("", words) and result.held_seconds > 0
    assert [drift.name for drift in result.drift] == ["mc-acme-postgres", "acme"]
    assert journal_of(node)[-1]["change"].endswith(words)
    assert served == ["running", "running"]
    # Nothing of it is done again for the measurement's sake.
    assert not node.plan("acme")["acme"].drift


def test_writes_that_close_after_an_operation_are_told_to_the_gate(node, monkeypatch):
    node.converge("acme")
    measured_as(node, monkeypatch, True)
    work_on(node, Work())
    gate = json.loads((node.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["writes"] == node.record("acme")["writes"] == "closed"


def test_a_certificate_that_is_due_is_renewed_before_anything_is_proved_by_it(node, monkeypatch):
    node.converge("acme")
    told = []
    monkeypatch.setattr(Node, "certificate", lambda self, tenant: told.append(tenant["hostname"]))
    work_on(node, Work())
    assert told == ["acme.memcloud.localhost"]


def test_volumes_of_an_abandoned_generation_go_and_those_that_are_kept_stay(node):
    node.converge("acme")

    class NextGeneration(Work):
        def run(self, job):
            job.bring(generation=2)
            job.record.update(generation=2, previous={"generation": 1})
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


ONE, TWO = ([{"name": "default", "sha256": sha * 32}] for sha in ("ab", "cd"))


def test_an_older_run_does_not_undo_what_a_newer_one_brought(node):
    node.converge("acme")
    assert "error" not in work_on(node, Work(), 7200, tenant_api_keys=ONE)
    assert "error" not in work_on(node, Work(), 60, tenant_api_keys=TWO)
    gate = (node.data_dir / "gate/tenants/acme.json").read_text()
    node.engine.calls.clear()
    answer = work_on(node, Work(), 3600, tenant_api_keys=ONE)
    assert answer["error"] == (
        "acme: work_tenant of ben@desk changed it after this run had read its entry, which it "
        "would undo: run this again. Nothing was touched"
    )
    assert node.engine.calls == []
    assert (node.data_dir / "gate/tenants/acme.json").read_text() == gate
    # The same inputs undo nothing, whenever they were read; and the next run counts again.
    assert "error" not in work_on(node, Work(), 3600, tenant_api_keys=TWO)
    assert "error" not in work_on(node, Work(), 0, tenant_api_keys=ONE)
    # Calls take their time to reach a node.
    assert "error" not in work_on(node, Work(), 30, tenant_api_keys=TWO)


def test_what_was_read_before_the_node_was_booted_cannot_be_compared(node, monkeypatch, tmp_path):
    node.converge("acme")
    assert "error" not in work_on(node, Work(), 0, tenant_api_keys=ONE)
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(_stated, "_BOOT", str(tmp_path / "boot_id"))
    assert "error" not in work_on(node, Work(), 3600, tenant_api_keys=TWO)


def test_a_deployment_that_began_earlier_does_not_undo_it_either(node):
    node.converge("acme")
    paused = {"tenant_state": "paused", "tenant_wake": False}
    assert "error" not in work_on(node, Work(), 20, **paused)
    made, tenants, secrets = node.made(["acme"], {})
    made.began = _stated.began({"age": 3600})
    (result,) = made.converge(tenants, secrets)
    assert "changed it after this run had read its entry" in result.error


def test_another_root_key_is_refused_before_anything_is_touched(node):
    node.converge("acme")
    node.engine.calls.clear()
    other = base64.b64encode(hashlib.sha256(b"another root key").digest()).decode()
    answer = work_on(node, Work(), platform_root_keys={1: other})
    assert answer["error"] == (
        "acme: platform_root_keys: version 1 is not the root key that this node's passwords come "
        "from. Nothing was touched: give the run the right key (a new key needs a new version "
        "number)"
    )
    assert node.engine.calls == []
    assert "operation" not in node.record("acme")


def test_a_tenant_that_its_node_does_not_know_is_to_be_deployed_first(node):
    answer = work_on(node, Work())
    assert answer["error"] == (
        "acme: its node has no record of it: run deploy_tenant for it first. Nothing was touched"
    )


def test_what_a_killed_operation_beside_the_tenant_left_goes_and_the_tenant_serves_on(node):
    class Beside(Work):
        touches = False

        def run(self, job):
            job.state.claim_slot(job.stand_in, job.stand_in, "10.192.0.0/14", "ben@desk")
            pathlib.Path(job.work, "point").mkdir()
            job.bring = job.clean = None  # as after SIGKILL
            raise KeyboardInterrupt

    def slots():
        return list(json.loads((node.data_dir / "node.json").read_text())["slots"])

    node.converge("acme")
    assert "acme: unexpected TypeError" in work_on(node, Beside())["error"]
    assert slots() == ["00000000abcdef01", "verify-00000000abcdef01"]
    node.engine.calls.clear()
    assert node.converge("acme")["acme"].error == ""
    assert node.engine.calls == []
    assert slots() == ["00000000abcdef01"]
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert "operation" not in node.record("acme")


def test_a_tenant_is_let_be_when_an_operation_beside_it_fails(node, monkeypatch):
    class Beside(Work):
        touches = False

        def run(self, job):
            pathlib.Path(job.work, "point").mkdir()
            raise MemcloudError("it did not prove itself")

    node.converge("acme")
    node.engine.calls.clear()
    monkeypatch.setattr(test_deploy.FakeProbe, "failure", "acme: the model provider is away")
    # Nor does it get what its entry says by now.
    answer = work_on(node, Beside(), tenant_tier="pro", tenant_hostname="new.example.com")
    assert answer["error"] == "acme: it did not prove itself"
    assert node.engine.calls == [] and "operation" not in node.record("acme")
    assert not (node.data_dir / "tenants/acme/work").exists()
    assert not node.plan("acme")["acme"].drift


def test_volumes_that_are_gone_are_not_replaced_by_empty_ones(node):
    node.converge("acme")
    del node.engine.found_volumes["mc-acme-00000000-postgres"]
    node.engine.found_containers["mc-acme-postgres"]["State"]["Running"] = False
    words = (
        "acme: mc-acme-00000000-postgres is gone from its node; its memories were there, and a new "
        "volume would be empty."
    )
    assert node.plan("acme")["acme"].error.startswith(words)
    assert node.converge("acme")["acme"].error.startswith(words)
    assert "create_volume" not in [call[0] for call in node.engine.calls]
    assert words in work_on(node, Work())["error"]
    # A deletion goes on.
    assert node.plan("acme", tenant_state="deleted")["acme"].error == ""


def lose_record(node):
    (node.data_dir / "tenants/acme/state.json").unlink()
    node.engine.calls.clear()


class SecondGeneration(Work):
    def run(self, job):
        job.bring(generation=2)
        job.record.update(generation=2, previous={"generation": 1, "keep_until": "2999"})
        return {}


def test_a_lost_record_is_read_from_the_volumes_that_are_there(node):
    node.converge("acme")
    assert "error" not in work_on(node, SecondGeneration())
    for role in ("postgres", "neo4j"):
        del node.engine.found_volumes[f"mc-acme-00000000-{role}"]
    lose_record(node)
    result = node.converge("acme")["acme"]
    assert result.error == ""
    assert sorted(node.engine.found_volumes) == [
        f"mc-acme-00000000-{role}-g2" for role in ("neo4j", "postgres")
    ]
    assert not {call[0] for call in node.engine.calls} & {"create_volume", "remove_volume"}
    assert node.record("acme")["generation"] == 2
    assert node.plan("acme")["acme"].drift == []


def older_record(node):
    """A record of before its data went to other volumes is put back; the newest one."""
    node.converge("acme")
    path = node.data_dir / "tenants/acme/state.json"
    older = path.read_text()
    assert "error" not in work_on(node, SecondGeneration())
    newer = path.read_text()
    path.write_text(older)
    return path, newer


class Refused(Work):
    def check(self, job):
        raise MemcloudError("no room")


@pytest.mark.parametrize("first_is_there", [True, False])
def test_an_older_record_does_not_take_the_servers_off_their_data(node, first_is_there):
    path, newer = older_record(node)
    if not first_is_there:
        for role in ("postgres", "neo4j"):
            del node.engine.found_volumes[f"mc-acme-00000000-{role}"]
    volumes = sorted(node.engine.found_volumes)
    for error in (
        node.plan("acme")["acme"].error,
        node.converge("acme")["acme"].error,
        work_on(node, Work())["error"],
        work_on(node, Refused())["error"],
    ):
        assert error.startswith(
            "acme: its databases are on mc-acme-00000000-neo4j-g2 and mc-acme-00000000-postgres-g2,"
            " and its record names others (generation: 1). If its record (state.json) is an older"
        )
    assert node.engine.calls == []
    assert sorted(node.engine.found_volumes) == volumes
    assert node.plan("acme", tenant_state="deleted")["acme"].error == ""
    path.write_text(newer)
    assert node.converge("acme")["acme"].error == ""
    assert sorted(node.engine.found_volumes) == volumes


@pytest.mark.parametrize("unfinished", [True, False])
def test_what_an_older_record_does_not_name_is_left_where_what_it_names_is_gone(node, unfinished):
    path, newer = older_record(node)
    for role in ("postgres", "neo4j"):
        del node.engine.found_volumes[f"mc-acme-00000000-{role}"]
        node.engine.remove_container(f"mc-acme-{role}")
    if unfinished:
        left = {"name": "backup", "owner": "ann@desk", "started": "now", "state": "running"}
        path.write_text(json.dumps({**json.loads(path.read_text()), "operation": left}))
    words = "There are mc-acme-00000000-neo4j-g2, mc-acme-00000000-postgres-g2. If its record"
    assert words in node.plan("acme")["acme"].error
    assert words in node.converge("acme")["acme"].error
    assert "error" in work_on(node, Refused())
    assert sorted(node.engine.found_volumes) == [
        f"mc-acme-00000000-{role}-g2" for role in ("neo4j", "postgres")
    ]
    path.write_text(newer)
    assert node.converge("acme")["acme"].error == ""
    assert not node.plan("acme")["acme"].drift


def test_a_lost_record_and_two_states_of_the_memories_are_not_decided_between(node):
    node.converge("acme")
    assert "error" not in work_on(node, SecondGeneration())
    lose_record(node)
    words = (
        "acme: its record (state.json) is gone from its node, which has more than one state of its "
        "memories: mc-acme-00000000-postgres, mc-acme-00000000-postgres-g2 (and the same of neo4j)."
    )
    assert node.plan("acme")["acme"].error.startswith(words)
    assert node.converge("acme")["acme"].error.startswith(words)
    assert node.engine.calls == []
    assert len(node.engine.found_volumes) == 4
