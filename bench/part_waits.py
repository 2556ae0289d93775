"""How long a customer waits: for a tenant to wake, for a backup or an update to be made."""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Probe
from containers import ROLES
from ground import DATA, Ground
from measure import Part, percentile, run, say
from plain import direct_probe
from reach import addresses, edge_of

TITLE = "How long a customer waits"
HOW = """
    A paused tenant is woken by a customer's request: from sending it to the first memory stored
    and found, with the tenant's own key through the edge, which holds the request meanwhile.
    Against it the same three containers started by the engine's own API at the same time, until
    the same round trip with the app itself. In turn, each after pause_tenant and with the disk
    settled. Then restore points of that tenant, and updates of it to another image of the same
    server version; how long the gate held requests is what the run reports.
"""
_HELD = re.compile(r"requests waited at most ([0-9.]+) s")
_ALWAYS = ("wake", "wake_p95", "wake_plain", "wake_ratio")
_MORE = ("held_backup", "held_update")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return _ALWAYS if small else (*_ALWAYS, *_MORE)


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    (tenant,) = ground.live(1)
    _wake(ground, part, tenant, rounds=1 if small else 10)
    if not small:
        held = [_held(ground, "backup_tenant.yml", tenant) for _round in range(3)]
        part.figure("held_backup", "a restore point: requests waited at most", "s", held)
        words = "an update to another image: requests waited at most"
        part.figure("held_update", words, "s", _updates(ground, tenant, 3), at_most=15)


def _wake(ground: Ground, part: Part, tenant: str, rounds: int) -> None:
    woken, plain = [], []
    for number in range(rounds):
        say(f"  waking, round {number + 1} of {rounds}")
        for taken, start in ((plain, _start_plainly), (woken, _ask)):
            ground.playbook("pause_tenant.yml", "-e", f"tenant={tenant}")
            os.sync()
            taken.append(start(ground, tenant))
    ground.playbook("resume_tenant.yml", "-e", f"tenant={tenant}")
    words = "a paused tenant: a request to its first memory found"
    part.figure("wake", words, "s", woken)
    words = "a paused tenant: p95"
    part.figure("wake_p95", words, "s", percentile(woken, 0.95), at_most=20)
    part.figure("wake_plain", "its containers started plainly: the same", "s", plain)
    ratios = [ours / theirs for ours, theirs in zip(woken, plain)]
    part.figure("wake_ratio", "waking: ours / plain", "x", ratios, at_most=1.2)


def _ask(ground: Ground, tenant: str) -> float:
    return Probe(tenant, edge_of(tenant), ground.key(tenant)).round_trip().found


def _start_plainly(ground: Ground, tenant: str) -> float:
    engine = Engine()
    probe = direct_probe(tenant, addresses(ground, tenant))
    with ThreadPoolExecutor(len(ROLES)) as pool:
        list(pool.map(engine.start, [f"be-{tenant}-{role}" for role in ROLES]))
    probe.wait_ready()
    return probe.round_trip().found


def _held(ground: Ground, playbook: str, tenant: str) -> float:
    printed = ground.playbook(playbook, "-e", f"tenant={tenant}")
    found = _HELD.search(printed)
    if not found:
        raise RuntimeError(f"{playbook} does not say how long requests waited:\n{printed[-3000:]}")
    return float(found[1])


def _updates(ground: Ground, tenant: str, rounds: int) -> list[float]:
    """Updates of one tenant to images that differ from the node's own by an empty layer."""
    path = os.path.join(DATA, "images.json")
    with open(path, encoding="utf-8") as handle:
        before = handle.read()
    held, made = [], []
    try:
        for _round in range(rounds):
            known = json.loads(before)
            (entry,) = known["memmachine"].values()
            recipe = f"FROM {entry['id']}\nLABEL memcloud.bench={time.time_ns()}\n"
            made.append(run("docker", "build", "--quiet", "-", input=recipe).strip())
            entry["id"] = made[-1]
            _write(path, json.dumps(known))
            held.append(_held(ground, "update_tenant.yml", tenant))
    finally:
        _write(path, before)
    _held(ground, "update_tenant.yml", tenant)  # back to the node's own
    run("docker", "rmi", "--force", *made)
    return held


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)
