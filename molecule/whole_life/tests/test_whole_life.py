"""Nothing that was acknowledged is ever lost, whatever operators do, and however their runs end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest
from support.platform import Platform, Tenant
from support.writer import Writer

ROUNDS = int(os.environ.get("SOAK_ROUNDS") or "1")
SEED = int(os.environ.get("SOAK_SEED") or "1")


@pytest.fixture(scope="module")
def writer(tenant: Tenant) -> Iterator[Writer]:
    with Writer(tenant) as writing:
        writing.wait_for(5)
        yield writing


def unchanged(platform: Platform, tenant: Tenant) -> None:
    run = platform.play.ok("deploy_tenant", tenant=tenant.name)
    assert run.changed == {}, run.output


def back_up(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    platform.play.ok("backup_tenant", tenant=tenant.name)


def rotate_api_key(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    platform.play.ok("rotate_keys", tenant=tenant.name, overlap="1h")
    writer.wait_for(2)  # with the key that it had
    writer.use_key(tenant.key)


def rotate_passwords(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    platform.play.ok("rotate_keys", tenant=tenant.name, what="databases")


def change_tier(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    other = {"free": "pro", "pro": "free"}[tenant.entry["tenant_tier"]]
    platform.play.ok("change_tier", tenant=tenant.name, tier=other)


def sleep_and_wake(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    """The writer itself wakes it up again, unless the tier says that sleeping is for good."""
    platform.play.ok("pause_tenant", tenant=tenant.name)
    platform.play.ok("resume_tenant", tenant=tenant.name)


def suspend_and_resume(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    platform.play.ok("suspend_tenant", tenant=tenant.name)
    platform.play.ok("resume_tenant", tenant=tenant.name)


OPERATIONS = (
    back_up,
    rotate_api_key,
    rotate_passwords,
    change_tier,
    sleep_and_wake,
    suspend_and_resume,
)
# Runs that keep a client waiting, and end no request in any other way.
SILENT = (back_up, rotate_api_key, rotate_passwords, change_tier)
KILLED = {
    "backup_tenant": {},
    "rotate_keys": {"what": "databases"},
    "deploy_tenant": {},
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_loses_nothing(
    platform: Platform, tenant: Tenant, writer: Writer, operation: object
) -> None:
    writer.refused.clear()
    operation(platform, tenant, writer)  # type: ignore[operator]
    writer.wait_for(3)
    assert writer.lost() == [], writer.report()
    if operation in SILENT:
        # Told to come again where the machine was too slow for the time that the edge may hold.
        assert set(writer.refused) <= {"503"}, writer.report()
    unchanged(platform, tenant)


@pytest.mark.parametrize("playbook", KILLED)
def test_a_killed_run_loses_nothing(
    platform: Platform, tenant: Tenant, writer: Writer, playbook: str
) -> None:
    if playbook == "deploy_tenant":
        tenant.container("neo4j").remove(force=True)
    seconds = random.Random(f"{SEED}{playbook}").uniform(3, 9)
    platform.play.kill_after(seconds, playbook, tenant=tenant.name, **KILLED[playbook])
    platform.play.ok(playbook, tenant=tenant.name, **KILLED[playbook])
    platform.play.ok("deploy_tenant", tenant=tenant.name)
    writer.wait_for(3)
    assert writer.lost() == [], f"{writer.report()}, killed after {seconds:.1f} s"
    unchanged(platform, tenant)


@pytest.mark.skipif(ROUNDS < 2, reason="make soak")
def test_hours_of_it_lose_nothing(platform: Platform, tenant: Tenant, writer: Writer) -> None:
    chance = random.Random(SEED)
    for turn in range(ROUNDS):
        operation = chance.choice(OPERATIONS)
        if chance.random() < 0.5:
            playbook = chance.choice(sorted(KILLED))
            platform.play.kill_after(
                chance.uniform(1, 15), playbook, tenant=tenant.name, **KILLED[playbook]
            )
            platform.play.ok("deploy_tenant", tenant=tenant.name)
        began = time.monotonic()
        operation(platform, tenant, writer)
        writer.wait_for(3)
        print(f"{turn}: {operation.__name__} {time.monotonic() - began:.0f} s, {writer.report()}")
        assert writer.lost() == [], writer.report()
    unchanged(platform, tenant)


def test_nothing_is_left_over(tenant: Tenant) -> None:
    assert tenant.leftovers() == []
