"""A new tenant, against plain containers and the official Compose file."""

from __future__ import annotations

import os
from typing import Any

from containers import processor_of
from ground import INVENTORY, Ground, empty_play
from images import image
from measure import Part, run, say, timed

TITLE = "A new tenant, from nothing to the first memory found"
HOW = """
    Images are there, nothing else is. Ours is the playbook from Enter to the memory round trip
    through the edge; "plain" is the same three containers with the same files, asked for in
    parallel by the engine's API with networks, volumes and files made beforehand, until a memory
    was stored and found at the app itself. Before each the disk has what was
    written (and removed) until then. "Compose" is the official file's health intervals, order and
    heap on the same images. Rounds of ours and of plain containers alternate; their
    ratio is taken of the two of a round, without the time that Ansible itself takes to start.
"""
_ONE = ("deploy_one", "plain_one", "round_trip_one", "processor_one", "ratio_one")
_MORE = ("compose", "compose_ratio")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return _ONE if small else (*_ONE, *_MORE)


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    deploy = _one(ground, part, rounds=1 if small else 5)
    if not small:
        _compose(ground, part, deploy, rounds=2)


def _one(ground: Ground, part: Part, rounds: int) -> float:
    names = ("deploy", "plain", "found", "processor", "plain processor", "start-up")
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        say(f"  one tenant, round {number + 1} of {rounds}")
        ground.create("plain")
        os.sync()
        found = ground.script("plain.py", "1", "plain")
        taken["plain"].append(found["seconds"])
        taken["plain processor"].append(found["processor"])
        ground.create("ours")
        taken["start-up"].append(timed(lambda: run(*empty_play(INVENTORY))))
        os.sync()
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
    rows = zip(taken["deploy"], taken["start-up"], taken["plain"])
    ratios = [(ours - start_up) / plain for ours, start_up, plain in rows]
    words = "one: ours beyond Ansible's start-up / plain"
    part.figure("ratio_one", words, "x", ratios, at_most=1.25)
    return deploy


def _compose(ground: Ground, part: Part, deploy: float, rounds: int) -> None:
    tool = image(ground.base_image(), "compose")
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        say(f"  Compose, round {number + 1} of {rounds}")
        ground.create("composed")
        os.sync()
        found.append(ground.script("compose.py", "composed", tool))
        ground.purge("composed")
    median = part.figure("compose", "Compose: one", "s", [one["seconds"] for one in found])
    healthy = [one["healthy"] for one in found]
    part.figure("compose_healthy", "Compose: until up --wait returns", "s", healthy)
    memory = [one["memory"] / 1e6 for one in found]
    part.figure("compose_memory", "Compose: memory of the containers", "MB", memory)
    ratio = deploy / median
    part.figure("compose_ratio", "one: ours / Compose", "x", ratio, at_most=0.5)
