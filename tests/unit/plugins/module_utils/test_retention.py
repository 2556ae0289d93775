"""Which restore points stay and when the next is due: tables."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import (
    due_in,
    kept,
    moment_of,
    to_forget,
)

NOTHING = {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0}


def every(hours: int, count: int, last: str = "2026-11-21T12:00:00Z") -> list[tuple[str, str]]:
    """Points with a distance of some hours, the newest called p0."""
    end = moment_of(last)
    return [
        (f"p{n}", (end - datetime.timedelta(hours=hours * n)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("points", "keep", "stay"),
    [
        pytest.param([], {"daily": 7}, [], id="there is none"),
        pytest.param(every(24, 3), NOTHING, ["p0"], id="the newest stays whatever the rules say"),
        pytest.param(every(24, 10), {"daily": 3}, ["p0", "p1", "p2"], id="three days"),
        pytest.param(every(6, 9), {"daily": 2}, ["p0", "p3"], id="the newest of each day"),
        pytest.param(every(1, 5), {"hourly": 2}, ["p0", "p1"], id="two hours"),
        pytest.param(
            every(24, 15), {"weekly": 2}, ["p0", "p6"], id="the newest of a week, Sunday's"
        ),
        pytest.param(every(24 * 31, 3), {"monthly": 2}, ["p0", "p1"], id="two months"),
        pytest.param(
            every(24, 15), {"daily": 2, "weekly": 2}, ["p0", "p1", "p6"], id="rules add up"
        ),
        pytest.param(
            [("old", "2020-01-01T00:00:00Z"), ("new", "2026-11-21T12:00:00Z")],
            {"daily": 2},
            ["new", "old"],
            id="days without a point do not count",
        ),
    ],
)
def test_kept(points: list[tuple[str, str]], keep: dict[str, int], stay: list[str]) -> None:
    assert sorted(kept(points, keep)) == sorted(stay)
    gone = to_forget(points, keep)
    assert sorted([*gone, *stay]) == sorted(point for point, _taken in points)


def test_each_point_says_which_rules_want_it() -> None:
    assert kept(every(24, 2), {"daily": 1, "monthly": 1}) == {"p0": ["newest", "daily", "monthly"]}


def test_a_point_of_the_future_is_not_the_newest_and_takes_no_place_of_others() -> None:
    points = [*every(24, 3), ("ahead", "2027-11-21T12:00:00Z")]
    now = "2026-11-21T13:00:00Z"
    assert kept(points, {"daily": 1}, now) == {"ahead": ["future"], "p0": ["newest", "daily"]}
    assert kept(points, {"daily": 1}, "2027-11-21T13:00:00Z") == {"ahead": ["newest", "daily"]}


def test_the_oldest_is_forgotten_first() -> None:
    assert to_forget(every(24, 4), {"daily": 1}) == ["p3", "p2", "p1"]


@pytest.mark.parametrize(
    ("newest", "hours", "due"),
    [
        (None, 24, True),
        ("2026-11-20T12:00:00Z", 24, True),
        ("2026-11-20T12:04:00Z", 24, True),  # a schedule's run is never quite as long ago
        ("2026-11-20T13:00:00Z", 24, False),
        ("2026-11-21T11:00:00Z", 1, True),
        ("2026-11-21T11:30:00Z", 1, False),
    ],
)
def test_due(newest: str | None, hours: int, due: bool) -> None:
    left = due_in(newest, hours, "2026-11-21T12:00:00Z")
    assert (left <= datetime.timedelta(0)) is due


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T03:00:00Z",
        "2026-11-21T03:00:00",
        "2026-11-21T03:00:00.123456789Z",
        "2026-11-21T04:00:00.123456789+01:00",
    ],
)
def test_moments_as_restic_writes_them(text: str) -> None:
    assert moment_of(text).strftime("%H:%M:%S %Z") == "03:00:00 UTC"


def test_a_text_that_is_no_moment() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        moment_of("yesterday")
