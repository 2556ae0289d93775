# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""platform_dns_hook with the example for nsupdate, against a real name server (Knot DNS).

    python -m pytest tests/integration/test_dns_hook.py

Server and hook are in one container, made of the base image of a node that setup_node has set up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "dns"
# The action runs in this process: Ansible has to know the collection before it is imported.
os.environ.setdefault("ANSIBLE_CONFIG", str(CHECKOUT / "ansible.cfg"))
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / ".ansible/collections"))
sys.path.insert(0, str(CHECKOUT / "tests/unit/plugins/action"))
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
from ansible.errors import AnsibleActionFail
from ansible_collections.memcloud.memmachine.plugins.action import tenant_dns
from controller_side import ROOT_KEY, Run, write_inventory
from support.images import base_image


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


pytestmark = pytest.mark.skipif(not base_image(), reason="no base image on this machine")


class Server:
    """The name server's container."""

    def __init__(self) -> None:
        image = "memcloud-test/dns:1"
        run("docker", "build", "-q", "-t", image, "--build-arg", f"BASE={base_image()}", str(HERE))
        self.name = f"memcloud-test-dns-{uuid.uuid4().hex[:8]}"
        run(
            "docker", "run", "--detach", "--network", "none", "--name", self.name,
            "--volume", f"{CHECKOUT}/docs/dns-hooks:/hooks:ro",
            "--env", "DNS_SERVER=127.0.0.1 5353", "--env", "DNS_KEY_FILE=/dns/tsig.key", image,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not self.records("ns.example.com", "A"):
            assert time.monotonic() < deadline, run("docker", "logs", self.name)
            time.sleep(0.1)

    def records(self, name: str, kind: str) -> list[str]:
        """What the server answers: lifetime and value of each record."""
        command = ["docker", "exec", self.name, "dig", "@127.0.0.1", "-p", "5353", "+noall"]
        command += ["+answer", "+tries=1", "+time=1", name, kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        lines = [line.split() for line in done.stdout.splitlines() if not line.startswith(";")]
        return [f"{words[1]} {words[4]}" for words in lines if len(words) > 4 and words[3] == kind]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    run("docker", "rm", "--force", server.name)


def inventory(directory: Path, server: Server, hook: str = "/hooks/nsupdate") -> Path:
    settings = f'platform_root_keys: {{1: "{ROOT_KEY}"}}\nplatform_domain: example.com\n'
    settings += f"platform_dns_hook: [docker, exec, {server.name}, {hook}]\nplatform_dns_ttl: 60\n"
    return write_inventory(
        directory,
        group_vars__all_DOT_yml=settings,
        nodes_DOT_yml="nodes: {hosts: {node1: {ansible_host: 192.0.2.1}, "
        "node2: {ansible_host: 192.0.2.2, platform_public_address: '2001:db8::2'}}}\n",
        host_vars__acme_DOT_yml='tenant_uid: "0123456789abcdef"\ntenant_node: node1\n',
        host_vars__moved_DOT_yml='tenant_uid: "1123456789abcdef"\ntenant_node: node2\n',
    )


def test_a_record_is_set_twice_moved_and_removed(tmp_path, server):
    hosts = Run(inventory(tmp_path, server))
    for _twice in range(2):
        hosts.act(tenant_dns, "acme")
        assert server.records("acme.example.com", "A") == ["60 192.0.2.1"]
    entry = tmp_path / "host_vars/acme.yml"
    entry.write_text(entry.read_text().replace("node1", "node2"))
    Run(tmp_path).act(tenant_dns, "acme")
    assert server.records("acme.example.com", "A") == []
    assert server.records("acme.example.com", "AAAA") == ["60 2001:db8::2"]
    hosts.act(tenant_dns, "moved")
    Run(tmp_path).act(tenant_dns, "acme", state="absent")
    assert server.records("acme.example.com", "AAAA") == []
    assert server.records("moved.example.com", "AAAA") == ["60 2001:db8::2"]


def test_a_server_that_refuses_fails_the_tenant(tmp_path, server):
    path = inventory(tmp_path, server)
    entry = path / "host_vars/acme.yml"
    entry.write_text(entry.read_text() + "tenant_hostname: acme.example.net\n")
    # What Debian 12's nsupdate says of the unsigned refusal, and what Debian 13's does.
    said = r"(update failed: NOTAUTH|expected a TSIG or SIG\(0\))"
    with pytest.raises(AnsibleActionFail, match=f"(?s)acme: platform_dns_hook: .*{said}"):
        Run(path).act(tenant_dns, "acme")
