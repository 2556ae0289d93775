# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tenant at the gate: who may pass now, who waits, who is refused and how."""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
from collections.abc import Callable

from memcloud_gate.record import Record
from memcloud_gate.request import Ask


class Outcome(enum.IntEnum):
    """What becomes of one request."""

    ALLOWED = 0
    PROBE = 1
    NO_KEY = 2
    KEY_IN_QUERY = 3
    WRONG_KEY = 4
    NOT_RUNNING = 5
    STORAGE_FULL = 6
    UNREADABLE = 7
    UNKNOWN_TENANT = 8


OUTCOMES = tuple(Outcome)
# An operator's no (suspended), an error and a deletion never wait for better times.
HOLDS = frozenset(("deploying", "pausing", "paused", "updating"))
# A valid key was shown: somebody uses this tenant, also while it cannot answer.
ACTIVITY = frozenset((Outcome.ALLOWED, Outcome.NOT_RUNNING, Outcome.STORAGE_FULL))

# The edge waits for the gate's answer for 30 s, 20 of which a request may wait for its tenant.
MAX_TURN_SECONDS = 8.0


def judge(record: Record, ask: Ask, now: float, is_node: Callable[[str], bool]) -> Outcome:
    """Decide about one request from the tenant's record alone.

    Every key is compared, in constant time, so that the time taken tells nothing about them.
    The probe key asks whether the server works, so it passes whatever the tenant's state is.
    """
    if ask.key_in_query:
        return Outcome.KEY_IN_QUERY
    if ask.token is None:
        return Outcome.NO_KEY
    digest = hashlib.sha256(ask.token).digest()
    valid = False
    for key in record.keys:
        same = hmac.compare_digest(key.digest, digest)
        valid |= same and (key.expires is None or now < key.expires)
    if record.probe is not None and hmac.compare_digest(record.probe, digest):
        return Outcome.PROBE if is_node(ask.source) else Outcome.WRONG_KEY
    if not valid:
        return Outcome.WRONG_KEY
    if record.state != "running":
        return Outcome.NOT_RUNNING
    if not record.writes_open and ask.adds_data:
        return Outcome.STORAGE_FULL
    return Outcome.ALLOWED


class Tenant:
    """What the gate keeps about one tenant while it runs: its record, counts, waiting requests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.record: Record | None = None
        self.problem: str | None = None
        self.signature: tuple[int, ...] | None = None
        self.digest: str | None = None
        self.counts = [0] * len(OUTCOMES)
        self.last_activity: float | None = None
        self.held = 0
        self._turn = 0.0
        self._uid: str | None = None
        self._changed = asyncio.Event()

    def update(self, record: Record | None, problem: str | None) -> None:
        """Take over what its file says now and let waiting requests look again."""
        if record is not None and record.uid != self._uid:
            self._uid = record.uid
            self.counts = [0] * len(OUTCOMES)
            self.last_activity = None
        self.record = record
        self.problem = problem
        self._changed.set()
        self._changed = asyncio.Event()

    def decide(self, ask: Ask, now: float, is_node: Callable[[str], bool]) -> Outcome:
        """Decide from the present record; without a usable one nobody passes."""
        if self.record is None:
            return Outcome.UNREADABLE
        return judge(self.record, ask, now, is_node)

    def may_hold(self) -> float:
        """Return how many seconds a request with a valid key may wait here now."""
        if self.record is None or self.record.state not in HOLDS:
            return 0.0
        return self.record.hold_seconds

    def turn(self, now: float) -> float:
        """Return in how many seconds the next of the requests that waited may go.

        Half a second's worth goes at once. All of them at once would be more than the tier's limits
        let through, though their clients never asked for as many at a time.
        """
        pace = 1.0 if self.record is None else self.record.pace
        self._turn = max(self._turn + 1 / pace, now - 0.5)
        return min(max(0.0, self._turn - now), MAX_TURN_SECONDS)

    @property
    def may_wake(self) -> bool:
        """Whether a request with a valid key ends the pause; `suspended` is an operator's no."""
        return self.record is not None and self.record.state == "paused" and self.record.wake

    @property
    def next_change(self) -> asyncio.Event:
        """Set when the record changes after this moment."""
        return self._changed

    def count(self, outcome: Outcome, now: float | None) -> None:
        """Remember what became of a request, and when it was, unless it keeps nobody awake."""
        self.counts[outcome] += 1
        if now is not None and outcome in ACTIVITY:
            self.last_activity = now
