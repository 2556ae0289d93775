"""Measure what this collection claims, in one run, on a platform of its own ("be").

    make bench                       # everything; about an hour, best on a quiet machine
    make bench PARTS=no_op,edge      # parts of it
    make bench-small                 # the same code on the smallest sizes: it must not rot

A whole run is written to bench/results/<date>.json; the page bench/results/index.html and the
section "Figures" of the README are made from the results. Values to be compared are taken in
turn, so that a slow minute hits both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import figures
import page
from ground import Ground
from measure import RESULTS, Part, find_collection, header, load_average, say

# Tenants that edge leaves are taken over by density, which fills the machine.
PARTS = ("no_op", "change", "cold_start", "ideas", "twenty", "edge", "waits", "density")
# These need an engine of their own and no tenant of the platform.
BESIDE = ("no_op",)


def take(name: str, ground: Ground, small: bool) -> Part:
    """Run one part and check that it took every figure it promises."""
    module = importlib.import_module(f"part_{name}")
    part = Part(name, module.TITLE, module.HOW)
    say(f"{name}: {module.TITLE}")
    part.load.append(load_average())
    began = time.monotonic()
    module.measure(ground, part, small)
    part.seconds = time.monotonic() - began
    part.load.append(load_average())
    part.check(module.figures(small))
    say(f"{name}: {len(part.figures)} figures in {part.seconds:.0f} s")
    return part


def take_all(
    names: list[str], ground: Ground, small: bool
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The parts by name, and why others failed; where only time matters some run beside others."""
    lanes = [[name for name in names if (name in BESIDE) is beside] for beside in (True, False)]
    taken: dict[str, Any] = {}
    failed: dict[str, Exception] = {}

    def in_turn(lane: list[str]) -> None:
        for name in lane:
            try:
                taken[name] = take(name, ground, small).as_dict()
            except Exception as error:
                traceback.print_exc()
                failed[name] = error

    with ThreadPoolExecutor() as pool:
        list(pool.map(in_turn, lanes if small else [names]))
    return {name: taken[name] for name in names if name in taken}, failed


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    machine = result["machine"]
    print(f"\n{machine['processors']} processors ({machine['model']}), commit {result['commit']}")
    for name, part in result["parts"].items():
        load = " to ".join(str(load[0]) for load in part["load_average"])
        print(f"\n{name}: {part['title']} (load average {load})")
        for figure in part["figures"].values():
            goal = figures.goal_words(figure)
            print(f"  {figure['words']:<60} {figure['median']:>10g} {figure['unit']:<6} {goal}")


def write(result: dict[str, Any]) -> None:
    """The result's file, the page of all results, the section of the README."""
    os.makedirs(RESULTS, exist_ok=True)
    path = os.path.join(RESULTS, result["date"].replace(":", "") + ".json")
    with open(path, "w", encoding="utf-8") as handle:
        json.dump(result, handle, indent=1)
        handle.write("\n")
    print(f"\nwritten: {path}")
    results = figures.load_results()
    print(f"written: {page.write(results)}")
    figures.write_readme(results)


def main() -> int:
    """All parts, or those asked for; a part that fails does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="", help=f"of {','.join(PARTS)}")
    parser.add_argument("--small", action="store_true", help="smallest sizes, nothing written")
    parser.add_argument("--dry", action="store_true", help="write no result")
    parser.add_argument("--keep", action="store_true", help="leave the platform be for a next run")
    parser.add_argument("--render", action="store_true", help="only make page and README again")
    options = parser.parse_args()
    if options.render:
        results = figures.load_results()
        print(f"written: {page.write(results)}")
        figures.write_readme(results)
        return 0
    chosen = [part for part in options.parts.replace(",", " ").split() if part] or list(PARTS)
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    ground = Ground(options.keep, options.small)
    find_collection()
    result = header()
    try:
        result["parts"], failed = take_all(chosen, ground, options.small)
    finally:
        ground.remove()
    show(result)
    if result["parts"] and not options.small and not options.dry:
        write(result)
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
