"""What Traefik, the gate and the limits cost, and how a thousand tenants' routes change."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
from collections.abc import Callable, Iterator

from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_leaf,
    leaf_path,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    GATE_UID,
    TRAEFIK_UID,
    TenantPaths,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Edge
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import (
    Route,
    RouteLimits,
    gate_entry,
    traefik_dynamic,
)
from ground import DATA, DOMAIN, GATE_PORT, HTTPS_PORT, Ground
from images import image
from load import Load, failures
from measure import Part, run, say
from reach import addresses

TITLE = "The edge: Traefik, gate and limits"
HOW = """
    h2load, in a container on the host's network, asks one tenant's constant health page on
    loopback at 200 requests a second, evenly over 4 kept connections, after a second that is
    not counted: straight at the app, and over HTTPS through Traefik, gate, rate, in-flight and
    body limits, in turn. What is added is the difference of two runs next to each other. wrk
    asks the gate alone, on 32 connections; the gate is one process, and its decisions are
    divided by the processor seconds that it used. Then routes, certificates and keys of a
    thousand more tenants are loaded, which all lead to the same app, and keys are replaced and
    tenants added one after the other, while hey watches two tenants that nobody changes. The
    time runs from the first byte written to the first request that the new key passes.
"""
TENANT = "live01"
_LIMITS = RouteLimits(10_000, 10_000, 1000, 1000, 1048576)
_FIGURES = (
    "direct_median", "edge_median", "added_median", "added_p99", "decisions", "loaded",
    "key_live", "tenant_live", "failed_requests",
)  # fmt: skip


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return _FIGURES


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    ground.live(1)
    many = Many(ground, 50 if small else 1000)
    watched = f"{many.name(1)}.{DOMAIN}"
    load = Load(image(ground.base_image(), "load"), [f"{TENANT}.{DOMAIN}", watched])
    try:
        # A small run may have a busy machine, which answers less.
        rounds, seconds, rate = (1, 5, 48) if small else (7, 15, 200)
        _latency(ground, part, load, rounds, seconds, rate)
        _gate(ground, part, load, rounds=1 if small else 3, seconds=2 if small else 10)
        part.figure(
            "loaded", f"{many.count} more tenants: until the last answers", "s", many.load()
        )
        _changes(ground, part, load, many, 1 if small else 5)
    finally:
        many.remove()


def _latency(ground: Ground, part: Part, load: Load, rounds: int, seconds: int, rate: int) -> None:
    key, path = ground.key(TENANT), "/api/v2/health"
    direct_url = f"http://{addresses(ground, TENANT).app}:8080{path}"
    edge_url = f"https://{TENANT}.{DOMAIN}:{HTTPS_PORT}{path}"
    direct, edge = [], []
    for number in range(rounds):
        say(f"  latency, round {number + 1} of {rounds}")
        direct.append(load.latency(direct_url, key, rate, seconds))
        edge.append(load.latency(edge_url, key, rate, seconds))
    for name, words, taken in (("direct", "the app itself", direct), ("edge", "the edge", edge)):
        part.figure(f"{name}_median", f"{words}: median", "ms", [one.median for one in taken])
        part.figure(f"{name}_p99", f"{words}: p99", "ms", [one.p99 for one in taken])
    pairs = list(zip(edge, direct))
    added = [with_edge.median - without.median for with_edge, without in pairs]
    part.figure("added_median", "added by the edge: median", "ms", added, at_most=1.5)
    added = [with_edge.p99 - without.p99 for with_edge, without in pairs]
    part.figure("added_p99", "added by the edge: p99", "ms", added, at_most=6)


def _gate(ground: Ground, part: Part, load: Load, rounds: int, seconds: int) -> None:
    url = f"http://127.0.0.1:{GATE_PORT}/auth/{TENANT}"
    pid = run("docker", "inspect", "--format", "{{.State.Pid}}", "be-gate").strip()
    a_second, a_core = [], []
    for _round in range(rounds):
        used, began = _processor(pid), time.monotonic()
        rate = load.most(url, ground.key(TENANT), seconds)
        # The gate does nothing else: what it used is for the answers of these seconds.
        a_second.append(rate)
        a_core.append(rate * min(seconds, time.monotonic() - began) / (_processor(pid) - used))
    part.figure("decisions_shared", "gate: decisions a second beside wrk", "1/s", a_second)
    words = "gate: decisions a second of one core"
    part.figure("decisions", words, "1/s", a_core, at_least=4000)


def _processor(pid: str) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
        fields = handle.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _changes(ground: Ground, part: Part, load: Load, many: Many, rounds: int) -> None:
    watches = [
        (f"https://{TENANT}.{DOMAIN}:{HTTPS_PORT}/api/v2/health", ground.key(TENANT)),
        (f"https://{many.name(1)}.{DOMAIN}:{HTTPS_PORT}/api/v2/health", many.key(many.name(1))),
    ]
    seconds = 6 + 6 * rounds
    watching = [load.watch(url, key, 100, seconds) for url, key in watches]
    time.sleep(2)
    keys, added = [], []
    for number in range(rounds):
        keys.append(many.replace_key(many.name(2 + number)))
        added.append(many.add())
    good = bad = 0
    for watch in watching:
        answered, failed = failures(watch)
        good, bad = good + answered, bad + failed
    words = f"with {many.count} tenants: a replaced key is live"
    part.figure("key_live", words, "s", keys, at_most=3)
    words = f"with {many.count} tenants: a new tenant's route is live"
    part.figure("tenant_live", words, "s", added, at_most=3)
    part.figure("watched_requests", "requests of other tenants meanwhile", "", good)
    part.figure("failed_requests", "of which failed", "", bad, at_most=0)


class Many:
    """Tenants that exist at the edge alone; all lead to the app of one that is real."""

    def __init__(self, ground: Ground, count: int) -> None:
        self._app = f"{addresses(ground, TENANT).app}:8080"
        self.count = count
        self._made: list[str] = []

    def name(self, number: int) -> str:
        return f"many{number:04}"

    def key(self, name: str) -> str:
        return f"mb_key-of-{name}"

    def load(self) -> float:
        """Write all of them; seconds until the last one answers."""
        say(f"  loading {self.count} more tenants")
        names = [self.name(number) for number in range(1, self.count + 1)]
        for name in names:
            self._certify(name)
        began = time.monotonic()
        for name in names:
            self._write(name, self.key(name))
        self._until_live(names[-1], self.key(names[-1]))
        return time.monotonic() - began

    def replace_key(self, name: str) -> float:
        """Give a tenant another key; seconds until that passes."""
        key = f"{self.key(name)}-2"
        began = time.monotonic()
        self._write_gate(name, key)
        self._until_live(name, key)
        return time.monotonic() - began

    def add(self) -> float:
        """One tenant more; seconds until it answers, its certificate included."""
        self.count += 1
        name = self.name(self.count)
        began = time.monotonic()
        self._certify(name)
        self._write(name, self.key(name))
        self._until_live(name, self.key(name))
        return time.monotonic() - began

    def remove(self) -> None:
        """Take all of them away."""
        for name in self._made:
            paths = TenantPaths.of(DATA, name)
            for path in (paths.route, paths.gate, leaf_path(f"{DATA}/edge/certs", _host(name))):
                if os.path.exists(path):
                    os.unlink(path)
        self._made = []

    def _certify(self, name: str) -> None:
        self._made.append(name)
        ensure_leaf(f"{DATA}/edge/ca", f"{DATA}/edge/certs", _host(name))

    def _write(self, name: str, key: str) -> None:
        self._write_gate(name, key)
        route = Route(name, _host(name), self._app, _LIMITS, GATE_PORT)
        paths = TenantPaths.of(DATA, name)
        text = traefik_dynamic(route)
        atomic_write(paths.route, text, 0o640, 0, TRAEFIK_UID, paths.edge)

    def _write_gate(self, name: str, key: str) -> None:
        entry = gate_entry(
            tenant=name,
            uid=hashlib.sha256(name.encode()).hexdigest()[:16],
            state="running",
            keys=[{"name": "default", "sha256": hashlib.sha256(key.encode()).hexdigest()}],
            probe_sha256="0" * 64,
            app=self._app,
        )
        atomic_write(TenantPaths.of(DATA, name).gate, entry, 0o640, 0, GATE_UID)

    def _until_live(self, name: str, key: str) -> None:
        # Before its certificate is loaded the edge shows the default one, which is for no name.
        edge = Edge(_host(name), HTTPS_PORT, True, f"{DATA}/edge/ca.crt")
        for _wait in _pauses(60):
            connection = edge.connect(5)
            try:
                headers = {"Authorization": f"Bearer {key}"}
                connection.request("GET", "/api/v2/health", headers=headers)
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
        raise RuntimeError(f"{name} does not answer after 60 s")


def _host(name: str) -> str:
    return f"{name}.{DOMAIN}"


def _pauses(seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    deadline = clock() + seconds
    while clock() < deadline:
        yield
        time.sleep(0.02)
