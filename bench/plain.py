"""The three containers of a tenant, started by the engine's own API and nothing else.

Everything that can be prepared is (files, networks, volumes); the clock runs from the first
container asked for, all three in parallel, to the end of the first memory round trip, which goes
straight to the app. Printed as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fleet
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    atomic_write,
    make_directory,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    Facts,
    desired_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    NodeState,
    addresses_of,
    slots_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Probe


class Direct:
    """The app itself, in place of the edge."""

    def __init__(self, address: str) -> None:
        self.hostname = address
        self._address = address

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, 8080, timeout=timeout)


def prepare(engine: Engine, inventory: str, name: str) -> Any:
    """Files, networks and volumes; returns the desired state and the app's address."""
    platform, tenant, secrets = fleet.load(inventory, name)
    state = NodeState(platform["data_dir"])
    images = state.images()
    slot = slots_of(platform["subnet_pool"]) - 1
    facts = Facts(
        slot,
        {
            "postgres": images["postgres"]["id"],
            "neo4j": images["neo4j"]["id"],
            "memmachine": images["memmachine"][tenant["version"]]["id"],
        },
        os.cpu_count() or 1,
    )
    desired, contents = desired_tenant(tenant, platform, facts, secrets)
    for directory in desired.directories:
        make_directory(directory.path, directory.mode, directory.uid, directory.gid)
    for file in desired.files:
        if "/tenants/" + name + "/" in file.path:
            text = contents[file.path] if file.content is None else file.content
            atomic_write(file.path, text, file.mode, file.uid, file.gid)
    for network in desired.networks:
        engine.create_network(desired, network)
    for volume in desired.volumes:
        engine.create_volume(desired, volume)
    return desired, addresses_of(platform["subnet_pool"], slot).app, state.tenant_dir(name)


def remove(engine: Engine, desired: Any, directory: str) -> None:
    """Take everything away again."""
    for container in desired.containers:
        engine.remove_container(container.name)
    for network in desired.networks:
        engine.remove_network(network.name)
    for volume in desired.volumes:
        engine.remove_volume(volume.name)
    shutil.rmtree(directory)


def main() -> None:
    """Start, time, print, remove."""
    inventory, name = sys.argv[1:]
    engine = Engine()
    desired, address, directory = prepare(engine, inventory, name)
    try:

        def start(container: Any) -> None:
            engine.create_container(desired, container)
            engine.start(container.name)

        began = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(start, desired.containers))
        created = time.monotonic() - began
        probe = Probe(name, Direct(address), "none")  # type: ignore[arg-type]
        probe.wait_ready()
        probe.round_trip()
        print(json.dumps({"seconds": time.monotonic() - began, "containers": created}))
    finally:
        remove(engine, desired, directory)


if __name__ == "__main__":
    main()
