"""What each idea brings that makes a new tenant's start fast."""

from __future__ import annotations

import os

import ideas
from ground import Ground
from measure import Part, say

TITLE = "What makes a start fast, idea by idea"
HOW = """
    The three containers of one new tenant as in "plain containers of one" of the part above, with
    all ideas and without one of them, in turn, in each of the rounds: the images stay as they are,
    what an idea brought is undone in the files and containers of that start. What the start takes
    without an idea is before it, what it takes with all of them is after; what differs by less
    than two starts of one kind do is no difference.
"""
_ROUNDS = 3


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    chosen = _chosen(small)
    return ("all", *(f"{name}{kind}" for name in chosen for kind in ("", "_processor")))


def _chosen(small: bool) -> list[str]:
    # One of them is enough to see that starts are undone at all.
    return ["archive"] if small else [name for name in ideas.ideas() if name != "none"]


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    chosen = _chosen(small)
    known = ideas.ideas()
    seconds: dict[str, list[float]] = {name: [] for name in ("none", *chosen)}
    processor: dict[str, list[float]] = {name: [] for name in ("none", *chosen)}
    ground.create("ideas")
    for number in range(1 if small else _ROUNDS):
        say(f"  round {number + 1}")
        for name in seconds:
            os.sync()
            found = ground.script("ideas.py", "ideas", name)
            seconds[name].append(found["seconds"])
            processor[name].append(found["processor"])
    ground.purge("ideas")
    part.figure("all", "plain containers of one, with all ideas", "s", seconds["none"])
    part.figure("all_processor", "the same: processor time", "s", processor["none"])
    for name in chosen:
        words = f"without: {known[name].words}"
        part.figure(name, words, "s", seconds[name])
        part.figure(f"{name}_processor", f"{words}: processor time", "s", processor[name])
