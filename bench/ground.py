"""The platform that benches act on: name "be", ports 17xxx, removed at the end."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import threading
from typing import Any

from measure import HERE, TOP, WORK, run, say

INVENTORY = os.path.join(WORK, "inventory")
DATA = "/var/lib/memcloud/be"
DOMAIN = "be.memcloud.localhost"
POOL = "10.205.0.0/16"
HTTPS_PORT, GATE_PORT = 17443, 17081
SETTINGS = f"""\
---
platform_name: be
platform_domain: {DOMAIN}
platform_subnet_pool: {POOL}
platform_http_port: 17080
platform_https_port: {HTTPS_PORT}
platform_edge_api_port: 17084
platform_gate_port: {GATE_PORT}
platform_metrics_address: 127.0.0.1:17082
platform_demo_model_port: 17083
platform_root_keys:
  1: "{{{{ lookup('ansible.builtin.file', inventory_dir ~ '/.secrets/root_key') }}}}"
"""


class Ground:
    """A node of the benches' own and its tenants. Set up when it is first needed.

    :param keep: take over a node that an earlier run left, and leave it again.
    :param small: whether time matters more than room.
    """

    def __init__(self, keep: bool = False, small: bool = False) -> None:
        self._small = small
        self._ready = False
        self._preparing = threading.Lock()
        self._keep = keep
        self._live: list[str] = []
        self.inventory = INVENTORY

    def prepare(self) -> None:
        """Have the node."""
        with self._preparing:
            if self._ready:
                return
            self._ready = True
            if not (self._keep and os.path.exists(os.path.join(DATA, "images.json"))):
                self._remove_left()
                write_inventory(INVENTORY, SETTINGS)
            say("setting up a node (platform be)")
            self.playbook("init_inventory.yml")
            self.playbook("setup_node.yml")

    def _remove_left(self) -> None:
        """What a run left that was killed, or that had --keep."""
        if not os.path.isdir(DATA):
            return
        say("removing the platform be that an earlier run left")
        if not os.path.isdir(INVENTORY):
            write_inventory(INVENTORY, SETTINGS)
            self.playbook("init_inventory.yml")
        self.playbook("remove_node.yml", "-e", "remove_data=true")

    def remove(self) -> None:
        """Take the node away with everything on it."""
        if self._ready and not self._keep:
            say("removing the platform be")
            self.playbook("remove_node.yml", "-e", "remove_data=true")
            self._ready = False

    def playbook(self, name: str, *arguments: str) -> str:
        """Run a playbook on this platform."""
        return run(*playbook_command(INVENTORY, name, *arguments))

    def create(self, tenant: str, **variables: Any) -> None:
        """Write a tenant's entry, as create_tenant does, without deploying it."""
        key = {
            "name": "default",
            "sha256": hashlib.sha256(self.key(tenant).encode()).hexdigest(),
            "created": "2026-11-21T00:00:00Z",
        }
        entry = {
            "tenant_uid": secrets.token_hex(8),
            "tenant_node": "node1",
            "tenant_tier": "free",
            "tenant_api_keys": [key],
            **variables,
        }
        path = os.path.join(INVENTORY, "host_vars", f"{tenant}.yml")
        if os.path.exists(path):
            return
        with open(path, "w", encoding="utf-8") as file:
            file.write("---\n" + "".join(f"{k}: {json.dumps(v)}\n" for k, v in entry.items()))

    def live(self, count: int) -> list[str]:
        """So many free tenants that are deployed, with limits at the edge that no bench meets."""
        self.prepare()
        names = [f"live{number:02}" for number in range(1, count + 1)]
        missing = [name for name in names if name not in self._live]
        for name in missing:
            limits = {"requests_per_second": 10_000, "burst": 10_000, "in_flight": 1000}
            self.create(name, tenant_limits=limits)
        if missing:
            say(f"  deploying {len(missing)} tenants")
            self.deploy(*missing)
            self._live += missing
        return names

    def live_count(self) -> int:
        """How many of them there are already."""
        return len(self._live)

    def deploy(self, *tenants: str) -> None:
        """Converge tenants in one run."""
        self.playbook("deploy_tenant.yml", "-l", ",".join(tenants))

    def purge(self, *tenants: str) -> None:
        """Take tenants away with all they have; in a small run they go with the node."""
        if tenants and (self._keep or not self._small):
            given = json.dumps({"keep_data": False, "confirm": len(tenants)})
            self.playbook("delete_tenant.yml", "-l", ",".join(tenants), "-e", given)

    def key(self, tenant: str) -> str:
        """The API key of a tenant."""
        with open(os.path.join(INVENTORY, ".secrets", "root_key"), "rb") as handle:
            return "mb_" + hashlib.sha256(handle.read() + tenant.encode()).hexdigest()

    def state(self, tenant: str) -> dict[str, Any]:
        """What the node recorded of a tenant."""
        with open(os.path.join(DATA, "tenants", tenant, "state.json"), encoding="utf-8") as file:
            return dict(json.load(file))

    def script(self, name: str, *arguments: str) -> dict[str, Any]:
        """One of the other programs of this directory; its last line is JSON."""
        printed = run(sys.executable, os.path.join(HERE, name), INVENTORY, *arguments)
        return dict(json.loads(printed.strip().splitlines()[-1]))

    def base_image(self) -> str:
        """The small Debian that the platform's own images are built on."""
        self.prepare()
        bases = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "memcloud/base")
        return bases.split()[0]


def write_inventory(directory: str, settings: str) -> None:
    """An inventory of one local node, with nothing from an earlier run in it."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(
        os.path.join(TOP, "inventories", "ci"),
        directory,
        ignore=shutil.ignore_patterns(".secrets", "host_vars"),
    )
    with open(os.path.join(directory, "group_vars", "all.yml"), "w", encoding="utf-8") as handle:
        handle.write(settings)
    os.makedirs(os.path.join(directory, "host_vars"))


def empty_play(inventory: str) -> list[str]:
    """The command line of a playbook that does nothing."""
    return ["ansible-playbook", "-i", inventory, os.path.join(HERE, "empty.yml")]


def playbook_command(inventory: str, name: str, *arguments: str) -> list[str]:
    """The command line of one of the collection's playbooks."""
    return ["ansible-playbook", "-i", inventory, os.path.join("playbooks", name), *arguments]
