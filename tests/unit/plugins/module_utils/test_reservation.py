"""Room on a node's disks for operations, on an engine in memory."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _backup,
    _reservation,
    _transfer,
    _update_data,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Operation,
    operate,
)

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy

node = test_deploy.node  # a fixture: the engine, with the edge's answers left out
MIB = 1024**2
TENANTS = ("acme", "globex")


class Writing(Operation):
    """Sets room aside, and looks who else works meanwhile."""

    name = "writing"

    def __init__(self, needed, together=None):
        self.needed = needed
        self.together = together
        self.at_work = 0
        self.most = 0

    def check(self, job):
        _reservation.reserve(job, {job.state.data_dir: self.needed})

    def run(self, job):
        if self.together:
            self.together.wait(60)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        time.sleep(0.2)
        self.at_work -= 1
        return {"message": "done"}


@pytest.fixture
def disk(node, monkeypatch):
    """Two tenants on one file system, of which 4000 MiB are free."""
    volumes = node.data_dir / "volumes"
    node.engine.volumes_dir = str(volumes)
    monkeypatch.setattr(_reservation, "_LOOK_SECONDS", 0.01)
    usage = shutil.disk_usage(node.data_dir)._replace(free=4000 * MIB)
    monkeypatch.setattr(_reservation.shutil, "disk_usage", lambda path: usage)
    assert not any(result.error for result in node.converge(*TENANTS).values())
    return node


def made(disk, *names, **given):
    given = {"platform_tls_mode": "off", **given}
    tenants, secrets = [], {}
    for name in names:
        uid = f"{TENANTS.index(name):x}" * 8 + "abcdef01"
        platform, tenant, secrets[name] = tenant_data.make(
            disk.data_dir, name, tenant_uid=uid, **given
        )
        tenants.append(tenant)
    return Node(platform, "ben@desk"), tenants, secrets


def work(disk, operation, *names):
    node, tenants, secrets = made(disk, *names)
    return operate(node, operation, tenants, secrets, {}, {})


def job_of(disk, **given):
    node, (tenant,), secrets = made(disk, "acme", **given)
    return Job(node, tenant, secrets["acme"], {"native": True}, {"repository": {}})


def test_what_is_free_and_what_is_needed_is_told(disk):
    (answer,) = work(disk, Writing(3500 * MIB), "acme")
    assert answer["error"] == (
        f"acme: 4000 MiB are free below {disk.data_dir} on its node, 4524 MiB are needed (1024 of "
        "them stay free, for everybody's databases): make room and run this again. Nothing was "
        "touched"
    )
    assert not (disk.data_dir / "tenants/acme/work").exists()


def test_tenants_of_a_node_do_not_count_on_the_same_bytes(disk):
    operation = Writing(2000 * MIB)
    assert [answer.get("error") for answer in work(disk, operation, *TENANTS)] == [None, None]
    assert operation.most == 1


def test_tenants_that_have_room_together_are_worked_on_together(disk):
    operation = Writing(1000 * MIB, threading.Barrier(2))
    assert [answer.get("error") for answer in work(disk, operation, *TENANTS)] == [None, None]


def test_room_of_another_process_is_waited_for(disk, monkeypatch):
    share = disk.data_dir / "tenants/globex/work/room.json"
    share.parent.mkdir()
    share.write_text(json.dumps({str(disk.data_dir): 2000 * MIB}))
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        share.unlink()

    monkeypatch.setattr(_reservation.time, "sleep", sleep)
    with locked(str(disk.data_dir / "locks"), "tenant-globex", "ann@desk"):
        _reservation.reserve(job_of(disk), {str(disk.data_dir): 2000 * MIB})
    assert waited


def test_room_of_others_is_not_waited_for_without_end(disk, monkeypatch):
    monkeypatch.setattr(_reservation, "_WAIT_SECONDS", 0.05)
    share = disk.data_dir / "tenants/globex/work/room.json"
    share.parent.mkdir()
    share.write_text(json.dumps({str(disk.data_dir): 2000 * MIB}))
    with locked(str(disk.data_dir / "locks"), "tenant-globex", "ann@desk"):
        (answer,) = work(disk, Writing(2000 * MIB), "acme")
    assert "acme: what works on other tenants of its node has set aside the room" in answer["error"]
    assert answer["error"].endswith("Nothing was touched")


def test_what_a_killed_run_set_aside_does_not_count(disk):
    share = disk.data_dir / "tenants/globex/work/room.json"
    share.parent.mkdir()
    share.write_text(json.dumps({str(disk.data_dir): 2000 * MIB}))
    assert "error" not in work(disk, Writing(2000 * MIB), "acme")[0]


def test_a_disk_for_restore_points_alone_may_become_full(disk, monkeypatch):
    monkeypatch.setattr(_reservation, "_device", lambda path: int(path.startswith("/mnt")))
    job = job_of(disk)
    _reservation.reserve(job, {job.state.data_dir: MIB, "/mnt/backups": 9000 * MIB})
    assert json.loads((disk.data_dir / "tenants/acme/work/room.json").read_text()) == {
        str(disk.data_dir): MIB
    }


def test_everything_that_an_operation_writes_is_counted(disk, monkeypatch):
    wanted = {}
    for module in (_backup, _transfer, _update_data):
        monkeypatch.setattr(module, "reserve", lambda job, needed: wanted.update(needed))
    monkeypatch.setattr(_backup, "begun_anew", lambda job: "")
    volumes = disk.data_dir / "volumes"
    for role, size in (("postgres", 1), ("neo4j", 10)):
        path = volumes / f"mc-acme-00000000-{role}/data"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(size * MIB))
    postgres, neo4j = (
        disk_usage(str(volumes / f"mc-acme-00000000-{role}")) for role in ("postgres", "neo4j")
    )

    def counted(check, job):
        wanted.clear()
        check(job)
        return dict(wanted)

    here, there = str(disk.data_dir), str(volumes)
    job = job_of(disk, platform_embedder_model="wider", platform_embedder_dimensions=3 * 384)
    url = f"{here}/backups/acme-00000000"
    job.private["repository"].update(url=url, passwords=["one"])
    both = postgres + neo4j
    assert counted(_backup.check_backup, job) == {here: both, url: both}
    job.record["restore_point"] = {"url": url}
    assert counted(_backup.check_backup, job) == {here: both}
    assert counted(_update_data.check_room, job) == {there: both, here: postgres}
    assert counted(_transfer.Export().check, job) == {here: 4 * postgres + 3 * neo4j}
    assert counted(_transfer.Reembed().check, job) == {there: 3 * both, here: postgres}
