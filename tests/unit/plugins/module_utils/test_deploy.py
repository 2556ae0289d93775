"""Planning and converging tenants on a node, with an engine in memory."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _converge,
    _deletion,
    _deploy,
    _desired,
    _edge_api,
    _job,
    _node,
    _spec,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_ca
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import (
    check_provider_stays,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import ProbeError, Proof

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
from fake_engine import FakeEngine

IMAGES = {"sha256:p": "sha256:p", "sha256:n": "sha256:n", "sha256:m": "sha256:m"}


class FakeProbe:
    """A round trip that works, or that fails as it is told."""

    failure = None
    count = 0

    def __init__(self, tenant, edge, key, deadline, server):
        assert key

    def wait_ready(self, check=None):
        FakeProbe.count += 1
        if self.failure:
            raise ProbeError(self.failure)

    def round_trip(self):
        return Proof(1.0, 2.0, 3.0, 4.0)


@pytest.fixture
def node(tmp_path, monkeypatch):
    for path in ("tenants", "gate/tenants", "edge/dynamic", "checked"):
        os.makedirs(tmp_path / path)
    images = {
        "postgres": {"id": "sha256:p"},
        "neo4j": {"id": "sha256:n"},
        "memmachine": {"0.4.0": {"id": "sha256:m"}},
    }
    (tmp_path / "images.json").write_text(json.dumps(images))
    engine = FakeEngine(dict(IMAGES))
    monkeypatch.setattr(engine, "client", None, raising=False)
    monkeypatch.setattr(_node, "Engine", lambda host: engine)
    monkeypatch.setattr(_job, "Probe", FakeProbe)
    monkeypatch.setattr(FakeProbe, "failure", None)
    monkeypatch.setattr(_node, "check_model", lambda *args: None)
    monkeypatch.setattr(_node, "validate_in_image", lambda *args: None)
    for module in (_deploy, _job):
        monkeypatch.setattr(module, "wait_for_router", lambda *args: None)
    for module in (_deletion, _job):
        monkeypatch.setattr(module, "wait_for_gate", lambda *args: None)
    for module in (_deletion, _edge_api):
        monkeypatch.setattr(module, "ask", lambda *args: (0, "no answer"))
    monkeypatch.setattr(_deploy, "MINIMUM_FREE_BYTES", 0)
    # Owners need root to be set; which they are is asserted on the desired state.
    mine = (os.getuid(), os.getgid())
    for kind in ("File", "Directory"):
        made = getattr(_spec, kind)
        monkeypatch.setattr(
            _desired,
            kind,
            lambda path, mode, *owner, made=made, **rest: made(path, mode, *mine, **rest),
        )
    return Node(tmp_path, engine)


class Node:
    """A node with the tenants of a run."""

    def __init__(self, data_dir, engine):
        self.data_dir = data_dir
        self.engine = engine

    def made(self, names, variables):
        secrets, tenants = {}, []
        for index, name in enumerate(names):
            uid = f"{index:x}" * 8 + "abcdef01"
            given = {"platform_tls_mode": "off", "tenant_uid": uid, **variables}
            platform, tenant, secrets[name] = tenant_data.make(self.data_dir, name, **given)
            tenants.append(tenant)
        return _deploy.TenantNode(platform, "ann@desk"), tenants, secrets

    def plan(self, *names, purge=False, settle=False, elsewhere="", **variables):
        node, tenants, _secrets = self.made(names, variables)
        return {result.tenant: result for result in node.plan(tenants, purge, settle, elsewhere)}

    def converge(self, *names, purge=False, settle=False, elsewhere="", **variables):
        node, tenants, secrets = self.made(names, variables)
        self.engine.calls.clear()
        return {r.tenant: r for r in node.converge(tenants, secrets, purge, settle, elsewhere)}

    def record(self, name):
        return json.loads((self.data_dir / "tenants" / name / "state.json").read_text())


def test_a_new_tenant_is_deployed_proved_and_then_as_it_should_be(node):
    assert node.plan("acme")["acme"].drift
    result = node.converge("acme")["acme"]
    assert result.error == ""
    assert result.proof["found"] == 3.0
    assert node.record("acme")["state"] == "running"
    assert node.record("acme")["embedder"] == {"model": "demo-embedding", "dimensions": 384}
    assert node.plan("acme")["acme"].drift == []
    assert node.converge("acme")["acme"].as_dict()["changed"] is False
    assert node.engine.calls == []


def test_two_tenants_get_slots_of_their_own(node):
    node.converge("acme", "globex")
    assert {node.record("acme")["slot"], node.record("globex")["slot"]} == {1, 2}


def test_a_tenant_that_does_not_prove_itself_fails_alone_and_is_tried_again(node, monkeypatch):
    monkeypatch.setattr(FakeProbe, "failure", "acme: could not find the memory")
    result = node.converge("acme")["acme"]
    assert "could not find the memory" in result.error
    assert node.record("acme")["state"] == "deploying"
    assert "embedder" not in node.record("acme")
    monkeypatch.setattr(FakeProbe, "failure", None)
    assert "tenant acme: has not proved itself (deploying -> running)" in [
        d.words() for d in node.plan("acme")["acme"].drift
    ]
    assert node.converge("acme")["acme"].error == ""
    assert node.plan("acme")["acme"].drift == []


def test_a_failed_proof_says_what_the_dead_container_said(node, monkeypatch):
    node.converge("acme")
    node.engine.stop("mc-acme-postgres", 1)
    monkeypatch.setattr(FakeProbe, "failure", "acme: no answer")
    monkeypatch.setattr(node.engine, "start", lambda name: None)
    error = node.converge("acme")["acme"].error
    assert "container mc-acme-postgres is exited (exit code 0), its last lines: last words" in error


def test_a_server_between_two_of_its_ends_tells_its_last_words_too(node, monkeypatch):
    node.converge("acme")
    monkeypatch.setattr(FakeProbe, "failure", "acme: the server does not stay up")
    inspect = node.engine.inspect

    def restarted(name):
        found = inspect(name)
        return dict(found, RestartCount=3) if found and name == "mc-acme-app" else found

    monkeypatch.setattr(node.engine, "inspect", restarted)
    error = node.converge("acme", tenant_limits={"burst": 5})["acme"].error
    assert "container mc-acme-app was started again 3 times, its last lines: last words" in error


@pytest.mark.parametrize("since", [0, 1, 2, 3])
def test_what_a_server_came_back_from_long_ago_does_not_count(node, monkeypatch, since):
    """Out of memory now and then, or a database that took its time after a loss of power."""
    node.converge("acme")
    ends = {"mc-acme-app": 7}
    inspect = node.engine.inspect

    def restarted(name):
        found = inspect(name)
        return dict(found, RestartCount=ends[name]) if found and name in ends else found

    def wait_ready(_probe, check):
        check()
        ends["mc-acme-app"] += since
        check()

    monkeypatch.setattr(node.engine, "inspect", restarted)
    monkeypatch.setattr(FakeProbe, "wait_ready", wait_ready)
    error = node.converge("acme", tenant_limits={"burst": 5})["acme"].error
    assert error.startswith("acme: the server does not stay up") == (since == 3)
    assert bool(error) == (since == 3)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("{", "state.json is not valid JSON"),
        ("[]", "state.json is not valid JSON (it is no object)"),
        # What nobody foresaw.
        ('{"files": [1]}', "acme: unexpected "),
    ],
)
def test_one_failure_does_not_stop_the_others(node, record, words):
    node.converge("acme", "globex")
    (node.data_dir / "tenants" / "acme" / "state.json").write_text(record)
    planned = node.plan("acme", "globex")
    assert words in planned["acme"].error
    assert (planned["globex"].error, planned["globex"].drift) == ("", [])
    results = node.converge("acme", "globex")
    assert words in results["acme"].error
    assert results["globex"].error == ""


def test_a_full_disk_is_told_with_what_to_do(node, monkeypatch):
    node.converge("acme")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        error = node.converge("acme", tenant_limits={"burst": 7})["acme"].error
    assert error.startswith("acme: No space left on device: make room on the node's disk (")
    assert list(node.data_dir.rglob("*.new")) == []
    assert node.converge("acme", tenant_limits={"burst": 7})["acme"].error == ""


def test_a_restart_keeps_requests_waiting_and_a_change_of_limits_does_not(node):
    node.converge("acme")
    changed = node.converge("acme", tenant_limits={"burst": 7})["acme"]
    assert (changed.held_seconds, node.engine.calls) == (0.0, [])

    node.converge("acme")
    node.engine.stop("mc-acme-postgres", 1)
    repaired = node.converge("acme")["acme"]
    assert repaired.held_seconds > 0
    assert [drift.name for drift in repaired.drift] == ["mc-acme-postgres"]
    assert node.engine.calls == [
        ("stop", "mc-acme-app"),
        ("start", "mc-acme-postgres"),
        ("start", "mc-acme-app"),
    ]
    assert node.plan("acme")["acme"].drift == []


def test_new_passwords_reach_neo4j_before_the_app_starts(node, monkeypatch):
    def change(host, password, candidates):
        node.engine.calls.append(("password", len(candidates)))
        return True

    monkeypatch.setattr(_job, "set_neo4j_password", change)
    node.converge("acme")
    assert node.record("acme")["passwords"] == {"root_key": 1, "epoch": 1}
    words = [drift.words() for drift in node.plan("acme", tenant_secret_epoch=2)["acme"].drift]
    assert any("(epoch 1 of root key 1 -> epoch 2 of root key 1)" in line for line in words)

    assert node.converge("acme", tenant_secret_epoch=2)["acme"].error == ""
    assert node.engine.calls == [
        ("stop", "mc-acme-app"),
        ("stop", "mc-acme-postgres"),
        ("start", "mc-acme-postgres"),
        ("password", 1),
        ("start", "mc-acme-app"),
    ]
    assert node.plan("acme", tenant_secret_epoch=2)["acme"].drift == []

    # A tenant that stands still: Neo4j is started for this alone.
    node.converge("acme", tenant_secret_epoch=2, tenant_state="paused")
    paused = {"tenant_secret_epoch": 3, "tenant_state": "paused"}
    assert node.converge("acme", **paused)["acme"].error == ""
    assert node.engine.calls == [
        ("start", "mc-acme-neo4j"),
        ("password", 1),
        ("stop", "mc-acme-neo4j"),
    ]
    assert node.plan("acme", **paused)["acme"].drift == []


def test_paused_stays_paused(node):
    node.converge("acme")
    result = node.converge("acme", tenant_state="paused")["acme"]
    assert (result.error, result.proof) == ("", None)
    assert node.record("acme")["state"] == "paused"
    assert node.plan("acme", tenant_state="paused")["acme"].drift == []


def test_a_provider_that_refuses_keeps_nobody_running(node, monkeypatch):
    """Settings of the fleet may have changed since the tenant was deployed."""

    def refuse(_engine, _state, _platform, tenant, *_rest):
        raise VariableError(tenant["tenant"], "platform_model_api_key", "is refused")

    node.converge("acme")
    monkeypatch.setattr(_node, "check_model", refuse)
    # A request could start this one.
    assert "is refused" in node.converge("acme", tenant_state="paused")["acme"].error
    for given in ({"tenant_state": "suspended"}, {"tenant_state": "paused", "tenant_wake": False}):
        result = node.converge("acme", **given)["acme"]
        assert (result.error, result.state) == ("", given["tenant_state"])
    assert "is refused" in node.converge("acme")["acme"].error
    assert node.record("acme")["state"] == "paused"


def test_what_is_kept_is_not_due_because_the_node_has_an_old_clock(node):
    node.converge("acme")
    made, tenants, secrets = node.made(["acme"], {"tenant_state": "deleted"})
    made.run = {**made.run, "at": "2099-01-01T00:00:00Z"}  # the controller's
    (result,) = made.converge(tenants, secrets)
    assert node.record("acme")["deleted"] == "2099-01-01T00:00:00Z"
    assert result.deletion["purge_after"].startswith("2099-01-31")


def test_delete_keeps_the_data_and_a_new_deploy_brings_it_back(node):
    node.converge("acme")
    result = node.converge("acme", tenant_state="deleted")["acme"]
    assert (result.error, result.state) == ("", "deleted")
    assert node.engine.found_containers == {}
    assert node.engine.found_networks == {}
    assert len(node.engine.found_volumes) == 2
    assert {thing["kind"] for thing in result.deletion["left"]} >= {"volume", "files", "slot"}
    assert result.deletion["purge_after"] > result.deletion["at"]
    assert node.plan("acme", tenant_state="deleted")["acme"].drift == []
    before = set(node.engine.found_volumes)
    node.converge("acme")
    assert set(node.engine.found_volumes) == before


def test_purge_leaves_nothing(node):
    node.converge("acme")
    result = node.converge("acme", tenant_state="deleted", purge=True)["acme"]
    assert result.error == ""
    assert node.engine.found_volumes == {}
    assert os.listdir(node.data_dir / "tenants") == []
    assert json.loads((node.data_dir / "node.json").read_text())["slots"] == {}
    assert os.listdir(node.data_dir / "locks") == []
    report = result.deletion
    assert report["left"] == [] and report["purged"] and report["purge_after"] is None
    assert {thing["kind"] for thing in report["gone"]} >= {"container", "network", "volume", "slot"}
    assert report["found"] == report["gone"]
    (line,) = (node.data_dir / "deletions.jsonl").read_text().splitlines()
    assert json.loads(line)["gone"] == len(report["gone"])
    # Asked again, it looks everywhere once more.
    again = node.converge("acme", tenant_state="deleted", purge=True)["acme"]
    assert (again.error, again.deletion["found"], again.deletion["left"]) == ("", [], [])


@pytest.fixture
def with_authority(node):
    """A node that makes certificates: names of their files, and what a tenant is deployed with."""
    ensure_ca(str(node.data_dir / "edge/ca"), "the node's")

    def deploy(name, hostname):
        given = {"platform_tls_mode": "local_ca", "tenant_hostname": hostname}
        result = node.converge(name, **given)[name]
        return result.error, sorted(os.listdir(node.data_dir / "edge/certs"))

    return deploy


def test_the_certificate_of_a_former_hostname_goes(node, with_authority, monkeypatch):
    assert with_authority("acme", "a.example.com") == ("", ["a.example.com.pem"])
    monkeypatch.setattr(FakeProbe, "failure", "acme: could not find the memory")
    error, names = with_authority("acme", "b.example.com")
    assert "could not find" in error and names == ["a.example.com.pem", "b.example.com.pem"]
    monkeypatch.setattr(FakeProbe, "failure", None)
    assert with_authority("acme", "b.example.com") == ("", ["b.example.com.pem"])
    assert "former_hostnames" not in node.record("acme")


def test_the_certificate_of_a_former_hostname_stays_where_it_is_used(node, with_authority):
    with_authority("acme", "a.example.com")
    other = node.data_dir / "edge/dynamic/other.yml"
    other.write_text('{"tls": {"certificates": [{"certFile": "/etc/certs/a.example.com.pem"}]}}')
    error, names = with_authority("acme", "b.example.com")
    assert error == "" and names == ["a.example.com.pem", "b.example.com.pem"]


def test_a_deleted_tenant_leaves_alone_what_another_one_has_with_its_hostname(node, with_authority):
    with_authority("acme", "a.example.com")
    with_hostname = {"platform_tls_mode": "local_ca", "tenant_hostname": "a.example.com"}
    deleted = {**with_hostname, "tenant_state": "deleted"}
    node.converge("acme", **deleted)
    certificates = node.data_dir / "edge/certs"
    assert os.listdir(certificates) == []
    node.converge("globex", tenant_uid="1" * 16, **with_hostname)
    (certificates / "a.example.com.au.pem").write_text("somebody else's")
    kept = ["a.example.com.au.pem", "a.example.com.pem"]
    assert node.plan("acme", **deleted)["acme"].drift == []
    purged = node.converge("acme", purge=True, **deleted)["acme"]
    assert (purged.error, purged.deletion["left"]) == ("", [])
    assert sorted(os.listdir(certificates)) == kept


def test_what_the_platform_calls_by_the_name_of_a_tenant_is_not_the_tenants(node):
    node.converge("acme")
    others = [node.data_dir / path for path in ("edge/acme", "acme.json", "edge/acme.yml", "acme")]
    for path in others:
        path.mkdir(parents=True, exist_ok=True) if not path.suffix else path.write_text("")
    left = node.data_dir / "gate/wake/acme"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("")
    purged = node.converge("acme", tenant_state="deleted", purge=True)["acme"]
    assert {thing["name"] for thing in purged.deletion["left"]} == {str(left)}
    assert all(path.exists() for path in others)


def test_purge_takes_what_a_killed_move_packed(node):
    node.converge("acme")
    folder = node.data_dir / "backups"
    folder.mkdir()
    for name in ("acme-00000000.tar", "acme-00000001.tar"):
        (folder / name).write_text("")
    report = node.converge("acme", tenant_state="deleted", purge=True)["acme"].deletion
    assert os.listdir(folder) == ["acme-00000001.tar"]
    assert report["left"] == []
    assert str(folder / "acme-00000000.tar") in [thing["name"] for thing in report["gone"]]


def test_a_purge_that_leaves_restore_points_in_the_operators_folder_does_not_forget_them(
    node, tmp_path_factory, monkeypatch
):
    place = tmp_path_factory.mktemp("mnt")
    points, stays = place / "acme-00000000", place / "globex-00000001"
    for folder in (points, stays):
        folder.mkdir(parents=True)
        (folder / "config").write_text("restic")
    folders = {"tenant_state": "deleted", "platform_backup_repository": str(place)}
    node.converge("acme")
    home = node.data_dir / "tenants/acme"
    (home / "exports").mkdir()
    removed = _deletion.shutil.rmtree

    def refuse(path, **how):
        if path != str(points):
            removed(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(_deletion.shutil, "rmtree", refuse)
        # What cannot be removed is named each time.
        for _attempt in range(2):
            report = node.converge("acme", purge=True, **folders)["acme"].deletion
            assert str(points) in [thing["name"] for thing in report["left"]]
            assert os.listdir(home) == ["state.json"]
            assert node.record("acme")["state"] == "deleted"
    report = node.converge("acme", purge=True, **folders)["acme"].deletion
    assert report["left"] == [] and not home.exists()
    assert os.listdir(place) == [stays.name]


def test_purge_spares_the_volumes_of_another_identity(node):
    node.converge("acme")
    labels = node.engine.found_volumes["mc-acme-00000000-postgres"]["Labels"]
    labels["memcloud.uid"] = "f" * 16
    node.converge("acme", tenant_state="deleted", purge=True)
    assert list(node.engine.found_volumes) == ["mc-acme-00000000-postgres"]


def of_another_node(node, elsewhere, **variables):
    """What is purged of acme, which is on another node."""
    how = {"purge": True, "elsewhere": elsewhere, "tenant_state": "deleted", **variables}
    return node.plan("acme", **how)["acme"], node.converge("acme", **how)["acme"]


@pytest.mark.parametrize("elsewhere", ["lives", "purged"])
def test_what_a_tenant_of_another_node_left_is_purged(node, elsewhere):
    node.converge("acme")
    node.converge("acme", tenant_state="deleted", elsewhere="lives")  # as a move does
    planned, done = of_another_node(node, elsewhere)
    assert planned.drift and (done.error, done.deletion["left"]) == ("", [])
    assert node.engine.found_volumes == {}
    assert os.listdir(node.data_dir / "tenants") == []
    planned, done = of_another_node(node, elsewhere)
    assert (planned.drift, done.drift, done.deletion) == ([], [], None)


def test_a_tenant_that_left_nothing_leaves_no_trace_on_other_nodes(node):
    planned, done = of_another_node(node, "purged")
    assert (planned.drift, planned.error, done.deletion, done.error) == ([], "", None, "")
    assert not (node.data_dir / "deletions.jsonl").exists()
    assert not (node.data_dir / "registry.sqlite").exists()


@pytest.mark.parametrize(("elsewhere", "left"), [("lives", True), ("purged", False)])
def test_a_folder_that_nodes_share_goes_with_the_tenant_alone(node, tmp_path, elsewhere, left):
    shared = {"platform_backup_repository": str(tmp_path / "shared")}
    node.converge("acme", **shared)
    points = tmp_path / "shared/acme-00000000"
    points.mkdir(parents=True)
    _planned, done = of_another_node(node, elsewhere, **shared)
    assert (done.error, points.exists()) == ("", left)


def test_another_tenant_of_its_name_is_spared(node):
    node.converge("acme")
    theirs = {"tenant_uid": "f" * 16}
    planned, done = of_another_node(node, "purged", **theirs)
    assert (planned.drift, planned.error, done.deletion) == ([], "", None)
    labels = node.engine.found_volumes["mc-acme-00000000-neo4j"]["Labels"]
    labels["memcloud.uid"] = "f" * 16
    for result in of_another_node(node, "purged", **theirs):
        assert "also the record of another tenant of that name" in result.error
    assert len(node.engine.found_volumes) == 2


@pytest.mark.parametrize("purge", [False, True])
def test_who_has_the_name_of_another_tenant_does_not_delete_it(node, purge):
    node.converge("acme")
    theirs = {"tenant_uid": "f" * 16, "tenant_state": "deleted", "purge": purge}
    before = node.record("acme")
    for result in (node.plan("acme", **theirs)["acme"], node.converge("acme", **theirs)["acme"]):
        assert "another tenant of that name (uid 00000000abcdef01)" in result.error
        assert "and tenant_state, which is deleted by now" in result.error
    assert node.engine.calls == [] and node.record("acme") == before


@pytest.mark.parametrize(
    "how", [{}, {"tenant_state": "deleted"}, {"tenant_state": "deleted", "purge": True}]
)
def test_the_uid_of_a_tenant_of_another_name_is_refused(node, how):
    node.converge("acme")
    node.converge("acme", tenant_state="deleted")
    left = list(node.engine.found_volumes)
    for result in (node.plan("initech", **how), node.converge("initech", **how)):
        assert "tenant_uid: is 00000000abcdef01, which is that of tenant acme" in (
            result["initech"].error
        )
    assert node.engine.calls == [] and list(node.engine.found_volumes) == left
    assert not (node.data_dir / "gate/tenants/initech.json").exists()


def test_a_copied_uid_purges_nothing_on_other_nodes(node):
    node.converge("acme")
    node.converge("acme", tenant_state="deleted")
    node.converge("initech", tenant_state="deleted", purge=True, elsewhere="purged")
    assert node.engine.calls == [] and len(node.engine.found_volumes) == 2
    node.converge("acme")
    assert node.record("acme")["slot"] == 1


DEMO, REAL = "demo-embedding", "text-embedding-3-small"


@pytest.mark.parametrize(
    ("stored", "provider", "wanted", "advice"),
    [
        (None, "openai", REAL, ""),
        (DEMO, "demo", DEMO, ""),
        (DEMO, "demo", "no-such-model", ""),
        (DEMO, "openai_compatible", DEMO, ""),
        (REAL, "openai", "text-embedding-3-large", ""),
        (DEMO, "openai", REAL, "set tenant_model_provider: demo in the entry of acme"),
        (REAL, "demo", DEMO, "set the provider of text-embedding-3-small again"),
    ],
)
def test_memories_do_not_change_between_the_demo_and_a_real_provider(
    stored, provider, wanted, advice
):
    model = {"provider": provider, "embedder_model": wanted, "embedder_dimensions": 8}
    tenant = {"tenant": "acme", "model": model}
    record = {"embedder": {"model": stored, "dimensions": 8}} if stored else {}
    with pytest.raises(VariableError, match=advice) if advice else contextlib.nullcontext():
        check_provider_stays(tenant, record)


REFUSED = [
    ({"tenant_version": "0.3.9"}, "acme: tenant_version: is 0.3.9, but the tenant's memories were"),
    ({"tenant_uid": "f" * 16}, "acme: tenant_uid: is f{16}, but this node keeps data of another"),
    (
        {
            "tenant_model_base_url": "http://models.example.com/v1",
            "tenant_embedder_model": "other",
            "tenant_embedder_dimensions": 768,
            "tenant_language_model": "chat",
        },
        "acme: tenant_model_provider: is openai_compatible now, .* with demo-embedding, .*: set "
        "tenant_model_provider: demo in the entry of acme. .* export_tenant",
    ),
    (
        {"tenant_embedder_dimensions": 128},
        "acme: tenant_embedder_model: the tenant's memories .* -e embedder_dimensions=128",
    ),
    (
        {"platform_root_keys": {1: "Kx" + tenant_data.ROOT_KEY[2:]}},
        "acme: platform_root_keys: version 1 is not the root key",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_would_hurt_is_refused_before_anything_is_touched(node, change, message):
    node.converge("acme")
    planned = node.plan("acme", **change)["acme"]
    assert re.search(message, planned.error), planned.error
    done = node.converge("acme", **change)["acme"]
    assert re.search(message, done.error), done.error
    assert node.engine.calls == []


def test_two_tenants_of_a_node_with_one_hostname(node):
    node.converge("acme")
    result = node.plan("acme", "globex", tenant_hostname="acme.memcloud.localhost")["globex"]
    assert "globex: tenant_hostname: acme.memcloud.localhost already leads to tenant acme" in (
        result.error
    )


def test_a_full_disk_is_named_before_anything_is_touched(node, monkeypatch):
    monkeypatch.setattr(_deploy, "MINIMUM_FREE_BYTES", 2**62)
    assert "MiB are free below" in node.plan("acme")["acme"].error
    assert "make room and run again" in node.converge("acme")["acme"].error
    assert node.engine.calls == []


def test_a_full_disk_keeps_no_key_alive_and_nobody_running(node, monkeypatch):
    two = [{"name": name, "sha256": digit * 64} for name, digit in (("ci", "a"), ("lost", "b"))]
    node.converge("acme", tenant_api_keys=two)
    monkeypatch.setattr(_deploy, "MINIMUM_FREE_BYTES", 2**62)
    assert node.converge("acme", tenant_api_keys=two[:1])["acme"].error == ""
    entry = json.loads((node.data_dir / "gate/tenants/acme.json").read_text())
    assert [key["name"] for key in entry["keys"]] == ["ci"]
    assert node.plan("acme", tenant_state="suspended")["acme"].error == ""
    assert node.converge("acme", tenant_state="suspended")["acme"].state == "suspended"
    assert "make room and run again" in node.plan("acme")["acme"].error


def test_a_node_of_an_older_collection_is_set_up_before_its_tenants(node, monkeypatch):
    """Its gate knows nothing of what the routes ask it, and nobody could call the MCP."""
    node.converge("acme")
    before = (node.data_dir / "edge/dynamic/acme.yml").read_text(), node.record("acme")
    asked = []
    monkeypatch.setattr(_edge_api, "ask", lambda port, path: asked.append(path) or (404, {}))
    for name, uid in (("acme", before[1]["uid"]), ("globex", "f" * 16)):
        error = node.converge(name, tenant_wake=False, tenant_uid=uid)[name].error
        assert error.startswith(f"{name}: its node was set up by an older collection")
        assert "run setup_node for the node" in error
    assert asked == ["/body"] * 2
    now = (node.data_dir / "edge/dynamic/acme.yml").read_text(), node.record("acme")
    assert now == before
    # What shuts a customer out waits for nothing.
    assert node.converge("acme", tenant_state="suspended")["acme"].state == "suspended"
    assert node.converge("acme", tenant_state="deleted")["acme"].state == "deleted"


def test_a_version_without_an_image_is_asked_for(node):
    planner, tenants, _secrets = node.made(["acme"], {"tenant_version": "0.3.9"})
    assert planner.missing_versions(tenants) == ["0.3.9"]
    assert (
        "no image of MemMachine 0.3.9"
        in node.converge("acme", tenant_version="0.3.9")["acme"].error
    )


def test_no_image_is_asked_for_by_a_tenant_that_is_refused(node):
    node.converge("acme")
    planner, tenants, _secrets = node.made(["acme"], {"tenant_version": "0.3.9"})
    given = {
        "platform": json.dumps(planner.platform),
        "tenants": json.dumps(tenants),
        "owner": "ann@desk",
        "purge": False,
        "settle": False,
        "elsewhere": "",
    }
    answer = _deploy.plan_tenants(given, True)
    assert "run update_tenant" in answer["tenants"][0]["error"]
    assert answer["missing_versions"] == []


def test_a_run_killed_before_the_start_is_finished_by_the_next(node, monkeypatch):
    class Killed(BaseException):
        pass

    def die(self, name):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(FakeEngine, "start", die)
        with pytest.raises(Killed):
            node.converge("acme")
    assert node.record("acme")["state"] == "deploying"
    assert node.converge("acme")["acme"].error == ""
    assert node.plan("acme")["acme"].drift == []


def test_an_unreadable_directory_is_an_error_of_the_tenant(node, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr(_converge, "atomic_write", refuse)
    assert "acme: [Errno 13]" in node.converge("acme")["acme"].error


def test_errors_of_ours_are_memcloud_errors():
    assert issubclass(ProbeError, MemcloudError)
