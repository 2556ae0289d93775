"""A tenant on another machine works, is checked and comes back after a reboot, all over SSH."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import testinfra
import yaml
from support.playbook import CHECKOUT, Playbooks

INVENTORY = CHECKOUT / ".cache/remote-node/inventory"
HOSTNAME = "remote.rn.memcloud.localhost"


@pytest.fixture(scope="module")
def connection() -> dict[str, Any]:
    nodes = yaml.safe_load((INVENTORY / "nodes.yml").read_text())
    return dict(nodes["nodes"]["hosts"]["remote1"])


@pytest.fixture(scope="module")
def node(connection: dict[str, Any]) -> Any:
    """The machine, over SSH."""
    known_hosts = Path(connection["ansible_ssh_private_key_file"]).parent / "known_hosts"
    return testinfra.get_host(
        f"ssh://root@{connection['ansible_host']}",
        ssh_identity_file=connection["ansible_ssh_private_key_file"],
        ssh_extra_args=f"-o UserKnownHostsFile={known_hosts}",
    )


@pytest.fixture(scope="module")
def play() -> Playbooks:
    return Playbooks(INVENTORY)


class Client:
    """The tenant's customer, on this machine: the name stands for the node's address."""

    def __init__(self, address: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # REQUESTS_CA_BUNDLE would count for more than verify
        self.session.headers["Host"] = HOSTNAME
        self.session.headers["Authorization"] = "Bearer " + self.key
        self.session.verify = str(INVENTORY / ".secrets/ca.crt")
        self.session.mount("https://", Named())
        self.url = f"https://{address}"

    @property
    def key(self) -> str:
        return (INVENTORY / ".secrets/keys/remote.key").read_text().strip()

    def post(self, path: str, **body: Any) -> requests.Response:
        body = {"org_id": "ci", "project_id": "remote", **body}
        return self.session.post(f"{self.url}/api/v2/memories{path}", json=body, timeout=30)

    def remembers(self, sentence: str) -> bool:
        answer = self.post("/search", query=sentence, top_k=3)
        return answer.status_code == 200 and sentence in answer.text


class Named(requests.adapters.HTTPAdapter):
    """Checks the certificate against the tenant's name, whatever address was called."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"server_hostname": HOSTNAME, "assert_hostname": HOSTNAME}
        super().init_poolmanager(*arguments, **options)


@pytest.fixture(scope="module")
def client(connection: dict[str, Any]) -> Client:
    return Client(connection["ansible_host"])


def wait_until_it_remembers(client: Client, sentence: str) -> None:
    import time

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if client.remembers(sentence):
                return
        except requests.RequestException:
            pass
        time.sleep(1)
    pytest.fail(f"not found again: {sentence}")


def run_on_node(*command: str) -> str:
    tool = [str(CHECKOUT / "tools/netns_node.sh"), *command]
    return subprocess.run(tool, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_machine_is_not_this_one(node: Any) -> None:
    assert node.check_output("hostname") == "remote"
    here = subprocess.run(["docker", "info", "-f", "{{.ID}}"], capture_output=True, text=True)
    there = node.check_output(
        "/opt/memcloud/venv/bin/python -c 'import docker; print(docker.from_env().info()[\"ID\"])'"
    )
    assert here.stdout.strip() != there.strip()


def test_stores_and_finds_a_memory(client: Client) -> None:
    assert client.post("", messages=[{"content": "Otters hold hands"}]).status_code == 200
    assert client.remembers("Otters hold hands")


def test_the_key_counts_there_too(client: Client) -> None:
    answer = client.session.get(client.url + "/api/v2/health", headers={"Authorization": ""})
    assert answer.status_code == 401


def test_only_the_edge_can_be_reached_from_outside(connection: dict[str, Any]) -> None:
    import socket

    reached = []
    for port in (5432, 7474, 7687, 8080, 9080, 9081, 9082, 9083):
        try:
            socket.create_connection((connection["ansible_host"], port), 1).close()
            reached.append(port)
        except OSError:
            pass
    assert reached == []


def test_the_root_key_is_not_on_the_machine(node: Any) -> None:
    root_key = (INVENTORY / ".secrets/root_key").read_text().strip()
    found = node.run("grep -rsF -- '%s' /var/lib/memcloud /etc /root /opt/memcloud" % root_key)
    assert found.stdout == ""


def test_information_comes_over_ssh(play: Playbooks, tmp_path: Path) -> None:
    report = tmp_path / "info.json"
    play.ok("tenant_info", result_file=str(report))
    (entry,) = json.loads(report.read_text())
    assert (entry["tenant"], entry["node"], entry["state"]) == ("remote", "remote1", "running")


def test_memories_survive_a_restart_of_the_engine(
    node: Any, client: Client, play: Playbooks
) -> None:
    """One command brings everything back where there is no init system to do it."""
    client.post("", messages=[{"content": "Ravens remember faces"}])
    pid = node.file("/var/run/docker.pid").content_string.strip()
    node.check_output(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done")
    play.ok("setup_node", timeout=300)
    wait_until_it_remembers(client, "Ravens remember faces")


def test_the_node_comes_back_after_a_reboot(client: Client, play: Playbooks) -> None:
    client.post("", messages=[{"content": "Elephants never forget"}])
    run_on_node("reboot", "remote")
    play.ok("setup_node", timeout=300)
    play.ok("deploy_tenant", timeout=300)
    wait_until_it_remembers(client, "Elephants never forget")
    assert play.ok("deploy_tenant").changed == {}


def test_python_on_the_node_is_checked(play: Playbooks) -> None:
    """The oldest Python that works is 3.9; an older one is refused by name."""
    old = subprocess.run(
        ["sh", "-c", "ls -d $HOME/.pyenv/versions/3.8.*/bin/python 2>/dev/null | head -n 1"],
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout.strip()
    if not old:
        pytest.skip("no Python 3.8 on this machine to be refused")
    from support.platform import INVENTORY as CI

    run = Playbooks(CI).refused("setup_node", docker_node_python=old)
    assert "3.9" in run.output
