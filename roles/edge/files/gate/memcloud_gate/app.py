# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's HTTP interface, as a raw ASGI application.

`GET /auth/<tenant>` is asked by Traefik's ForwardAuth before each request, the tenant being named
by the path that its router is configured with. `GET /public/<tenant>/health` needs no key. `/body`
takes whatever comes.
`/ready` and `/stats` are for the operator; the gate listens on loopback only.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from memcloud_gate import __version__
from memcloud_gate.activity import ActivityWriter
from memcloud_gate.log import Log
from memcloud_gate.request import NodeAddresses, read_ask
from memcloud_gate.settings import Settings
from memcloud_gate.store import TenantStore
from memcloud_gate.tenant import OUTCOMES, Outcome, Tenant
from memcloud_gate.wake import AGAIN_SECONDS, WakeSignals

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

AUTH_PREFIX = "/auth/"
PUBLIC_PREFIX = "/public/"
HEALTH_SUFFIX = "/health"
LOADED_PREFIX = "/loaded/"
# Where Traefik brings the body of an MCP call, to have read it before the app answers.
BODY = "/body"
HELD_SCAN_SECONDS = 0.1
# Long enough for the operator's next look, short enough not to keep clients away for long.
UNREADABLE_RETRY_AFTER = 10

# status, error word, what to do about it
REFUSALS: dict[Outcome, tuple[int, str, str]] = {
    Outcome.NO_KEY: (401, "no_key", "Send the API key as 'Authorization: Bearer <key>'."),
    Outcome.KEY_IN_QUERY: (
        401,
        "key_in_query",
        "A key in the URL is not accepted: send it as 'Authorization: Bearer <key>'.",
    ),
    Outcome.WRONG_KEY: (403, "wrong_key", "This API key is not valid here."),
    Outcome.UNKNOWN_TENANT: (403, "wrong_key", "This API key is not valid here."),
    Outcome.NOT_RUNNING: (503, "not_running", "The memory server does not run now."),
    Outcome.UNREADABLE: (503, "not_available", "The memory server is not available now."),
    Outcome.STORAGE_FULL: (
        507,
        "storage_full",
        "The storage of this plan is used up: delete memories or change the plan.",
    ),
}
BODIES = {
    outcome: json.dumps({"error": word, "message": message}).encode()
    for outcome, (status, word, message) in REFUSALS.items()
}


class Gate:
    """The ASGI application with everything it keeps while it runs."""

    def __init__(
        self,
        settings: Settings,
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
        is_node: Callable[[str], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._log = log or Log()
        self._clock = clock
        self._is_node = is_node or NodeAddresses().owns
        self.store = TenantStore(settings.tenants_dir, self._log)
        self.activity = ActivityWriter(settings.activity_dir, self.store.tenants, self._log)
        self.wake = WakeSignals(settings.wake_dir, self._log)
        self._counts = [0] * len(OUTCOMES)
        self._held = 0
        self._started = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(AUTH_PREFIX):
                await self._auth(path[len(AUTH_PREFIX) :], scope, receive, send)
            elif path == BODY:
                while (await receive()).get("more_body"):
                    pass
                await _respond(send, 200, b"", [])
            else:
                await self._other(path, scope, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def stop_holding(self) -> None:
        """Let requests that wait for a tenant go now (called from a signal handler)."""
        self._stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake_held)

    def _wake_held(self) -> None:
        for tenant in self.store.tenants.values():
            tenant.update(tenant.record, tenant.problem)

    async def _auth(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = self.store.tenants.get(name)
        if tenant is None:
            self._counts[Outcome.UNKNOWN_TENANT] += 1
            await _refuse(send, Outcome.UNKNOWN_TENANT, None)
            return
        client = scope.get("client")
        ask = read_ask(scope["headers"], client[0] if client else "")
        now = self._clock()
        outcome = tenant.decide(ask, now, self._is_node)
        if outcome is Outcome.NOT_RUNNING:
            decide = functools.partial(tenant.decide, ask, now, self._is_node)
            gone = asyncio.create_task(_until_gone(receive))
            try:
                outcome = await self._hold(tenant, decide, not ask.is_health_check, gone)
            finally:
                gone.cancel()
        tenant.count(outcome, None if ask.is_health_check else now)
        self._counts[outcome] += 1
        if outcome <= Outcome.PROBE:
            await _respond(send, 200, b"", [(b"x-tenant", name.encode())])
        else:
            await _refuse(send, outcome, tenant)

    async def _hold(
        self,
        tenant: Tenant,
        decide: Callable[[], Outcome],
        wakes: bool,
        gone: asyncio.Task[None],
    ) -> Outcome:
        """Let a request wait until its tenant runs, or its client is gone."""
        deadline = time.monotonic() + tenant.may_hold()
        # One tenant's clients leave room for those of others.
        share = max(1, self._settings.max_held // 4)
        room = self._held < self._settings.max_held and tenant.held < share
        self._held += room
        tenant.held += room
        try:
            while not self._stopping and not gone.done():
                change = tenant.next_change
                left = pause = min(deadline - time.monotonic(), tenant.may_hold())
                if tenant.may_wake:
                    if not wakes:
                        break
                    await self.wake.give(tenant.name)
                    # The keeper may have given up, while another run worked on the tenant.
                    pause = min(left, AGAIN_SECONDS)
                if left <= 0 or not room:
                    break
                changed = await _set_within(change, pause, gone)
                if not changed or decide() is Outcome.NOT_RUNNING:
                    continue
                await asyncio.wait({gone}, timeout=tenant.turn(time.monotonic()))
                outcome = decide()
                if outcome is not Outcome.NOT_RUNNING:
                    return outcome
            return Outcome.NOT_RUNNING
        finally:
            self._held -= room
            tenant.held -= room

    async def _other(self, path: str, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, {"error": "method_not_allowed"}, [(b"allow", b"GET, HEAD")])
        elif path.startswith(PUBLIC_PREFIX) and path.endswith(HEALTH_SUFFIX):
            await self._health(path[len(PUBLIC_PREFIX) : -len(HEALTH_SUFFIX)], send)
        elif path.startswith(LOADED_PREFIX):
            await self._loaded(path[len(LOADED_PREFIX) :], send)
        elif path == "/ready":
            status = "ready" if self.store.ready else "tenants directory cannot be read"
            content = {
                "status": status,
                "tenants": len(self.store.tenants),
                "broken": sorted(self.store.broken),
            }
            await _answer(send, 200 if self.store.ready else 503, content)
        elif path == "/stats":
            await _answer(send, 200, self._stats())
        else:
            await _answer(send, 404, {"error": "not_found"})

    async def _health(self, name: str, send: Send) -> None:
        tenant = self.store.tenants.get(name)
        if tenant is None:
            await _answer(send, 404, {"error": "not_found"})
        elif tenant.record is not None and tenant.record.state == "running":
            await _answer(send, 200, {"status": "up"})
        else:
            await _answer(send, 503, {"status": "paused"}, [_retry_after(tenant)])

    async def _loaded(self, name: str, send: Send) -> None:
        """Say which content of a tenant's file decides now, so that a run can wait for its own."""
        tenant = self.store.tenants.get(name)
        if tenant is None:
            await _answer(send, 200, {"sha256": None, "problem": None})
        else:
            await _answer(send, 200, {"sha256": tenant.digest, "problem": tenant.problem})

    def _stats(self) -> dict[str, Any]:
        tenants = {
            name: {
                "state": None if tenant.record is None else tenant.record.state,
                "last_activity": tenant.last_activity,
                "decisions": _by_name(tenant.counts),
            }
            for name, tenant in self.store.tenants.items()
        }
        return {
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "decisions": _by_name(self._counts),
            "held": self._held,
            "broken": self.store.broken,
            "activity": {
                "pending": self.activity.pending,
                "failed_writes": self.activity.failed_writes,
            },
            "tenants": tenants,
        }

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Load all tenants and begin to follow their files; listening starts after this."""
        self._loop = asyncio.get_running_loop()
        await self.store.refresh()
        self._tasks = [
            asyncio.create_task(self.store.run(self._scan_seconds)),
            asyncio.create_task(self.activity.run(self._settings.flush_seconds)),
        ]
        self._log.info("gate started", version=__version__, tenants=len(self.store.tenants))

    def _scan_seconds(self) -> float:
        """Somebody who waits shall not wait for the next look as well."""
        usual = self._settings.scan_seconds
        return min(usual, HELD_SCAN_SECONDS) if self._held else usual

    async def stop(self) -> None:
        """End the background work and write the last counts, within a second."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(self.activity.flush(), 1.0)
        except asyncio.TimeoutError:
            self._log.error("last counts not written in time")
        self._log.info("gate stopped", decisions=sum(self._counts))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _set_within(event: asyncio.Event, seconds: float, gone: asyncio.Task[None]) -> bool:
    """Wait for an event, not longer than its client does."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return event.is_set()


def _by_name(counts: list[int]) -> dict[str, int]:
    return {outcome.name.lower(): counts[outcome] for outcome in OUTCOMES}


def _retry_after(tenant: Tenant | None) -> tuple[bytes, bytes]:
    record = None if tenant is None else tenant.record
    seconds = UNREADABLE_RETRY_AFTER if record is None else record.retry_after
    return b"retry-after", str(seconds).encode()


async def _refuse(send: Send, outcome: Outcome, tenant: Tenant | None) -> None:
    status = REFUSALS[outcome][0]
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="memmachine"'))
    elif status == 503:
        headers.append(_retry_after(tenant))
    await _respond(send, status, BODIES[outcome], headers)


async def _answer(
    send: Send, status: int, content: object, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    fixed = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await _respond(send, status, json.dumps(content).encode(), fixed + (headers or []))


async def _respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
