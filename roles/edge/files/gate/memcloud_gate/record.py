# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant's file: what the collection tells the gate about one tenant."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

TENANT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
STATES = frozenset(
    (
        "deploying",
        "running",
        "pausing",
        "paused",
        "suspended",
        "updating",
        "error",
        "deleting",
        "deleted",
    )
)
MAX_HOLD_SECONDS = 20.0
MAX_PACE = 2.0**63


class BadRecord(Exception):
    """The file cannot be used; the text says why and holds nothing secret."""


@dataclass(frozen=True)
class Key:
    """One live API key: the SHA-256 of it, and when it ends (seconds since the epoch)."""

    name: str
    digest: bytes
    expires: float | None


@dataclass(frozen=True)
class Record:
    """One tenant as its file describes it.

    `hold_seconds` is how long a request with a valid key waits while the tenant does not run,
    `wake` whether such a request ends its pause, `pace` how many of them are let go in a second
    when it runs.
    """

    tenant: str
    uid: str
    state: str
    keys: tuple[Key, ...]
    probe: bytes | None
    retry_after: int
    writes_open: bool
    hold_seconds: float
    wake: bool
    pace: float


def parse_record(tenant: str, raw: bytes) -> Record:
    """Check the content of `<tenant>.json`; anything doubtful is refused as a whole."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRecord("not JSON") from error
    if not isinstance(data, dict):
        raise BadRecord("expected one JSON object")
    if data.get("tenant") != tenant:
        raise BadRecord("tenant: does not match the name of the file")
    keys = data.get("keys")
    if not isinstance(keys, list):
        raise BadRecord("keys: expected a list")
    probe = data.get("probe_sha256")
    return Record(
        tenant=tenant,
        uid=_text(data, "uid"),
        state=_one_of(data, "state", STATES),
        keys=tuple(_key(entry, f"keys[{index}]") for index, entry in enumerate(keys)),
        probe=None if probe is None else _digest(probe, "probe_sha256"),
        retry_after=int(_number(data, "retry_after", 10, 1, 86400)),
        writes_open=_one_of(data, "writes", frozenset(("open", "closed")), "open") == "open",
        hold_seconds=_number(data, "hold_seconds", 0, 0, MAX_HOLD_SECONDS),
        wake=_flag(data, "wake"),
        pace=_number(data, "pace", 20, 1, MAX_PACE),
    )


def _key(entry: object, where: str) -> Key:
    if not isinstance(entry, dict):
        raise BadRecord(f"{where}: expected an object")
    return Key(
        name=str(entry.get("name", "")),
        digest=_digest(entry.get("sha256"), f"{where}.sha256"),
        expires=_time(entry.get("expires"), f"{where}.expires"),
    )


def _digest(value: object, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise BadRecord(f"{where}: expected 64 hexadecimal digits")
    return bytes.fromhex(value)


def _time(value: object, where: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRecord(f"{where}: expected a time such as 2026-12-01T00:00:00Z, or null")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadRecord(f"{where}: not a time such as 2026-12-01T00:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise BadRecord(f"{name}: expected a word")
    return value


def _one_of(
    data: Mapping[str, Any], name: str, words: frozenset[str], default: str | None = None
) -> str:
    value = data.get(name, default)
    if not isinstance(value, str) or value not in words:
        raise BadRecord(f"{name}: expected one of {', '.join(sorted(words))}")
    return value


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise BadRecord(f"{name}: expected true or false")
    return value


def _number(data: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadRecord(f"{name}: expected a number from {low} to {high}")
    return value
