"""Operations that are killed, then run again: converged, nothing lost, nothing left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.images import ANOTHER, own_images, remove_derived, replace_image
from support.platform import Platform, Tenant
from support.progress import PARTS, Progress
from support.writer import Writer

QUICK = {"quick": {"from": "free", "postgres": {"shared_buffers": "24MB"}}}


@dataclass(frozen=True)
class Step:
    """An operation, and what is known of it."""

    playbook: str
    variables: dict[str, Any] = field(default_factory=dict, hash=False)
    killed: bool = True
    """Whether it is; others only lead to the next one."""
    beside: bool = False
    """Whether it works beside the tenant, which it must not touch."""


DEMO = "demo-embedding"
# Operations that lead back to where they began, so that each can be killed more than once. What
# takes longer with each memory comes first.
CYCLES = {
    "another embedding model": (
        Step("reembed_tenant", {"embedder_model": DEMO, "embedder_dimensions": 64}),
        Step("reembed_tenant", {"embedder_model": DEMO, "embedder_dimensions": 32}, killed=False),
    ),
    "copies": (
        Step("export_tenant"),
        Step("backup_tenant"),
        Step("verify_backups", beside=True),
        Step("prune_backups", beside=True),
        Step("check_backups", killed=False, beside=True),
    ),
    "keys and passwords": (
        Step("rotate_keys"),
        Step("add_key", {"key_name": "second"}),
        Step("revoke_key", {"key_name": "second"}),
        Step("rotate_keys", {"what": "databases"}),
    ),
    "pauses": (
        Step("pause_tenant"),
        Step("resume_tenant"),
        Step("suspend_tenant"),
        Step("resume_tenant", killed=False),
    ),
    "another tier, other images": (
        Step("change_tier", {"tier": "quick"}),
        Step("update_tenant"),
        Step("rollback_tenant"),
        Step("change_tier", {"tier": "free"}),
    ),
    "a deletion": (Step("delete_tenant"), Step("create_tenant")),
}


@pytest.fixture(scope="module", autouse=True)
def prepared(platform: Platform, tenant: Tenant) -> None:
    """There is another tier to go to, and no request wakes it."""
    tenant.change_entry(platform_tiers=QUICK, tenant_wake=False)
    platform.play.ok("deploy_tenant")


@contextlib.contextmanager
def other_images(tenant: Tenant) -> Iterator[None]:
    """The node has another image of PostgreSQL meanwhile."""
    with own_images(tenant.platform):
        replace_image(tenant.platform, "postgres", ANOTHER)
        yield
    # A rollback that was killed when its node had done all goes forward when it is repeated.
    tenant.platform.play.ok("update_tenant", tenant=tenant.name)
    remove_derived(tenant.platform)


@pytest.mark.parametrize("name", CYCLES)
def test_killed_operations_are_finished_by_running_them_again(
    platform: Platform, tenant: Tenant, name: str
) -> None:
    if name == "copies":
        platform.play.ok("backup_tenant", tenant=tenant.name)  # one that can be removed
    images = other_images(tenant) if "images" in name else contextlib.nullcontext()
    with images, Writer(tenant, pause=1) as writer:
        writer.wait_for(3)
        go_round(tenant, CYCLES[name], writer)
        writer.wait_for(2)


def test_a_killed_restore_in_place_is_finished_by_running_it_again(
    platform: Platform, tenant: Tenant
) -> None:
    """Nobody writes meanwhile: what came after the restore point would be gone."""
    with Writer(tenant) as writer:
        writer.wait_for(3)
    platform.play.ok("backup_tenant", tenant=tenant.name)
    go_round(tenant, (Step("restore_tenant", {"force": True}),), writer)


def go_round(tenant: Tenant, steps: tuple[Step, ...], writer: Writer) -> None:
    """Once as it should be, then with each operation killed: early, in the middle, and late."""
    play = tenant.platform.play
    whole = {}
    for step in steps:
        with Progress(tenant) as progress:
            play.ok(step.playbook, **wanted(tenant, step))
        whole[step] = progress.count
    assert all(count > len(PARTS) for step, count in whole.items() if step.killed), whole
    files = of_controller(tenant)
    killed = dict.fromkeys((step for step in steps if step.killed), 0)
    for part in PARTS:
        for step in steps:
            before = tenant.container_ids() if step.beside else {}
            if step.killed:
                if not kill(tenant, step, whole[step] * part):
                    continue  # it had ended
                killed[step] += 1
            play.ok(step.playbook, **wanted(tenant, step))
            assert not step.beside or tenant.container_ids() == before
        writer.use_key(tenant.key)
        assert writer.lost() == [], writer.report()
        assert tenant.leftovers() == []
        assert of_controller(tenant) == files
        assert play.ok("deploy_tenant").changed == {}
    # A run that was faster than its point proves nothing, and is no failure.
    assert min(killed.values()) >= 2, killed


def wanted(tenant: Tenant, step: Step) -> dict[str, Any]:
    """What the operation is told."""
    # A tenant that comes back has a new key.
    answer = {"key_file": str(tenant.key_file)} if step.playbook == "create_tenant" else {}
    return {"tenant": tenant.name, **answer, **step.variables}


def kill(tenant: Tenant, step: Step, count: float) -> bool:
    """Kill a run that has come so far; False when it ended before."""
    with Progress(tenant) as progress:
        killed = tenant.platform.play.kill_when(
            lambda: progress.count >= count, step.playbook, **wanted(tenant, step)
        )
    print(f"{step.playbook}: killed {killed}, {progress.count}/{count:.0f}")
    return killed


def of_controller(tenant: Tenant) -> set[str]:
    """The inventory's files that are the tenant's, but reports of what was done."""
    found = tenant.platform.inventory.rglob(f"*{tenant.name}*")
    return {str(path) for path in found if path.parent.name != ".reports"}
