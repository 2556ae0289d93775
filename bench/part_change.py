"""One value of a hundred tenants changed in one run; one of them fails."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from typing import Any

from ground import DATA, INVENTORY, Ground, playbook_command
from measure import TOP, Part, say

TITLE = "Changing one value of a hundred tenants"
HOW = """
    The tenants are real, with the real images, but paused, since no machine of this size runs a
    hundred stacks: entry, route, gate and containers are what they are for running ones, and none
    of the changes restarts a server. Each change is one run of change_tenant over all of them, from
    Enter to the last tenant's change loaded by Traefik and gate. Then one tenant's record is broken
    on purpose: the run must change the others, say who failed, and end with an error.
"""
_FIGURES = ("deploy", "limits", "keys", "changed_beside_failure", "failed_tenants")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return _FIGURES


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    names = [f"many{number:03}" for number in range(1, (3 if small else 100) + 1)]
    for name in names:
        ground.create(name, tenant_state="paused")
    pattern = ",".join(names)
    try:
        seconds, lines, _code = _run("deploy_tenant.yml", pattern)
        _expect(lines, len(names))
        part.figure("deploy", f"deploy_tenant of {len(names)} paused tenants", "s", seconds)
        for key, words, change in (
            ("limits", "a rate limit", {"tenant_limits": {"requests_per_second": 7}}),
            ("keys", "the keys", {"tenant_api_keys": [_key("another")]}),
        ):
            seconds, lines, _code = _run("change_tenant.yml", pattern, change)
            _expect(lines, len(names))
            part.figure(key, f"{words} of {len(names)}", "s", seconds)
        _one_fails(part, names, pattern)
    finally:
        say(f"  removing {len(names)} tenants")
        ground.purge(*names)


def _one_fails(part: Part, names: list[str], pattern: str) -> None:
    broken = names[len(names) // 2]
    path = os.path.join(DATA, "tenants", broken, "state.json")
    with open(path, encoding="utf-8") as handle:
        record = handle.read()
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(record[: len(record) // 2])
    try:
        change = {"tenant_limits": {"requests_per_second": 9}}
        seconds, lines, code = _run("change_tenant.yml", pattern, change, must_succeed=False)
    finally:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(record)
    changed = sum(_line_is_good(line) for line in lines)
    failed = len(names) - changed
    part.figure("beside_failure", "a rate limit of all, one of which fails", "s", seconds)
    words = "changed although one failed"
    part.figure("changed_beside_failure", words, "", changed, at_least=len(names) - 1)
    part.figure("failed_tenants", "failed, named, and in the exit code", "", failed, at_most=1)
    if code == 0:
        raise RuntimeError("a run in which a tenant failed ended as a success")


def _key(name: str) -> dict[str, Any]:
    return {
        "name": "default",
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "created": "2026-11-21T00:00:00Z",
    }


def _run(
    name: str, pattern: str, change: dict[str, Any] | None = None, must_succeed: bool = True
) -> tuple[float, list[str], int]:
    """Seconds, the progress lines (one a tenant), and the exit code."""
    arguments = ["-l", pattern]
    if change:
        arguments += ["-e", json.dumps({"memcloud_change": change})]
    began = time.monotonic()
    done = subprocess.run(
        playbook_command(INVENTORY, name, *arguments),
        cwd=TOP, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if must_succeed and done.returncode:
        raise RuntimeError(f"{name}: {done.stdout[-3000:]}{done.stderr[-2000:]}")
    lines = re.findall(r"^  \d+/\d+ \S+: .*$", done.stdout, re.MULTILINE)
    return seconds, lines, done.returncode


def _line_is_good(line: str) -> bool:
    return not line.endswith(": failed")


def _expect(lines: list[str], count: int) -> None:
    good = [line for line in lines if _line_is_good(line)]
    if len(good) != count:
        raise RuntimeError(f"{count} tenants, but these lines: {lines}")
