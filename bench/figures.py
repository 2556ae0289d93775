"""The section "Figures" of the README, made from the newest result."""

from __future__ import annotations

import glob
import json
import os
from typing import Any

from measure import RESULTS, TOP

BEGIN, END = "<!-- figures: made by make bench -->", "<!-- end of figures -->"
README = os.path.join(TOP, "README.md")


def load_results() -> list[dict[str, Any]]:
    """Every result that was kept, oldest first."""
    found = []
    for path in sorted(glob.glob(os.path.join(RESULTS, "*.json"))):
        with open(path, encoding="utf-8") as handle:
            found.append(json.load(handle))
    return sorted(found, key=lambda result: str(result["date"]))


def newest_parts(results: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The newest figures of each part, with the result that they come from."""
    return {name: (part, result) for result in results for name, part in result["parts"].items()}


def goal_words(figure: dict[str, Any]) -> str:
    """The goal of a figure and whether it was reached."""
    goal = figure.get("goal")
    if not goal:
        return ""
    sign, value = ("≤", goal["at_most"]) if "at_most" in goal else ("≥", goal["at_least"])
    return f"{sign} {value:g}: {'reached' if figure['reached'] else 'missed'}"


def section(results: list[dict[str, Any]]) -> str:
    """The block between the marks of the README."""
    lines = []
    rows = ["| what | median | goal |", "|---|---|---|"]
    taken: dict[str, list[str]] = {}
    for name, (part, result) in newest_parts(results).items():
        machine = result["machine"]
        load = max(values[0] for values in part["load_average"])
        where = (
            f"{machine['processors']} processors ({machine['model']}), "
            f"{machine['memory_gib']:g} GiB, {result['date'][:10]}, commit {result['commit']}"
        )
        taken.setdefault(where, []).append(f"{name} (load average up to {load:g})")
        for figure in part["figures"].values():
            if figure.get("goal"):
                rows.append(
                    f"| {figure['words']} | {figure['median']:g} {figure['unit']} "
                    f"| {goal_words(figure)} |"
                )
    for where, parts in taken.items():
        lines.append(f"Taken by `make bench` on {where}: {', '.join(parts)}.")
    lines.append(
        "Medians; samples, the figures without a goal and how each was taken are in "
        "[bench/results](bench/results), plots in bench/results/index.html."
    )
    return "\n".join([*lines, "", *rows])


def write_readme(results: list[dict[str, Any]]) -> None:
    """Put the newest figures between the marks."""
    with open(README, encoding="utf-8") as handle:
        text = handle.read()
    before, _mark, rest = text.partition(BEGIN)
    _old, mark, after = rest.partition(END)
    if not mark or not results:
        return
    with open(README, "w", encoding="utf-8") as handle:
        handle.write(f"{before}{BEGIN}\n{section(results)}\n{END}{after}")
