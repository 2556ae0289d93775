"""Comparison and converging: what differs is found in words, and only that is touched."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _plan, _spec
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    Converger,
    image_ids,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write

sys.path.insert(0, os.path.dirname(__file__))
from fake_engine import FakeEngine

IMAGES = {"image-db": "sha256:" + "d" * 64, "image-app": "sha256:" + "a" * 64}
ME = {"uid": os.getuid(), "gid": os.getgid()}


@pytest.fixture
def desired(tmp_path):
    secret = str(tmp_path / "secret")
    return _spec.Desired(
        platform="mc",
        kind="tenant",
        tenant="acme",
        uid="0123456789abcdef",
        networks=(_spec.Network("mc-acme-data", "mc-d1", "10.0.0.0/28", "10.0.0.1", "data", True),),
        volumes=(_spec.Volume("mc-acme-01234567-db", "db"),),
        directories=(_spec.Directory(str(tmp_path / "dir"), 0o700, **ME),),
        files=(
            _spec.File(str(tmp_path / "dir" / "plain"), 0o644, **ME, content="hello\n"),
            _spec.File(secret, 0o600, **ME, fingerprint="f1"),
        ),
        containers=(
            _spec.Container(
                name="mc-acme-db",
                role="db",
                image="image-db",
                networks=(_spec.Attachment("mc-acme-data", "10.0.0.2"),),
                memory=64 * 1024**2,
                cpus=1.0,
                pids=50,
            ),
            _spec.Container(
                name="mc-acme-app",
                role="app",
                image="image-app",
                networks=(_spec.Attachment("mc-acme-data", "10.0.0.4"),),
                memory=64 * 1024**2,
                reads=(secret,),
            ),
        ),
    )


class Node:
    """A node with a fake engine; converges and compares."""

    def __init__(self):
        self.engine = FakeEngine(dict(IMAGES))
        self.written = {}
        self.secret = "s3cret"

    def _found(self):
        return _plan.observe(self.engine, "mc", ["acme"]).get("acme", _plan.Found())

    def plan(self, desired):
        images = image_ids(self.engine, [desired])
        return _plan.compare(desired, self._found(), images, self.written)

    def converge(self, desired):
        self.engine.calls.clear()
        contents = {file.path: self.secret for file in desired.files if file.secret}
        converger = Converger(self.engine, desired, contents, self.written)
        return converger.apply(self._found(), image_ids(self.engine, [desired]))


@pytest.fixture
def node(desired):
    node = Node()
    node.converge(desired)
    return node


def words(drifts):
    return [drift.words() for drift in drifts]


def test_a_bare_node_gets_everything_and_starts_it(desired, tmp_path):
    node = Node()
    drifts = node.converge(desired)
    assert {d.name for d in drifts} >= {"mc-acme-db", "mc-acme-app", "mc-acme-data"}
    assert ("start", "mc-acme-db") in node.engine.calls
    assert ("start", "mc-acme-app") in node.engine.calls
    assert (tmp_path / "secret").read_text() == "s3cret"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "dir").stat().st_mode) == 0o700


def test_a_second_run_finds_and_touches_nothing(node, desired):
    assert node.plan(desired) == []
    assert node.converge(desired) == []
    assert node.engine.calls == []


def test_what_is_above_a_directory_is_made_and_never_changed(tmp_path):
    """platform_data_dir may be below somebody's home, or a link to another disk."""
    theirs, disk = tmp_path / "theirs", tmp_path / "disk"
    theirs.mkdir(mode=0o700)
    disk.mkdir(mode=0o750)
    (theirs / "mc").symlink_to(disk)
    paths = [(theirs / "mc", 0o755), (theirs / "new/mc", 0o711)]
    desired = _spec.Desired(
        platform="mc",
        kind="node-node",
        directories=tuple(_spec.Directory(str(path), mode, **ME) for path, mode in paths),
    )
    node = Node()
    assert len(node.converge(desired)) == 2
    assert node.plan(desired) == []
    modes = [(theirs, 0o700), (disk, 0o755), (theirs / "new", 0o755), (theirs / "new/mc", 0o711)]
    assert [(path, stat.S_IMODE(path.stat().st_mode)) for path, _mode in modes] == modes
    assert (theirs / "mc").is_symlink()


def test_no_secret_in_words_or_diff(desired):
    drifts = Node().converge(desired)
    assert "s3cret" not in str(words(drifts)) + str(_spec.diff_of(drifts))


def _stop(node, desired, tmp_path):
    node.engine.stop("mc-acme-app", 1)


def _crash_loop(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["State"].update(Restarting=True, ExitCode=3)


def _freeze(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["State"].update(Paused=True, Status="paused")


def _remove(node, desired, tmp_path):
    node.engine.remove_container("mc-acme-app")


def _limit(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["HostConfig"]["Memory"] = 32 * 1024**2


def _restart_policy(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["HostConfig"]["RestartPolicy"] = {"Name": "no"}


def _edit_secret(node, desired, tmp_path):
    (tmp_path / "secret").write_text("edited")


def _edit_plain(node, desired, tmp_path):
    (tmp_path / "dir" / "plain").write_text("edited")


def _delete_plain(node, desired, tmp_path):
    (tmp_path / "dir" / "plain").unlink()


def _open_secret(node, desired, tmp_path):
    (tmp_path / "secret").chmod(0o644)


def _open_directory(node, desired, tmp_path):
    (tmp_path / "dir").chmod(0o755)


def _network(node, desired, tmp_path):
    node.engine.remove_network("mc-acme-data")


def _subnet(node, desired, tmp_path):
    node.engine.found_networks["mc-acme-data"]["IPAM"] = {"Config": [{"Subnet": "10.9.0.0/28"}]}


def _image(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["Image"] = "sha256:" + "9" * 64


def _detached(node, desired, tmp_path):
    node.engine.found_containers["mc-acme-app"]["NetworkSettings"]["Networks"] = {}


def _another_network(node, desired, tmp_path):
    networks = node.engine.found_containers["mc-acme-app"]["NetworkSettings"]["Networks"]
    networks["bridge"] = {}


APP, DB = "mc-acme-app", "mc-acme-db"
DRIFTS = [
    (_stop, "container mc-acme-app: is not running (exited (0) -> running)", {("start", APP)}),
    (
        _crash_loop,
        "container mc-acme-app: ends again and again (exit code 3)",
        {("stop", APP), ("start", APP)},
    ),
    (_freeze, "container mc-acme-app: is not running (paused -> running)", {("start", APP)}),
    (
        _remove,
        "container mc-acme-app: is missing (nothing -> running)",
        {("create", APP), ("start", APP)},
    ),
    (_limit, "container mc-acme-app: memory limit differs (32m -> 64m)", {("update", APP)}),
    (
        _restart_policy,
        "container mc-acme-app: restart policy differs (no -> unless-stopped)",
        {("update", APP)},
    ),
    (_edit_secret, "secret: was changed by hand", {("stop", APP), ("start", APP)}),
    (_edit_plain, "plain: content differs", set()),
    (_delete_plain, "plain: is missing (nothing -> written)", set()),
    (_open_secret, "secret: owner or mode differs (0644", set()),
    (_open_directory, "dir: owner or mode differs (0755", set()),
    (
        _network,
        "network mc-acme-data: is missing (nothing -> 10.0.0.0/28)",
        {("create_network", "mc-acme-data")}
        | {(call, name) for call in ("stop", "remove", "create", "start") for name in (APP, DB)},
    ),
    (
        _subnet,
        "network mc-acme-data: subnet differs (10.9.0.0/28 -> 10.0.0.0/28)",
        {("remove_network", "mc-acme-data"), ("create_network", "mc-acme-data")}
        | {(call, name) for call in ("stop", "remove", "create", "start") for name in (APP, DB)},
    ),
    (
        _image,
        "container mc-acme-app: image differs (999999999999 -> aaaaaaaaaaaa)",
        {(call, APP) for call in ("stop", "remove", "create", "start")},
    ),
    (
        _detached,
        "container mc-acme-app: address in network mc-acme-data differs (detached -> 10.0.0.4)",
        {(call, APP) for call in ("stop", "remove", "create", "start")},
    ),
    (
        _another_network,
        "container mc-acme-app: is attached to network bridge (bridge -> detached)",
        {(call, APP) for call in ("stop", "remove", "create", "start")},
    ),
]


@pytest.mark.parametrize(("break_it", "said", "calls"), DRIFTS, ids=[d[0].__name__ for d in DRIFTS])
def test_each_kind_of_drift_is_said_and_repaired_alone(
    node, desired, tmp_path, break_it, said, calls
):
    break_it(node, desired, tmp_path)
    found = words(node.plan(desired))
    assert any(said in line for line in found), found
    node.converge(desired)
    assert set(node.engine.calls) == calls
    assert node.plan(desired) == []


def test_planning_changes_nothing(desired, tmp_path):
    node = Node()
    assert node.plan(desired)
    assert node.engine.calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_changed_limit_is_set_on_the_living_container(node, desired):
    bigger = dataclasses.replace(desired.containers[0], memory=128 * 1024**2, cpus=2.0)
    node.converge(dataclasses.replace(desired, containers=(bigger, desired.containers[1])))
    assert node.engine.calls == [("update", "mc-acme-db")]


@pytest.mark.parametrize("ends_in", ["stop", "start"])
def test_a_run_that_ends_before_a_reader_read_is_finished_by_the_next(
    node, desired, tmp_path, monkeypatch, ends_in
):
    path = str(tmp_path / "dir" / "plain")
    app = dataclasses.replace(desired.containers[1], reads=(path,))
    file = dataclasses.replace(desired.files[0], content="another\n")
    changed = dataclasses.replace(
        desired, containers=(desired.containers[0], app), files=(file, desired.files[1])
    )

    def end(*_given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(node.engine, ends_in, end)
        node.converge(changed)
    node.converge(changed)
    assert ("start", APP) in node.engine.calls
    assert (tmp_path / "dir" / "plain").read_text() == "another\n"
    assert node.plan(changed) == []


def test_a_changed_command_makes_a_new_container(node, desired):
    other = dataclasses.replace(desired.containers[0], command=("other",))
    changed = dataclasses.replace(desired, containers=(other, desired.containers[1]))
    node.converge(changed)
    assert node.engine.calls == [(c, DB) for c in ("stop", "remove", "create", "start")]


def test_a_paused_tenant_is_stopped_app_first_and_left_so(node, desired):
    stopped = tuple(dataclasses.replace(c, running=False) for c in desired.containers)
    paused = dataclasses.replace(desired, containers=stopped)
    node.converge(paused)
    assert node.engine.calls == [("stop", APP), ("stop", DB)]
    assert node.plan(paused) == []


def test_a_container_that_should_not_exist_is_removed(node, desired):
    without = dataclasses.replace(desired, containers=desired.containers[:1])
    assert "container mc-acme-app: should not exist (present -> absent)" in words(
        node.plan(without)
    )
    node.converge(without)
    assert node.engine.calls == [("stop", APP), ("remove", APP)]


def test_volumes_are_never_removed_by_converging(node, desired):
    node.converge(dataclasses.replace(desired, volumes=(), containers=(), networks=()))
    assert "mc-acme-01234567-db" in node.engine.found_volumes


def test_a_volume_of_another_identity_stops_everything(node, desired):
    node.engine.found_volumes["mc-acme-01234567-db"]["Labels"]["memcloud.uid"] = "f" * 16
    with pytest.raises(MemcloudError, match=r"acme: volume .* belongs to another identity"):
        node.plan(desired)


def test_a_missing_image_is_named_before_anything_is_touched(desired, tmp_path):
    node = Node()
    del node.engine.images["image-app"]
    with pytest.raises(MemcloudError, match="acme: image image-app is missing on the node"):
        node.converge(desired)
    assert node.engine.calls == []
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_absent_goes_with_its_record(node, desired, tmp_path):
    gone = _spec.Desired(
        "mc",
        "tenant",
        "acme",
        desired.uid,
        absent=(str(tmp_path / "secret"), str(tmp_path / "dir")),
    )
    node.converge(gone)
    assert list(tmp_path.iterdir()) == []
    assert node.written == {}
    assert node.engine.found_containers == {}
    assert node.engine.found_networks == {}
    assert node.engine.found_volumes
    assert node.plan(gone) == []


def test_whoever_watches_a_directory_sees_one_step_of_a_write(tmp_path, monkeypatch):
    watched = tmp_path / "watched"
    watched.mkdir()
    replace, seen = os.replace, []

    def note(scratch, path):
        seen.append((os.path.dirname(scratch), os.listdir(watched)))
        replace(scratch, path)

    monkeypatch.setattr(os, "replace", note)
    atomic_write(str(watched / "file"), "new", scratch_dir=str(tmp_path))
    assert seen == [(str(tmp_path), [])]
    assert (watched / "file").read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_and_no_scratch_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(str(path), "\udc80")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("text", "size"),
    [(5, 5), ("640m", 640 * 1024**2), ("1g", 1024**3), ("16MB", 16 * 1024**2), ("1.5k", 1536)],
)
def test_sizes(text, size):
    assert _spec.parse_size(text) == size


def test_a_wrong_size_is_explained():
    with pytest.raises(MemcloudError, match="'lots' is not a size"):
        _spec.parse_size("lots")


def test_a_container_from_options_rejects_unknown_ones():
    with pytest.raises(MemcloudError, match="container x: unknown option memmory"):
        _spec.container_from_dict({"name": "x", "image": "i", "memmory": 5})


def test_a_container_from_options_has_its_types():
    container = _spec.container_from_dict(
        {
            "name": "x",
            "image": "i",
            "memory": "64m",
            "cpus": "0.5",
            "pids": "7",
            "command": ["sleep", 5],
            "environment": {"A": 1},
            "mounts": [{"type": "tmpfs", "target": "/tmp", "options": "size=1m"}],
            "networks": [{"name": "n", "address": "10.0.0.2"}],
        }
    )
    assert container.memory == 64 * 1024**2
    assert (container.cpus, container.pids, container.command) == (0.5, 7, ("sleep", "5"))
    assert container.mounts[0].options == "size=1m"


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(MemcloudError, match=r"x\.json is not valid JSON"):
        _plan.read_json(str(tmp_path / "x.json"))
