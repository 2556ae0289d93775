"""How every bench records: samples, their median, a goal; the machine and its load beside them."""

from __future__ import annotations

import datetime
import functools
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible.plugins.loader import init_plugin_loader

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
WORK = os.path.join(TOP, ".cache", "bench")
RESULTS = os.path.join(HERE, "results")


@functools.cache
def find_collection() -> None:
    """Make the collection importable, as Ansible's own programs do."""
    init_plugin_loader()


def say(text: str) -> None:
    """One line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def run(*command: str, timeout: int = 1800, **options: Any) -> str:
    """A command's output; its errors are shown when it fails."""
    done = subprocess.run(
        command, cwd=TOP, timeout=timeout, capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


@dataclass
class Process:
    """What a command cost: seconds on the clock and of processors, MB of its largest process."""

    seconds: float
    processor: float
    megabytes: float
    output: str


def timed_process(*command: str, **options: Any) -> Process:
    """Run a command in a small process of its own, so that its memory is not this one's."""
    program = (
        "import json, resource, subprocess, sys, time\n"
        "began = time.monotonic()\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "seconds = time.monotonic() - began\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))\n"
        "sys.exit(done.returncode)\n"
    )
    printed = run(sys.executable, "-c", program, *command, **options)
    *output, figures = printed.splitlines()
    return Process(*json.loads(figures), "\n".join(output))


def percentile(samples: Iterable[float], share: float) -> float:
    """The value that this share of the samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def load_average() -> list[float]:
    """The machine's load averages now."""
    return [round(value, 2) for value in os.getloadavg()]


def available_memory() -> int:
    """MemAvailable of the machine, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as handle:
        for line in handle:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


@dataclass
class Part:
    """What one bench found.

    :param name: as it is selected with PARTS.
    :param title: for people.
    :param how: how the figures were taken, in sentences.
    """

    name: str
    title: str
    how: str
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    load: list[list[float]] = field(default_factory=list)

    def figure(
        self,
        key: str,
        words: str,
        unit: str,
        samples: float | Iterable[float],
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> float:
        """Record a figure with its samples and, where there is one, its goal; give its median."""
        values = [samples] if isinstance(samples, (int, float)) else list(samples)
        median = statistics.median(values)
        entry: dict[str, Any] = {
            "words": words,
            "unit": unit,
            "samples": [_rounded(value) for value in values],
            "median": _rounded(median),
        }
        if at_most is not None:
            entry.update(goal={"at_most": at_most}, reached=median <= at_most)
        if at_least is not None:
            entry.update(goal={"at_least": at_least}, reached=median >= at_least)
        self.figures[key] = entry
        say(f"  {words}: {_rounded(median)} {unit}")
        return float(median)

    def curve(
        self, key: str, words: str, x: str, y: str, points: Iterable[Iterable[float]]
    ) -> None:
        """Record a series of points, for a plot."""
        rounded = [[_rounded(value) for value in point] for point in points]
        self.series[key] = {"words": words, "x": x, "y": y, "points": rounded}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the result's file."""
        return {
            "title": self.title,
            "how": " ".join(self.how.split()),
            "seconds": round(self.seconds, 1),
            "load_average": self.load,
            "figures": self.figures,
            "series": self.series,
        }

    def check(self, expected: Iterable[str]) -> None:
        """Stop unless every figure that this bench promises is there and is a number above 0."""
        for key in expected:
            values = self.figures.get(key, {}).get("samples")
            if not values or not all(math.isfinite(value) for value in values):
                raise RuntimeError(f"{self.name}: figure {key} was not taken: {values}")
            if max(values) <= 0 and not key.startswith(("failed", "added")):
                raise RuntimeError(f"{self.name}: figure {key} is {values}")


def _rounded(value: float) -> float:
    """Three digits behind the first that counts are more than any measurement is worth."""
    if not math.isfinite(value) or value == 0 or float(value).is_integer():
        return value
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    with open("/proc/cpuinfo", encoding="utf-8") as handle:
        models = [line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processors": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "memory_gib": round(memory / 1024**3, 1),
        "kernel": platform.release(),
        "engine": run("docker", "version", "--format", "{{.Server.Version}}").strip(),
        "python": platform.python_version(),
        "ansible": run("ansible", "--version").splitlines()[0],
        "own_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def header() -> dict[str, Any]:
    """Date, commit and machine of a result."""
    return {
        "schema": 1,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": run("git", "rev-parse", "--short", "HEAD").strip(),
        "clean": not run("git", "status", "--porcelain", "--untracked-files=no").strip(),
        "machine": machine(),
    }
