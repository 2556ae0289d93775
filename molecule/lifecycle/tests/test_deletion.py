"""A deleted tenant is kept for a while, comes back, or goes for good, with a report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.platform import Platform, Tenant


@pytest.fixture(scope="module")
def lost(platform: Platform) -> Iterator[Tenant]:
    """A tenant with a memory and a second key."""
    made = platform.create("lost")
    platform.play.ok("deploy_tenant", "-l", made.name)
    yield made
    if made.entry_file.exists():
        platform.delete(made.name)


def report(platform: Platform, run: Any) -> dict[str, Any]:
    (path,) = {
        word for word in run.output.replace('"', " ").split() if "/.reports/deleted-" in word
    }
    text = Path(path).with_suffix(".txt").read_text()
    told = json.loads(Path(path).read_text())
    assert all(thing["name"] in text for thing in told["gone"])
    return dict(told)


def kinds(things: list[dict[str, Any]]) -> set[str]:
    return {thing["kind"] for thing in things}


def objects(platform: Platform, uid: str) -> list[str]:
    """Everything that the engine has of an identity."""
    client = platform.docker()
    label = {"label": f"memcloud.uid={uid}"}
    return [
        *(c.name for c in client.containers.list(all=True, filters=label, ignore_removed=True)),
        *(n.name for n in client.networks.list(filters=label)),
        *(v.name for v in client.volumes.list(filters=label)),
    ]


def test_kept_data_has_a_date_and_comes_back(
    platform: Platform, lost: Tenant, tmp_path: Path
) -> None:
    sentence = lost.store_something()
    run = platform.play.ok("delete_tenant", tenant=lost.name)
    told = report(platform, run)
    assert told["purge_after"] > told["at"]
    assert kinds(told["gone"]) >= {"container", "network", "route", "gate"}
    assert kinds(told["left"]) >= {"volume"}
    assert "volume" not in kinds(told["gone"])

    platform.play.ok("tenant_info", tenant=lost.name, result_file=str(tmp_path / "info.json"))
    (info,) = json.loads((tmp_path / "info.json").read_text())
    assert info["purge_after"] == told["purge_after"]
    assert platform.play.ok("sweep_deleted", tenant=lost.name).changed == {}

    lost.key_file.unlink(missing_ok=True)
    key_file = str(lost.key_file)
    platform.play.ok("create_tenant", tenant=lost.name, key_file=key_file)
    assert lost.remembers(sentence, 60)


def test_what_is_due_is_purged_and_nothing_is_left_anywhere(
    platform: Platform, lost: Tenant
) -> None:
    uid = lost.entry["tenant_uid"]
    platform.play.ok("add_key", tenant=lost.name, key_name="ci")
    platform.play.ok("delete_tenant", tenant=lost.name)
    assert objects(platform, uid)
    run = platform.play.ok("sweep_deleted", tenant=lost.name, platform_keep_deleted_days=0)
    told = report(platform, run)
    assert told["left"] == [] and told["locked"] == []
    assert kinds(told["gone"]) >= {"volume", "files", "slot"}
    assert objects(platform, uid) == []
    named = subprocess.run(
        ["find", str(platform.data_dir), "-name", f"*{lost.name}*"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert named.stdout == ""
    assert not lost.entry_file.exists()
    assert not list(platform.secrets.glob(f"{lost.name}.*"))
    last = (platform.data_dir / "deletions.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["uid"] == uid


@pytest.mark.parametrize(
    ("playbook", "variables"),
    [
        ("delete_tenant", {"keep_data": False}),
        ("sweep_deleted", {"platform_keep_deleted_days": 0}),
    ],
)
def test_a_purge_that_is_killed_is_finished_by_the_same_command(
    platform: Platform, playbook: str, variables: dict[str, Any]
) -> None:
    tenant = platform.create("halfway")
    platform.play.ok("deploy_tenant", "-l", tenant.name)
    uid = tenant.entry["tenant_uid"]
    if playbook == "sweep_deleted":
        platform.play.ok("delete_tenant", tenant=tenant.name)

    def few_are_left(most: int) -> bool:
        return len(objects(platform, uid)) <= most

    # Each run is killed a bit later, on what the one before it left.
    for most in (len(objects(platform, uid)) - 1, 1, 0):
        assert platform.play.kill_when(
            partial(few_are_left, most), playbook, tenant=tenant.name, **variables
        )
        assert tenant.entry_file.exists()
    platform.play.ok(playbook, tenant=tenant.name, **variables)
    assert objects(platform, uid) == []
    assert not tenant.entry_file.exists()
    assert list((platform.data_dir / "locks").glob(f"tenant-{tenant.name}.*")) == []
