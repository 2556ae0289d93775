# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official MCP SDK against /mcp: tools, and a stream that stays open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from conftest import Door, Story
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

PING_SECONDS = 20.0
# The SDK waits this long for the next line of a stream.
READ_SECONDS = 300.0


class Wire:
    """What went over the wire: status of each request by method."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, int]] = []

    async def note(self, response: httpx2.Response) -> None:
        """Remember one answer."""
        self.answers.append((response.request.method, response.status_code))

    def statuses(self, method: str) -> list[int]:
        """Return the final answers to requests of a method, redirects left out."""
        return [s for m, s in self.answers if m == method and s not in (307, 308)]


def headers(door: Door, story: Story | None) -> dict[str, str]:
    """Key, and where the memories belong."""
    place = {"org-id": story.org, "proj-id": story.project, "user-id": "u1"} if story else {}
    return {**place, "Authorization": f"Bearer {door.key}"} if door.key else place


@asynccontextmanager
async def session(
    door: Door, story: Story | None, path: str, wire: Wire
) -> AsyncIterator[ClientSession]:
    """An initialised MCP session, in the story's project or in none that is named."""
    client = httpx2.AsyncClient(
        headers=headers(door, story),
        timeout=httpx2.Timeout(30.0, read=READ_SECONDS),
        verify=door.tls(),
        event_hooks={"response": [wire.note]},
    )
    async with (
        client,
        streamable_http_client(f"{door.url}{path}", http_client=client) as streams,
        ClientSession(streams[0], streams[1]) as result,
    ):
        initialised = await result.initialize()
        assert initialised.server_info.name
        yield result


def play(scene: Callable[[], Awaitable[None]], seconds: float = 120.0) -> None:
    """Run a scene, bounded in time."""

    async def bounded() -> None:
        await asyncio.wait_for(scene(), seconds)

    asyncio.run(bounded())


async def call(session: ClientSession, tool: str, **arguments: Any) -> Any:
    """Call a tool and return its JSON answer."""
    result = await session.call_tool(tool, arguments)
    assert not result.is_error, result
    answer = result.content[0]
    assert isinstance(answer, TextContent)
    return json.loads(answer.text)


def episodes(found: Any) -> list[dict[str, Any]]:
    """Return the episodes of a search's answer."""
    memory = found["content"]["episodic_memory"]
    return [
        episode
        for part in ("long_term_memory", "short_term_memory")
        for episode in memory[part]["episodes"]
    ]


@pytest.mark.parametrize("path", ["/mcp/", "/mcp"])
def test_mcp_adds_searches_and_deletes(door: Door, story: Story, path: str) -> None:
    async def scene() -> None:
        async with session(door, story, path, Wire()) as mcp:
            tools = {tool.name for tool in (await mcp.list_tools()).tools}
            assert {"add_memory", "search_memory", "delete_memory"} <= tools
            added = await call(mcp, "add_memory", content=story.sentence)
            assert added["status"] == 200
            found = episodes(await call(mcp, "search_memory", query=story.question))
            assert story.sentence in [episode["content"] for episode in found]
            uids = [episode["uid"] for episode in found]
            deleted = await call(mcp, "delete_memory", episodic_memory_uids=uids)
            assert deleted["status"] == 200
            assert episodes(await call(mcp, "search_memory", query=story.question)) == []

    play(scene)


def test_without_a_project_memories_are_in_one_that_is_the_same_everywhere(
    door: Door, story: Story
) -> None:
    async def scene() -> None:
        async with session(door, None, "/mcp/", Wire()) as mcp:
            await call(mcp, "add_memory", content=story.sentence)
            found = episodes(await call(mcp, "search_memory", query=story.question))
            mine = [episode["uid"] for episode in found if episode["content"] == story.sentence]
            assert mine
            place = {"org_id": "mcp-universal", "project_id": "mcp-user-0x6d656d636c64"}
            async with httpx2.AsyncClient(headers=headers(door, None), verify=door.tls()) as http:
                answer = await http.post(
                    f"{door.url}/api/v2/memories/search",
                    json={**place, "query": story.question},
                )
            assert answer.status_code == 200 and story.sentence in answer.text
            await call(mcp, "delete_memory", episodic_memory_uids=mine)

    play(scene)


def test_no_answer_of_many_is_cut(door: Door, story: Story) -> None:
    """Each answer is a stream of its own that begins at once."""

    async def scene() -> None:
        async with session(door, story, "/mcp/", Wire()) as mcp:
            for _call in range(80):
                assert (await mcp.list_tools()).tools

    play(scene)


def test_an_mcp_stream_stays_open(door: Door, story: Story, request: pytest.FixtureRequest) -> None:
    """One stream, opened once, is still open after minutes, and the session still works."""
    seconds: float = request.config.getoption("--stream-seconds")
    wire = Wire()

    async def scene() -> None:
        async with session(door, story, "/mcp/", wire) as mcp:
            await call(mcp, "add_memory", content=story.sentence)
            begin = time.monotonic()
            while (left := seconds - (time.monotonic() - begin)) > 0:
                assert wire.statuses("GET") == [200], "the stream was not opened, or opened again"
                await asyncio.sleep(min(PING_SECONDS, left))
            found = episodes(await call(mcp, "search_memory", query=story.question))
            assert story.sentence in [episode["content"] for episode in found]
            await call(mcp, "delete_memory", episodic_memory_uids=[e["uid"] for e in found])
        assert wire.statuses("GET") == [200]

    play(scene, seconds + 120)


@pytest.mark.parametrize(("key", "status"), [("mb_" + "x" * 43, 403), ("", 401)])
def test_mcp_is_refused_without_the_right_key(
    door: Door, story: Story, key: str, status: int
) -> None:
    wire = Wire()

    async def scene() -> None:
        async with session(Door(door.url, key, door.ca_file), story, "/mcp/", wire):
            raise AssertionError("initialised with a wrong key")

    with pytest.raises(Exception):  # noqa: B017 - the SDK's own error; the wire tells the status
        play(scene)
    assert set(wire.statuses("POST")) == {status}
