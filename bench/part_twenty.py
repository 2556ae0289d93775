"""Twenty new tenants in one run, against plain containers with the best parallelism."""

from __future__ import annotations

import os
import time

from containers import processor_of
from ground import Ground
from measure import Part, say

TITLE = "Twenty new tenants in one run"
HOW = """
    As with one tenant, the disk settled before each, but plain containers are started with several
    numbers of tenants side by side, and the best of these is what one run of deploy_tenant is
    compared with.
"""
# Between these the containers took longer in each run so far (3: 139 s, 4: 146 to 166 s).
_SIDE_BY_SIDE = (2, 8)


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    count = _count(small)
    return f"deploy_{count}", f"plain_{count}", f"ratio_{count}", f"processor_{count}"


def _count(small: bool) -> int:
    return 2 if small else 20


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    count = _count(small)
    goal = None if small else 1.2
    ours = [f"ours{number:02}" for number in range(1, count + 1)]
    plain = [f"plain{number:02}" for number in range(1, count + 1)]
    for name in plain:
        ground.create(name)
    taken: list[dict[str, float]] = []
    for parallel in (2,) if small else _SIDE_BY_SIDE:
        say(f"  plain containers of {count} tenants, {parallel} side by side")
        os.sync()
        taken.append(ground.script("plain.py", str(parallel), *plain))
        words = f"plain containers of {count}, {parallel} side by side"
        part.figure(f"plain_{count}_by_{parallel}", words, "s", taken[-1]["seconds"])
    best = min(taken, key=lambda found: found["seconds"])
    words = f"plain containers of {count}: the best of these"
    part.figure(f"plain_{count}", words, "s", best["seconds"])
    words = f"plain containers of {count}: processor time of each tenant"
    part.figure(f"plain_processor_{count}", words, "s", best["processor"] / count)
    ground.purge(*plain)
    for name in ours:
        ground.create(name)
    say(f"  deploy_tenant of {count}")
    os.sync()
    began = time.monotonic()
    ground.deploy(*ours)
    seconds = time.monotonic() - began
    part.figure(f"deploy_{count}", f"deploy_tenant of {count} in one run", "s", seconds)
    part.figure(
        f"ratio_{count}", f"{count}: ours / plain", "x", seconds / best["seconds"], at_most=goal
    )
    used = processor_of("be", ours) / count
    part.figure(f"processor_{count}", f"{count}: processor time of each tenant", "s", used)
    ground.purge(*ours)
