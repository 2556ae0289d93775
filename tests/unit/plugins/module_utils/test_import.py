"""Importing an archive into a tenant on an engine in memory, and what clients do meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _job, _transfer
from ansible_collections.memcloud.memmachine.plugins.module_utils._archive import pack
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import ApiError
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import operate

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy
from fake_memories import FakeMemories
from test_portable import ACME, export, fill, reader, what

node = test_deploy.node  # a fixture: the engine, with the edge's answers left out
UID = "0" * 8 + "abcdef01"


class World:
    """A tenant whose server holds what the test says, and an archive of 25 memories."""

    def __init__(self, node, tmp_path):
        self.node = node
        self.source, self.server = FakeMemories(), FakeMemories()
        fill(self.source)
        _path, projects = export(self.source, tmp_path)
        self.archive = str(tmp_path / "acme.tar.gz")
        about = {"tenant": "acme", "version": "0.4.0", "projects": projects}
        pack(str(tmp_path), ["memories.ndjson"], about, self.archive)

    def bring_in(self, force=False, **entry):
        return self.act(_transfer.Import(), entry, archive=self.archive, force=force)

    def act(self, operation, entry, **params):
        given = {"platform_tls_mode": "off", "tenant_uid": UID, **entry}
        platform, tenant, secrets = tenant_data.make(self.node.data_dir, "acme", **given)
        made = Node(platform, "ben@desk")
        return operate(made, operation, [tenant], {"acme": secrets}, {"acme": params}, {})[0]

    def job(self):
        platform, tenant, secrets = tenant_data.make(
            self.node.data_dir, "acme", platform_tls_mode="off", tenant_uid=UID
        )
        return _job.Job(Node(platform, "ben@desk"), tenant, secrets)


@pytest.fixture
def world(node, tmp_path, monkeypatch):
    made = World(node, tmp_path)
    monkeypatch.setattr(_transfer, "server_of", lambda job: reader(made.server))
    monkeypatch.setattr(_transfer, "database_up", lambda job: contextlib.nullcontext())
    monkeypatch.setattr(_transfer, "sql", lambda job, query: str(len(made.server.of(ACME))))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert node.converge("acme")["acme"].error == ""
    yield made
    made.source.close()
    made.server.close()


def killed(world, monkeypatch):
    """A run that stored everything and ended before it was proved."""

    def die(*_arguments, **_named):
        raise ApiError("acme: the server went away", 0)

    with monkeypatch.context() as patched:
        patched.setattr(_transfer, "prove_import", die)
        assert "went away" in world.bring_in()["error"]
    assert world.job().import_cursor in map(str, world.node.data_dir.glob("tenants/acme/*"))


def test_a_killed_import_is_finished_without_force(world, monkeypatch):
    killed(world, monkeypatch)
    assert "error" not in world.bring_in()
    assert what(world.server) == what(world.source)
    assert not os.path.exists(world.job().import_cursor)
    assert "were imported at" in world.bring_in()["message"]


@pytest.mark.parametrize("force", [False, True])
def test_what_was_deleted_after_a_killed_import_does_not_stop_it_for_good(
    world, monkeypatch, force
):
    killed(world, monkeypatch)
    world.server.episodes.clear()
    error = world.bring_in(force)["error"]
    assert "25 of 25 memories did not arrive" in error
    assert error.count("Run the import again with -e force=true") == 1
    assert "error" not in world.bring_in(force)
    assert what(world.server) == what(world.source)


def test_what_was_stored_after_a_killed_import_is_left_with_force(world, monkeypatch):
    killed(world, monkeypatch)
    fill(world.server, count=1)
    assert "the server 26: they must be the same. Run" in world.bring_in()["error"]
    # From then on nobody waits for what cannot be done.
    assert "has 26 memories already. Say -e force=true" in world.bring_in()["error"]
    answer = world.bring_in(force=True)
    assert answer["message"].startswith("0 memories stored, 25 were there")


def test_what_was_imported_counts_no_longer_when_other_data_is_there(world):
    assert world.bring_in()["changed"]
    world.server.episodes.clear()
    job = world.job()
    job.forget_import()
    job.save()
    assert world.bring_in()["changed"]


def test_an_import_that_is_not_proved_takes_back_that_an_earlier_one_was(world, monkeypatch):
    assert world.bring_in()["changed"]
    world.server.episodes.clear()
    with monkeypatch.context() as patched:
        nothing = {"added": 0, "present": 0}
        patched.setattr(_transfer, "import_memories", lambda *args: nothing)
        assert "did not arrive" in world.bring_in(force=True)["error"]
    assert world.bring_in()["changed"]
    assert what(world.server) == what(world.source)


def test_an_archive_that_a_killed_run_brought_goes_and_one_that_waits_its_turn_stays(world):
    left = world.node.data_dir / "tenants/acme" / _job.UPLOADED
    left.write_text("memories")
    moment = time.time() - 7200
    world.bring_in()
    assert left.exists()  # of a run that waits for the tenant's lock
    os.utime(left, (moment, moment))
    world.bring_in(force=True)
    assert not left.exists()


def test_an_archive_that_a_killed_run_brought_long_ago_is_that_of_the_next(world):
    """The playbook brings what is there already not once more."""
    there = world.node.data_dir / "tenants/acme" / _job.UPLOADED
    os.replace(world.archive, there)
    moment = time.time() - 7200
    os.utime(there, (moment, moment))
    world.archive = str(there)
    record = world.node.record("acme")
    record["operation"] = {"name": "import", "owner": "ann@desk", "state": "running", "started": ""}
    (there.parent / "state.json").write_text(json.dumps(record))
    answer = world.bring_in()
    assert "error" not in answer and answer["added"] == 25


def test_an_archive_without_a_memory_is_imported(world, tmp_path):
    world.source.episodes.clear()
    _path, projects = export(world.source, tmp_path)
    about = {"tenant": "acme", "version": "0.4.0", "projects": projects}
    pack(str(tmp_path), ["memories.ndjson"], about, world.archive)
    assert "error" not in world.bring_in()


@pytest.mark.parametrize("operation", [_transfer.Export, _transfer.Import])
def test_an_export_or_import_that_fails_deploys_no_change_of_the_entry(
    world, monkeypatch, operation
):
    def fails(*_arguments, **_named):
        raise MemcloudError("acme: it never rests")

    for name in ("write_memories", "import_memories"):
        monkeypatch.setattr(_transfer, name, fails)
    route = world.node.data_dir / "edge/dynamic/acme.yml"
    before, calls = route.read_text(), world.node.engine.calls
    calls.clear()
    entry = {"tenant_tier": "pro", "tenant_hostname": "new.example.com"}
    answer = world.act(operation(), entry, archive=world.archive)
    assert answer["error"] == "acme: it never rests"
    done = [call for call in calls if call[0] in ("stop", "remove", "create", "update")]
    assert done == [] and route.read_text() == before
    gate = json.loads((world.node.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["state"] == "running"
    assert "operation" not in world.node.record("acme")
