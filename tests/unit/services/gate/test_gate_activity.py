# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Activity and counts reach their files without ever standing in the way."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest
from gate_world import KEY, NODE_ADDRESS, PROBE_KEY, World


def activity(world: World, tenant: str = "acme") -> dict[str, Any] | None:
    """Return what the gate wrote about a tenant."""
    path = world.activity / f"{tenant}.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_counts_and_last_activity_are_written(world: World) -> None:
    async def scene() -> None:
        await world.get("/auth/acme", KEY)
        await world.get("/auth/acme", KEY)
        await world.get("/auth/acme", "wrong")
        await world.get("/auth/acme")

    world.run(scene)
    written = activity(world)
    assert written is not None
    assert written["last_activity"] == "2027-01-15T08:00:00Z"
    assert written["uid"] == "uid-acme"
    counts = {name: count for name, count in written["counts"].items() if count}
    assert counts == {"allowed": 2, "wrong_key": 1, "no_key": 1}


@pytest.mark.parametrize(
    ("name", "key", "state", "is_activity"),
    [
        ("request", KEY, "running", True),
        ("request to a paused tenant", KEY, "paused", True),
        ("probe", PROBE_KEY, "running", False),
        ("wrong key", "wrong", "running", False),
        ("no key", None, "running", False),
    ],
)
def test_what_counts_as_activity(
    world: World, name: str, key: str | None, state: str, is_activity: bool
) -> None:
    world.write("acme", state=state)
    world.ask("/auth/acme", key, X_Forwarded_For=NODE_ADDRESS)
    written = activity(world)
    assert written is not None and (written["last_activity"] is not None) == is_activity, name


def test_a_health_check_with_a_key_is_counted_and_no_activity(world: World) -> None:
    world.ask("/auth/acme", KEY, X_Forwarded_Uri="/api/v2/health", X_Forwarded_Method="GET")
    written = activity(world)
    assert written is not None and written["last_activity"] is None
    assert written["counts"]["allowed"] == 1


def test_health_checks_are_neither_activity_nor_counted(world: World) -> None:
    world.ask("/public/acme/health")
    assert activity(world) is None


def test_counts_go_on_after_a_restart(world: World, tmp_path: Any) -> None:
    world.ask("/auth/acme", KEY)
    again = World.__new__(World)
    again.__dict__.update(world.__dict__)
    again.gate = type(world.gate)(world.gate._settings, clock=lambda: world.now + 60)
    again.ask("/auth/acme", "wrong")
    again.ask("/auth/acme", KEY)
    written = activity(world)
    assert written is not None
    assert (written["counts"]["allowed"], written["counts"]["wrong_key"]) == (2, 1)
    assert written["last_activity"] == "2027-01-15T08:01:00Z"


def test_a_name_used_again_starts_from_nothing(world: World) -> None:
    world.ask("/auth/acme", KEY)
    world.write("acme", uid="another")

    async def scene() -> None:
        await asyncio.sleep(0.1)
        await world.get("/auth/acme", "wrong")

    world.run(scene)
    written = activity(world)
    assert written is not None
    assert (written["uid"], written["last_activity"]) == ("another", None)
    assert written["counts"]["allowed"] == 0


def test_a_full_disk_stops_no_decision_and_loses_no_count(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.activity.rmdir()

    async def scene() -> None:
        for _turn in range(5):
            assert (await world.get("/auth/acme", KEY)).status_code == 200
            await asyncio.sleep(0.03)
        stats = (await world.get("/stats")).json()["activity"]
        assert stats["pending"] == 1 and stats["failed_writes"] > 0
        world.activity.mkdir()
        await asyncio.sleep(0.1)

    with caplog.at_level("ERROR", "memcloud_gate"):
        world.run(scene)
    written = activity(world)
    assert written is not None and written["counts"]["allowed"] == 5
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1


def test_a_removed_tenant_leaves_nothing_in_memory(world: World) -> None:
    async def scene() -> dict[str, Any]:
        await world.get("/auth/acme", KEY)
        await asyncio.sleep(0.05)
        (world.tenants / "acme.json").unlink()
        await asyncio.sleep(0.1)
        return (await world.get("/stats")).json()

    stats = world.run(scene)
    assert stats["tenants"] == {} and stats["activity"]["pending"] == 0
    assert world.gate.activity._written == {}


def test_stats_tell_counts_without_keys(world: World) -> None:
    async def scene() -> dict[str, Any]:
        await world.get("/auth/acme", KEY)
        await world.get("/auth/nobody", KEY)
        return (await world.get("/stats")).json()

    stats = world.run(scene)
    assert stats["decisions"]["allowed"] == 1 and stats["decisions"]["unknown_tenant"] == 1
    assert stats["tenants"]["acme"]["decisions"]["allowed"] == 1
    assert KEY not in json.dumps(stats)


def test_the_file_before_a_broken_one_is_replaced(world: World) -> None:
    (world.activity / "acme.json").write_text("{half", encoding="ascii")
    world.ask("/auth/acme", KEY)
    written = activity(world)
    assert written is not None and written["counts"]["allowed"] == 1
    shutil.rmtree(world.activity)
