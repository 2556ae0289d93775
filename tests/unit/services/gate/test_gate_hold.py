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


def test_those_that_waited_go_as_fast_as_the_tiers_limits_let_them_through(world: World) -> None:
    world.write("acme", state="updating", hold_seconds=5, pace=1)

    async def scene() -> tuple[int, set[int]]:
        waiting = [asyncio.create_task(world.get("/auth/acme", KEY)) for _n in range(3)]
        await asyncio.sleep(0.1)
        world.write("acme", pace=1)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        first = sum(task.done() for task in waiting)
        return first, {answer.status_code for answer in await asyncio.gather(*waiting)}

    assert world.run(scene) == (1, {200})


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
    """A quarter of the gate's places for one tenant, and all of them for all tenants."""
    names = ("acme", "globex", "initech", "umbrella")
    for name in (*names, "hooli"):
        world.write(name, state="paused", hold_seconds=20)

    async def scene() -> Any:
        waiting = [asyncio.create_task(world.get("/auth/acme", KEY)) for _n in range(3)]
        await asyncio.sleep(0.1)
        refused = [await asyncio.wait_for(world.get("/auth/acme", KEY), 1)]
        for name in names[1:]:
            waiting += [asyncio.create_task(world.get(f"/auth/{name}", KEY)) for _n in range(3)]
        await asyncio.sleep(0.1)
        refused.append(await asyncio.wait_for(world.get("/auth/hooli", KEY), 1))
        world.gate.stop_holding()
        let_go = await asyncio.wait_for(asyncio.gather(*waiting), 1)
        return [[answer.status_code for answer in answers] for answers in (refused, let_go)]

    assert world.run(scene) == [[503, 503], [503] * 12]


def test_a_client_that_left_waits_no_longer(world: World) -> None:
    world.write("acme", state="paused", hold_seconds=20)
    header = (b"authorization", f"Bearer {KEY}".encode())
    scope = {"type": "http", "method": "GET", "path": "/auth/acme", "headers": [header]}

    async def scene() -> list[int]:
        left = asyncio.Event()
        parts = [{"type": "http.request", "more_body": True}, {"type": "http.request"}]

        async def receive() -> Any:
            if parts:
                return parts.pop(0)
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            """There is nobody to send it to."""

        asking = asyncio.create_task(world.gate(scope, receive, send))
        await asyncio.sleep(0.1)
        held = [(await world.get("/stats")).json()["held"]]
        left.set()
        await asyncio.wait_for(asking, 1)
        return [*held, (await world.get("/stats")).json()["held"]]

    assert world.run(scene) == [1, 0]


def test_a_body_is_taken_without_a_key_and_not_looked_at(world: World) -> None:
    parts = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request"}]
    sent: list[dict[str, Any]] = []

    async def scene() -> None:
        async def receive() -> Any:
            return parts.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/body", "headers": []}
        await world.gate(scope, receive, send)

    world.run(scene)
    assert (sent[0]["status"], parts) == (200, [])
