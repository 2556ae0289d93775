# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as every run over its tenants sees it: engine, records, images, addresses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_leaf,
    leaf_path,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    MISSING_IMAGE,
    Facts,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    names_in,
    read_text,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import ensure_hosts
from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_config import (
    tenant_configuration,
    validate_in_image,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._model_check import check_model
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    NodeState,
    images_for,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Edge
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    Drift,
    canonical_json,
    sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._stated import began


class Node:
    """One node with its engine and its records.

    :param platform: the platform's inputs.
    :param owner: who runs this, for the locks.
    """

    def __init__(self, platform: Mapping[str, Any], owner: str) -> None:
        self.platform = platform
        self.owner = owner
        self.run: Mapping[str, Any] = platform.get("run") or {}
        self.began = began(self.run)
        self.engine = Engine(platform["docker_host"])
        self.state = NodeState(platform["data_dir"])
        self.images = self.state.images()
        self.journal = Journal(self.state, platform)
        self._cpus = os.cpu_count() or 1
        self._known: dict[str, str | None] = {}

    def facts(
        self, tenant: Mapping[str, Any], record: Mapping[str, Any], slot: int, held: bool = False
    ) -> Facts:
        """What only this node knows of a tenant, for its desired state.

        A tenant stays on the images that it was proved on, as long as they are there: only an
        update exchanges them.

        :param tenant: inputs; ``images`` in them are those of an operation that tries something,
            and count before the record's.
        """
        images = self.images_of(tenant["version"])
        if tenant["version"] == record.get("version", tenant["version"]):
            kept = record.get("images") or {}
            images.update({kind: image for kind, image in kept.items() if self.image_id(image)})
        images.update(tenant.get("images") or {})
        return Facts(
            slot,
            images,
            self._cpus,
            generation=int(record.get("generation") or 1),
            held=held,
            asleep=bool(record.get("asleep")),
            woken=bool(record.get("woken")),
            writes=str(record.get("writes") or "open"),
            hostname_taken=self._hostname_taken(tenant),
        )

    def _hostname_taken(self, tenant: Mapping[str, Any]) -> bool:
        """Whether what a deleted tenant has to leave behind is another one's certificate."""
        path = leaf_path(self.state.path("edge", "certs"), tenant["hostname"])
        if tenant["state"] != "deleted" or not os.path.lexists(path):
            return False
        return self.serves_another(tenant["hostname"], tenant["tenant"])

    def serves_another(self, hostname: str, tenant: str) -> bool:
        """Whether a hostname is that of another tenant than this one, or its route names it."""
        if self.hostnames().get(hostname) not in (None, tenant):
            return True
        routes = self.state.path("edge", "dynamic")
        others = [name for name in names_in(routes) if name != f"{tenant}.yml"]
        texts = [read_text(os.path.join(routes, name)) or "" for name in others]
        return any(f"/{hostname}.pem" in text for text in texts)

    def image_id(self, image: str) -> str | None:
        """The id of an image, None where it is missing. The engine is asked once."""
        if image not in self._known:
            self._known[image] = self.engine.image_id(image)
        return self._known[image]

    def images_of(self, version: str) -> dict[str, str]:
        """The images that this node has now, by kind, for a server version."""
        return images_for(self.images, version)

    def postgres_major(self) -> int:
        """Major version of PostgreSQL of the image that this node has now; 0 when unknown."""
        version = str((self.images.get("postgres") or {}).get("version") or "0")
        return int(version.split(".", maxsplit=1)[0])

    def try_first(self, tenant: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Try model provider and configuration before a container of the version exists."""
        image = self.facts(tenant, {}, 0).images.get("memmachine", MISSING_IMAGE)
        if self.engine.image_id(image) is None:
            raise MemcloudError(
                f"{tenant['tenant']}: this node has no image of MemMachine {tenant['version']}: "
                "run setup_node for it, or deploy_tenant, which builds it"
            )
        text = tenant_configuration(
            version=tenant["version"],
            postgres_host="192.0.2.1",
            neo4j_host="192.0.2.2",
            model=tenant["model"],
            secrets={key: "x" * len(value) for key, value in secrets.items()},
        )
        with locked(self.state.locks, "checks", self.owner, wait=120):
            check_model(self.engine, self.state, self.platform, tenant, secrets, image)
            mark = sha256(canonical_json([image, text]))[:32]
            remembered = self.state.path("checked", f"configuration-{mark}")
            if not os.path.exists(remembered):
                validate_in_image(self.engine.client, image, text)
                with open(remembered, "w", encoding="utf-8"):
                    pass

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

    def edge(self, hostname: str) -> Edge:
        """How this node reaches its own edge under a hostname."""
        mode = self.platform["tls_mode"]
        port = self.platform["http_port" if mode == "off" else "https_port"]
        authority = self.state.path("edge", "ca.crt") if mode == "local_ca" else None
        return Edge(hostname, port, mode != "off", authority)

    def hosts_file(self, hostnames: Iterable[str], check_mode: bool = False) -> bool:
        """Have hostnames in the node's hosts file, where that is wanted; whether it differs."""
        if not self.platform["manage_hosts_file"]:
            return False
        return ensure_hosts(self.platform["name"], sorted(hostnames), check_mode=check_mode)

    def write_hosts_file(self) -> None:
        """Have the hostnames of all tenants of this node in its hosts file."""
        if not self.platform["manage_hosts_file"]:
            return
        with locked(self.state.locks, "hosts", self.owner):
            self.hosts_file(self.hostnames())
