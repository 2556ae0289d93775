"""The two ways to a tenant: through the edge, as its customers come, and past it."""

from __future__ import annotations

from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    Addresses,
    addresses_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Edge
from ground import DATA, DOMAIN, HTTPS_PORT, POOL, Ground


def edge_of(tenant: str) -> Edge:
    """Where a tenant is reached by its customers."""
    return Edge(f"{tenant}.{DOMAIN}", HTTPS_PORT, True, f"{DATA}/edge/ca.crt")


def addresses(ground: Ground, tenant: str) -> Addresses:
    """Where the servers of a tenant are reached without the edge."""
    return addresses_of(POOL, ground.state(tenant)["slot"])
