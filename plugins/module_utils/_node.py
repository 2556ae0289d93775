# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as every run over its tenants sees it: engine, records, images, addresses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_leaf
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import Facts
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import ensure_hosts
from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import Drift


class Node:
    """One node with its engine and its records.

    :param platform: the platform's inputs.
    :param owner: who runs this, for the locks.
    """

    def __init__(self, platform: Mapping[str, Any], owner: str) -> None:
        self.platform = platform
        self.owner = owner
        self.engine = Engine(platform["docker_host"])
        self.state = NodeState(platform["data_dir"])
        self.images = self.state.images()
        self.journal = Journal(self.state, platform)
        self._cpus = os.cpu_count() or 1

    def facts(
        self, tenant: Mapping[str, Any], record: Mapping[str, Any], slot: int, held: bool = False
    ) -> Facts:
        """What only this node knows of a tenant, for its desired state."""
        images: dict[str, str] = {
            kind: self.images[kind]["id"] for kind in ("postgres", "neo4j") if kind in self.images
        }
        version = (self.images.get("memmachine") or {}).get(tenant["version"])
        if version:
            images["memmachine"] = version["id"]
        return Facts(
            slot,
            images,
            self._cpus,
            generation=int(record.get("generation") or 1),
            held=held,
            asleep=bool(record.get("asleep")),
            woken=bool(record.get("woken")),
            writes=str(record.get("writes") or "open"),
        )

    def hostnames(self) -> dict[str, str]:
        """Which tenant of this node has which hostname."""
        hostnames = {}
        for name in self.state.tenants():
            try:
                record = self.state.tenant(name)
            except MemcloudError:
                continue  # the tenant itself fails on it, by name; the others go on
            if record.get("state") != "deleted" and record.get("hostname"):
                hostnames[record["hostname"]] = name
        return hostnames

    def certificate(self, tenant: Mapping[str, Any], check_mode: bool = False) -> list[Drift]:
        """The tenant's certificate from the node's own authority, made where it is due."""
        if self.platform["tls_mode"] != "local_ca" or tenant["state"] == "deleted":
            return []
        hostname = tenant["hostname"]
        directories = self.state.path("edge", "ca"), self.state.path("edge", "certs")
        ensured = ensure_leaf(*directories, hostname, check_mode=check_mode)
        if not ensured.changed:
            return []
        return [Drift("certificate", hostname, "write", ensured.reason, "", ensured.expires)]

    def hosts_file(self, hostnames: Iterable[str], check_mode: bool = False) -> bool:
        """Have hostnames in the node's hosts file, where that is wanted; whether it differs."""
        if not self.platform["manage_hosts_file"]:
            return False
        return ensure_hosts(self.platform["name"], sorted(hostnames), check_mode=check_mode)

    def write_hosts_file(self) -> None:
        """Have the hostnames of all tenants of this node in its hosts file."""
        with locked(self.state.locks, "hosts", self.owner):
            self.hosts_file(self.hostnames())
