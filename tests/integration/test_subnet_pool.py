# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of forty tenants on one node: Docker's own address pools end near 31.

MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_subnet_pool.py
"""

from __future__ import annotations

import ipaddress
import os

import docker
import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    addresses_of,
    slots_of,
)

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
POOL = os.environ.get("MEMCLOUD_SUBNET_POOL", "10.192.0.0/14")
DOCKER_HOST = os.environ.get("MEMCLOUD_DOCKER_HOST", "unix:///var/run/docker.sock")
TENANTS = 40

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.isdir(f"/var/lib/memcloud/{PLATFORM}"),
    reason=f"no node of {PLATFORM} on this machine",
)


@pytest.fixture
def client():
    return docker.DockerClient(base_url=DOCKER_HOST)


@pytest.fixture
def made():
    networks = []
    yield networks
    for network in networks:
        network.remove()


def test_networks_of_forty_tenants_stand_side_by_side(client, made):
    subnets = []
    for index in range(TENANTS):
        slot = slots_of(POOL) - 10 - index
        addresses = addresses_of(POOL, slot)
        for role, subnet, gateway in (
            ("data", addresses.data_subnet, addresses.data_gateway),
            ("app", addresses.app_subnet, addresses.app_gateway),
        ):
            made.append(
                client.networks.create(
                    f"{PLATFORM}-zz-{slot}-{role}",
                    driver="bridge",
                    internal=role == "data",
                    options={"com.docker.network.bridge.name": f"{PLATFORM}-{role[0]}{slot}"},
                    ipam=docker.types.IPAMConfig(
                        pool_configs=[docker.types.IPAMPool(subnet=subnet, gateway=gateway)]
                    ),
                )
            )
            subnets.append(ipaddress.IPv4Network(subnet))
    found = client.networks.list(ids=[network.id for network in made])
    assert len(found) == 2 * TENANTS
    pool = ipaddress.IPv4Network(POOL)
    assert all(subnet.subnet_of(pool) for subnet in subnets)
    ordered = sorted(subnets)
    assert not any(one.overlaps(two) for one, two in zip(ordered, ordered[1:]))
