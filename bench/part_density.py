"""How many tenants this machine carries, and what an idle one costs."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Edge
from containers import ROLES, use_of
from ground import Ground
from measure import Part, available_memory, percentile, say
from reach import edge_of

TITLE = "Idle tenants: memory and processor time"
HOW = """
    Free tenants are deployed ten at a time, each proved by its memory round trip, until fifty live
    or the machine has less than 1.5 GiB left. Memory of a tenant is the fall of the machine's
    MemAvailable since before the first of them, divided by their number; each container's own,
    from its control group without file pages that the kernel may drop, stands beside it.
    Processor time is that of all their control groups over a minute in which nobody asks anything,
    a minute after the last deploy. At the end every tenant answers another round trip with its
    own key, one after the other.
"""
# The official Compose stack on the same images: Neo4j 650, app 236, PostgreSQL 56 MB.
_OFFICIAL_MB = 940
_RESERVE = 1536 * 1024**2
_ALWAYS = ("tenants", "answering", "memory_app", "processor_each", "round_trip")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    # What others on the machine take and give back meanwhile outweighs two tenants: a fall of the
    # machine's memory may then be a rise.
    return _ALWAYS if small else (*_ALWAYS, "memory_each")


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.prepare()
    wanted, step, idle = (2, 2, 3) if small else (50, 10, 60)
    before, already = available_memory(), ground.live_count()
    points = []
    names: list[str] = []
    while len(names) < wanted and available_memory() > _RESERVE + step * 350 * 1024**2:
        names = ground.live(len(names) + min(step, wanted - len(names)))
        fallen = (before - available_memory()) / 1e6
        points.append((len(names), fallen))
        say(f"  {len(names)} tenants, {fallen:.0f} MB less are available")
    if not names:
        raise RuntimeError(f"only {available_memory() / 1e6:.0f} MB are left on this machine")
    time.sleep(idle)
    new = len(names) - already
    each = (before - available_memory()) / 1e6 / new
    _idle(part, names, idle)
    limit = None if small else 0.5 * _OFFICIAL_MB
    part.figure("memory_each", "an idle tenant: MemAvailable falls by", "MB", each, at_most=limit)
    part.curve("memory", "MemAvailable falls by", "tenants", "MB", points)
    answered = _round_trips(ground, names)
    if not answered:
        raise RuntimeError("no tenant answers")
    goal = None if small else 50
    part.figure("tenants", "tenants deployed and proved", "", len(names), at_least=goal)
    part.figure("answering", "of which answer a round trip", "", len(answered), at_least=goal)
    part.figure("round_trip", "round trip of an idle tenant: median", "s", answered)
    words = "round trip of an idle tenant: p95"
    part.figure("round_trip_p95", words, "s", percentile(answered, 0.95))


def _idle(part: Part, names: list[str], seconds: float) -> None:
    first, began = use_of("be", names), time.monotonic()
    time.sleep(seconds)
    last, passed = use_of("be", names), time.monotonic() - began
    total = 0.0
    for role in ROLES:
        spent = sum(last[n][role].processor - first[n][role].processor for n in names) / passed
        total += spent
        words = f"{role}: share of a core when idle"
        part.figure(f"processor_{role}", words, "%", 100 * spent / len(names))
        memory = [last[name][role].memory / 1e6 for name in names]
        part.figure(f"memory_{role}", f"{role}: memory of its control group", "MB", memory)
    each = 100 * total / len(names)
    part.figure("processor_each", "an idle tenant: share of a core", "%", each, at_most=1.4)
    part.figure("processor_all", f"{len(names)} idle tenants: cores", "", total, at_most=0.7)


def _round_trips(ground: Ground, names: list[str]) -> list[float]:
    taken = []
    for name in names:
        try:
            taken.append(_round_trip(ground, name))
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            say(f"  {name} does not answer: {error}")
    return taken


def _round_trip(ground: Ground, name: str) -> float:
    """Seconds to store a memory and to find it, with the tenant's own key through the edge."""
    edge = edge_of(name)
    project = {"org_id": "bench", "project_id": "density"}
    sentence = f"The number of {name} is {time.time_ns()}"
    began = time.monotonic()
    _post(edge, ground.key(name), "", {**project, "messages": [{"content": sentence}]})
    found = _post(edge, ground.key(name), "/search", {**project, "query": sentence, "top_k": 5})
    if sentence not in found:
        raise RuntimeError("it does not find what was just stored")
    return time.monotonic() - began


def _post(edge: Edge, key: str, path: str, body: dict[str, Any]) -> str:
    connection = edge.connect(60)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", f"/api/v2/memories{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text[:200]}")
    return text
