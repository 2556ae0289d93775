# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which restore points are kept, and when the next one is due. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# A schedule that runs every hour takes an hourly point every hour, though a run is never quite
# as long ago as that.
_SLACK = datetime.timedelta(minutes=5)
# restic writes fractions of a second with nine digits and any offset.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?\Z")


def _week(moment: datetime.datetime) -> Any:
    return moment.isocalendar()[:2]


RULES: Mapping[str, Callable[[datetime.datetime], Any]] = {
    "hourly": lambda moment: (moment.date(), moment.hour),
    "daily": lambda moment: moment.date(),
    "weekly": _week,
    "monthly": lambda moment: (moment.year, moment.month),
}


def moment_of(text: str) -> datetime.datetime:
    """The moment in UTC that a text such as 2026-11-21T03:00:00Z names."""
    match = _MOMENT.match(text.strip())
    if match is None:
        raise ValueError(text)
    zone = "+00:00" if match.group(2) in (None, "Z") else match.group(2)
    moment = datetime.datetime.fromisoformat(match.group(1) + zone)
    return moment.astimezone(datetime.timezone.utc)


def is_of_the_future(taken: str, now: str = "") -> bool:
    """Whether a point was taken by a clock that was wrong: it is not newer than others then.

    :param now: the present moment, where it is not that of this machine's clock.
    """
    present = moment_of(now) if now else datetime.datetime.now(datetime.timezone.utc)
    return moment_of(taken) - present > _SLACK


def kept(
    points: Iterable[tuple[str, str]], keep: Mapping[str, int], now: str = ""
) -> dict[str, list[str]]:
    """The points that stay, each with the rules that want it.

    The newest point of each hour (day, week, month) that has one, going back as many of them as
    the rule says. The newest point of all stays whatever the rules say, and so do points of the
    future until their time has come.

    :param points: id and moment of each.
    :param keep: how many hours, days, weeks and months.
    :param now: the present moment, where it is not that of this machine's clock.
    """
    newest_first = sorted(points, key=lambda point: moment_of(point[1]), reverse=True)
    future = [point for point, taken in newest_first if is_of_the_future(taken, now)]
    wanted: dict[str, list[str]] = {point: ["future"] for point in future}
    newest_first = newest_first[len(future) :]
    if newest_first:
        wanted[newest_first[0][0]] = ["newest"]
    for rule, bucket_of in RULES.items():
        buckets: set[Any] = set()
        for point, taken in newest_first:
            bucket = bucket_of(moment_of(taken))
            if bucket in buckets or len(buckets) >= int(keep.get(rule, 0)):
                continue
            buckets.add(bucket)
            wanted.setdefault(point, []).append(rule)
    return wanted


def to_forget(points: Iterable[tuple[str, str]], keep: Mapping[str, int]) -> list[str]:
    """The points that nothing wants, oldest first."""
    points = sorted(points, key=lambda point: moment_of(point[1]))
    wanted = kept(points, keep)
    return [point for point, _taken in points if point not in wanted]


def due_in(newest: str | None, every_hours: int, now: str) -> datetime.timedelta:
    """How long until the next restore point is due; nothing or less when it is."""
    if not newest:
        return datetime.timedelta(0)
    if is_of_the_future(newest, now):
        return datetime.timedelta(0)
    age = moment_of(now) - moment_of(newest)
    return datetime.timedelta(hours=every_hours) - _SLACK - age
