"""A thousand tenants on one node, for what is measured on many.

No machine of this size holds a thousand stacks, so containers, networks and volumes are real ones
with the real labels, limits and specifications, on a Docker Engine of their own in a network
namespace of their own, but their image is a shell that sleeps, and most tenants are paused: their
containers are made and not started. The files are the real ones. All of it is made by the
collection's own code, which is told that trying the model provider, waiting for the edge and the
memory round trip succeeded.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import fleet
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils import _deploy, _job, _node
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_ca
from ground import write_inventory
from measure import WORK, run, say

HOME = os.path.join(WORK, "crowd")
INVENTORY = os.path.join(HOME, "inventory")
DATA = os.path.join(HOME, "data")
SOCKET = f"unix://{HOME}/docker.sock"
STAND_IN = "memcloud-bench/stand-in:1"
SETTINGS = f"""\
---
platform_name: bf
platform_domain: bf.memcloud.localhost
platform_data_dir: {DATA}
platform_docker_host: {SOCKET}
platform_subnet_pool: 10.204.0.0/15
platform_root_keys: {{1: "ROOT_KEY"}}
"""
_STEP = 100
# What waits for edge and gate, in whichever module it is called.
_WAITS = ("wait_for_router", "wait_for_gate")


def believe_everything() -> None:
    """Have the collection's code, in this process, take for granted what nobody can answer."""
    ours = [m for n, m in list(sys.modules.items()) if n.startswith("ansible_collections.memcloud")]
    replaced = [
        *((module, name) for module in ours for name in _WAITS if hasattr(module, name)),
        (_node.Node, "try_first"),
        (_job.Job, "prove"),
    ]
    for owner, name in replaced:
        getattr(owner, name)  # it must exist, or this bench is out of date
        setattr(owner, name, lambda *_arguments: {})


class Crowd:
    """The tenants ``t0001`` and so on; ``running`` of them run.

    :param base: an image with a shell, on the machine's engine.
    """

    def __init__(self, base: str, running: int) -> None:
        self._base = base
        self._running = running
        self._made = 0
        self.inventory = INVENTORY

    def name(self, number: int) -> str:
        """The tenant of a number, counted from 1."""
        return f"t{number:04}"

    def grow(self, count: int) -> None:
        """Have this many tenants."""
        began = time.monotonic()
        while self._made < count:
            until = min(count, self._made + _STEP)
            names = [self.name(number) for number in range(self._made + 1, until + 1)]
            for name in names:
                self._write_entry(name)
            results = self.converge(names)
            failed = [result.error for result in results if result.error]
            if failed:
                raise RuntimeError("\n".join(failed[:5]))
            self._made = until
            say(f"  {until} of {count} tenants made, {time.monotonic() - began:.0f} s")

    def entry(self, name: str) -> dict[str, Any]:
        """A tenant's entry, as create_tenant writes it."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        key = {"name": "default", "sha256": digest, "created": "2026-11-21T00:00:00Z"}
        return {
            "tenant_uid": digest[:16],
            "tenant_node": "node1",
            "tenant_tier": "free",
            "tenant_owner": f"customer of {name}",
            "tenant_state": "running" if int(name[1:]) <= self._running else "paused",
            "tenant_api_keys": [key],
        }

    def _write_entry(self, name: str) -> None:
        path = os.path.join(INVENTORY, "host_vars", f"{name}.yml")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write("---\n" + yaml.safe_dump(self.entry(name), sort_keys=False))

    def inputs(self, names: list[str]) -> Any:
        """What the controller tells the node: platform, tenants, secrets."""
        return fleet.load_all(INVENTORY, names)

    def converge(self, names: list[str]) -> Any:
        """Make tenants as the collection does."""
        platform, tenants, secrets = self.inputs(names)
        believe_everything()
        return _deploy.TenantNode(platform, "bench").converge(tenants, secrets)

    def read(self, names: list[str]) -> float:
        """Seconds for reading and checking the tenants' variables."""
        began = time.monotonic()
        self.inputs(names)
        return time.monotonic() - began

    def compare(self, inputs: Any) -> Any:
        """Compare tenants as the module on the node does; those that are not as they should be."""
        platform, tenants, _secrets = inputs
        results = _deploy.TenantNode(platform, "bench").plan(tenants)
        return [result for result in results if result.drift or result.error]

    def plan(self, names: list[str]) -> Any:
        """Seconds for the comparison, and whom it found."""
        inputs = self.inputs(names)
        began = time.monotonic()
        drifted = self.compare(inputs)
        return time.monotonic() - began, drifted


@contextlib.contextmanager
def crowd(base: str, running: int = 3) -> Iterator[Crowd]:
    """The engine and the inventory of a crowd, taken away afterwards."""
    remove()
    os.makedirs(HOME, exist_ok=True)
    root_key = base64.b64encode(os.urandom(32)).decode()
    write_inventory(INVENTORY, SETTINGS.replace("ROOT_KEY", root_key))
    for directory in ("edge/dynamic", "edge/certs", "gate/tenants", "gate/activity", "checked"):
        os.makedirs(os.path.join(DATA, directory))
    ensure_ca(os.path.join(DATA, "edge", "ca"), "bench")
    say("starting a Docker Engine of its own for many tenants")
    log = os.open(f"{HOME}/dockerd.log", os.O_WRONLY | os.O_CREAT, 0o600)
    engine = subprocess.Popen(
        [
            *("unshare", "--net", "dockerd", "-H", SOCKET),
            *("--data-root", f"{HOME}/engine", "--exec-root", f"{HOME}/exec"),
            *("--pidfile", f"{HOME}/docker.pid", "--bridge=none"),
            *("--iptables=false", "--ip6tables=false"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    os.close(log)
    try:
        _wait_for_engine(engine)
        image = _stand_in(base)
        with open(os.path.join(DATA, "images.json"), "w", encoding="utf-8") as handle:
            json.dump(image, handle)
        yield Crowd(base, running)
    finally:
        _stop_engine(engine)
        remove()


def _wait_for_engine(engine: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while subprocess.run(["docker", "-H", SOCKET, "version"], capture_output=True).returncode:
        if engine.poll() is not None or time.monotonic() > deadline:
            with open(f"{HOME}/dockerd.log", encoding="utf-8") as handle:
                raise RuntimeError("the engine did not start: " + handle.read()[-2000:])
        time.sleep(0.2)


def _stand_in(base: str) -> dict[str, Any]:
    """An image of a shell that sleeps, recorded as that of each server."""
    container = run("docker", "create", base, "true").strip()
    try:
        entrypoint = 'ENTRYPOINT ["/bin/sh", "-c", "exec sleep infinity", "-"]'
        run(
            "bash", "-c", 'docker export "$0" | docker -H "$1" import --change "$2" - "$3"',
            container, SOCKET, entrypoint, STAND_IN,
        )  # fmt: skip
    finally:
        run("docker", "rm", container)
    form = ("docker", "-H", SOCKET, "image", "inspect", "--format", "{{.Id}}", STAND_IN)
    found = {"id": run(*form).strip()}
    return {"postgres": found, "neo4j": found, "memmachine": {"0.4.0": found}}


def _stop_engine(engine: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(RuntimeError):
        running = run("docker", "-H", SOCKET, "ps", "-q").split()
        if running:
            run("docker", "-H", SOCKET, "kill", *running)
    engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(60)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def remove() -> None:
    """What an earlier run left."""
    with open("/proc/mounts", encoding="utf-8") as handle:
        mounts = [line.split()[1] for line in handle if line.split()[1].startswith(HOME + "/")]
    for mount in sorted(mounts, reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(HOME, ignore_errors=True)
