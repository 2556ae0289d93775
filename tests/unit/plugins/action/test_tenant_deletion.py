# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A purge of off-site restore points, with the real restic, an S3 server that enforces locks, and
an emulator of Google's storage.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.memcloud.memmachine.plugins.action import tenant_deletion
from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import backup_access
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import Repository
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from support.google_storage import google_storage
from support.storage import BUCKET, LOCKED_BUCKET, VERSIONED_BUCKET, Storage, storage

sys.path.insert(0, str(Path(__file__).parent))
from ansible.template import Templar
from controller_side import ROOT_KEY, Run, write_inventory

pytestmark = pytest.mark.usefixtures("quick_repositories")
ENTRY = 'tenant_uid: "0123456789abcdef"\ntenant_node: node1\n'
REPORT = {
    "tenant": "acme",
    "uid": "0123456789abcdef",
    "hostname": "acme.example.com",
    "at": "2026-11-21T12:00:00Z",
    "by": "ann@desk",
    "purged": True,
    "purge_after": None,
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    port = 30000 + os.getpid() % 2000
    with storage(port, tmp_path_factory.mktemp("s3") / "server.log") as running:
        yield running


class Purge:
    """acme has a restore point off-site, and is purged."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        settings.update(platform_root_keys={"1": ROOT_KEY}, platform_domain="example.com")
        inventory = write_inventory(
            directory / "inventory",
            group_vars__all_DOT_yml=json.dumps(settings),
            host_vars__acme_DOT_yml=ENTRY,
        )
        self.directory = directory
        self.runner = Run(inventory)
        self._store()

    def _store(self) -> None:
        task_vars = self.runner.task_vars("acme")
        controller = Controller(task_vars, Templar(self.runner.loader, task_vars))
        tenant, platform = controller.tenant("acme", {})
        access = backup_access(tenant.name, tenant.uid, tenant.root_key_version, platform)
        point = self.directory / "point"
        point.mkdir()
        (point / "manifest.json").write_text("{}")
        repository = Repository("acme", access, str(self.directory))
        repository.ensure()
        repository.store(str(point), "2026-11-21T03:00:00Z", {"reason": "manual"})

    def run(self) -> dict[str, Any]:
        report = {**REPORT, "found": [], "gone": [], "left": []}
        return self.runner.act(tenant_deletion, "acme", report=report)

    def text(self, result: dict[str, Any]) -> str:
        return Path(result["report_file"]).with_suffix(".txt").read_text()


class S3Purge(Purge):
    """Its restore point is in a bucket of the S3 server."""

    def __init__(self, directory: Path, s3: Storage, bucket: str, **changes: Any) -> None:
        super().__init__(directory, **{**s3.variables_for(bucket), **changes})
        self.s3, self.bucket = s3, bucket

    def stored(self, kind: str = "Versions") -> list[str]:
        found = self.s3.client(self.s3.pruner).list_object_versions(Bucket=self.bucket)
        return [entry["Key"] for entry in found.get(kind) or ()]


def kinds(things: list[dict[str, Any]]) -> list[str]:
    return [thing["kind"] for thing in things]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory", host_vars__acme_DOT_yml=ENTRY)


def reported(inventory: Path, place: Path) -> dict[str, Any]:
    report = {
        **REPORT,
        "purged": False,
        "found": [],
        "gone": [{"kind": "route", "name": "acme"}],
        "left": [],
    }
    return Run(inventory).act(tenant_deletion, "acme", report=report, result_file=str(place))


def test_a_report_that_cannot_be_written_where_it_is_wanted_is_kept(inventory: Path) -> None:
    usual = inventory / ".reports/deleted-acme-20261121T120000Z.json"
    place = inventory.parent / "reports"
    place.mkdir()
    with pytest.raises(AnsibleActionFail, match=f"acme: result_file: {place} .*report is {usual}$"):
        reported(inventory, place)
    assert kinds(json.loads(usual.read_text())["gone"]) == ["route"]
    assert usual.with_suffix(".txt").exists()


def test_the_text_does_not_take_the_place_of_the_report(inventory: Path, tmp_path: Path) -> None:
    place = tmp_path / "acme.txt"
    assert reported(inventory, place)["report_file"] == str(place)
    assert kinds(json.loads(place.read_text())["gone"]) == ["route"]
    assert "acme" in Path(f"{place}.txt").read_text()


def test_without_versions_the_report_is_as_ever(tmp_path: Path, s3: Storage) -> None:
    purge = S3Purge(tmp_path, s3, BUCKET)
    result = purge.run()
    report = result["report"]
    assert kinds(report["gone"]) == ["restore points"]
    assert "an empty repository" in report["gone"][0]["note"]
    assert report["left"] == report["locked"] == report["unknown"] == []
    assert "Not known" not in purge.text(result)
    assert {"data", "snapshots"}.isdisjoint(key.split("/")[2] for key in purge.stored())


def test_versions_without_a_lock_are_gone_for_good(tmp_path: Path, s3: Storage) -> None:
    purge = S3Purge(tmp_path, s3, VERSIONED_BUCKET)
    assert purge.stored()
    report = purge.run()["report"]
    assert purge.stored() == purge.stored("DeleteMarkers") == []
    assert kinds(report["gone"]) == ["object versions", "restore points"]
    assert report["gone"][0]["versions"] >= 4
    assert report["gone"][0]["bytes"] > 0
    assert report["left"] == report["locked"] == report["unknown"] == []
    # Again, when there is nothing any more.
    assert kinds(purge.run()["report"]["gone"]) == ["restore points"]


def test_what_is_locked_is_in_the_report_and_is_no_failure(tmp_path: Path, s3: Storage) -> None:
    purge = S3Purge(tmp_path, s3, LOCKED_BUCKET)
    before = purge.stored()
    result = purge.run()
    assert not result.get("failed")
    assert set(before) <= set(purge.stored())
    (locked,) = result["report"]["locked"]
    assert locked["kind"] == "restore points"
    assert locked["versions"] == len(purge.stored())
    assert locked["until"] > result["report"]["at"]
    assert locked["legal_hold"] == 0
    assert "restore points" not in kinds(result["report"]["gone"])
    assert f"the last retention ends {locked['until']}" in purge.text(result)
    for secret in (s3.pruner, s3.node):
        assert secret["AWS_SECRET_ACCESS_KEY"] not in json.dumps(result)
    # Again, when restic finds no repository any more and the versions are still there.
    assert purge.run()["report"]["locked"] == [locked]


def test_it_is_said_when_versions_cannot_be_seen(tmp_path: Path, s3: Storage) -> None:
    purge = S3Purge(tmp_path, s3, VERSIONED_BUCKET, platform_backup_prune_environment=s3.blind)
    key = purge.stored()[0]
    result = purge.run()
    assert not result.get("failed")
    (unknown,) = result["report"]["unknown"]
    assert "cannot be seen with these credentials" in unknown["why"]
    assert "Not known" in purge.text(result)
    assert key in purge.stored()


def test_nobody_looks_what_google_keeps_of_it(tmp_path: Path) -> None:
    with google_storage(tmp_path) as google:
        key = {"GOOGLE_APPLICATION_CREDENTIALS": google.key, **google.environment}
        purge = Purge(
            tmp_path,
            platform_backup_repository=google.url,
            platform_backup_environment=key,
        )
        result = purge.run()
    assert not result.get("failed")
    report = result["report"]
    assert kinds(report["gone"]) == ["restore points"]
    (unknown,) = report["unknown"]
    assert unknown["name"] == f"{google.url}/acme-01234567"
    assert "soft delete" in unknown["why"]
    assert "Not known" in purge.text(result)


def test_a_bucket_that_cannot_be_asked_is_a_failure(
    tmp_path: Path, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    purge = S3Purge(tmp_path, s3, LOCKED_BUCKET)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    result = purge.run()
    assert result["failed"]
    assert "boto3 is missing" in result["msg"]
    assert kinds(result["report"]["left"]) == ["restore points"]


@pytest.mark.parametrize("allowed", ["nothing", "what a node may"])
def test_credentials_that_may_not_remove_are_a_failure(
    tmp_path: Path, s3: Storage, allowed: str
) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "nothing"}
    credentials = s3.node if allowed != "nothing" else nobody
    purge = S3Purge(tmp_path, s3, BUCKET, platform_backup_prune_environment=credentials)
    before = purge.stored()
    result = purge.run()
    assert result["failed"]
    assert kinds(result["report"]["left"]) == ["restore points"]
    assert result["report"]["locked"] == []
    assert set(before) <= set(purge.stored())
