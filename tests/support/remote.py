"""Nodes that are other machines (tools/netns_node.sh), and tenants on them."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
import testinfra
import yaml

from .platform import Platform, Tenant
from .playbook import CHECKOUT


@dataclass(frozen=True)
class Machine:
    """A node of the inventory."""

    name: str
    address: str
    key: Path

    @classmethod
    def of(cls, platform: Platform, name: str) -> Machine:
        """The node with the connection variables that the inventory has."""
        nodes = yaml.safe_load((platform.inventory / "nodes.yml").read_text())
        variables = nodes["nodes"]["hosts"][name]
        key = Path(variables["ansible_ssh_private_key_file"])
        return cls(name, variables["ansible_host"], key)

    @cached_property
    def host(self) -> Any:
        """The machine over SSH, for testinfra."""
        return testinfra.get_host(
            f"ssh://root@{self.address}",
            ssh_identity_file=str(self.key),
            ssh_extra_args=f"-o UserKnownHostsFile={self.key.parent / 'known_hosts'}",
        )

    def sh(self, command: str) -> str:
        """What a command prints; it must succeed."""
        return str(self.host.check_output(command))

    def engine(self) -> str:
        """The identity of its engine."""
        return self._ask_engine('print(engine.info()["ID"])')

    def objects(self, *labels: str) -> list[str]:
        """Containers, volumes and networks with all of these labels, by name."""
        program = (
            f"wanted = {{'label': {list(labels)}}}\n"
            "found = engine.containers.list(all=True, filters=wanted)\n"
            "found += engine.volumes.list(filters=wanted)\n"
            "found += engine.networks.list(filters=wanted)\n"
            "print(' '.join(thing.name for thing in found))"
        )
        return self._ask_engine(program).split()

    def _ask_engine(self, program: str) -> str:
        """What a program prints that has the machine's engine; there is no command for it there."""
        program = f"import docker\nengine = docker.from_env()\n{program}"
        return self.sh(f"/opt/memcloud/venv/bin/python -c {shlex.quote(program)}")

    @property
    def root(self) -> Path:
        """Its file system, as this machine sees it."""
        return self.key.parent / "root"

    def reboot(self) -> None:
        tool = [str(CHECKOUT / "tools/netns_node.sh"), "reboot", self.name]
        subprocess.run(tool, check=True, capture_output=True, text=True, timeout=60)


class _Named(requests.adapters.HTTPAdapter):
    """Checks the certificate against the tenant's name, whatever address was called."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"server_hostname": self._hostname, "assert_hostname": self._hostname}
        super().init_poolmanager(*arguments, **options)


@dataclass(frozen=True)
class RemoteTenant(Tenant):
    """A tenant as a customer sees it whose resolver answers with one address, and remembers it."""

    address: str = ""
    authorities: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # REQUESTS_CA_BUNDLE would count for more than verify
        self.session.mount("https://", _Named(self.hostname))

    def request(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """Ask the edge at the address, on a connection that is kept."""
        key = self.key if key is None else key
        headers = {"Host": self.hostname, **({"Authorization": f"Bearer {key}"} if key else {})}
        headers |= options.pop("headers", {})
        return self.session.request(
            method,
            f"https://{self.address}{path}",
            headers=headers,
            verify=self.authorities,
            timeout=options.pop("timeout", 30),
            **options,
        )
