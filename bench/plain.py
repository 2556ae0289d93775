"""The containers of tenants, started by the engine's own API and nothing else.

    plain.py INVENTORY PARALLEL TENANT…

Everything that can be prepared is (files, networks, volumes); the clock runs from the first
container asked for to the end of the last memory round trip, which goes straight to the app. The
three containers of a tenant start at the same time, PARALLEL tenants side by side. Printed as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fleet
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    make_directory,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    Facts,
    desired_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    Addresses,
    NodeState,
    addresses_of,
    slots_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Probe
from containers import processor_of


class Direct:
    """The app itself, in place of the edge."""

    def __init__(self, address: str) -> None:
        self.hostname = address
        self._address = address

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, 8080, timeout=timeout)


def direct_probe(name: str, addresses: Addresses, early: bool = False) -> Probe:
    """A probe that asks a tenant's app itself, and like ours not before both servers listen.

    :param early: whether it asks from the beginning all the same.
    """
    servers = () if early else ((addresses.app, 8080), (addresses.neo4j, 7687))
    return Probe(name, Direct(addresses.app), "none", servers=servers)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Prepared:
    """A tenant of which everything but the containers is there."""

    name: str
    desired: Any
    addresses: Addresses
    directory: str


def prepare(
    engine: Engine,
    platform: Mapping[str, Any],
    tenant: Mapping[str, Any],
    secrets: Mapping[str, str],
    number: int,
) -> Prepared:
    """Files, networks and volumes, on a slot counted from the end of the pool."""
    name = tenant["tenant"]
    state = NodeState(platform["data_dir"])
    images = state.images()
    slot = slots_of(platform["subnet_pool"]) - 1 - number
    ids = {kind: images[kind]["id"] for kind in ("postgres", "neo4j")}
    ids["memmachine"] = images["memmachine"][tenant["version"]]["id"]
    facts = Facts(slot, ids, os.cpu_count() or 1)
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
    addresses = addresses_of(platform["subnet_pool"], slot)
    return Prepared(name, desired, addresses, state.tenant_dir(name))


def remove(engine: Engine, prepared: Prepared) -> None:
    """Take everything away again."""
    for container in prepared.desired.containers:
        engine.remove_container(container.name)
    for network in prepared.desired.networks:
        engine.remove_network(network.name)
    for volume in prepared.desired.volumes:
        engine.remove_volume(volume.name)
    shutil.rmtree(prepared.directory)


def start(engine: Engine, prepared: Prepared) -> None:
    """Start one tenant and prove it."""
    start_together(engine, prepared, prepared.desired.containers)
    prove(direct_probe(prepared.name, prepared.addresses))


def start_together(engine: Engine, prepared: Prepared, containers: Iterable[Any]) -> None:
    """Ask for containers of a tenant at the same time."""

    def one(container: Any) -> None:
        engine.create_container(prepared.desired, container)
        engine.start(container.name)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, containers))


def prove(probe: Probe) -> None:
    """Wait for a tenant's answer and make its memory round trip."""
    probe.wait_ready()
    probe.round_trip()


def main() -> None:
    """Start, time, print, remove."""
    inventory, parallel, *names = sys.argv[1:]
    engine = Engine()
    platform, tenants, secrets = fleet.load_all(inventory, names)
    prepared: list[Prepared] = []
    try:
        for number, tenant in enumerate(tenants):
            prepared.append(prepare(engine, platform, tenant, secrets[tenant["tenant"]], number))
        began = time.monotonic()
        with ThreadPoolExecutor(int(parallel)) as pool:
            list(pool.map(lambda one: start(engine, one), prepared))
        seconds = time.monotonic() - began
        used = processor_of(platform["name"], names)
        print(json.dumps({"seconds": seconds, "processor": used}))
    finally:
        for one in prepared:
            remove(engine, one)


if __name__ == "__main__":
    main()
