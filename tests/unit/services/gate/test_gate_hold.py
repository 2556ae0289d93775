# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that wait for a tenant to start."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from gate_world import KEY, World


def test_a_held_request_passes_once_the_tenant_runs(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=5)

    async def scene() -> tuple[httpx.Response, int]:
        waiting = asyncio.create_task(world.get("/auth/acme", KEY))
        await asyncio.sleep(0.1)
        held: int = (await world.get("/stats")).json()["held"]
        world.write("acme", state="updating", hold_seconds=5)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        world.write("acme")
        return await asyncio.wait_for(waiting, 2), held

    answer, held = world.run(scene)
    assert (answer.status_code, held) == (200, 1)


def test_a_held_request_gives_up_after_its_time(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=0.2)
    answer = world.ask("/auth/acme", KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")


def test_a_wrong_key_and_a_suspended_tenant_do_not_wait(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=20)
    world.write("globex", state="suspended", hold_seconds=20)

    async def scene() -> list[int]:
        answers = [world.get("/auth/acme", "wrong"), world.get("/auth/globex", KEY)]
        return [(await asyncio.wait_for(answer, 1)).status_code for answer in answers]

    assert world.run(scene) == [403, 503]


def test_a_held_request_is_refused_when_its_key_is_revoked(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=5)

    async def scene() -> int:
        waiting = asyncio.create_task(world.get("/auth/acme", KEY))
        await asyncio.sleep(0.1)
        world.write("acme", state="paused", hold_seconds=5, keys=[])
        return (await asyncio.wait_for(waiting, 2)).status_code

    assert world.run(scene) == 403


def test_no_more_than_so_many_wait(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=20)

    async def scene() -> Any:
        waiting = [asyncio.create_task(world.get("/auth/acme", KEY)) for _n in range(3)]
        await asyncio.sleep(0.1)
        refused = await asyncio.wait_for(world.get("/auth/acme", KEY), 1)
        world.gate.stop_holding()
        let_go = await asyncio.wait_for(asyncio.gather(*waiting), 1)
        return refused.status_code, [answer.status_code for answer in let_go]

    assert world.run(scene) == (503, [503, 503, 503])
