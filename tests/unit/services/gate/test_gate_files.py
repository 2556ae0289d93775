# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate follows the tenants' files and closes when one cannot be trusted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable

import pytest
from gate_world import KEY, World, sha256, tenant_file
from memcloud_gate import store
from memcloud_gate.record import Record


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 2.0) -> bool:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if await check():
            return True
        await asyncio.sleep(0.01)
    return False


def bad_files() -> list[tuple[str, str]]:
    """Return files that no tenant must be served by."""
    good = tenant_file("acme")
    key = good["keys"][0]
    changed = {
        "another tenant's": {"tenant": "globex"},
        "no uid": {"uid": ""},
        "unknown state": {"state": "runing"},
        "no state": {"state": None},
        "keys missing": {"keys": None},
        "key not an object": {"keys": [sha256(KEY)]},
        "second hash short": {"keys": [key, {**key, "sha256": "abc"}]},
        "hash not hexadecimal": {"keys": [{**key, "sha256": "z" * 64}]},
        "expiry not a time": {"keys": [{**key, "expires": "soon"}]},
        "expiry a number": {"keys": [{**key, "expires": 12}]},
        "probe not a hash": {"probe_sha256": "probe"},
        "retry_after zero": {"retry_after": 0},
        "retry_after true": {"retry_after": True},
        "writes unknown": {"writes": "maybe"},
        "hold too long": {"hold_seconds": 21},
    }
    files = [(name, json.dumps({**good, **change})) for name, change in changed.items()]
    text = json.dumps(good)
    return [
        *files,
        ("empty", ""),
        ("half", text[: len(text) // 2]),
        ("a list", "[]"),
        ("deep", "[" * 100_000),
        ("huge", text + " " * 300_000),
        ("null", "null"),
        ("number too long", '{"keys": ' + "9" * 5000 + "}"),
    ]


@pytest.mark.parametrize(
    ("name", "content"), bad_files(), ids=[name for name, _text in bad_files()]
)
def test_a_broken_file_closes_its_tenant_and_no_other(
    world: World, name: str, content: str
) -> None:
    world.write("globex")
    world.write("acme", content)

    async def scene() -> tuple[int, int, list[str]]:
        closed = await world.get("/auth/acme", KEY)
        open_ = await world.get("/auth/globex", KEY)
        ready = await world.get("/ready")
        return closed.status_code, open_.status_code, ready.json()["broken"]

    assert world.run(scene) == (503, 200, ["acme"])


def test_a_broken_file_is_told_without_its_content(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("acme", keys=[{"name": "x", "sha256": "secret-looking-hash"}])
    with caplog.at_level("INFO", "memcloud_gate"):
        stats = world.ask("/stats").json()
    assert stats["broken"] == {"acme": "keys[0].sha256: expected 64 hexadecimal digits"}
    assert "secret-looking-hash" not in caplog.text


def test_a_file_that_trips_the_gate_closes_its_tenant_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = store.parse_record

    def trip(name: str, raw: bytes) -> Record:
        if name == "acme":
            raise RuntimeError("not foreseen")
        return parse(name, raw)

    async def scene() -> None:
        async def opened() -> bool:
            return (await world.get("/auth/globex", KEY)).status_code == 200

        monkeypatch.setattr(store, "parse_record", trip)
        world.write("acme", state="paused")
        world.write("globex")
        assert await until(opened)
        assert (await world.get("/auth/acme", KEY)).status_code == 503
        assert (await world.get("/ready")).json()["broken"] == ["acme"]

    world.run(scene)


def test_changes_are_seen_while_running(world: World) -> None:
    async def status(key: str = KEY) -> int:
        return (await world.get("/auth/acme", key)).status_code

    async def becomes(wanted: int, key: str = KEY) -> bool:
        async def check() -> bool:
            return await status(key) == wanted

        return await until(check)

    async def scene() -> None:
        assert await status() == 200
        path = world.write("acme", state="paused")
        assert await becomes(503)
        world.write("acme", keys=[{"name": "n", "sha256": sha256("new")}])
        assert await becomes(200, "new") and await becomes(403)
        path.write_text("{", encoding="ascii")
        assert await becomes(503)
        world.write("acme")
        assert await becomes(200)
        path.unlink()
        assert await becomes(403)
        world.write("acme")
        assert await becomes(200)
        path.unlink()
        path.symlink_to("/etc/hostname")
        assert await becomes(503)
        path.unlink()
        path.mkdir()
        assert await becomes(503)

    world.run(scene)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_closes_its_tenant(world: World) -> None:
    (world.tenants / "acme.json").chmod(0)
    assert world.ask("/auth/acme", KEY).status_code == 503


def test_without_its_directory_nobody_passes_until_it_is_back(world: World) -> None:
    away = world.tenants.with_name("away")

    async def both() -> tuple[int, int]:
        answer = await world.get("/auth/acme", KEY)
        ready = await world.get("/ready")
        return answer.status_code, ready.status_code

    async def scene() -> None:
        shutil.move(world.tenants, away)

        async def closed() -> bool:
            return await both() == (503, 503)

        async def opened() -> bool:
            return await both() == (200, 200)

        assert await until(closed)
        shutil.move(away, world.tenants)
        assert await until(opened)

    world.run(scene)


def test_a_missing_directory_at_the_start_is_not_fatal(world: World) -> None:
    shutil.rmtree(world.tenants)
    assert world.ask("/ready").status_code == 503


@pytest.mark.parametrize("name", [".acme.json", "acme.json.tmp", "Acme.json", "a_b.json", "x"])
def test_other_files_are_ignored(world: World, name: str) -> None:
    (world.tenants / name).write_text("{", encoding="ascii")
    ready = world.ask("/ready").json()
    assert (ready["tenants"], ready["broken"]) == (1, [])


def test_a_thousand_tenants_are_followed_within_a_second(world: World) -> None:
    for number in range(1000):
        world.write(f"t{number}")

    async def scene() -> float:
        clock = asyncio.get_running_loop().time
        begin = clock()
        world.write("t999", state="paused")

        async def closed() -> bool:
            return (await world.get("/auth/t999", KEY)).status_code == 503

        assert await until(closed)
        return clock() - begin

    assert world.run(scene) < 1.0
