"""When a tenant is idle: signs in, reason out."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._idleness import (
    Signs,
    connections_to,
    idle_since,
    why_awake,
)

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
LONG_AGO, EARLIER, LATELY = "2026-11-19T00:00:00Z", "2026-11-20T11:59:59Z", "2026-11-20T12:00:01Z"


@pytest.mark.parametrize(
    ("changes", "hours", "reason"),
    [
        ({}, 24, ""),
        ({"last_request": EARLIER}, 24, ""),
        ({"last_request": LATELY}, 24, "was used at 2026-11-20T12:00:01Z, less than 24 hours ago"),
        ({"last_request": LATELY}, 0.5, ""),
        ({"last_request": LATELY}, 0, ""),
        # Nobody ever asked: what counts is when it began to run.
        ({"last_request": None, "since": EARLIER}, 24, ""),
        ({"last_request": None, "since": LATELY}, 24, "was used at"),
        ({"last_request": LONG_AGO, "since": LATELY}, 24, "was used at"),
        ({"last_request": None, "since": None}, 24, "has no record"),
        ({"connections": 1}, 24, "has 1 open connections"),
        ({"backlog": 3}, 24, "has 3 messages that are not ingested yet"),
        ({"state": "paused"}, 24, "is paused"),
        ({"state": "suspended"}, 24, "is suspended"),
        ({"wake": False}, 24, "never sleeps: nothing could wake it"),
        ({}, None, "never sleeps: its tier has no idle_hours"),
    ],
)
def test_idle_or_why_not(changes, hours, reason):
    signs = {"state": "running", "wake": True, "last_request": LONG_AGO, "since": LONG_AGO}
    said = why_awake(Signs(**{**signs, **changes}), hours, NOW)
    assert said.startswith(reason) and bool(said) == bool(reason)


def test_idle_since_the_latest_of_both():
    assert idle_since(Signs("running", True, LONG_AGO, EARLIER)) == EARLIER
    assert idle_since(Signs("running", True, LATELY, EARLIER)) == LATELY
    assert idle_since(Signs("running", True, None, None)) is None


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 1100C00A:A1B2 1200C00A:1F90 01 00000000:00000000 00:00000000 00000000 30013        0 2 1
   2: 1100C00A:A1B3 1200C00A:1F90 06 00000000:00000000 00:00000000 00000000 30013        0 3 1
   3: 1100C00A:A1B4 1200C00A:1F91 01 00000000:00000000 00:00000000 00000000 30013        0 4 1
   4: 1200C00A:1F90 1100C00A:A1B2 01 00000000:00000000 00:00000000 00000000 30013        0 5 1
"""
TCP6 = """  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF00001100C00A:A1B6 0000000000000000FFFF00001200C00A:1F90 01 0:0
"""


def test_open_connections_to_the_app_and_no_others():
    assert connections_to([TCP], "10.192.0.18", 8080) == 1
    assert connections_to([TCP, TCP6], "10.192.0.18", 8080) == 2
    assert connections_to([TCP, TCP6], "10.192.0.19", 8080) == 0
    assert connections_to([], "10.192.0.18", 8080) == 0
