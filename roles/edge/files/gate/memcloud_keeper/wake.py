# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waking a tenant: start its containers, wait until they answer, let its requests pass."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from memcloud_keeper.engine import Engine, EngineError
from memcloud_keeper.node import Busy, Node, now

# The app starts only when its PostgreSQL has answered it; Neo4j it asks with the first request.
PORTS: dict[str, int | None] = {"postgres": None, "neo4j": 7687, "app": 8080}
START_SECONDS = 60
# How long a signal waits for another run that works on the tenant.
BUSY_SECONDS = 20.0
# After a wake that failed, signals of that tenant do nothing for this long.
FAILED_SECONDS = 30.0
LABELS = {"platform": "memcloud.platform", "tenant": "memcloud.tenant", "uid": "memcloud.uid"}
# Runs in the container. Bash opens the port itself: no process and no library a try. Neo4j listens
# on the container's name alone.
ANSWERS = (
    "for ((i = 0; i < $1; i++)); do { : 3<>/dev/tcp/$HOSTNAME/$2; } 2>/dev/null && exit 0; "
    "sleep 0.05; done; exit 1"
)


class NotWoken(Exception):
    """The tenant cannot be woken; the text says why."""


def say(what: str, **fields: Any) -> None:
    """One line of JSON on stderr, as the gate writes."""
    line = {"time": now(), "message": what, **fields}
    print(json.dumps(line), file=sys.stderr, flush=True)


def may_wake(record: dict[str, Any]) -> bool:
    """Whether a record lets a request start the tenant: paused by us, wakeable, left alone."""
    return (
        record.get("state") == "paused"
        and record.get("wake") is True
        and not record.get("operation")
    )


def woken(record: dict[str, Any], moment: str) -> dict[str, Any]:
    """The record of a tenant that was woken.

    One that was put to sleep because it was idle is simply running again. One whose entry says
    paused runs until somebody pauses it: `woken` says so to the next run.
    """
    after = {**record, "state": "running", "changed": moment, "started": moment}
    if after.pop("asleep", None) is None:
        after["woken"] = {"since": moment}
    return after


class Waker:
    """Wakes one tenant at a time in each of a few threads."""

    def __init__(self, node: Node, engine: Engine, platform: str) -> None:
        self._node = node
        self._engine = engine
        self._platform = platform
        self._failed: dict[str, float] = {}

    def wake(self, tenant: str) -> bool:
        """Follow one signal; True when the tenant runs because of it."""
        busy = False
        try:
            if time.monotonic() < self._failed.get(tenant, 0.0) + FAILED_SECONDS:
                return False
            with self._node.locked(tenant, 0):
                record = self._node.record(tenant)
                if not may_wake(record):
                    return False
                began = time.monotonic()
                self._start(tenant, record)
                self._node.change_gate(tenant, state="running")
                self._node.write_record(tenant, woken(record, now()))
                seconds = time.monotonic() - began
                self._node.note(tenant, "wake", "a request came", seconds=seconds)
            say("woken", tenant=tenant, seconds=round(seconds, 2))
            self._failed.pop(tenant, None)
            return True
        except Busy:
            # Looked at again; nobody else waits meanwhile.
            busy = self._node.signal_age(tenant) < BUSY_SECONDS
            if not busy:
                say("not woken, another run works on it", tenant=tenant)
        except (NotWoken, EngineError, OSError) as error:
            self._failed[tenant] = time.monotonic()
            say("not woken", tenant=tenant, reason=str(error))
            self._node.note(tenant, "wake", "a request came", error=str(error))
        finally:
            # Last: a keeper that was killed on the way finds it again.
            if not busy:
                self._node.forget_signal(tenant)
        return False

    def _start(self, tenant: str, record: dict[str, Any]) -> None:
        names = {role: f"{self._platform}-{tenant}-{role}" for role in PORTS}
        own = {"platform": self._platform, "tenant": tenant, "uid": record.get("uid")}
        with ThreadPoolExecutor(len(names)) as pool:
            for labels in pool.map(self._labels, names.values()):
                if any(labels.get(LABELS[key]) != value for key, value in own.items()):
                    raise NotWoken("a container of that name belongs to somebody else")
            try:
                list(pool.map(self._start_one, names.values(), PORTS.values()))
            except (NotWoken, EngineError):
                # Back to what the record says.
                list(pool.map(self._stop_one, names.values()))
                raise

    def _labels(self, name: str) -> dict[str, str]:
        return dict((self._engine.inspect(name).get("Config") or {}).get("Labels") or {})

    def _start_one(self, name: str, port: int | None) -> None:
        """Start a container and wait until its port answers, over restarts of it."""
        deadline = time.monotonic() + START_SECONDS
        self._engine.start(name)
        command = ["bash", "-c", ANSWERS, "answers", str(START_SECONDS * 20), str(port)]
        while port is not None:
            try:
                if self._engine.run(name, command, START_SECONDS) == 0:
                    return
            except EngineError:
                pass  # it ended, and its restart policy starts it again
            if time.monotonic() > deadline:
                raise NotWoken(f"{name} does not answer within {START_SECONDS} s")
            time.sleep(0.1)

    def _stop_one(self, name: str) -> None:
        try:
            self._engine.stop(name)
        except EngineError as error:
            say("not stopped", container=name, reason=str(error))
