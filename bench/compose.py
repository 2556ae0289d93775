"""The official Compose file's equivalent on the same images, timed. Printed as JSON.

Health intervals, start periods, the order of starts and Neo4j's heap are those of MemMachine's
own docker-compose.yml (read in July 2026); images, data and limits are ours, ports are not
published.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import fleet
import plain
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from containers import use_of

PROJECT = "memcloud-bench"
HERE = os.path.dirname(os.path.abspath(__file__))
HEALTH = {
    "postgres": {
        "test": ["CMD-SHELL", "pg_isready -h 127.0.0.1 -U memmachine -d memmachine"],
        "interval": "10s",
        "timeout": "5s",
        "retries": 5,
        "start_period": "30s",
    },
    "neo4j": {
        "test": ["CMD", "bash", "-c", "exec 3<>/dev/tcp/neo4j/7687"],
        "interval": "30s",
        "timeout": "10s",
        "retries": 5,
        "start_period": "30s",
    },
    "app": {
        "test": [
            "CMD",
            "/app/.venv/bin/python",
            "-c",
            "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/api/v2/health')",
        ],
        "interval": "30s",
        "timeout": "10s",
        "retries": 3,
        "start_period": "60s",
    },
}


def compose_file(desired: Any) -> dict[str, Any]:
    """The Compose file as data."""
    services: dict[str, Any] = {}
    for container in desired.containers:
        services[container.role] = {
            "image": container.image,
            "container_name": container.name,
            "user": container.user,
            "command": list(container.command) or None,
            "restart": "unless-stopped",
            "read_only": True,
            "healthcheck": HEALTH[container.role],
            "tmpfs": [f"{m.target}:{m.options}" for m in container.mounts if m.type == "tmpfs"],
            "volumes": [
                f"{m.source}:{m.target}" + (":ro" if m.read_only else "")
                for m in container.mounts
                if m.type != "tmpfs"
            ],
            "networks": {n.name: {"ipv4_address": n.address} for n in container.networks},
        }
        if container.stop_signal:
            services[container.role]["stop_signal"] = container.stop_signal
    services["app"]["depends_on"] = {
        role: {"condition": "service_healthy"} for role in ("postgres", "neo4j")
    }
    return {
        "name": PROJECT,
        "services": services,
        "networks": {n.name: {"external": True} for n in desired.networks},
        "volumes": {v.name: {"external": True} for v in desired.volumes},
    }


def official_heap(directory: str) -> None:
    """Neo4j's heap as in the official file: 512 MB to begin with, 1 GB at most."""
    path = os.path.join(directory, "neo4j", "jvm.args")
    with open(path, encoding="utf-8") as handle:
        lines = [line for line in handle if not line.startswith(("-Xms", "-Xmx"))]
    with open(path, "w", encoding="utf-8") as handle:
        handle.writelines([*lines, "-Xms512m\n", "-Xmx1g\n"])


def main() -> None:
    """Up, time, print, down."""
    inventory, name, image = sys.argv[1:]
    engine = Engine()
    platform, tenant, secrets = fleet.load(inventory, name)
    prepared = plain.prepare(engine, platform, tenant, secrets, 0)
    official_heap(prepared.directory)
    with tempfile.TemporaryDirectory() as scratch:
        with open(os.path.join(scratch, "compose.yml"), "w", encoding="utf-8") as handle:
            json.dump(compose_file(prepared.desired), handle)
        command = ["docker", "run", "--rm", "-v", "/var/run/docker.sock:/var/run/docker.sock"]
        command += [
            "-v",
            f"{scratch}:/bench:ro",
            image,
            "docker-compose",
            "-f",
            "/bench/compose.yml",
        ]
        try:
            began = time.monotonic()
            subprocess.run(
                [*command, "up", "--wait", "--quiet-pull"],
                check=True,
                timeout=300,
                stdout=sys.stderr,
            )
            healthy = time.monotonic() - began
            plain.prove(plain.direct_probe(name, prepared.addresses))
            seconds = time.monotonic() - began
            used = use_of(platform["name"], [name])[name]
            memory = sum(one.memory for one in used.values())
            print(json.dumps({"seconds": seconds, "healthy": healthy, "memory": memory}))
        finally:
            subprocess.run([*command, "down"], timeout=120, stdout=sys.stderr, check=False)
            plain.remove(engine, prepared)


if __name__ == "__main__":
    main()
