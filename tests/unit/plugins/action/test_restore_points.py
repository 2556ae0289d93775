"""The access to restore points: derived on the controller, sent only with what needs it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.memcloud.memmachine.plugins.action import (
    fleet_inputs,
    fleet_operate,
    fleet_restore_points,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import RepositoryError
from test_fleet_actions import Run

SETTINGS = """
  vars:
    platform_backup_repository: s3:https://s3.example.com/bucket
    platform_backup_environment: {AWS_ACCESS_KEY_ID: node, AWS_SECRET_ACCESS_KEY: adds-only}
    platform_backup_prune_environment: {AWS_ACCESS_KEY_ID: pruner, AWS_SECRET_ACCESS_KEY: deletes}
"""


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path)
    path = tmp_path / "hosts.yml"
    settings = SETTINGS.strip("\n").removeprefix("  vars:\n")
    path.write_text(path.read_text().replace("  vars:\n", "  vars:\n" + settings + "\n", 1))
    made.task_vars["hostvars"]._inventory.refresh_inventory()
    made.answer = lambda args: {
        "tenants": [
            {"tenant": name, "operation": "list", "points": [], "message": "0 restore points"}
            for name in json.loads(args.get("repositories") or args.get("tenants"))
        ]
    }
    return made


def batch_of(run):
    return next(batch for batch in run(fleet_inputs)["batches"] if batch["node"] == "node1")


def sent(run, action, **options):
    run(fleet_restore_points, batch=batch_of(run), action=action, tenants=["acme"], **options)
    ((_name, args),) = run.calls
    return json.loads(args["repositories"])["acme"]


def test_a_node_gets_what_adds_and_not_what_deletes(run):
    access = sent(run, "check", share="10%")
    assert access["url"] == "s3:https://s3.example.com/bucket/acme-01234567"
    assert access["environment"]["AWS_SECRET_ACCESS_KEY"] == "adds-only"
    assert access["share"] == "10%"
    assert len(access["passwords"]) == 1
    assert run.become == "sudo"


def test_the_controller_prunes_with_credentials_of_its_own(run):
    access = sent(run, "prune", prune_credentials=True)
    assert access["environment"]["AWS_SECRET_ACCESS_KEY"] == "deletes"
    assert access["keep"]["daily"] == 7
    assert run.become is None  # what a node wants


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        ("s3:https://s3.example.com/bucket", ""),
        ("/srv/points/", "/srv/points"),
        ("", "/var/lib/memcloud/mc/backups"),
    ],
)
def test_a_folder_of_the_node_is_told_with_the_batch(run, tmp_path, place, folder):
    path = tmp_path / "hosts.yml"
    path.write_text(path.read_text().replace("s3:https://s3.example.com/bucket", f'"{place}"'))
    run.task_vars["hostvars"]._inventory.refresh_inventory()
    assert batch_of(run)["platform"]["backup_folder"] == folder


@pytest.mark.parametrize("asked", [True, False])
def test_an_operation_gets_the_access_only_when_it_needs_it(run, asked):
    batch = batch_of(run)
    run.answer = {"tenants": []}
    run(fleet_operate, batch=batch, operation="backup", tenants=["acme"], repository=asked)
    ((_name, args),) = run.calls
    private = json.loads(args["private"])["acme"]
    assert ("repository" in private) is asked
    assert "adds-only" not in json.dumps({k: v for k, v in args.items() if k != "private"})


def test_a_clone_reads_the_source_and_nothing_else_of_it(run):
    batch = batch_of(run)
    run.answer = {"tenants": []}
    told = {"source": "globex", "source_uid": "0123456789abcde2"}
    run(
        fleet_operate,
        batch=batch,
        operation="restore",
        tenants=["acme"],
        repository=True,
        params=told,
    )
    ((_name, args),) = run.calls
    private = json.loads(args["private"])["acme"]
    assert private["source"]["url"].endswith("/globex-01234567")
    assert private["source"]["passwords"] != private["repository"]["passwords"]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (True, "; the bucket keeps them as older versions until a rule of its own removes them"),
        (False, ""),
        (RepositoryError("acme: denied"), "; whether the bucket keeps them as older versions"),
    ],
)
def test_pruning_says_what_the_bucket_keeps(run, monkeypatch, versions, said):
    def are_kept(_self):
        if isinstance(versions, Exception):
            raise versions
        return versions

    monkeypatch.setattr(fleet_restore_points.ObjectVersions, "are_kept", are_kept)
    entry = {"url": "s3:https://s3.example.com/bucket/acme-01234567", "removed": ["4ec480f2"]}
    entry.update(tenant="acme", message="1 restore points removed, 3 stay")
    run.answer = {"tenants": [entry]}
    batch = batch_of(run)
    options = {"action": "prune", "prune_credentials": True, "tenants": ["acme"]}
    message = run(fleet_restore_points, batch=batch, **options)["tenants"]["acme"]["message"]
    assert message.startswith("1 restore points removed, 3 stay" + said)
    assert bool(said) is (message != "1 restore points removed, 3 stay")


def test_what_is_found_is_told(run, capsys):
    found = {"id": "4ec480f2", "taken": "2026-11-21T03:00:00Z", "reason": "schedule"}
    run.answer = {
        "tenants": [
            {"tenant": "acme", "operation": "list", "points": [found], "message": "1 restore point"}
        ]
    }
    run(fleet_restore_points, batch=batch_of(run), action="list", tenants=["acme"])
    printed = capsys.readouterr().out
    assert "1/1 acme: 1 restore point\n    4ec480f2  2026-11-21T03:00:00Z  schedule" in printed
