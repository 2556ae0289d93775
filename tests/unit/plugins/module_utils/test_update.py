"""Updating a tenant and going back, on an engine in memory."""

from __future__ import annotations

import json
import os
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _transfer,
    _update,
    _update_data,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import operate
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import ProbeError
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_schema import (
    Database,
    server_of,
)

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy

node = test_deploy.node  # a fixture: the engine, with the edge's answers left out
SERVER = {"python": "3.13.5", "tables": {}, "revisions": {"a": []}, "adds": {}, "migrated": []}
NEWER = {**SERVER, "revisions": {"a": [], "b": ["a"]}}


@pytest.fixture
def fleet(node, monkeypatch):
    """A tenant on 0.3.9, a node that has the image of 0.4.0 too."""
    node.engine.images.update({"sha256:old": "sha256:old", "sha256:p2": "sha256:p2"})
    path = node.data_dir / "images.json"
    images = json.loads(path.read_text())
    images["memmachine"]["0.3.9"] = {"id": "sha256:old"}
    path.write_text(json.dumps(images))
    monkeypatch.setattr(
        _update, "describe_server", lambda c, d, image, version: server_of(version, SERVER)
    )
    monkeypatch.setattr(_update, "read_database", lambda query: Database(frozenset("a"), {}))
    monkeypatch.setattr(_update, "cluster_major", lambda path: None)
    versions = {"sha256:n": "5.26.16", "sha256:n2": "2025.10.1"}
    monkeypatch.setattr(
        _update, "server_versions", lambda job, images: {"neo4j": versions[images["neo4j"]]}
    )
    monkeypatch.setattr(_update, "check_room", lambda job: None)
    monkeypatch.setattr(_update, "copy_data", lambda job, trial, roles: job.stop(*roles))
    monkeypatch.setattr(_update.Job, "volume_path", lambda job, role: "/volume")
    assert not node.converge("acme", tenant_version="0.3.9")["acme"].error
    return node


def work(node, operation, version, params=None, **variables):
    given = {"platform_tls_mode": "off", "tenant_uid": "0" * 8 + "abcdef01", **variables}
    platform, tenant, secrets = tenant_data.make(
        node.data_dir, "acme", tenant_version=version, **given
    )
    told = {"acme": params or {}}
    return operate(Node(platform, "ben@desk"), operation, [tenant], {"acme": secrets}, told, {})[0]


def app(node):
    return node.engine.found_containers["mc-acme-app"]["Image"]


def imported(node):
    """What an import into the tenant leaves, and a killed one."""
    home = node.data_dir / "tenants/acme"
    record = {**node.record("acme"), "imported": {"memories": "f" * 64, "at": "today"}}
    (home / "state.json").write_text(json.dumps(record))
    (home / "import.json").write_text("{}")


def migrating(monkeypatch):
    monkeypatch.setattr(
        _update, "describe_server", lambda c, d, image, version: server_of(version, NEWER)
    )


def test_an_update_is_recorded_with_the_way_back(fleet):
    answer = work(fleet, _update.Update(), "0.4.0")
    assert answer["changed"] and answer["message"] == "image: 0.3.9 -> 0.4.0"
    record = fleet.record("acme")
    assert (record["version"], app(fleet)) == ("0.4.0", "sha256:m")
    assert record["previous"]["version"] == "0.3.9"
    assert record["previous"]["images"]["memmachine"] == "sha256:old"
    assert record["update_seconds"].keys() == {"image"}
    assert record["images"]["memmachine"] == "sha256:m" and "operation" not in record
    again = work(fleet, _update.Update(), "0.4.0")
    assert not again["changed"] and again["plan"]["kind"] == "none"


def test_the_plan_changes_nothing_and_knows_how_long_it_took(fleet):
    before = fleet.record("acme")
    answer = work(fleet, _update.PlanUpdate(), "0.4.0")
    assert answer["message"] == "image: both versions use the same tables"
    assert fleet.record("acme") == before and app(fleet) == "sha256:old"
    missing = work(fleet, _update.PlanUpdate(), "0.3.8")
    assert missing["missing"] == "0.3.8"


def test_a_plan_leaves_what_a_killed_run_left_to_the_next_run(fleet, monkeypatch):
    path = fleet.data_dir / "tenants/acme/state.json"
    previous = {"version": "0.3.8", "generation": 1, "until": "2026-11-22T03:00:00Z"}
    left = {"name": "backup", "owner": "ann@desk", "state": "running", "touches": True}
    path.write_text(json.dumps({**fleet.record("acme"), "previous": previous, "operation": left}))
    before = path.read_text()
    monkeypatch.setattr(Node, "certificate", None)
    fleet.engine.calls.clear()
    words = "has an unfinished backup of ann@desk, which the next run finishes"
    planned = work(fleet, _update.PlanUpdate(), "0.4.0")
    assert (planned["message"], planned["from"]) == (words, "0.3.9")
    assert "plan" not in planned and "missing" not in planned
    # The next run wants its image all the same.
    missing = work(fleet, _update.PlanUpdate(), "0.3.8")
    assert missing["missing"] == "0.3.8" and missing["message"].startswith(words)
    back = work(fleet, _update.PlanRollback(), "0.3.9")
    assert back["version"] == "0.3.8" and back["message"].endswith(words)
    assert path.read_text() == before and fleet.engine.calls == []


def test_an_update_finishes_what_a_killed_run_left(fleet):
    path = fleet.data_dir / "tenants/acme/state.json"
    left = {"name": "backup", "owner": "ann@desk", "state": "running", "touches": True}
    path.write_text(json.dumps({**fleet.record("acme"), "operation": left}))
    fleet.engine.stop("mc-acme-app", 1)
    answer = work(fleet, _update.Update(), "0.4.0")
    assert answer["message"] == "image: 0.3.9 -> 0.4.0"
    assert "operation" not in fleet.record("acme") and app(fleet) == "sha256:m"


def test_a_failure_brings_back_image_and_version(fleet, monkeypatch):
    monkeypatch.setattr(test_deploy.FakeProbe, "failure", "could not store a memory")
    rounds = iter(["could not store a memory"])
    original = test_deploy.FakeProbe.wait_ready

    def fails_once(self, check=None):
        self.failure = next(rounds, None)
        if self.failure:
            raise ProbeError(self.failure)
        original(self)

    monkeypatch.setattr(test_deploy.FakeProbe, "failure", None)
    monkeypatch.setattr(test_deploy.FakeProbe, "wait_ready", fails_once)
    answer = work(fleet, _update.Update(), "0.4.0")
    assert "failed and was undone, the tenant is on 0.3.9" in answer["error"]
    assert "could not store a memory" in answer["error"] and "last words" in answer["error"]
    record = fleet.record("acme")
    assert (record["version"], app(fleet)) == ("0.3.9", "sha256:old")
    assert "previous" not in record and record["images"]["memmachine"] == "sha256:old"


def test_a_migration_works_on_new_volumes_and_keeps_the_old(fleet, monkeypatch):
    migrating(monkeypatch)
    answer = work(fleet, _update.Update(), "0.4.0")
    assert answer["plan"]["kind"] == "migrate"
    assert fleet.record("acme")["generation"] == 2
    assert len(fleet.engine.found_volumes) == 4
    refused = work(fleet, _update.Rollback(), "0.3.9")
    assert "minutes since" in refused["error"] and "-e force=true" in refused["error"]
    assert app(fleet) == "sha256:m"
    imported(fleet)
    assert "error" not in work(fleet, _update.Rollback(), "0.3.9", {"force": True})
    record = fleet.record("acme")
    assert (record["generation"], record["version"], app(fleet)) == (1, "0.3.9", "sha256:old")
    assert record["previous"]["generation"] == 2
    assert "imported" not in record  # they are in what is left behind
    assert not (fleet.data_dir / "tenants/acme/import.json").exists()
    # A second one goes forward again, and what comes next has volumes of its own.
    assert "error" not in work(fleet, _update.Rollback(), "0.4.0", {"force": True})
    assert fleet.record("acme")["generation"] == 2
    assert len(fleet.engine.found_volumes) == 4


def test_a_rollback_that_was_killed_when_it_was_done_does_not_go_forward_again(fleet, monkeypatch):
    work(fleet, _update.Update(), "0.4.0")
    left = []
    monkeypatch.setattr(
        _update, "_sleep_again", lambda job: left.append(fleet.record("acme")["operation"])
    )
    assert "error" not in work(fleet, _update.Rollback(), "0.3.9")
    path = fleet.data_dir / "tenants/acme/state.json"
    path.write_text(json.dumps({**fleet.record("acme"), "operation": left.pop()}))
    assert work(fleet, _update.PlanRollback(), "0.3.9")["version"] == "0.3.9"
    answer = work(fleet, _update.Rollback(), "0.3.9")
    assert "was done by the run that was killed" in answer["message"] and not left
    record = fleet.record("acme")
    assert (record["version"], app(fleet)) == ("0.3.9", "sha256:old")
    assert "operation" not in record
    # Nor does it keep a third one from going forward.
    assert "error" not in work(fleet, _update.Rollback(), "0.4.0")
    assert app(fleet) == "sha256:m"


def test_a_copy_that_a_server_is_to_live_on_is_on_the_disk_first(tmp_path, monkeypatch):
    """A loss of power after the commit would leave what no server has written since empty."""
    source, target = tmp_path / "g1", tmp_path / "g2"
    for path in (source, target):
        path.mkdir()
    (source / "PG_VERSION").write_text("17\n")
    real, commands = _update_data.subprocess.run, []

    def run(command, **options):
        commands.append((command[0], command[-1], (target / "PG_VERSION").exists()))
        return real(command, **options)

    monkeypatch.setattr(_update_data.subprocess, "run", run)
    _update_data._copy(str(source), str(target))
    assert commands == [("cp", str(target), False), ("sync", str(target), True)]
    assert (target / "PG_VERSION").read_text() == "17\n"
    with pytest.raises(MemcloudError, match="nowhere cannot be copied: .*No such file"):
        _update_data._copy(str(tmp_path / "nowhere"), str(target))


def test_another_minor_version_of_neo4j_works_on_a_copy_of_its_store(fleet):
    fleet.engine.images["sha256:n2"] = "sha256:n2"
    path = fleet.data_dir / "images.json"
    images = json.loads(path.read_text())
    path.write_text(json.dumps({**images, "neo4j": {"id": "sha256:n2"}}))
    answer = work(fleet, _update.Update(), "0.3.9")
    assert answer["plan"]["kind"] == "migrate"
    assert answer["plan"]["reason"] == "Neo4j 5.26.16 -> 2025.10.1 on a copy of its store"
    record = fleet.record("acme")
    assert (record["generation"], record["images"]["neo4j"]) == (2, "sha256:n2")
    assert "error" not in work(fleet, _update.Rollback(), "0.3.9", {"force": True})
    record = fleet.record("acme")
    assert (record["generation"], record["images"]["neo4j"]) == (1, "sha256:n")


def test_a_rollback_whose_databases_are_gone_is_refused(fleet, monkeypatch):
    migrating(monkeypatch)
    assert "error" not in work(fleet, _update.Update(), "0.4.0")
    del fleet.engine.found_volumes["mc-acme-00000000-neo4j"]
    refused = work(fleet, _update.Rollback(), "0.3.9", {"force": True})
    assert refused["error"].startswith("acme: mc-acme-00000000-neo4j is gone from its node")
    assert app(fleet) == "sha256:m"


def test_an_update_that_is_done_does_not_fail_for_want_of_a_measurement(fleet, monkeypatch):
    taken = iter([[1.0]])

    def busy(job, count):
        try:
            return next(taken)
        except StopIteration:
            raise MemcloudError("acme: could not store a memory: 429") from None

    monkeypatch.setattr(_update, "_round_trips", busy)
    answer = work(fleet, _update.Update(), "0.4.0", {"slower": 2})
    assert "error" not in answer
    assert (answer["version"], answer["rounds_after"], answer["slower"]) == ("0.4.0", [], "")
    assert app(fleet) == "sha256:m"


def test_what_was_before_is_forgotten_after_its_time(fleet, monkeypatch):
    migrating(monkeypatch)
    work(fleet, _update.Update(), "0.4.0", platform_update_keep=0)
    assert len(fleet.engine.found_volumes) == 2
    assert "previous" not in fleet.record("acme")
    answer = work(fleet, _update.PlanRollback(), "0.4.0")
    assert "nothing is kept" in answer["error"]


def test_after_going_back_the_tenant_stays_on_the_image_that_its_node_no_longer_names(fleet):
    path = fleet.data_dir / "images.json"
    images = json.loads(path.read_text())
    images["postgres"]["id"] = "sha256:p2"
    path.write_text(json.dumps(images))
    assert work(fleet, _update.Update(), "0.3.9")["plan"]["images"] == ["postgres"]
    imported(fleet)
    assert "error" not in work(fleet, _update.Rollback(), "0.3.9")
    assert fleet.record("acme")["images"]["postgres"] == "sha256:p"
    assert "imported" in fleet.record("acme")  # the data is the same
    assert not fleet.plan("acme", tenant_version="0.3.9")["acme"].drift


def test_deploying_leaves_a_tenant_on_the_images_that_it_was_proved_on(fleet):
    path = fleet.data_dir / "images.json"
    images = json.loads(path.read_text())
    images["postgres"]["id"] = "sha256:p2"
    path.write_text(json.dumps(images))
    assert not fleet.plan("acme", tenant_version="0.3.9")["acme"].drift
    del fleet.engine.images["sha256:p"]  # somebody removed it: what is left is the node's
    (drift,) = fleet.plan("acme", tenant_version="0.3.9")["acme"].drift
    assert "image differs" in drift.words()


@pytest.mark.parametrize(
    ("later", "stops"), [([0.3], False), ([0.9, 0.9, 0.3], False), ([0.9, 0.9, 0.9, 0.9], True)]
)
def test_a_server_that_is_slow_at_first_is_measured_again(fleet, monkeypatch, later, stops):
    rounds = iter([[0.2] * 5, *([seconds] * 5 for seconds in later)])
    monkeypatch.setattr(_update, "_round_trips", lambda job, count: next(rounds))
    monkeypatch.setattr(_update, "_WARMING_SECONDS", 0)
    answer = work(fleet, _update.Update(), "0.4.0", {"slower": 2})
    assert bool(answer["slower"]) is stops and next(rounds, None) is None


def test_an_older_version_is_refused(fleet):
    work(fleet, _update.Update(), "0.4.0")
    answer = work(fleet, _update.Update(), "0.3.9")
    assert "is older than 0.4.0" in answer["error"] and "Nothing was touched" in answer["error"]


OTHER_MODEL = {
    "tenant_model_base_url": "http://models.example.com/v1",
    "tenant_embedder_model": "other",
    "tenant_embedder_dimensions": 768,
    "tenant_language_model": "chat",
}
EMBEDDER = {"model": "present", "dimensions": 768}


def record(fleet, **changes):
    path = fleet.data_dir / "tenants/acme/state.json"
    path.write_text(json.dumps({**fleet.record("acme"), **changes}))


@pytest.mark.parametrize(
    ("operation", "version"),
    [
        (_update.PlanUpdate(), "0.4.0"),
        (_update.Update(), "0.4.0"),
        (_update.Update(), "0.3.9"),
        (_update.PlanRollback(), "0.3.8"),
        (_update.Rollback(), "0.3.8"),
    ],
)
def test_no_update_puts_another_embedding_model_on_stored_memories(fleet, operation, version):
    previous = {"version": "0.3.8", "generation": 1, "until": "2026-11-22T03:00:00Z"}
    record(fleet, previous=previous, embedder=EMBEDDER)
    fleet.engine.calls.clear()
    answer = work(fleet, operation, version, **OTHER_MODEL)
    words = "acme: tenant_embedder_model: the tenant's memories were stored with present"
    assert answer["error"].startswith(words)
    assert "reembed_tenant -e tenant=acme -e embedder_model=other" in answer["error"]
    assert fleet.engine.calls == []


def test_memories_move_to_another_model_within_their_server_version(fleet):
    record(fleet, embedder=EMBEDDER)
    fleet.engine.calls.clear()
    answer = work(fleet, _transfer.Reembed(), "0.4.0", **OTHER_MODEL)
    words = (
        "acme: tenant_version: is 0.4.0, but the tenant's memories were stored by MemMachine 0.3.9"
    )
    assert answer["error"].startswith(words) and "Nothing was touched" in answer["error"]
    assert fleet.engine.calls == []
    assert fleet.record("acme")["embedder"] == EMBEDDER
