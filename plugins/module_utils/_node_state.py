# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a node knows: slots, image ids, checks of root keys, and one state file a tenant."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import read_json

SLOT_PREFIX = 27
# Slot 0 belongs to the node itself.
FIRST_SLOT = 1


@dataclass(frozen=True)
class Addresses:
    """Addresses and subnets of one slot."""

    data_subnet: str
    data_gateway: str
    postgres: str
    neo4j: str
    app_data: str
    app_subnet: str
    app_gateway: str
    app: str


def slots_of(pool: str) -> int:
    """How many slots a subnet pool has, the node's own included."""
    return int(2 ** max(0, SLOT_PREFIX - ipaddress.IPv4Network(pool).prefixlen))


def addresses_of(pool: str, slot: int) -> Addresses:
    """The addresses of a slot in a subnet pool."""
    network = ipaddress.IPv4Network(pool)
    if not 0 <= slot < slots_of(pool):
        raise MemcloudError(
            f"slot {slot} is outside of platform_subnet_pool {pool}, which has {slots_of(pool)}"
        )
    base = network.network_address + slot * 2 ** (32 - SLOT_PREFIX)
    return Addresses(
        data_subnet=f"{base}/28",
        data_gateway=str(base + 1),
        postgres=str(base + 2),
        neo4j=str(base + 3),
        app_data=str(base + 4),
        app_subnet=f"{base + 16}/28",
        app_gateway=str(base + 17),
        app=str(base + 18),
    )


def images_for(images: Mapping[str, Any], version: str) -> dict[str, str]:
    """The ids of the images, by kind, with which a node would run a server version.

    :param images: the record of the node's images.
    """
    ids = {kind: str(images[kind]["id"]) for kind in ("postgres", "neo4j") if kind in images}
    server = (images.get("memmachine") or {}).get(version)
    return {**ids, "memmachine": str(server["id"])} if server else ids


class NodeState:
    """The files below a platform's data directory on the node."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.locks = os.path.join(data_dir, "locks")
        self._node = os.path.join(data_dir, "node.json")

    def path(self, *parts: str) -> str:
        """A path below the data directory."""
        return os.path.join(self.data_dir, *parts)

    # -- the node -----------------------------------------------------------------------------

    def node(self) -> dict[str, Any]:
        """The node's own record: slots by uid, checks of root keys."""
        found = read_json(self._node) or {}
        return {"schema": 1, "slots": {}, "root_key_checks": {}, **found}

    def images(self) -> dict[str, Any]:
        """The images recorded on this node, by kind."""
        found = read_json(self.path("images.json"))
        if found is None:
            raise MemcloudError(
                f"this node is not set up: {self.path('images.json')} is missing. Run setup_node "
                "for it first"
            )
        return dict(found)

    def slot(self, uid: str) -> int | None:
        """The slot of a tenant, None when it has none yet."""
        entry = self.node()["slots"].get(uid)
        return int(entry["slot"]) if entry else None

    def check_name(
        self, tenant: str, uid: str, slots: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Stop when this node has the identity under another tenant's name.

        Both would have the same addresses: requests for one would reach the other.

        :param slots: the node's slots, where they have been read already.
        """
        entry = (self.node()["slots"] if slots is None else slots).get(uid)
        if entry and entry["tenant"] != tenant:
            raise VariableError(
                tenant,
                "tenant_uid",
                f"is {uid}, which is that of tenant {entry['tenant']} on this node, with its "
                "memories. Nothing was touched: a tenant keeps its name (tenant_hostname can be "
                f"another), so call its entry {entry['tenant']} again; where this entry is a copy, "
                "remove tenant_uid and tenant_api_keys from it",
            )

    def claim_slot(self, uid: str, tenant: str, pool: str, owner: str) -> int:
        """The slot of a tenant; the lowest free one is claimed for a new tenant.

        Safe against other runs: the record is read and written under the node's lock.
        """
        with locked(self.locks, "node", owner):
            node = self.node()
            entry = node["slots"].get(uid)
            if entry:
                return int(entry["slot"])
            taken = {int(entry["slot"]) for entry in node["slots"].values()}
            for slot in range(FIRST_SLOT, slots_of(pool)):
                if slot not in taken:
                    node["slots"][uid] = {"slot": slot, "tenant": tenant}
                    self._write_node(node)
                    return slot
        raise MemcloudError(
            f"{tenant}: platform_subnet_pool {pool} has no free slot left on this node "
            f"({slots_of(pool) - FIRST_SLOT} in all): move tenants to another node"
        )

    def release_slot(self, uid: str, owner: str) -> None:
        """Give a slot back."""
        with locked(self.locks, "node", owner):
            node = self.node()
            if node["slots"].pop(uid, None) is not None:
                self._write_node(node)

    def check_root_key(
        self, tenant: str, version: int, check: str, checks: Mapping[str, str] | None = None
    ) -> None:
        """Stop when this node knows another root key under the version.

        :param checks: the node's root_key_checks, where they have been read already.
        """
        known = (self.node()["root_key_checks"] if checks is None else checks).get(str(version))
        if known is not None and known != check:
            raise MemcloudError(
                f"{tenant}: platform_root_keys: version {version} is not the root key that this "
                "node's passwords come from. Nothing was touched: give the run the right key "
                "(a new key needs a new version number)"
            )

    def remember_root_key(self, version: int, check: str, owner: str) -> None:
        """Record by what a root key is recognised."""
        if str(version) in self.node()["root_key_checks"]:
            return
        with locked(self.locks, "node", owner):
            node = self.node()
            if str(version) not in node["root_key_checks"]:
                node["root_key_checks"][str(version)] = check
                self._write_node(node)

    def _write_node(self, node: dict[str, Any]) -> None:
        atomic_write(self._node, json.dumps(node, indent=1, sort_keys=True) + "\n", 0o600)

    # -- a tenant -----------------------------------------------------------------------------

    def tenant_dir(self, tenant: str) -> str:
        """The directory of a tenant's files."""
        return self.path("tenants", tenant)

    def tenant(self, tenant: str) -> dict[str, Any]:
        """The record of a tenant, empty when there is none."""
        found = read_json(os.path.join(self.tenant_dir(tenant), "state.json")) or {}
        return {"schema": 1, "files": {}, **found}

    def write_tenant(self, tenant: str, state: dict[str, Any]) -> None:
        """Write the record of a tenant."""
        path = os.path.join(self.tenant_dir(tenant), "state.json")
        atomic_write(path, json.dumps(state, indent=1, sort_keys=True) + "\n", 0o600)

    def activity(self, tenant: str, uid: str) -> dict[str, Any]:
        """What the gate has noted of a tenant's requests.

        Nothing where there is none of this identity, or none that can be read: the gate writes it
        anew, and does not wait until it is on the disk.
        """
        found: dict[str, Any] | None = None
        with contextlib.suppress(MemcloudError):
            found = read_json(self.path("gate", "activity", f"{tenant}.json"))
        return found if found and found.get("uid") == uid else {}

    def tenants(self) -> list[str]:
        """Every tenant that has a record here."""
        directory = self.path("tenants")
        if not os.path.isdir(directory):
            return []
        return sorted(
            name
            for name in os.listdir(directory)
            if os.path.exists(os.path.join(directory, name, "state.json"))
        )
