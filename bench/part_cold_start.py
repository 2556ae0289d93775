"""New tenants: one and twenty, against plain containers and the official Compose file."""

from __future__ import annotations

import os
import time
from typing import Any

from containers import processor_of
from ground import INVENTORY, Ground
from images import image
from measure import WORK, Part, run, say, timed

TITLE = "New tenants, from nothing to the first memory found"
HOW = """
    Images are there, nothing else is. Ours is the playbook from Enter to the memory round trip
    through the edge; "plain" is the same three containers with the same files, asked for in
    parallel by the engine's API with networks, volumes and files made beforehand, until a memory
    was stored and found at the app itself; "Compose" is the official file's health intervals,
    order and heap on the same images. For twenty, plain containers are started with several
    numbers of tenants side by side, and the best is what ours is compared with.
"""
_ONE = ("deploy_one", "plain_one", "round_trip_one", "processor_one", "ratio_one")
_MORE = ("compose", "compose_ratio", "deploy_20", "plain_20", "ratio_20")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return _ONE if small else (*_ONE, *_MORE)


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    deploy = _one(ground, part, rounds=1 if small else 5)
    if not small:
        _compose(ground, part, deploy, rounds=2)
        _many(ground, part, 20)


def _one(ground: Ground, part: Part, rounds: int) -> float:
    names = ("deploy", "plain", "found", "processor", "plain processor", "start-up")
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        say(f"  one tenant, round {number + 1} of {rounds}")
        ground.create("plain")
        found = ground.script("plain.py", "1", "plain")
        taken["plain"].append(found["seconds"])
        taken["plain processor"].append(found["processor"])
        ground.create("ours")
        taken["start-up"].append(timed(_empty_play))
        taken["deploy"].append(timed(lambda: ground.deploy("ours")))
        taken["processor"].append(processor_of("be", ["ours"]))
        taken["found"].append(ground.state("ours")["proof"]["found"])
        ground.purge("ours", "plain")
    deploy = part.figure("deploy_one", "deploy_tenant of one", "s", taken["deploy"], at_most=12)
    words = "of it: containers started to the first memory found"
    part.figure("round_trip_one", words, "s", taken["found"], at_most=8)
    words = "of it: processor time of the containers"
    part.figure("processor_one", words, "s", taken["processor"], at_most=11)
    part.figure("start_up", "of it: Ansible's own start-up", "s", taken["start-up"])
    part.figure("plain_one", "plain containers of one", "s", taken["plain"])
    words = "plain containers of one: processor time"
    part.figure("plain_processor", words, "s", taken["plain processor"])
    pairs = zip(taken["deploy"], taken["plain"])
    part.figure("ratio_one", "one: ours / plain", "x", [ours / plain for ours, plain in pairs])
    return deploy


def _empty_play() -> None:
    path = os.path.join(WORK, "empty.yml")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("- hosts: tenants\n  gather_facts: false\n  tasks: []\n")
    run("ansible-playbook", "-i", INVENTORY, path)


def _compose(ground: Ground, part: Part, deploy: float, rounds: int) -> None:
    tool = image(ground.base_image(), "compose")
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        say(f"  Compose, round {number + 1} of {rounds}")
        ground.create("composed")
        found.append(ground.script("compose.py", "composed", tool))
        ground.purge("composed")
    median = part.figure("compose", "Compose: one", "s", [one["seconds"] for one in found])
    healthy = [one["healthy"] for one in found]
    part.figure("compose_healthy", "Compose: until up --wait returns", "s", healthy)
    memory = [one["memory"] / 1e6 for one in found]
    part.figure("compose_memory", "Compose: memory of the containers", "MB", memory)
    ratio = deploy / median
    part.figure("compose_ratio", "one: ours / Compose", "x", ratio, at_most=0.5)


def _many(ground: Ground, part: Part, count: int) -> None:
    ours = [f"ours{number:02}" for number in range(1, count + 1)]
    plain = [f"plain{number:02}" for number in range(1, count + 1)]
    for name in plain:
        ground.create(name)
    taken: dict[int, float] = {}
    for parallel in (2, 3, 4, 8):
        say(f"  plain containers of {count} tenants, {parallel} side by side")
        taken[parallel] = ground.script("plain.py", str(parallel), *plain)["seconds"]
    for parallel, seconds in taken.items():
        words = f"plain containers of {count}, {parallel} side by side"
        part.figure(f"plain_{count}_by_{parallel}", words, "s", seconds)
    best = min(taken.values())
    part.figure(f"plain_{count}", f"plain containers of {count}: the best of these", "s", best)
    ground.purge(*plain)
    for name in ours:
        ground.create(name)
    say(f"  deploy_tenant of {count}")
    began = time.monotonic()
    ground.deploy(*ours)
    seconds = time.monotonic() - began
    part.figure(f"deploy_{count}", f"deploy_tenant of {count} in one run", "s", seconds)
    part.figure(f"ratio_{count}", f"{count}: ours / plain", "x", seconds / best, at_most=1.2)
    used = processor_of("be", ours) / count
    part.figure(f"processor_{count}", f"{count}: processor time of each tenant", "s", used)
    ground.purge(*ours)
