"""Sleeping and waking on a node, with an engine in memory: entry, record, gate, second runs."""

from __future__ import annotations

import json
import os
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _job, _operation, _sleep
from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import Backup
from ansible_collections.memcloud.memmachine.plugins.module_utils._check_storage import CheckStorage
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked, now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy

node = test_deploy.node  # a fixture


def operate(node, operation, params=None, **variables):
    given = {"platform_tls_mode": "off", "tenant_uid": "0" * 8 + "abcdef01", **variables}
    platform, tenant, secrets = tenant_data.make(node.data_dir, "acme", **given)
    return _operation.operate(
        Node(platform, "ben@desk"),
        operation,
        [tenant],
        {"acme": secrets},
        {"acme": params or {}},
        {},
    )[0]


@pytest.fixture
def backlog(monkeypatch):
    """How many messages are not ingested yet."""
    found = {"count": 0}
    monkeypatch.setattr(_sleep, "psql", lambda job, script: str(found["count"]))
    return found


def gate(node):
    return json.loads((node.data_dir / "gate/tenants/acme.json").read_text())


def wake(node):
    """What the keeper does to a record and to the gate."""
    record = node.record("acme")
    record.update(state="running")
    if record.pop("asleep", None) is None:
        record["woken"] = {"since": "2026-11-21T00:00:00Z"}
    (node.data_dir / "tenants/acme/state.json").write_text(json.dumps(record))
    (node.data_dir / "gate/tenants/acme.json").write_text(
        json.dumps({**gate(node), "state": "running"}, sort_keys=True) + "\n"
    )
    for name in list(node.engine.found_containers):
        node.engine.start(name)


def running(node):
    return {c["State"]["Running"] for c in node.engine.found_containers.values()}


def test_an_idle_tenant_sleeps_and_a_second_run_leaves_it_asleep(node, backlog):
    node.converge("acme")
    answer = operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert answer["changed"] and answer["message"].startswith("paused because idle since")
    assert running(node) == {False}
    stops = [name for call, name in node.engine.calls if call == "stop"]
    assert stops == ["mc-acme-app", "mc-acme-postgres", "mc-acme-neo4j"]
    assert (gate(node)["state"], gate(node)["wake"]) == ("paused", True)
    assert not node.plan("acme")["acme"].drift
    again = operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert not again["changed"] and "it is paused" in again["message"]


@pytest.mark.parametrize("where", ["release", "drain"])
def test_a_sleep_that_was_killed_is_finished_by_the_next(node, backlog, monkeypatch, where):
    node.converge("acme")

    def killed(_job):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_job.Job, where, killed)
        with pytest.raises(KeyboardInterrupt):
            operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert node.record("acme")["asleep"] and running(node) == {True}
    # Its hours count no longer.
    answer = operate(node, _sleep.Sleep(), {"idle_hours": 24})
    assert answer["changed"] and answer["message"].startswith("paused because idle since")
    assert running(node) == {False} and gate(node)["state"] == "paused"
    assert not node.plan("acme")["acme"].drift
    assert not operate(node, _sleep.Sleep(), {"idle_hours": 0})["changed"]


def test_who_was_not_wakeable_when_it_was_deployed_is_put_to_sleep_wakeable(node, backlog):
    node.converge("acme", tenant_wake=False)
    assert operate(node, _sleep.Sleep(), {"idle_hours": 0})["changed"]
    # By the one the gate calls the keeper, by the other the keeper wakes.
    assert (gate(node)["wake"], node.record("acme")["wake"]) == (True, True)


def test_what_woke_runs_and_a_second_run_leaves_it_running(node, backlog):
    node.converge("acme")
    operate(node, _sleep.Sleep(), {"idle_hours": 0})
    wake(node)
    assert not node.plan("acme")["acme"].drift


def test_resuming_ends_a_sleep(node, backlog):
    node.converge("acme")
    operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert node.plan("acme", settle=True)["acme"].drift
    result = node.converge("acme", settle=True)["acme"]
    assert result.state == "running" and result.proof and running(node) == {True}
    assert "asleep" not in node.record("acme")


def test_a_sleeper_that_is_paused_is_said_to_be_changed(node, backlog):
    """It stands still before and after, but from now on its entry says so."""
    node.converge("acme")
    operate(node, _sleep.Sleep(), {"idle_hours": 0})
    planned = node.plan("acme", settle=True, tenant_state="paused")["acme"]
    done = node.converge("acme", settle=True, tenant_state="paused")["acme"]
    assert [drift.words() for drift in done.drift] == [drift.words() for drift in planned.drift]
    assert done.as_dict()["changed"] and "asleep" not in node.record("acme")
    assert not node.plan("acme", settle=True, tenant_state="paused")["acme"].drift


def test_a_tier_without_wake_ends_a_sleep_that_nothing_else_could_end(node, backlog):
    node.converge("acme")
    operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert node.plan("acme", tenant_wake=False)["acme"].drift
    node.converge("acme", tenant_wake=False)
    assert running(node) == {True} and not gate(node)["wake"]


def test_a_paused_tenant_that_was_woken_runs_until_it_is_paused_again(node):
    node.converge("acme")
    node.converge("acme", tenant_state="paused")
    wake(node)
    assert not node.plan("acme", tenant_state="paused")["acme"].drift
    paused = node.converge("acme", tenant_state="paused", settle=True)["acme"]
    assert paused.state == "paused" and running(node) == {False}
    assert "woken" not in node.record("acme")
    assert not node.plan("acme", tenant_state="paused")["acme"].drift


def test_a_woken_tenant_can_be_suspended_and_forgets_that_it_was_woken(node):
    node.converge("acme")
    node.converge("acme", tenant_state="paused")
    wake(node)
    assert node.converge("acme", tenant_state="suspended")["acme"].state == "suspended"
    assert "woken" not in node.record("acme") and running(node) == {False}
    node.converge("acme", tenant_state="paused")
    assert not node.plan("acme", tenant_state="paused")["acme"].drift
    assert running(node) == {False}


def test_pausing_closes_the_gate_before_the_app_stops(node, monkeypatch):
    node.converge("acme")
    seen = []
    stop = node.engine.stop

    def look(name, timeout):
        seen.append((name, gate(node)["state"]))
        stop(name, timeout)

    monkeypatch.setattr(node.engine, "stop", look)
    node.converge("acme", tenant_state="paused")
    assert seen[0] == ("mc-acme-app", "paused")


@pytest.mark.parametrize(
    ("params", "variables", "count", "reason"),
    [
        ({}, {}, 0, "its tier has no idle_hours"),
        ({"idle_hours": 24}, {}, 0, "less than 24 hours ago"),
        ({"idle_hours": 0}, {}, 2, "2 messages that are not ingested"),
        ({"idle_hours": 0}, {"tenant_wake": False}, 0, "nothing could wake it"),
    ],
)
def test_who_is_not_idle_goes_on(node, backlog, params, variables, count, reason):
    node.converge("acme", **variables)
    backlog["count"] = count
    answer = operate(node, _sleep.Sleep(), params, **variables)
    assert reason in answer["message"] and not answer["changed"]
    assert running(node) == {True}


def test_who_is_worked_on_is_not_idle(node, backlog):
    node.converge("acme")
    with locked(str(node.data_dir / "locks"), "tenant-acme", "ann@desk, backup"):
        answer = operate(node, _sleep.Sleep(), {"idle_hours": 0})
    assert "ann@desk, backup" in answer["message"] and "error" not in answer
    assert running(node) == {True}


@pytest.mark.parametrize("lost", [False, True])
def test_who_is_worked_on_fails_no_schedule_that_wants_nothing_of_it(node, monkeypatch, lost):
    node.converge("acme")
    monkeypatch.setattr(_operation.Operation, "lock_wait", 0.0)
    path = node.data_dir / "tenants/acme/state.json"
    young = {"id": "0123", "taken": now()}
    path.write_text(json.dumps({**node.record("acme"), "restore_point": young}))
    with locked(str(node.data_dir / "locks"), "tenant-acme", "ann@desk, verify"):
        if lost:
            path.write_text("{")
            assert "is locked by ann@desk, verify" in operate(node, CheckStorage())["error"]
            return
        measured = operate(node, CheckStorage())
        assert "not measured: " in measured["message"] and "ann@desk, verify" in measured["message"]
        backed_up = operate(node, Backup(), {"due": True})
        assert "0123 is young enough" in backed_up["message"]
        assert "error" not in measured and "error" not in backed_up
        # By hand, and where one is due, it has to be known that there is none.
        assert "is locked by" in operate(node, Backup())["error"]
        old = {**young, "taken": "2026-01-01T00:00:00Z"}
        path.write_text(json.dumps({**node.record("acme"), "restore_point": old}))
        assert "is locked by" in operate(node, Backup(), {"due": True})["error"]


def test_storage_closes_writes_and_a_larger_figure_opens_them(node, tmp_path):
    node.engine.volumes_dir = str(tmp_path / "volumes")
    node.converge("acme")
    for volume in node.engine.found_volumes.values():
        os.makedirs(volume["Mountpoint"])
        with open(os.path.join(volume["Mountpoint"], "data"), "wb") as file:
            file.write(os.urandom(1024**2))
    small = {"platform_tiers": {"free": {"storage": "1m"}}, "tenant_state": "paused"}
    # A paused tenant's databases cannot be asked what deletes have freed: its files count.
    answer = operate(node, CheckStorage(), **small)
    assert answer["changed"] and answer["writes"] == "closed"
    assert gate(node)["writes"] == "closed"
    again = operate(node, CheckStorage(), **small)
    assert not again["changed"] and again["storage"]["share"] == 2.0
    assert again["storage"]["log_room"] == (64 + 16 + 32) * 1024**2
    assert any("storage limit differs" in d.words() for d in node.plan("acme")["acme"].drift)
    node.converge("acme")
    assert gate(node)["writes"] == "open"
    assert not node.plan("acme")["acme"].drift
