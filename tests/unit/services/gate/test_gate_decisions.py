# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass: each line is one request and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from gate_world import ENDED_KEY, KEY, NODE_ADDRESS, OLD_KEY, PROBE_KEY, World

CUSTOMER = {"X_Forwarded_For": "203.0.113.9"}
NODE = {"X_Forwarded_For": NODE_ADDRESS}
ADD = {"X_Forwarded_Method": "POST", "X_Forwarded_Uri": "/api/v2/memories"}
SEARCH = {"X_Forwarded_Method": "POST", "X_Forwarded_Uri": "/api/v2/memories/search"}
DELETE = {"X_Forwarded_Method": "POST", "X_Forwarded_Uri": "/api/v2/memories/episodic/delete"}
MCP = {"X_Forwarded_Method": "POST", "X_Forwarded_Uri": "/mcp/"}


@pytest.mark.parametrize(
    ("name", "changes", "key", "headers", "status", "error"),
    [
        ("valid key", {}, KEY, CUSTOMER, 200, None),
        ("second live key", {}, OLD_KEY, CUSTOMER, 200, None),
        ("key at the moment it ends", {}, ENDED_KEY, CUSTOMER, 403, "wrong_key"),
        ("no key", {}, None, CUSTOMER, 401, "no_key"),
        ("wrong key", {}, KEY + "x", CUSTOMER, 403, "wrong_key"),
        ("hash instead of key", {}, "0" * 64, CUSTOMER, 403, "wrong_key"),
        ("no keys at all", {"keys": []}, KEY, CUSTOMER, 403, "wrong_key"),
        ("probe from the node", {}, PROBE_KEY, NODE, 200, None),
        ("probe from elsewhere", {}, PROBE_KEY, CUSTOMER, 403, "wrong_key"),
        ("probe, direct call on loopback", {}, PROBE_KEY, {}, 200, None),
        ("probe while paused", {"state": "paused"}, PROBE_KEY, NODE, 200, None),
        ("probe, none set", {"probe_sha256": None}, PROBE_KEY, NODE, 403, "wrong_key"),
        (
            "probe, two addresses",
            {},
            PROBE_KEY,
            {"X_Forwarded_For": f"203.0.113.9, {NODE_ADDRESS}"},
            403,
            "wrong_key",
        ),
        ("paused", {"state": "paused"}, KEY, CUSTOMER, 503, "not_running"),
        ("suspended", {"state": "suspended"}, KEY, CUSTOMER, 503, "not_running"),
        ("updating", {"state": "updating"}, KEY, CUSTOMER, 503, "not_running"),
        ("wrong key while paused", {"state": "paused"}, "nope", CUSTOMER, 403, "wrong_key"),
        ("no key while paused", {"state": "paused"}, None, CUSTOMER, 401, "no_key"),
        ("add, storage full", {"writes": "closed"}, KEY, ADD, 507, "storage_full"),
        ("MCP, storage full", {"writes": "closed"}, KEY, MCP, 507, "storage_full"),
        ("search, storage full", {"writes": "closed"}, KEY, SEARCH, 200, None),
        ("delete, storage full", {"writes": "closed"}, KEY, DELETE, 200, None),
        ("add, storage open", {}, KEY, ADD, 200, None),
    ],
)
def test_decision(
    world: World,
    name: str,
    changes: dict[str, Any],
    key: str | None,
    headers: dict[str, str],
    status: int,
    error: str | None,
) -> None:
    world.write("acme", **changes)
    answer = world.ask("/auth/acme", key, **headers)
    assert answer.status_code == status, name
    assert (answer.json()["error"] if status != 200 else None) == error
    assert answer.headers.get("X-Tenant") == ("acme" if status == 200 else None)
    assert "Authorization" not in answer.headers
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert answer.headers.get("Retry-After") == ("7" if status == 503 else None)
    assert KEY not in answer.text and PROBE_KEY not in answer.text


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer   {KEY} ", 200),
        (f"Basic {KEY}", 401),
        (KEY, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {KEY} {KEY}", 401),
        ("Bearer " + "x" * 513, 401),
        ("", 401),
    ],
)
def test_only_a_bearer_header_counts(world: World, authorization: str, status: int) -> None:
    assert world.ask("/auth/acme", Authorization=authorization).status_code == status


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("/api/v2/health", 200),
        ("/api/v2/memories?page=2", 200),
        ("/mcp/?session_id=abc", 200),
        ("/api/v2/memories?api_key=abc", 401),
        ("/api/v2/memories?API%5FKEY=abc", 401),
        ("/api/v2/memories?x=1&token=abc", 401),
        ("/api/v2/memories?x=1;access_token=abc", 401),
        (f"/api/v2/memories?anything={KEY}", 401),
        (f"/api/v2/memories?a=Bearer+{KEY}", 401),
    ],
)
def test_a_key_in_the_query_is_refused_even_with_a_valid_header(
    world: World, uri: str, status: int
) -> None:
    answer = world.ask("/auth/acme", KEY, X_Forwarded_Uri=uri)
    assert answer.status_code == status


def test_a_key_in_the_query_alone_is_refused(world: World) -> None:
    answer = world.ask("/auth/acme", X_Forwarded_Uri=f"/mcp?key={KEY}")
    assert (answer.status_code, answer.json()["error"]) == (401, "key_in_query")


def test_two_authorization_headers_are_refused(world: World) -> None:
    import asyncio

    sent: list[dict[str, Any]] = []

    async def scene() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(60)

        header = (b"authorization", f"Bearer {KEY}".encode())
        scope = {"type": "http", "method": "GET", "path": "/auth/acme", "headers": [header, header]}
        await world.gate(scope, receive, send)

    world.run(scene)
    assert sent[0]["status"] == 401


def test_one_tenants_key_does_not_open_another(world: World) -> None:
    world.write("globex", keys=[])
    assert world.ask("/auth/globex", KEY).status_code == 403


def test_the_tenant_is_named_by_the_path_not_by_headers(world: World) -> None:
    world.write("globex", keys=[])
    answer = world.ask("/auth/globex", KEY, X_Tenant="acme", X_Forwarded_Host="acme.example.org")
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["unknown", "", "acme/", "acme/x", "%2e%2e%2facme", "ACME"])
def test_an_unknown_tenant_is_refused_like_a_wrong_key(world: World, name: str) -> None:
    answer = world.ask(f"/auth/{name}", KEY)
    assert (answer.status_code, answer.json()["error"]) == (403, "wrong_key")


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [("running", 200, "up"), ("paused", 503, "paused"), ("suspended", 503, "paused")],
)
def test_public_health_needs_no_key(world: World, state: str, status: int, word: str) -> None:
    world.write("acme", state=state)
    answer = world.ask("/public/acme/health")
    assert (answer.status_code, answer.json()) == (status, {"status": word})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/public/unknown/health", 404),
        ("POST", "/public/acme/health", 405),
        ("HEAD", "/public/acme/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/stats", 200),
        ("GET", "/", 404),
        ("GET", "/auth", 404),
        ("GET", "/public/acme", 404),
    ],
)
def test_other_addresses(world: World, method: str, path: str, status: int) -> None:
    assert world.ask(path, method=method).status_code == status
