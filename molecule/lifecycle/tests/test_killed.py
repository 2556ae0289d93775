"""Operations that are killed, then run again: converged, nothing lost, nothing left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.images import ANOTHER, MARK, own_images, remove_derived, replace_image
from support.platform import Platform, Tenant
from support.writer import Writer

QUICK = {"quick": {"from": "free", "postgres": {"shared_buffers": "24MB"}}}


def app_is_stopped(tenant: Tenant) -> bool:
    return bool(tenant.container("app").status == "exited")


def neo4j_runs(tenant: Tenant) -> bool:
    return bool(tenant.container("neo4j").status == "running")


def restore_points_are_removed(tenant: Tenant) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # ended meanwhile
        if command.startswith(b"restic\0") and b"forget" in command:
            return tenant.name.encode() in command
    return False


@dataclass(frozen=True)
class Case:
    """An operation, when it is killed, and whether the tenant itself is touched by it."""

    playbook: str
    moment: Callable[[Tenant], bool]
    variables: dict[str, Any] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    after: str = ""
    back: dict[str, str] = field(default_factory=dict)
    touches: bool = True


CASES = {
    "a verification beside the tenant": Case(
        "verify_backups", Tenant.scratch_runs, before=("backup_tenant",), touches=False
    ),
    "a removal of restore points": Case(
        "prune_backups",
        restore_points_are_removed,
        before=("backup_tenant", "backup_tenant"),
        after="check_backups",
        touches=False,
    ),
    "a change of the databases' sizes": Case(
        "change_tier", Tenant.is_held, {"tier": "quick"}, after="change_tier", back={"tier": "free"}
    ),
    "a pause": Case("pause_tenant", app_is_stopped, after="resume_tenant"),
    "a resumption": Case("resume_tenant", neo4j_runs, before=("pause_tenant",)),
    "a suspension": Case("suspend_tenant", app_is_stopped, after="resume_tenant"),
    "new passwords": Case("rotate_keys", Tenant.is_held, {"what": "databases"}),
    "an export": Case("export_tenant", Tenant.is_held),
    "another embedding model": Case(
        "reembed_tenant",
        Tenant.is_held,
        {"embedder_model": "demo-embedding", "embedder_dimensions": 64},
    ),
}


@pytest.fixture(scope="module")
def writer(tenant: Tenant) -> Iterator[Writer]:
    """A customer who stores memories all the time."""
    with Writer(tenant) as writing:
        writing.wait_for(3)
        yield writing


@pytest.mark.parametrize("name", CASES)
def test_a_killed_operation_is_finished_by_running_it_again(
    platform: Platform, tenant: Tenant, writer: Writer, name: str
) -> None:
    case = CASES[name]
    variables = {**case.variables, "tenant": tenant.name}
    if case.playbook == "change_tier":
        tenant.change_entry(platform_tiers=QUICK)
    for playbook in case.before:
        platform.play.ok(playbook, tenant=tenant.name)
    ids = tenant.container_ids()
    assert platform.play.kill_when(lambda: case.moment(tenant), case.playbook, **variables)
    platform.play.ok(case.playbook, **variables)
    if case.after:
        platform.play.ok(case.after, tenant=tenant.name, **case.back)
    if not case.touches:
        assert tenant.container_ids() == ids
    writer.wait_for(2)
    assert writer.lost() == [], writer.report()
    assert tenant.leftovers() == []
    assert platform.play.ok("deploy_tenant").changed == {}


def test_a_killed_way_back_is_finished_by_running_it_again(
    platform: Platform, tenant: Tenant, writer: Writer
) -> None:
    with own_images(platform):
        replace_image(platform, "postgres", ANOTHER)
        platform.play.ok("update_tenant", tenant=tenant.name)
    assert tenant.container("postgres").exec_run(["ls", MARK])[0] == 0
    assert platform.play.kill_when(tenant.is_held, "rollback_tenant", tenant=tenant.name)
    platform.play.ok("rollback_tenant", tenant=tenant.name)
    assert tenant.container("postgres").exec_run(["ls", MARK])[0] != 0
    remove_derived(platform)
    writer.wait_for(2)
    assert writer.lost() == [], writer.report()
    assert tenant.leftovers() == []
    assert platform.play.ok("deploy_tenant").changed == {}
