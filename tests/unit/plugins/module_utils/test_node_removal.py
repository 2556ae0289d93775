# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _node_removal
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_removal import (
    Removal,
    RemovalError,
    plan,
)
from engine_socket import EngineSocket

LABELS = {"memcloud.platform": "zz", "memcloud.tenant": "acme"}


@pytest.fixture
def engine(tmp_path):
    server = EngineSocket(tmp_path / "docker.sock")
    server.answers = {
        "/containers/json": [{"Id": "c1", "Names": ["/zz-acme-app"], "Labels": LABELS}],
        "/networks": [{"Id": "n1", "Name": "zz-acme-app"}],
        "/volumes": {"Volumes": [{"Name": "zz-acme-01234567-neo4j", "Labels": LABELS}]},
        "/images/json": [
            {"RepoTags": ["memcloud/gate:1-aa", "memcloud/base:trixie-bb"]},
            {"RepoTags": ["debian:13"]},
            {"RepoTags": None},
        ],
    }
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def node(tmp_path, engine, monkeypatch):
    """A node whose shared files are in a directory of the test's own."""
    configuration = tmp_path / "etc"
    configuration.mkdir()
    monkeypatch.setattr(_node_removal, "CONFIGURATION", str(configuration))
    monkeypatch.setattr(_node_removal, "INSTALLED_MARK", str(configuration / ".engine-installed"))
    monkeypatch.setattr(_node_removal, "SCRIPT", str(tmp_path / "memcloud-node"))
    monkeypatch.setattr(_node_removal, "RAISED_LIMITS", str(tmp_path / "raised.json"))
    monkeypatch.setattr(_node_removal, "ensure_hosts", lambda *arguments, **options: False)
    data = tmp_path / "var" / "memcloud" / "zz"
    data.mkdir(parents=True)
    venv = tmp_path / "opt" / "memcloud" / "venv"
    venv.mkdir(parents=True)
    (tmp_path / "memcloud-node").write_text("")
    (configuration / "zz.json").write_text(json.dumps({"platform": "zz"}))
    return Removal(
        node="node1",
        platform="zz",
        docker_host=engine.host,
        data_dir=str(data),
        venv=str(venv),
        data=True,
        images=False,
        engine=False,
    )


def remove(removal):
    steps = plan(removal)
    for step in steps:
        step.act()
    return [step.words for step in steps]


def test_memories_are_not_deleted_without_a_word(node, engine):
    with pytest.raises(RemovalError, match=r"node1: 1 volumes hold the memories of acme"):
        plan(dataclasses.replace(node, data=False))
    assert engine.deleted == []


def test_containers_go_before_networks_and_volumes(node, engine):
    remove(node)
    assert engine.deleted == [
        "/containers/c1",
        "/networks/n1",
        "/volumes/zz-acme-01234567-neo4j",
    ]


def test_nothing_is_left_of_the_last_platform(node, tmp_path):
    words = remove(node)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"docker.sock", "opt", "var"}
    assert f"directory {node.data_dir}" in words


@pytest.fixture
def disks(node, monkeypatch):
    """A disk of its own for the platform's files, and one below it for restore points."""
    mounted = {node.data_dir, f"{node.data_dir}/backups"}
    remove_directory = os.rmdir

    def rmdir(path, **options):
        if any(place.endswith("/" + os.path.basename(path)) for place in mounted):
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        remove_directory(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    monkeypatch.setattr(_node_removal, "_mounted", lambda: mounted)
    for name in ("backups/acme/keys", "tenants/acme"):
        os.makedirs(os.path.join(node.data_dir, name))
    for name in ("backups/acme/config", "tenants/acme/state.json"):
        with open(os.path.join(node.data_dir, name), "w", encoding="utf-8"):
            pass
    return mounted


def test_where_a_disk_is_mounted_its_content_goes_and_the_rest_of_the_platform(
    node, disks, tmp_path
):
    words = remove(node)
    assert f"directory {node.data_dir}" in words
    assert [path.name for path in tmp_path.joinpath("var/memcloud/zz").rglob("*")] == ["backups"]
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "memcloud-node").exists()
    # What stays is nothing to remove.
    assert f"directory {node.data_dir}" not in remove(node)


def test_a_directory_that_cannot_be_removed_is_an_error(node, disks):
    disks.remove(f"{node.data_dir}/backups")
    disks.add("/elsewhere/backups")
    with pytest.raises(OSError, match="busy"):
        remove(node)


def test_planning_removes_nothing(node, engine, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    plan(node)
    assert sorted(tmp_path.rglob("*")) == before
    assert engine.deleted == []


def test_raised_limits_of_the_kernel_go_back_with_the_last_platform(node, tmp_path):
    (tmp_path / "raised.json").write_text("{}")
    script = tmp_path / "memcloud-node"
    script.write_text(f"#!/bin/sh\necho $* >{tmp_path}/called\n")
    script.chmod(0o755)
    (tmp_path / "etc" / "mc.json").write_text(json.dumps({"platform": "mc"}))
    assert "raised limits of the kernel" not in [step.words for step in plan(node)]
    (tmp_path / "etc" / "mc.json").unlink()
    assert "raised limits of the kernel" in remove(node)
    assert (tmp_path / "called").read_text() == "limits --undo\n"
    assert not script.exists()


def test_what_another_platform_uses_stays(node, tmp_path):
    other = tmp_path / "var" / "memcloud" / "mc"
    other.mkdir()
    (other / "images.json").write_text(json.dumps({"gate": {"ref": "memcloud/gate:1-aa"}}))
    settings = {"platform": "mc", "data_dir": str(other)}
    (tmp_path / "etc" / "mc.json").write_text(json.dumps(settings))
    words = remove(dataclasses.replace(node, images=True))
    assert not any(text.startswith("image ") for text in words)
    assert (tmp_path / "memcloud-node").exists()
    assert (tmp_path / "opt" / "memcloud" / "venv").exists()
    assert (tmp_path / "etc" / "mc.json").exists()
    assert not (tmp_path / "etc" / "zz.json").exists()


def test_images_of_the_collection_go_and_others_stay(node, engine):
    remove(dataclasses.replace(node, images=True))
    images = [path for path in engine.deleted if path.startswith("/images/")]
    assert images == ["/images/memcloud/gate%3A1-aa", "/images/memcloud/base%3Atrixie-bb"]


def test_image_in_use_stays_without_an_error(node, engine):
    engine.refused["/images/memcloud/gate%3A1-aa"] = "image is in use"
    remove(dataclasses.replace(node, images=True))


def test_what_the_engine_refuses_is_named(node, engine):
    engine.refused["/networks/n1"] = "network has active endpoints"
    with pytest.raises(RemovalError, match=r"network zz-acme-app cannot be removed.*active"):
        remove(node)


def test_node_whose_engine_is_gone_is_cleaned_too(node, engine, tmp_path):
    gone = dataclasses.replace(node, docker_host=f"unix://{tmp_path}/gone.sock")
    assert f"directory {node.data_dir}" in remove(gone)
    assert engine.deleted == []


def test_what_an_engine_that_does_not_answer_may_hold_is_not_deleted_without_a_word(
    node, engine, tmp_path
):
    for name in ("globex", "acme"):
        (tmp_path / "var/memcloud/zz/tenants" / name).mkdir(parents=True)
    gone = dataclasses.replace(node, docker_host=f"unix://{tmp_path}/gone.sock", data=False)
    with pytest.raises(RemovalError) as refused:
        plan(gone)
    assert str(refused.value) == (
        f"node1: the engine at unix://{tmp_path}/gone.sock does not answer, and it may hold the "
        "memories of acme, globex. Nothing was touched. Start the engine and run again. To delete "
        "them for good, run again with -e remove_data=true"
    )
    del engine.answers["/volumes"]  # it answers, with an error
    with pytest.raises(RemovalError, match="does not answer, and it may hold"):
        plan(dataclasses.replace(node, data=False))
    engine.answers["/volumes"] = {"Volumes": None}
    assert f"directory {node.data_dir}" in remove(dataclasses.replace(node, data=False))


def test_restore_points_are_not_deleted_without_a_word(node, engine, tmp_path):
    folder = tmp_path / "var/memcloud/zz/backups"
    (folder / "acme-01234567").mkdir(parents=True)
    engine.answers["/volumes"] = {"Volumes": None}
    points = f"{folder} holds the restore points of acme-01234567. Nothing was touched. "
    rest = "To delete them for good, run again with -e remove_data=true"
    with pytest.raises(RemovalError) as refused:
        plan(dataclasses.replace(node, data=False))
    assert str(refused.value) == f"node1: {points}{rest}"
    (tmp_path / "var/memcloud/zz/tenants/acme").mkdir(parents=True)
    gone = f"unix://{tmp_path}/gone.sock"
    with pytest.raises(RemovalError) as refused:
        plan(dataclasses.replace(node, docker_host=gone, data=False))
    assert str(refused.value) == (
        f"node1: the engine at {gone} does not answer, and it may hold the memories of acme; "
        f"{points}Start the engine and run again. {rest}"
    )
    assert f"directory {node.data_dir}" in remove(dataclasses.replace(node, docker_host=gone))


def test_engine_that_we_did_not_bring_stays(node):
    words = remove(dataclasses.replace(node, engine=True))
    assert not {"the Docker Engine", "the engine of the platform"} & set(words)


def test_engine_of_the_platform_is_stopped_and_goes(node, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(_node_removal, "init_system", lambda: "none")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    root, pid_file = tmp_path / "engine", tmp_path / "engine.pid"
    root.mkdir()
    pid_file.write_text(str(process.pid))
    daemon = ["dockerd", "--data-root", str(root), "--pidfile", str(pid_file)]
    (tmp_path / "etc" / "zz.json").write_text(json.dumps({"platform": "zz", "daemon": daemon}))
    waiter = threading.Thread(target=process.wait)
    waiter.start()
    engine.answers["/images/json"] = []
    remove(dataclasses.replace(node, engine=True))
    waiter.join(5)
    assert process.returncode == -15
    assert not root.exists()


OF_OTHERS = [
    ("/containers/json", lambda a: [*a, {"Id": "x", "Names": ["/other"], "Labels": {}}]),
    ("/volumes", lambda a: {"Volumes": [*a["Volumes"], {"Name": "theirs", "Labels": None}]}),
    ("/images/json", lambda a: [*a, {"RepoTags": ["debian:13"]}]),
]


@pytest.mark.parametrize(("path", "add"), OF_OTHERS)
def test_an_engine_that_others_use_stays(node, engine, monkeypatch, path, add):
    engine.answers["/images/json"] = engine.answers["/images/json"][:1]
    mine = {path: engine.answers[path] for path in ("/containers/json", "/volumes", "/networks")}
    monkeypatch.setattr(_node_removal, "_labelled", lambda _removal, path, **o: mine[path])
    with open(_node_removal.INSTALLED_MARK, "w"):
        pass
    with_engine = [step.words for step in plan(dataclasses.replace(node, engine=True))]
    assert "the Docker Engine" in with_engine
    engine.answers[path] = add(engine.answers[path])
    words = [step.words for step in plan(dataclasses.replace(node, engine=True))]
    assert words == [word for word in with_engine if "ocker" not in word]
    assert engine.deleted == []
