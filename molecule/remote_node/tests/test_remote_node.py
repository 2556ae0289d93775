"""Two machines, over SSH: a tenant works on one, survives its reboot, and moves to the other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from support.platform import Platform
from support.playbook import Playbooks
from support.remote import Machine, RemoteTenant
from support.writer import Writer

NAME = "remote"


@pytest.fixture(scope="session")
def old(platform: Platform) -> Machine:
    return Machine.of(platform, "remote1")


@pytest.fixture(scope="session")
def new(platform: Platform) -> Machine:
    return Machine.of(platform, "remote2")


@pytest.fixture(scope="session")
def authorities(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each node signs for itself: the customer trusts both."""
    path = tmp_path_factory.mktemp("trust") / "ca.crt"
    names = ("ca-remote1.crt", "ca-remote2.crt")
    path.write_text("\n".join((platform.secrets / name).read_text() for name in names))
    return str(path)


@pytest.fixture(scope="session")
def client(platform: Platform, old: Machine, authorities: str) -> RemoteTenant:
    """The tenant's customer, who goes to the first machine and hears of no other address."""
    return RemoteTenant(platform, NAME, old.address, authorities)


@pytest.fixture(scope="session")
def client_of_new(platform: Platform, new: Machine, authorities: str) -> RemoteTenant:
    """A customer whose resolver knows the second machine alone."""
    return RemoteTenant(platform, NAME, new.address, authorities)


def test_each_machine_has_an_engine_of_its_own(old: Machine, new: Machine) -> None:
    assert [machine.sh("hostname") for machine in (old, new)] == ["remote1", "remote2"]
    here = docker.from_env().info()["ID"]
    assert len({here, old.engine(), new.engine()}) == 3


def test_a_tenant_goes_to_a_node_with_room(platform: Platform) -> None:
    """The first machine has networks for one tenant: the next one goes to the other machine."""
    assert platform.tenant(NAME).entry["tenant_node"] == "remote1"
    second = platform.create("second")
    assert second.entry["tenant_node"] == "remote2"
    second.entry_file.unlink()  # it was not deployed


def test_stores_and_finds_a_memory(client: RemoteTenant) -> None:
    assert client.remembers(client.store_something())


def test_the_key_counts_there_too(client: RemoteTenant) -> None:
    assert client.request("GET", "/api/v2/health", key="").status_code == 401


def test_only_the_edge_can_be_reached_from_outside(old: Machine) -> None:
    reached = []
    for port in (5432, 7474, 7687, 8080, 9080, 9081, 9082, 9083):
        try:
            socket.create_connection((old.address, port), 1).close()
            reached.append(port)
        except OSError:
            pass
    assert reached == []


def test_the_root_key_is_not_on_the_machine(platform: Platform, old: Machine) -> None:
    root_key = (platform.secrets / "root_key").read_text().strip()
    found = old.host.run(f"grep -rsF -- '{root_key}' /var/lib/memcloud /etc /root /opt/memcloud")
    assert found.stdout == ""


def test_information_comes_over_ssh(platform: Platform, tmp_path: Path) -> None:
    report = tmp_path / "info.json"
    platform.play.ok("tenant_info", result_file=str(report))
    (entry,) = json.loads(report.read_text())
    assert (entry["tenant"], entry["node"], entry["state"]) == (NAME, "remote1", "running")
    assert (entry["drift"], entry["error"]) == ([], None)


# The lifecycle scenario kills all operations; of those that die with their engine a few are enough.
DYING: dict[str, dict[str, Any]] = {
    "backup_tenant": {},
    "restore_tenant": {"force": True},
    "rotate_keys": {"what": "databases"},
}


@pytest.mark.parametrize("playbook", DYING)
def test_a_run_that_died_with_its_engine_is_finished_by_the_next_one(
    platform: Platform, old: Machine, client: RemoteTenant, playbook: str
) -> None:
    """While clients are held and the databases stopped, module and engine are killed.

    One command brings the engine back where there is no init system to do it.
    """
    variables = DYING[playbook]
    sentence = client.store_something()
    if playbook == "restore_tenant":
        platform.play.ok("backup_tenant", tenant=NAME)
    home = old.root / "var/lib/memcloud" / platform.name

    def held() -> bool:
        return '"updating"' in (home / f"gate/tenants/{NAME}.json").read_text()

    assert platform.play.kill_when(held, playbook, tenant=NAME, **variables)
    module = json.loads((home / f"locks/tenant-{NAME}.json").read_text())["pid"]
    old.sh(f"kill -9 {module} $(cat /var/run/docker.pid)")
    platform.play.ok("setup_node", "--limit", "remote1", timeout=300)
    platform.play.ok(playbook, tenant=NAME, **variables)
    assert client.remembers(sentence)
    assert platform.play.ok("deploy_tenant").changed == {}
    assert old.objects(f"memcloud.tenant={NAME}", "memcloud.kind=scratch") == []
    assert list((home / "locks").glob(f"tenant-{NAME}.*")) == []


def test_the_node_comes_back_after_a_reboot(
    platform: Platform, old: Machine, client: RemoteTenant
) -> None:
    sentence = client.store_something()
    old.reboot()
    platform.play.ok("setup_node", "--limit", "remote1", timeout=300)
    platform.play.ok("deploy_tenant", timeout=300)
    assert client.remembers(sentence, 120)
    assert platform.play.ok("deploy_tenant").changed == {}


@pytest.fixture(scope="session")
def moved(platform: Platform, old: Machine, client: RemoteTenant) -> Writer:
    """Stored memories on a kept connection to the first machine, while all tenants were moved.

    The first run is killed when the tenant has just been stopped to go; until the next one nothing
    starts it here again.
    """
    there = platform.create("second")  # on the other node by its entry, and left as it is
    record = old.root / "var/lib/memcloud" / platform.name / f"tenants/{NAME}/state.json"

    def departed() -> bool:
        return '"departed"' in record.read_text()

    with Writer(client) as writing:
        writing.wait_for(5)
        assert platform.play.kill_when(departed, "move_tenant", tenant=NAME, node="remote2")
        refused = platform.play.refused("deploy_tenant", "--limit", NAME)
        assert f"{NAME}: was stopped on this node at " in refused.output
        run = platform.play.ok("move_tenant", "--limit", "tenants", node="remote2")
        writing.wait_for(5)
    assert "second is on remote2 already" in run.output
    there.entry_file.unlink()
    return writing


def test_no_acknowledged_memory_is_lost_when_a_tenant_moves(
    moved: Writer, client_of_new: RemoteTenant
) -> None:
    assert moved.lost(client_of_new) == [], moved.report()
    last = moved.sentences[-1]
    assert last in client_of_new.search(last, moved.project)
    # Told to come again while it was on its way, and nothing else.
    assert set(moved.refused) == {"503"}, moved.report()


def test_the_old_edge_passes_requests_on(
    platform: Platform, moved: Writer, old: Machine, new: Machine, client: RemoteTenant
) -> None:
    """A customer who asks the old address talks to the new node: its certificate says so."""
    of_new = RemoteTenant(platform, NAME, old.address, str(platform.secrets / "ca-remote2.crt"))
    assert of_new.request("GET", "/api/v2/projects").status_code in (200, 405)
    of_old = RemoteTenant(platform, NAME, old.address, str(platform.secrets / "ca-remote1.crt"))
    with pytest.raises(requests.exceptions.SSLError):
        of_old.request("GET", "/api/v2/projects")
    assert of_new.request("GET", "/api/v2/health", key="").status_code == 401


def test_the_hook_was_told_the_new_address(
    platform: Platform, moved: Writer, new: Machine, client: RemoteTenant
) -> None:
    calls = (platform.secrets / "dns").read_text().splitlines()
    domain = client.hostname.partition(".")[2]
    assert calls[-2:] == [
        f"present {name} {name}.{domain} {new.address} 300" for name in (NAME, "second")
    ]


def test_the_entry_names_the_new_node_and_nothing_differs(
    platform: Platform, moved: Writer
) -> None:
    assert platform.tenant(NAME).entry["tenant_node"] == "remote2"
    assert platform.play.ok("deploy_tenant").changed == {}


def test_confirmed_nothing_of_it_is_left_on_the_old_node(
    platform: Platform, moved: Writer, old: Machine, new: Machine, client_of_new: RemoteTenant
) -> None:
    label = f"memcloud.tenant={NAME}"
    files = f"find /var/lib/memcloud -path '*{NAME}*' ! -name '*.moved.yml'"
    # What it left behind is kept until somebody says so.
    assert old.objects(label) and old.sh(files)
    platform.play.ok("move_tenant", tenant=NAME, node="remote2", confirm=True)
    assert old.objects(label) == [] and old.sh(files) == ""
    assert client_of_new.remembers(client_of_new.store_something())


def test_python_on_the_node_is_checked() -> None:
    """The oldest Python that works is 3.9; an older one is refused by name."""
    old = subprocess.run(
        ["sh", "-c", "ls -d $HOME/.pyenv/versions/3.8.*/bin/python 2>/dev/null | head -n 1"],
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout.strip()
    if not old:
        pytest.skip("no Python 3.8 on this machine to be refused")
    from support.playbook import CHECKOUT

    run = Playbooks(CHECKOUT / "inventories/ci").refused("setup_node", docker_node_python=old)
    assert "3.9" in run.output
