"""Where the time of a call goes, by what the code that runs belongs to."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Mapping
from typing import Any

Group = tuple[str, ...]
REST = "the rest"


def shares(work: Callable[[], Any], groups: Mapping[str, Group]) -> dict[str, float]:
    """Shares in percent, by group: of the time spent in functions themselves.

    What is written in C counts for the function that called it.

    :param groups: parts of the paths of files; the first group that fits counts.
    """
    profile = cProfile.Profile()
    profile.runcall(work)
    spent = dict.fromkeys((*groups, REST), 0.0)
    for function, (_calls, _all, own, _with, callers) in _statistics(profile).items():
        if function[0] != "~" or not callers:
            spent[_group(function[0], groups)] += own
            continue
        for caller, (_calls, _all, its_own, _with) in callers.items():
            spent[_group(caller[0], groups)] += its_own
    whole = sum(spent.values())
    return {name: 100 * seconds / whole for name, seconds in spent.items()}


def _statistics(profile: cProfile.Profile) -> dict[tuple[str, int, str], Any]:
    return dict(pstats.Stats(profile).stats)  # type: ignore[attr-defined]


def _group(path: str, groups: Mapping[str, Group]) -> str:
    for name, parts in groups.items():
        if any(part in path for part in parts):
            return name
    return REST
