"""Pausing, sleeping, waking, and a storage that fills up: one tenant goes through all of it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import wait_for_gate
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from memmachine_client import MemMachineClient
from support.platform import ROLES, Platform, Tenant

pytestmark = pytest.mark.usefixtures("trust")


@pytest.fixture
def running(platform: Platform, tenant: Tenant) -> Iterator[Tenant]:
    platform.play.ok("resume_tenant", tenant=tenant.name)
    yield tenant


@pytest.fixture
def paused(platform: Platform, tenant: Tenant) -> Iterator[Tenant]:
    platform.play.ok("pause_tenant", tenant=tenant.name)
    assert stopped(tenant)
    yield tenant


def stopped(tenant: Tenant) -> bool:
    return {tenant.container(role).status for role in ROLES} == {"exited"}


def runs(tenant: Tenant) -> bool:
    return {tenant.container(role).status for role in ROLES} == {"running"}


def eventually(check: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def patiently(call: Callable[[], Any], seconds: float = 120) -> Any:
    """Ask again when told so: on a busy machine waking may take longer than a request waits."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except requests.HTTPError as error:
            later = error.response.headers.get("Retry-After")
            if error.response.status_code != 503 or not later or time.monotonic() > deadline:
                raise
            time.sleep(float(later))


def signals(platform: Platform) -> list[str]:
    return os.listdir(platform.data_dir / "gate/wake")


def sleep_now(platform: Platform, tenant: Tenant) -> str:
    """What pause_idle says of the tenant when any moment without a request is long enough."""
    run = platform.play.ok("pause_idle", tenant=tenant.name, idle_hours=0.0001)
    said = [line for line in run.output.splitlines() if f" {tenant.name}: " in line]
    return said[0].partition(f"{tenant.name}: ")[2]


def forget(tenant: Tenant, project: str = "tests") -> None:
    """Delete a project with everything in it, if there is one."""
    body = {"org_id": "ci", "project_id": project}
    answer = tenant.request("POST", "/api/v2/projects/delete", json=body)
    if answer.status_code != 404:
        answer.raise_for_status()


def test_the_official_client_wakes_a_paused_tenant_and_nothing_else_does(
    platform: Platform, running: Tenant, tmp_path: Path
) -> None:
    sentence = running.store_something()
    platform.play.ok("pause_tenant", tenant=running.name)
    assert stopped(running)

    assert (
        running.request("POST", "/api/v2/memories/search", key="mb_" + "x" * 43).status_code == 403
    )
    assert running.request("POST", "/api/v2/memories/search", key="").status_code == 401
    assert running.request("GET", "/health", key="").status_code == 503
    assert running.request("GET", "/api/v2/health").status_code == 503
    port, metrics = (platform.variables[f"platform_{n}"] for n in ("gate_port", "metrics_address"))
    assert requests.get(f"http://127.0.0.1:{port}/stats", timeout=5).ok
    assert requests.get(f"http://{metrics}/metrics", timeout=5).ok
    platform.play.ok("tenant_info", tenant=running.name)
    assert signals(platform) == [] and stopped(running)

    with MemMachineClient(api_key=running.key, base_url=running.url) as client:
        project = patiently(lambda: client.get_project(org_id="ci", project_id="tests"))
        found = project.memory().search(sentence)
    assert sentence in found.model_dump_json()
    # The keeper lets requests pass, writes the record, and forgets the signal last.
    assert runs(running) and eventually(lambda: signals(platform) == [])
    told = tmp_path / "journal.json"
    platform.play.ok("tenant_journal", tenant=running.name, output="none", result_file=str(told))
    last = json.loads(told.read_text())[-1]
    assert (last["who"], last["operation"], last["result"]) == ("keeper", "wake", "done")

    # The entry says paused, that is, it sleeps until somebody comes: nobody stops it again.
    assert running.entry["tenant_state"] == "paused"
    before = running.container_ids()
    assert platform.play.ok("deploy_tenant").changed == {}
    assert running.container_ids() == before
    assert set(platform.play.ok("pause_tenant", tenant=running.name).changed) == {running.name}
    assert stopped(running)


def test_a_suspended_tenant_is_not_woken(platform: Platform, tenant: Tenant) -> None:
    platform.play.ok("suspend_tenant", tenant=tenant.name)
    answer = tenant.request("POST", "/api/v2/memories/search", json={"query": "x"})
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert signals(platform) == [] and stopped(tenant)


def test_a_tenant_sleeps_when_it_is_idle_and_not_before(
    platform: Platform, running: Tenant
) -> None:
    sentence = running.store_something()
    recently = platform.play.ok("pause_idle", tenant=running.name, idle_hours=1)
    assert "less than 1 hours ago" in recently.output and recently.changed == {}
    # The edge closes its own connections to the app a few seconds after the last request.
    assert eventually(lambda: "not ingested" in sleep_now(platform, running))

    forget(running)
    with running.request("POST", "/mcp/", json=HELLO, headers=MCP) as hello:
        session = {**MCP, "mcp-session-id": hello.headers["mcp-session-id"]}
    with running.request("GET", "/mcp/", headers=session, stream=True) as stream:
        assert stream.status_code == 200
        assert "open connections" in sleep_now(platform, running)
    assert runs(running)

    assert eventually(lambda: "paused because idle since" in sleep_now(platform, running))
    assert stopped(running) and running.entry["tenant_state"] == "running"
    assert platform.play.ok("deploy_tenant").changed == {}
    assert "because idle since" in platform.play.ok("tenant_info", tenant=running.name).output
    assert patiently(lambda: running.add(sentence)) and runs(running)
    assert platform.play.ok("deploy_tenant").changed == {}


def test_a_keeper_that_was_killed_comes_back_and_follows_the_signal(
    platform: Platform, paused: Tenant
) -> None:
    keeper = platform.docker().containers.get(f"{platform.name}-keeper")
    os.kill(keeper.attrs["State"]["Pid"], signal.SIGKILL)
    assert patiently(paused.store_something) and runs(paused)
    keeper.reload()
    assert keeper.status == "running"


def test_the_keeper_has_no_network_and_no_capability(platform: Platform) -> None:
    keeper = platform.docker().containers.get(f"{platform.name}-keeper")
    host = keeper.attrs["HostConfig"]
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    code, _said = keeper.exec_run(["cat", "/run/memcloud/tenants/sleepy/app/configuration.yml"])
    assert code != 0


def test_a_full_tenant_answers_507_to_writes_until_it_has_room_again(
    platform: Platform, running: Tenant
) -> None:
    forget(running)
    # Nobody runs a playbook meanwhile: the keeper closes by itself.
    deadline = time.monotonic() + 240
    with pytest.raises(requests.HTTPError, match="507"):
        while time.monotonic() < deadline:
            running.add(base64.b64encode(os.urandom(400_000)).decode(), "bulk", timeout=120)
    assert not has_room(platform, running)
    with pytest.raises(requests.HTTPError, match="507"):
        running.add("One more")
    running.search("anything")
    assert "writes closed at" in platform.play.ok("tenant_journal", tenant=running.name).output
    assert platform.play.ok("deploy_tenant").changed == {}
    assert "full" in platform.play.ok("tenant_info", tenant=running.name).output

    forget(running, "bulk")
    # What deletes leave behind goes when the database cleans up.
    assert eventually(lambda: has_room(platform, running))
    sentence = running.store_something()
    assert running.remembers(sentence)
    assert platform.play.ok("deploy_tenant").changed == {}


def has_room(platform: Platform, tenant: Tenant) -> bool:
    """Measure, and say whether writes are open, by what the gate has loaded."""
    platform.play.ok("check_storage", tenant=tenant.name)
    text = (platform.data_dir / "gate/tenants" / f"{tenant.name}.json").read_text()
    # The keeper may have opened or closed them this moment.
    with contextlib.suppress(MemcloudError):
        wait_for_gate(platform.variables["platform_gate_port"], tenant.name, text)
        return bool(json.loads(text)["writes"] == "open")
    return False


MCP = {"Accept": "application/json, text/event-stream"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
