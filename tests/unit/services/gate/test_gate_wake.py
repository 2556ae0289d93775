# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves a signal for the keeper: a valid key at a sleeping tenant, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from gate_world import ENDED_KEY, KEY, OLD_KEY, PROBE_KEY, World
from memcloud_gate import app, wake

ASLEEP: dict[str, Any] = {"state": "paused", "wake": True, "hold_seconds": 0.05}
CUSTOMER = {"X_Forwarded_For": "203.0.113.9"}


@pytest.mark.parametrize(
    ("name", "changes", "path", "key", "signals"),
    [
        ("valid key", ASLEEP, "/auth/acme", KEY, ["acme"]),
        ("second live key", ASLEEP, "/auth/acme", OLD_KEY, ["acme"]),
        ("valid key, no holding", {**ASLEEP, "hold_seconds": 0}, "/auth/acme", KEY, ["acme"]),
        ("wrong key", ASLEEP, "/auth/acme", KEY + "x", []),
        ("ended key", ASLEEP, "/auth/acme", ENDED_KEY, []),
        ("no key", ASLEEP, "/auth/acme", None, []),
        ("probe key", ASLEEP, "/auth/acme", PROBE_KEY, []),
        ("key in the URL", ASLEEP, "/auth/acme", KEY, []),
        ("health", ASLEEP, "/public/acme/health", KEY, []),
        ("health with a key", ASLEEP, "/auth/acme", KEY, []),
        ("statistics", ASLEEP, "/stats", KEY, []),
        ("unknown tenant", ASLEEP, "/auth/globex", KEY, []),
        ("name of another directory", ASLEEP, "/auth/../acme", KEY, []),
        ("tier without wake", {**ASLEEP, "wake": False}, "/auth/acme", KEY, []),
        ("suspended", {**ASLEEP, "state": "suspended"}, "/auth/acme", KEY, []),
        ("pausing", {**ASLEEP, "state": "pausing"}, "/auth/acme", KEY, []),
        ("updating", {**ASLEEP, "state": "updating"}, "/auth/acme", KEY, []),
        ("error", {**ASLEEP, "state": "error"}, "/auth/acme", KEY, []),
        ("running", {**ASLEEP, "state": "running"}, "/auth/acme", KEY, []),
    ],
)
def test_signal(
    world: World, name: str, changes: dict[str, Any], path: str, key: str, signals: list[str]
) -> None:
    world.write("acme", **changes)
    headers = dict(CUSTOMER)
    if name == "key in the URL":
        headers["X_Forwarded_Uri"] = f"/mcp?api_key={KEY}"
    if name == "health with a key":
        headers["X_Forwarded_Uri"] = "/api/v2/health/?verbose=1"
    if name == "probe key":
        headers = {"X_Forwarded_For": "127.0.0.1"}
    world.ask(path, key, **headers)
    assert sorted(file.name for file in world.wake.iterdir()) == signals, name


def test_a_request_that_woke_a_tenant_passes_when_it_runs(world: World) -> None:
    world.write("acme", **{**ASLEEP, "hold_seconds": 5})

    async def scene() -> httpx.Response:
        asking = asyncio.ensure_future(world.get("/auth/acme", KEY, **CUSTOMER))
        while not (world.wake / "acme").exists():
            await asyncio.sleep(0.005)
        assert (world.wake / "acme").stat().st_size == 0
        world.write("acme", **{**ASLEEP, "state": "running"})
        return await asking

    assert world.run(scene).status_code == 200


def test_a_request_that_waits_while_a_tenant_is_put_to_sleep_wakes_it(world: World) -> None:
    world.write("acme", **{**ASLEEP, "state": "pausing", "hold_seconds": 5})

    async def scene() -> httpx.Response:
        asking = asyncio.ensure_future(world.get("/auth/acme", KEY, **CUSTOMER))
        await asyncio.sleep(0.05)
        assert list(world.wake.iterdir()) == []
        world.write("acme", **{**ASLEEP, "hold_seconds": 5})
        while not (world.wake / "acme").exists():
            await asyncio.sleep(0.005)
        world.write("acme", **{**ASLEEP, "state": "running"})
        return await asking

    assert world.run(scene).status_code == 200


def test_a_signal_that_was_taken_for_nothing_is_given_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (app, wake):
        monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    world.write("acme", **{**ASLEEP, "hold_seconds": 5})

    async def scene() -> httpx.Response:
        asking = asyncio.ensure_future(world.get("/auth/acme", KEY, **CUSTOMER))
        for _time in range(3):
            while not (world.wake / "acme").exists():
                await asyncio.sleep(0.005)
            (world.wake / "acme").unlink()
        world.write("acme", **{**ASLEEP, "state": "running"})
        return await asking

    assert world.run(scene).status_code == 200


def test_a_health_check_of_a_sleeping_tenant_is_answered_at_once(world: World) -> None:
    world.write("acme", **{**ASLEEP, "hold_seconds": 20})
    health = {**CUSTOMER, "X_Forwarded_Uri": "/api/v2/health", "X_Forwarded_Method": "GET"}

    async def scene() -> tuple[httpx.Response, httpx.Response]:
        first = await asyncio.wait_for(world.get("/auth/acme", KEY, **health), 2)
        # While the tenant is updated it waits as every request does.
        world.write("acme", **{**ASLEEP, "state": "updating", "hold_seconds": 20})
        await asyncio.sleep(0.05)
        asking = asyncio.ensure_future(world.get("/auth/acme", KEY, **health))
        await asyncio.sleep(0.05)
        assert not asking.done()
        world.write("acme", **{**ASLEEP, "state": "running"})
        return first, await asking

    asleep, held = world.run(scene)
    assert (asleep.status_code, held.status_code) == (503, 200)
    assert asleep.headers["Retry-After"]
    assert list(world.wake.iterdir()) == []


def test_many_requests_leave_one_signal(world: World) -> None:
    world.write("acme", **ASLEEP)

    async def scene() -> list[int]:
        asked = [world.get("/auth/acme", KEY, **CUSTOMER) for _ in range(20)]
        return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert set(world.run(scene)) == {503}
    assert [file.name for file in world.wake.iterdir()] == ["acme"]


def test_a_signal_that_cannot_be_left_costs_nothing_but_the_wake(world: World) -> None:
    world.write("acme", **ASLEEP)
    world.wake.rmdir()
    assert world.ask("/auth/acme", KEY, **CUSTOMER).status_code == 503
