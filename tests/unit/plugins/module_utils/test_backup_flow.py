"""Backup, restore and verification on an engine in memory, with the real restic.

What only real databases can do (snapshot, dump, load) is stood in for; the scenario
``backup_restore`` does it with real ones.
"""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _backup,
    _node,
    _reservation,
    _restore,
    _stores,
    _verify,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import operate
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    Damaged,
    Refused,
    RepositoryError,
)

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy

pytestmark = [
    # A restore gives files to the users of the servers, which root alone may. make test needs root
    # itself (it sets up a node), so nothing is passed over there; without it the others still run.
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files"),
    pytest.mark.usefixtures("quick_repositories"),
]
node = test_deploy.node  # a fixture: the engine, with the edge's answers left out
UID = "0" * 8 + "abcdef01"
COUNTS = {"episodes": {"ci/a": {"count": 2, "digest": "9"}}, "semantic": {}}
SERVERS = {"postgres": "17.6", "neo4j": "5.26.16"}


class FakeSession:
    """What PostgreSQL answers."""

    counted = COUNTS

    def __init__(self, engine, container):
        engine.calls.append(("session", container))
        self.engine = engine

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.engine.calls.append(("session ends", ""))

    def snapshot(self):
        self.engine.calls.append(("snapshot", ""))
        return "00000003-1"

    def counts(self):
        return self.counted

    def alembic(self):
        return "e8d4a37b69f2"

    def rows(self, query):
        memory = {"uid": "u1", "content": "a memory", "session_key": "ci/a"}
        return [{"memory": memory, "position": 0}]


@pytest.fixture
def world(node, monkeypatch, tmp_path):
    """A deployed tenant whose databases have something to copy."""
    volumes = tmp_path / "volumes"
    node.engine.volumes_dir = str(volumes)
    monkeypatch.setattr(FakeSession, "counted", COUNTS)
    monkeypatch.setattr(_reservation, "LEAST_FREE", 0)
    for module in (_backup, _restore, _verify):
        monkeypatch.setattr(module, "Session", FakeSession)
    for module in (_backup, _restore):
        monkeypatch.setattr(module, "server_versions", lambda job, images: SERVERS)
    monkeypatch.setattr(_backup, "wait_for_postgres", lambda *args: None)
    monkeypatch.setattr(_backup, "check_store", lambda engine, desired, point, urgent: None)

    def dump(engine, container, snapshot, path):
        engine.calls.append(("dump", snapshot))
        pathlib.Path(path).write_text("dump")

    def fill(engine, desired, point):
        for volume in desired.volumes:
            engine.create_volume(desired, volume)
        engine.calls.append(("fill", pathlib.Path(point, "postgres.dump").read_text()))
        return FakeSession.counted

    monkeypatch.setattr(_backup, "dump_postgres", dump)
    for module in (_restore, _verify):
        monkeypatch.setattr(module, "fill_volumes", fill)
    assert node.converge("acme")["acme"].error == ""
    for part in ("databases", "transactions"):
        store = volumes / "mc-acme-00000000-neo4j" / "neo4j" / part / "neo4j"
        store.mkdir(parents=True)
        (store / "store").write_text(part)
    return node


def act(
    world, operation, name="acme", uid=UID, passwords=("one",), source=None, entry=None, **params
):
    """Run an operation on a tenant; its answer.

    :param entry: what its entry says beside the rest.
    """
    given = {"platform_tls_mode": "off", "tenant_uid": uid, **(entry or {})}
    if source:
        params["source"] = source
    platform, tenant, secrets = tenant_data.make(world.data_dir, name, **given)
    base = world.data_dir / "backups"
    private = {
        "repository": {"url": f"{base}/{name}-{uid[:8]}", "passwords": passwords},
        "source": {"url": f"{base}/{source}", "passwords": passwords},
    }
    world.engine.calls.clear()
    made = Node(platform, "ben@desk")
    arguments = ({name: secrets}, {name: params}, {name: private})
    return operate(made, operation, [tenant], *arguments)[0]


def names(world):
    return [call[0] if call[1] == "" else " ".join(call) for call in world.engine.calls]


def test_a_restore_point_is_one_moment_of_both_databases(world):
    answer = act(world, _backup.Backup())
    assert "error" not in answer
    assert answer["restore_point"]["memories"] == 2
    assert answer["held_seconds"] > 0
    order = [
        "stop mc-acme-app",
        "snapshot",
        "stop mc-acme-neo4j",
        "start mc-acme-neo4j",
        "dump 00000003-1",
        "session ends",
    ]
    done = [name for name in names(world) if name in order]
    assert done == order
    assert world.record("acme")["restore_point"]["id"] == answer["restore_point"]["id"]
    assert world.record("acme")["first_restore_point"] == answer["restore_point"]["taken"]
    assert not (world.data_dir / "tenants/acme/work").exists()
    assert not world.plan("acme")["acme"].drift


def test_the_manifest_says_what_it_is_and_holds_no_secret(world, tmp_path):
    answer = act(world, _backup.Backup(), reason="update")
    access = {"url": str(world.data_dir / f"backups/acme-{UID[:8]}"), "passwords": ["one"]}
    repository = _backup.Repository("acme", access, str(tmp_path))
    repository.open()
    raw = repository.manifest(answer["restore_point"]["id"])
    manifest = json.loads(raw)
    assert manifest["reason"] == "update"
    assert manifest["alembic"] == "e8d4a37b69f2"
    assert manifest["embedder"] == {"model": "demo-embedding", "dimensions": 384}
    assert sorted(manifest["parts"]) == [
        "neo4j/databases/neo4j/store",
        "neo4j/transactions/neo4j/store",
        "postgres.dump",
    ]
    _platform, _tenant, secrets = tenant_data.make(tenant_uid=UID)
    for secret in filter(lambda text: len(text) > 8, secrets.values()):
        assert secret not in raw.decode()


def test_what_is_not_due_is_left_alone(world):
    act(world, _backup.Backup())
    answer = act(world, _backup.Backup(), due=True)
    assert not answer["changed"]
    assert "young enough" in answer["message"]
    assert names(world) == []


def test_a_tenant_that_was_made_anew_gets_no_latest_point_from_a_schedule(world):
    """Its node was lost: a schedule between deploy_tenant and restore_tenant takes nothing."""
    path = world.data_dir / "tenants/acme/state.json"

    def made(at):
        gone = ("restore_point", "first_restore_point")
        record = {k: v for k, v in world.record("acme").items() if k not in gone}
        path.write_text(json.dumps({**record, "created": at}))

    act(world, _backup.Backup())
    # One of a killed run, which the record lacks, is its own.
    made("2001-01-01T00:00:00Z")
    assert "error" not in act(world, _backup.Backup(), due=True)
    made("2199-01-01T00:00:00Z")
    error = act(world, _backup.Backup(), due=True)["error"]
    assert error.startswith("acme: was made anew on this node at 2199-01-01T00:00:00Z, and ")
    assert "restore_tenant -e tenant=acme" in error
    assert names(world) == []
    assert "operation" not in world.record("acme")
    # By hand it is taken.
    kept = act(world, _backup.Backup())["restore_point"]["id"]
    made("2199-01-01T00:00:00Z")
    assert "made anew" in act(world, _backup.Backup(), due=True)["error"]
    assert "error" not in act(world, _restore.Restore(), force=True, restore_point=kept)
    assert "made anew" not in act(world, _backup.Backup(), due=True).get("error", "")


def test_a_tenant_that_is_stopped_stays_so(world):
    for role in ("app", "neo4j", "postgres"):
        world.engine.stop(f"mc-acme-{role}", 1)
    assert world.converge("acme", tenant_state="suspended")["acme"].error == ""
    answer = act(world, _backup.Backup(), entry={"tenant_state": "suspended"})
    assert "error" not in answer
    assert answer["held_seconds"] == 0
    assert [name for name in names(world) if name.startswith(("start", "stop"))] == [
        "start mc-acme-postgres",
        "stop mc-acme-postgres",
    ]


class Neo4j:
    """How often Neo4j has to be started until it ends in order, and what it says then."""

    def __init__(self, world, monkeypatch, starts, killed):
        self.engine = world.engine
        self.starts = starts
        self.killed = killed
        self.began = 0
        self.real = world.engine.start, world.engine.stop
        monkeypatch.setattr(world.engine, "start", self.start)
        monkeypatch.setattr(world.engine, "stop", self.stop)
        monkeypatch.setattr(world.engine, "logs", self.logs)
        monkeypatch.setattr(_backup.time, "sleep", lambda seconds: None)

    @property
    def state(self):
        return self.engine.found_containers["mc-acme-neo4j"]["State"]

    def start(self, name):
        self.real[0](name)
        if name == "mc-acme-neo4j":
            self.began += 1
            self.state["StartedAt"] = f"start {self.began}"

    def stop(self, name, timeout):
        since = self.state.get("StartedAt")
        self.real[1](name, timeout)
        if name == "mc-acme-neo4j":
            bad = self.killed and self.began < self.starts
            self.state.update(StartedAt=since, ExitCode=137 if bad else 0)

    def logs(self, name, lines=15, since=""):
        if since != f"start {self.began}":
            return "Started.\nStopping...\nStopped."  # of an earlier life
        if self.began < self.starts:
            return "Stopped."
        return "Started.\nStopping...\nStopped."


@pytest.mark.parametrize("killed", [True, False])
def test_a_neo4j_that_did_not_end_in_order_is_recovered_before_it_is_copied(
    world, monkeypatch, killed
):
    neo4j = Neo4j(world, monkeypatch, 2, killed)
    neo4j.start("mc-acme-neo4j")
    answer = act(world, _backup.Backup())
    assert "error" not in answer
    done = [name for name in names(world) if name.endswith("neo4j") or name.startswith("dump")]
    assert done == [
        "stop mc-acme-neo4j",
        "start mc-acme-neo4j",
        "stop mc-acme-neo4j",
        "start mc-acme-neo4j",
        "dump 00000003-1",
    ]
    assert not world.plan("acme")["acme"].drift


def test_a_stopped_neo4j_that_did_not_end_in_order_is_recovered_too(world, monkeypatch):
    neo4j = Neo4j(world, monkeypatch, 2, False)
    neo4j.start("mc-acme-neo4j")
    for role in ("app", "neo4j", "postgres"):
        world.engine.stop(f"mc-acme-{role}", 1)
    assert world.converge("acme", tenant_state="suspended")["acme"].error == ""
    assert "error" not in act(world, _backup.Backup(), state="suspended")
    assert [name for name in names(world) if name.endswith("neo4j")] == [
        "stop mc-acme-neo4j",
        "start mc-acme-neo4j",
        "stop mc-acme-neo4j",
    ]
    assert "error" not in act(world, _backup.Backup(), state="suspended")
    assert not [name for name in names(world) if name.endswith("neo4j")]


def test_a_neo4j_that_never_ends_in_order_fails_the_backup_and_runs_on(world, monkeypatch):
    neo4j = Neo4j(world, monkeypatch, 99, True)
    neo4j.start("mc-acme-neo4j")
    monkeypatch.setattr(_backup, "_START_SECONDS", 0)
    answer = act(world, _backup.Backup())
    assert (
        "acme: Neo4j does not stop in order (container mc-acme-neo4j, exit code 137)"
        in (answer["error"])
    )
    assert not world.plan("acme")["acme"].drift
    gate = json.loads((world.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["state"] == "running"


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda w, m: w.engine.remove_container("mc-acme-neo4j"), "run deploy_tenant"),
        (lambda w, m: m.setattr(_reservation, "LEAST_FREE", 10**18), "make room"),
        (lambda w, m: (w.data_dir / "backups").write_text(""), "restic"),
    ],
)
def test_what_cannot_be_backed_up_is_not_touched(world, monkeypatch, break_it, words):
    break_it(world, monkeypatch)
    answer = act(world, _backup.Backup())
    assert words in answer["error"]
    assert names(world) == []
    assert "operation" not in world.record("acme")


def test_a_backup_that_fails_lets_requests_pass_again(world, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_backup, "dump_postgres", full)
    answer = act(world, _backup.Backup())
    assert "No space left" in answer["error"]
    gate = json.loads((world.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["state"] == "running"
    assert not (world.data_dir / "tenants/acme/work").exists()


# Changes of an entry that nobody deployed, and that no deployment has checked.
CHANGES = {
    "a broken model": {
        "tenant_model_base_url": "http://no.such.host/v1",
        "tenant_embedder_model": "other",
        "tenant_embedder_dimensions": 768,
        "tenant_language_model": "chat",
    },
    "other sizes and another name": {"tenant_tier": "pro", "tenant_hostname": "new.example.com"},
    "a suspension": {"tenant_state": "suspended"},
    "a pause": {"tenant_state": "paused", "tenant_wake": False},
}


def kept(world):
    """What a deployment would change: containers, files, the state that the gate and all know."""
    told = json.loads((world.data_dir / "gate/tenants/acme.json").read_text())
    files = [*world.data_dir.glob("edge/dynamic/*"), *world.data_dir.glob("tenants/acme/*/*")]
    return (
        {name: id(found["Config"]) for name, found in world.engine.found_containers.items()},
        {name: found["State"]["Running"] for name, found in world.engine.found_containers.items()},
        {path: path.read_text() for path in files if path.is_file()},
        (told["state"], world.record("acme")["state"]),
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_backup_starts_again_what_it_stopped_and_deploys_no_change(world, monkeypatch, change):
    before, asked = kept(world), []
    edge = _node.Edge
    monkeypatch.setattr(
        _node, "Edge", lambda name, *args: asked.append((name, kept(world)[1])) or edge(name, *args)
    )
    answer = act(world, _backup.Backup(), entry=CHANGES[change])
    assert "error" not in answer and answer["held_seconds"] > 0
    assert kept(world) == before
    assert [name for name in names(world) if name.startswith(("start", "stop"))][:2] == [
        "stop mc-acme-app",
        "stop mc-acme-neo4j",
    ]
    # It was proved, and by the hostname that the edge knows.
    assert asked == [("acme.memcloud.localhost", dict.fromkeys(before[1], True))]
    planned = world.plan("acme", **CHANGES[change])["acme"]
    assert planned.drift or planned.error


@pytest.mark.parametrize("change", CHANGES)
def test_a_backup_that_fails_deploys_no_change_either(world, monkeypatch, change):
    before = kept(world)

    def full(*_arguments):
        raise MemcloudError("acme: the disk is full")

    def cannot(*_arguments):
        raise MemcloudError("no engine")

    with monkeypatch.context() as patched:
        patched.setattr(_backup, "copy_store", full)  # while the servers are stopped
        assert act(world, _backup.Backup(), entry=CHANGES[change])["error"] == (
            "acme: the disk is full"
        )
    assert kept(world) == before
    # As after SIGKILL: the next run finds them stopped, and the gate held.
    with monkeypatch.context() as patched:
        patched.setattr(_backup, "copy_store", full)
        patched.setattr(_backup.Job, "start", cannot)
        error = act(world, _backup.Backup(), entry=CHANGES[change])["error"]
    assert "Bringing the tenant back failed too (no engine)" in error
    assert kept(world)[1]["mc-acme-app"] is False and kept(world)[3][0] == "updating"
    assert "error" not in act(world, _backup.Backup(), entry=CHANGES[change])
    assert kept(world) == before


def test_a_server_that_is_missing_after_a_killed_backup_is_made_again(world, monkeypatch):
    def die(*_arguments):
        raise MemcloudError("acme: killed")

    with monkeypatch.context() as patched:
        patched.setattr(_backup, "copy_store", die)
        patched.setattr(_backup.Job, "start", die)
        act(world, _backup.Backup())
    world.engine.remove_container("mc-acme-app")
    assert "error" not in act(world, _backup.Backup())
    assert "create mc-acme-app" in names(world)
    assert not world.plan("acme")["acme"].drift


def test_a_backup_of_a_tenant_that_is_stopped_starts_nothing_for_its_entry(world):
    assert world.converge("acme", tenant_state="paused")["acme"].error == ""
    before = kept(world)
    assert "error" not in act(world, _backup.Backup())  # the entry says running by now
    assert kept(world) == before and before[3] == ("paused", "paused")


def test_a_restore_goes_into_new_volumes_and_the_old_ones_go_last(world):
    act(world, _backup.Backup())
    answer = act(world, _restore.Restore(), force=True)
    assert "error" not in answer
    assert answer["generations"] == [1, 2]
    assert world.record("acme")["generation"] == 2
    done = names(world)
    assert done.index("fill dump") < done.index("stop mc-acme-app")
    assert done[-1].startswith("remove_volume")
    assert sorted(world.engine.found_volumes) == [
        "mc-acme-00000000-neo4j-g2",
        "mc-acme-00000000-postgres-g2",
    ]
    assert not world.plan("acme")["acme"].drift


@pytest.mark.parametrize(
    ("version", "generation", "kept"),
    [
        # Of an update of images alone: these go back on what was restored.
        ("0.4.0", 2, 3),
        # They may not be able to read what another server wrote.
        ("0.3.9", 2, None),
        # Of an update that copied the data: it stays what it is.
        ("0.4.0", 1, 1),
    ],
)
def test_what_a_restore_replaces_is_no_way_back_of_an_update(world, version, generation, kept):
    act(world, _backup.Backup())
    act(world, _restore.Restore(), force=True)
    assert world.record("acme")["generation"] == 2
    way_back = {"version": "0.3.9", "generation": generation, "keep_until": "2999-01-01T00:00:00Z"}
    path = world.data_dir / "tenants/acme/state.json"
    record = {**world.record("acme"), "version": version, "previous": way_back}
    path.write_text(json.dumps(record))
    assert "error" not in act(world, _restore.Restore(), force=True)
    assert world.record("acme")["generation"] == 3
    assert (world.record("acme").get("previous") or {}).get("generation") == kept
    assert all(name.endswith("-g3") for name in world.engine.found_volumes)


def test_what_was_imported_before_a_restore_is_not_taken_for_being_there(world):
    act(world, _backup.Backup())
    home = world.data_dir / "tenants/acme"
    record = {**world.record("acme"), "imported": {"memories": "f" * 64, "at": "today"}}
    (home / "state.json").write_text(json.dumps(record))
    (home / "import.json").write_text("{}")
    assert "error" not in act(world, _restore.Restore(), force=True)
    assert "imported" not in world.record("acme")
    assert not (home / "import.json").exists()


def test_memories_are_not_overwritten_without_force(world):
    act(world, _backup.Backup())
    answer = act(world, _restore.Restore())
    assert "has 2 memories" in answer["error"]
    assert "force=true" in answer["error"]
    assert world.record("acme").get("generation", 1) == 1


def no_image(world, monkeypatch):
    del world.engine.images["sha256:m"]


def no_model(world, monkeypatch):
    def away(*_arguments):
        raise MemcloudError("acme: the model provider does not answer")

    monkeypatch.setattr(_node, "check_model", away)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (no_image, "acme: its node has no image of MemMachine 0.4.0: run restore_tenant with -e v"),
        (no_model, "acme: the model provider does not answer"),
    ],
)
def test_a_server_that_could_not_start_is_found_before_anything_is_fetched_or_stopped(
    world, monkeypatch, break_it, words
):
    act(world, _backup.Backup())
    break_it(world, monkeypatch)
    answer = act(world, _restore.Restore(), force=True)
    assert answer["error"].startswith(words)
    assert not [name for name in names(world) if name.startswith(("fill", "stop", "create"))]
    assert "operation" not in world.record("acme")


def test_a_server_that_is_not_there_is_asked_for_before_a_restore(world):
    before = world.record("acme")
    assert "missing" not in act(world, _restore.PlanRestore())
    answer = act(world, _restore.PlanRestore(), entry={"tenant_version": "0.3.9"})
    assert (answer["missing"], answer["changed"]) == ("0.3.9", False)
    assert names(world) == [] and world.record("acme") == before


def test_counts_that_differ_leave_the_tenant_as_it_was(world, monkeypatch):
    act(world, _backup.Backup())
    monkeypatch.setattr(FakeSession, "counted", {"episodes": {}, "semantic": {}})
    answer = act(world, _restore.Restore(), force=True)
    assert "ci/a: 0 of 2 episodes" in answer["error"]
    assert "mc-acme-00000000-postgres" in world.engine.found_volumes
    assert len(world.engine.found_volumes) == 2
    assert not world.plan("acme")["acme"].drift


def test_a_restored_tenant_that_does_not_prove_itself_is_taken_back(world, monkeypatch):
    act(world, _backup.Backup())
    proofs = iter([MemcloudError("nothing is found"), None, None])
    real = _restore.Job.prove

    def prove(job, *args):
        problem = next(proofs)
        if problem:
            raise problem
        return real(job, *args)

    monkeypatch.setattr(_restore.Job, "prove", prove)
    answer = act(world, _restore.Restore(), force=True)
    assert "nothing is found" in answer["error"]
    assert world.record("acme").get("generation", 1) == 1
    assert "mc-acme-00000000-postgres" in world.engine.found_volumes
    assert not world.plan("acme")["acme"].drift


@pytest.mark.parametrize("lasts", [False, True])
def test_a_full_disk_when_a_restore_is_written_down_costs_no_data(world, monkeypatch, lasts):
    # The volumes may be on another disk than the record: removing the old ones makes no room then.
    act(world, _backup.Backup())
    real, failed = NodeState.write_tenant, []

    def full(state, name, record):
        if record.get("generation") == 2 or (failed and lasts):
            failed.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json")
        real(state, name, record)

    with monkeypatch.context() as patched:
        patched.setattr(NodeState, "write_tenant", full)
        answer = act(world, _restore.Restore(), force=True)
    assert failed and "No space left on device" in answer["error"]
    assert answer["recorded"]["version"] == "0.4.0"
    first = [f"mc-acme-00000000-{role}" for role in ("neo4j", "postgres")]
    assert sorted(world.engine.found_volumes) == first
    assert "error" not in act(world, _backup.Backup())
    assert sorted(world.engine.found_volumes) == first
    assert not world.plan("acme")["acme"].drift


def killed(world):
    """As after SIGKILL of a backup."""
    path = world.data_dir / "tenants/acme/state.json"
    left = {"name": "backup", "owner": "ann@desk", "state": "running", "touches": True}
    left["running"] = ["postgres", "neo4j", "app"]
    record = {**json.loads(path.read_text()), "operation": left}
    path.write_text(json.dumps(record))


def test_what_was_left_half_done_on_volumes_that_are_gone_is_restored(world):
    act(world, _backup.Backup())
    killed(world)
    for role in ("postgres", "neo4j"):
        del world.engine.found_volumes[f"mc-acme-00000000-{role}"]
    error = act(world, _backup.Backup())["error"]
    assert "are gone from its node" in error
    assert not [name for name in names(world) if name.startswith(("start", "create"))]
    assert "has an unfinished backup of ann@desk and could not be brought back from it" in error
    assert "restore_tenant -e tenant=acme -e force=true brings back a restore point" in error
    # A restore that is refused changes nothing of that.
    assert "force=true" in act(world, _restore.Restore())["error"]
    assert world.record("acme")["operation"]["name"] == "backup"
    answer = act(world, _restore.Restore(), force=True)
    assert "error" not in answer and answer["generations"] == [1, 2]
    assert "operation" not in world.record("acme") and world.record("acme")["state"] == "running"
    gate = json.loads((world.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["state"] == "running"
    assert not world.plan("acme")["acme"].drift


def test_a_killed_restore_of_data_that_is_gone_is_done_by_the_next(world):
    act(world, _backup.Backup())
    killed(world)
    for role in ("postgres", "neo4j"):
        name = f"mc-acme-00000000-{role}"
        half = {**world.engine.found_volumes.pop(name), "Name": f"{name}-g2"}
        world.engine.found_volumes[f"{name}-g2"] = half
    answer = act(world, _restore.Restore(), force=True)
    assert "error" not in answer and answer["generations"] == [1, 3]
    assert all(name.endswith("-g3") for name in world.engine.found_volumes)
    assert not world.plan("acme")["acme"].drift


@pytest.mark.parametrize("touches", [True, False])
def test_a_disk_that_is_full_when_a_killed_run_is_finished_is_told(world, monkeypatch, touches):
    assert world.converge("acme", tenant_state="paused")["acme"].error == ""
    killed(world)
    path = world.data_dir / "tenants/acme/state.json"
    record = world.record("acme")
    record["operation"]["touches"] = touches
    record["operation"]["running"] = []
    path.write_text(json.dumps(record))

    def full(_state, _name, _record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(NodeState, "write_tenant", full)
        error = act(world, _backup.Backup(), entry={"tenant_state": "paused"})["error"]
        assert error.startswith("acme: No space left on device: make room")
        assert "has an unfinished backup of ann@desk" in error
        # What replaces its data goes on to what it needs itself.
        error = act(world, _restore.Restore(), entry={"tenant_state": "paused"})["error"]
        assert "there are no restore points" in error
    assert world.record("acme")["operation"]["name"] == "backup"
    assert "error" not in act(world, _backup.Backup(), entry={"tenant_state": "paused"})


def test_a_restore_that_failed_on_broken_data_does_not_stop_the_next(world, monkeypatch):
    act(world, _backup.Backup())
    real, waits = _restore.Job.prove, []

    def prove(job, *args):
        mounts = job.engine.inspect("mc-acme-postgres")["Mounts"]
        if not waits or not any(mount["Name"].endswith("-g2") for mount in mounts):
            raise MemcloudError("nothing is found")
        return real(job, *args)

    monkeypatch.setattr(_restore.Job, "prove", prove)
    error = act(world, _restore.Restore(), force=True)["error"]
    assert "Bringing the tenant back failed too (nothing is found)" in error
    assert "restore_tenant -e tenant=acme -e force=true" in error
    waits.append("a point that is whole")
    assert "error" not in act(world, _restore.Restore(), force=True)
    assert world.record("acme")["generation"] == 2 and world.record("acme")["state"] == "running"
    assert not world.plan("acme")["acme"].drift


def test_a_damaged_point_is_named_and_the_tenant_goes_on(world):
    act(world, _backup.Backup())
    for pack in (world.data_dir / f"backups/acme-{UID[:8]}/data").rglob("*"):
        if pack.is_file() and b"dump" not in pack.name.encode():
            pack.chmod(0o600)
            pack.write_bytes(b"x" * pack.stat().st_size)
    answer = act(world, _restore.Restore(), force=True)
    assert "error" in answer
    assert not [name for name in names(world) if name.startswith("stop")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Damaged("acme: restic restore: ciphertext verification failed"), "take an older point"),
        (RepositoryError("acme: restic restore: i/o timeout"), "could not be read"),
        (RepositoryError("acme: restic restore: no space left on device"), "could not be read"),
        (Refused("acme: restic restore: access denied"), "could not be read"),
    ],
)
def test_an_older_point_is_named_only_where_this_one_is_damaged(world, monkeypatch, error, words):
    act(world, _backup.Backup())

    def fails(*_arguments):
        raise error

    monkeypatch.setattr(_restore.Repository, "restore", fails)
    for operation, params in ((_restore.Restore(), {"force": True}), (_verify.Verify(), {})):
        told = act(world, operation, **params)["error"]
        assert words in told
        assert ("damaged" in told) is ("older" in told) is isinstance(error, Damaged)
        assert not [name for name in names(world) if name.startswith("stop")]


def test_another_root_key_is_named(world):
    act(world, _backup.Backup())
    for operation in (_backup.Backup(), _restore.Restore()):
        answer = act(world, operation, passwords=("two",))
        assert "platform_root_keys" in answer["error"]
        assert names(world) == []


def test_a_clone_is_of_the_tenant_that_was_named(world):
    act(world, _backup.Backup())
    other = "1" * 8 + "abcdef01"
    assert world.converge("acme", "globex")["globex"].error == ""
    told = {"source": f"acme-{UID[:8]}", "name": "globex", "uid": other, "force": True}
    answer = act(world, _restore.Restore(), source_uid="f" * 16, **told)
    assert "not of" in answer["error"]


def test_a_departing_tenant_is_stopped_and_refuses(world):
    answer = act(world, _backup.Depart())
    assert "error" not in answer
    gate = json.loads((world.data_dir / "gate/tenants/acme.json").read_text())
    assert gate["state"] == "suspended"
    containers = world.engine.found_containers.values()
    assert not any(container["State"]["Running"] for container in containers)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"tenant_version": "0.3.9"}, "tenant_version: is 0.3.9, but the tenant's memories were"),
        (CHANGES["a broken model"], "were stored with demo-embedding"),
    ],
)
def test_a_tenant_that_its_new_node_would_refuse_is_not_stopped(world, entry, words):
    plan = _backup.PlanDepart()
    assert words in act(world, plan, entry=entry)["error"]
    assert "error" not in act(world, plan)
    # Also one that was stopped for it: a move that was killed is run again.
    act(world, _backup.Depart())
    assert words in act(world, plan, entry=entry)["error"]
    assert "error" not in act(world, plan)
    assert names(world) == []


def test_restore_points_that_are_gone_are_told_by_the_next(world):
    assert "gone" not in act(world, _backup.Backup())["message"]
    url = world.data_dir / f"backups/acme-{UID[:8]}"
    words = f"; the earlier restore points are gone from {url}, this one is the first"
    shutil.rmtree(url)
    assert act(world, _backup.Backup())["message"].endswith(words)
    assert "gone" not in act(world, _backup.Backup())["message"]
    shutil.rmtree(url)
    assert act(world, _backup.Depart())["message"].endswith(words)


def test_semantic_memories_are_not_overwritten_without_force_either(world, monkeypatch):
    act(world, _backup.Backup())
    counted = {"episodes": {}, "semantic": {"ci/a": {"count": 3, "digest": "9"}}}
    monkeypatch.setattr(FakeSession, "counted", counted)
    assert "has 3 memories, which a restore replaces" in act(world, _restore.Restore())["error"]


def test_a_departed_tenant_is_not_brought_back_by_the_way(world):
    act(world, _backup.Depart())
    since = world.record("acme")["departed"]
    words = (
        f"acme: was stopped on this node at {since} to be moved; what it stored here from now on "
        "would be lost. Finish with move_tenant -e tenant=acme, or have it stay here with "
        "resume_tenant -e tenant=acme. Nothing was touched"
    )
    world.engine.calls.clear()
    assert world.plan("acme")["acme"].error == words
    assert world.converge("acme")["acme"].error == words
    assert act(world, _backup.Backup())["error"] == words
    assert names(world) == []
    # A move that was killed is run again.
    assert "error" not in act(world, _backup.Depart())
    # An operator says that it stays, or it is taken off this node.
    assert world.plan("acme", tenant_state="deleted")["acme"].error == ""
    assert "stays here" not in str(world.plan("acme", settle=True, tenant_state="deleted"))
    assert "tenant acme: stays here, though it was stopped to be moved" in [
        drift.words() for drift in world.plan("acme", settle=True)["acme"].drift
    ]
    assert world.converge("acme", settle=True)["acme"].error == ""
    assert "departed" not in world.record("acme")
    assert world.record("acme")["state"] == "running"
    assert world.plan("acme")["acme"].drift == []


def test_a_tenant_that_never_ran_has_nothing_to_back_up(world, monkeypatch):
    def nobody_answers(job):
        _backup.repository_of(job)
        raise RepositoryError("globex: i/o timeout")

    assert world.converge("acme", "globex", tenant_state="paused")["globex"].error == ""
    paused = {"name": "globex", "uid": "1" * 8 + "abcdef01", "state": "paused"}
    answer = act(world, _backup.Backup(), **paused)
    assert not answer["changed"]
    assert answer["message"] == "never ran, there is nothing to back up"
    answer = act(world, _verify.Verify(), **paused)
    assert not answer["changed"]
    assert answer["message"] == "never ran, so it has no restore points"
    assert names(world) == []
    # Keys that open the place of restore points may be there.
    assert not (world.data_dir / "tenants/globex/work").exists()
    with monkeypatch.context() as patched:
        patched.setattr(_verify, "repository_of", nobody_answers)
        assert act(world, _verify.Verify(), **paused)["error"] == "globex: i/o timeout"
    assert not (world.data_dir / "tenants/globex/work").exists()
    answer = act(world, _backup.Depart(), **paused)
    assert answer["message"] == "never ran, so there are no memories to take along"
    assert "restore_point" not in answer
    assert "departed" in world.record("globex")
    assert not [name for name in names(world) if name.startswith("start")]


def test_points_of_a_tenant_that_never_ran_here_are_verified(world):
    act(world, _backup.Backup())
    path = world.data_dir / "tenants/acme/state.json"
    record = {k: v for k, v in world.record("acme").items() if k not in ("embedder", "proved")}
    path.write_text(json.dumps(record))
    shutil.rmtree(world.engine.volumes_dir)
    answer = act(world, _verify.Verify(), restore_point="beef1234")
    assert "there is no restore point beef1234" in answer["error"]


def left(world):
    """acme went to another node, and what it had here is kept."""
    act(world, _backup.Depart())
    assert world.converge("acme", tenant_state="deleted", elsewhere="lives")["acme"].error == ""
    return world.record("acme")


@pytest.mark.parametrize("change", [{}, {"tenant_version": "0.3.9"}])
def test_a_tenant_does_not_come_back_with_what_it_had_before(world, change):
    since = left(world)["departed"]
    words = (
        f"acme: this node keeps what it had here when it went to another one at {since}, with "
        "which it must not come back: have that purged first with move_tenant -e tenant=acme"
    )
    world.engine.calls.clear()
    assert world.plan("acme", **change)["acme"].error.startswith(words)
    assert world.converge("acme", **change)["acme"].error.startswith(words)
    assert act(world, _backup.Depart())["error"].startswith(words)
    assert names(world) == []
    # Purged, it comes back empty, to be restored.
    purged = world.converge("acme", tenant_state="deleted", purge=True, elsewhere="lives")
    assert purged["acme"].error == ""
    assert world.plan("acme")["acme"].error == ""


def test_what_a_move_left_is_what_there_is_where_its_node_is_lost(world):
    left(world)
    assert world.converge("acme", settle=True)["acme"].error == ""
    assert world.record("acme")["state"] == "running"
    assert "departed" not in world.record("acme")


def test_a_half_made_move_target_does_not_count_as_the_tenant_either(world):
    """The tenant stayed on its old node, and was taken off this one."""
    world.converge("acme", tenant_state="deleted", elsewhere="lives")
    assert "this node keeps what it had here" in world.plan("acme")["acme"].error


def test_a_tenant_that_is_deleted_while_it_moves_can_be_brought_back(world):
    act(world, _backup.Depart())
    assert world.converge("acme", tenant_state="deleted")["acme"].error == ""
    assert world.converge("acme")["acme"].error == ""


def test_a_departure_that_fails_leaves_the_tenant_where_it_is(world, monkeypatch):
    def full(*_arguments):
        raise MemcloudError("acme: the disk is full")

    monkeypatch.setattr(_backup, "_store", full)
    assert "the disk is full" in act(world, _backup.Depart())["error"]
    assert "departed" not in world.record("acme")
    assert world.plan("acme")["acme"].drift == []


def test_a_tenant_that_cannot_be_stopped_for_its_move_serves_on(world, monkeypatch):
    real, failed = _backup.Job.bring, []

    def bring(job, tenant=None, generation=None):
        if tenant and tenant["state"] == "suspended" and not failed:
            failed.append(job.name)
            real(job, tenant, generation)
            raise MemcloudError("acme: the engine went away")
        return real(job, tenant, generation)

    monkeypatch.setattr(_backup.Job, "bring", bring)
    assert "the engine went away" in act(world, _backup.Depart())["error"]
    assert "departed" not in world.record("acme") and world.record("acme")["state"] == "running"
    assert json.loads((world.data_dir / "gate/tenants/acme.json").read_text())["state"] == "running"
    assert world.plan("acme")["acme"].drift == []


def test_a_sleeping_tenant_is_restored_and_sleeps_on(world):
    act(world, _backup.Backup())
    path = world.data_dir / "tenants/acme/state.json"
    asleep = {**world.record("acme"), "asleep": "2026-11-22T03:00:00Z"}
    path.write_text(json.dumps(asleep))
    assert world.converge("acme")["acme"].error == ""
    assert world.record("acme")["state"] == "paused"
    assert "error" not in act(world, _restore.Restore(), force=True)
    assert world.record("acme")["asleep"] and world.record("acme")["state"] == "paused"
    containers = world.engine.found_containers.values()
    assert not any(container["State"]["Running"] for container in containers)
    assert world.plan("acme")["acme"].drift == []


def test_a_restored_tenant_stays_on_the_images_that_it_was_proved_on(world):
    act(world, _backup.Backup())
    path = world.data_dir / "tenants/acme/state.json"
    path.write_text(json.dumps({**world.record("acme"), "images": {"memmachine": "sha256:other"}}))
    assert "error" not in act(world, _restore.Restore(), force=True)
    assert world.record("acme")["images"] == {
        "postgres": "sha256:p",
        "neo4j": "sha256:n",
        "memmachine": "sha256:m",
    }


@pytest.fixture
def answers(monkeypatch):
    """What the throw-away tenant says, as the test has it."""
    made = {"found": True, "switches": {}, "graph": ["u1"]}

    def answer_of(self, method, path, body):
        if path.endswith("/list"):
            return {"content": {"episodic_memory": [{"uid": "u1", "content": "a memory"}]}}
        if path.endswith("/search"):
            episodes = [{"uid": "u1"}] if made["found"] else []
            return {"content": {"episodic_memory": {"long_term_memory": {"episodes": episodes}}}}
        if path.endswith("/config/get"):
            if made["switches"] is None:
                raise MemcloudError(f"{path} answers 404")
            return made["switches"]
        return {}

    def execute(name, command, *_rest):
        asked = command[command.index("-c") + 2 :]
        known = [uid for uid in made["graph"] if uid in asked]
        return json.dumps([len(made["graph"]), known]).encode()

    monkeypatch.setattr(_verify.StandIn, "_ask", answer_of)
    monkeypatch.setattr(test_deploy.FakeEngine, "execute", staticmethod(execute), raising=False)
    return made


@pytest.mark.parametrize(
    ("switches", "graph"),
    [({"enabled": False}, ["u1"]), ({"long_term_memory_enabled": False}, ["u1"]), ({}, [])],
)
def test_what_no_search_finds_in_the_tenant_need_not_be_found(world, answers, switches, graph):
    # A project that is switched off; stored for semantic memory alone, or not taken by the model.
    act(world, _backup.Backup())
    answers.update(found=False, switches=switches, graph=graph)
    answer = act(world, _verify.Verify())
    assert "error" not in answer
    assert answer["evidence"]["searched"] == 0
    assert "1 of them found by id and 0 by search" in answer["message"]


def test_a_server_without_switches_has_its_memories_searched(world, answers):
    act(world, _backup.Backup())
    answers.update(found=False, switches=None)
    assert "memory u1 is not found by search" in act(world, _verify.Verify())["error"]


@pytest.mark.parametrize("found", [True, False])
def test_a_verification_leaves_evidence_and_nothing_else(world, answers, found):
    act(world, _backup.Backup())
    before = dict(world.engine.found_containers)
    answers["found"] = found
    answer = act(world, _verify.Verify())
    (path,) = (world.data_dir / "evidence").iterdir()
    evidence = json.loads(path.read_text())
    assert evidence["proved"] is found
    assert ("error" in answer) is not found
    assert world.record("acme")["verified"]["proved"] is found
    assert set(world.engine.found_containers) == set(before)
    assert len(world.engine.found_networks) == 2
    assert len(world.engine.found_volumes) == 2
    started = [name for name in names(world) if name.startswith("start") and "verify" in name]
    assert started == [f"start mc-verify-{UID}-{role}" for role in ("postgres", "neo4j", "app")]


class FakeExecution:
    """A psql that answers each line with the next of its answers."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.written = []

    def write(self, data):
        self.written.append(data.decode())

    def frames(self):
        yield from self.answers

    def __exit__(self, *details):
        pass


@pytest.mark.parametrize("parts", [[b'[{"id": "3-1"}]\n'], [b'[{"id"', b': "3-1"}]\n']])
def test_a_session_reads_whole_lines(monkeypatch, parts):
    running = FakeExecution([(1, part) for part in parts])
    monkeypatch.setattr(_stores, "Execution", lambda *args: running)
    with _stores.Session(None, "mc-acme-postgres") as session:
        assert session.snapshot() == "3-1"
    assert "REPEATABLE READ READ ONLY" in "".join(running.written)


def test_a_session_that_ends_says_why(monkeypatch):
    running = FakeExecution([(2, b"FATAL: the database is gone")])
    monkeypatch.setattr(_stores, "Execution", lambda *args: running)
    with pytest.raises(MemcloudError, match="the database is gone"):
        _stores.Session(None, "mc-acme-postgres").counts()
