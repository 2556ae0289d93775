"""What one deployed tenant is on its node, looked at by other ways than the one that made it."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.platform import ROLES, Platform, Tenant
from support.playbook import CHECKOUT

each_role = pytest.mark.parametrize("role", ROLES)


def test_stores_and_finds_a_memory(tenant: Tenant) -> None:
    sentence = tenant.store_something()
    tenant.add("Whales sing in the sea")
    assert sentence in tenant.search(sentence)


@each_role
def test_containers_run_with_the_least_that_they_need(tenant: Tenant, role: str) -> None:
    attributes = tenant.container(role).attrs
    host = attributes["HostConfig"]
    user = attributes["Config"]["User"]
    assert user.split(":")[0].isdigit() and not user.startswith("0"), user
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert host["Privileged"] is False
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0
    assert host["LogConfig"]["Config"]["max-size"] and host["LogConfig"]["Config"]["max-file"]


@each_role
def test_no_port_is_published(tenant: Tenant, role: str) -> None:
    attributes = tenant.container(role).attrs
    assert not attributes["HostConfig"]["PortBindings"]
    assert not [port for port, hosts in attributes["NetworkSettings"]["Ports"].items() if hosts]


@each_role
def test_a_tenant_that_was_stopped_on_purpose_is_not_started_by_the_engine(
    tenant: Tenant, role: str
) -> None:
    policy = tenant.container(role).attrs["HostConfig"]["RestartPolicy"]
    assert policy["Name"] in ("unless-stopped", "on-failure", "no"), policy


def test_networks_come_from_the_pool(platform: Platform, tenant: Tenant) -> None:
    networks = {network.name: network.attrs for network in platform.docker().networks.list()}
    data = networks[f"{platform.name}-{tenant.name}-data"]
    app = networks[f"{platform.name}-{tenant.name}-app"]
    assert data["Internal"] is True and app["Internal"] is False
    for network in (data, app):
        subnet = ipaddress.IPv4Network(network["IPAM"]["Config"][0]["Subnet"])
        assert subnet.subnet_of(platform.networks)
        bridge = network["Options"]["com.docker.network.bridge.name"]
        assert bridge.startswith(platform.name + "-")


def test_secret_files_can_be_read_by_their_container_alone(
    platform: Platform, tenant: Tenant, host: Any
) -> None:
    home = f"{platform.data_dir}/tenants/{tenant.name}"
    uids = {"postgres": 30010, "neo4j": 30011, "app": 30012}
    secret = {
        "app/configuration.yml": 30012,
        "postgres/admin_password": 30010,
        "postgres/app_password": 30010,
        "neo4j/auth.ini": 30011,
    }
    for role, uid in uids.items():
        directory = host.file(f"{home}/{role}")
        assert (directory.mode, directory.uid) == (0o700, uid), role
    for path, uid in secret.items():
        file = host.file(f"{home}/{path}")
        assert (file.mode & 0o077, file.uid) == (0, uid), path


def test_the_firewall_table_is_loaded(platform: Platform, host: Any) -> None:
    assert host.run(f"nft list table inet memcloud_{platform.name}").rc == 0


def test_the_database_role_has_no_rights_beyond_its_own_database(tenant: Tenant) -> None:
    rights = tenant.sql(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles "
        "WHERE rolname = 'memmachine'"
    )
    assert rights == "f|f|f|f"
    assert "vector" in tenant.sql("SELECT extname FROM pg_extension").split()
    assert tenant.sql("SHOW password_encryption") == "scram-sha-256"
    methods = tenant.sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules").split()
    assert "trust" not in methods


class TestEdge:
    def test_plain_http_is_redirected(self, platform: Platform, tenant: Tenant) -> None:
        port = platform.variables["platform_http_port"]
        answer = requests.get(
            f"http://{tenant.hostname}:{port}/health", allow_redirects=False, timeout=10
        )
        assert answer.status_code in (301, 308)
        assert answer.headers["Location"].startswith(f"https://{tenant.hostname}")

    def test_answers_carry_the_security_headers(self, tenant: Tenant) -> None:
        headers = tenant.request("GET", "/health").headers
        assert "max-age" in headers["Strict-Transport-Security"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"]
        assert "Server" not in headers and "X-Powered-By" not in headers

    def test_the_servers_banner_is_taken_away_from_its_own_answers(self, tenant: Tenant) -> None:
        headers = tenant.request("GET", "/api/v2/health").headers
        assert "Server" not in headers and "X-Tenant" not in headers

    def test_health_needs_no_key_and_tells_nothing_more(self, tenant: Tenant) -> None:
        answer = tenant.request("GET", "/health", key="")
        assert (answer.status_code, answer.json()) == (200, {"status": "up"})

    @pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/", "/redoc", "/api/v1/x"])
    def test_what_is_not_the_public_interface_is_not_there(self, tenant: Tenant, path: str) -> None:
        assert tenant.request("GET", path).status_code == 404

    @pytest.mark.parametrize("path", ["/api/v2/metrics", "/api/v2/config"])
    def test_metrics_and_configuration_are_not_routed(self, tenant: Tenant, path: str) -> None:
        assert tenant.request("GET", path).status_code in (403, 404)

    def test_old_versions_of_tls_are_refused(self, platform: Platform, tenant: Tenant) -> None:
        context = ssl.create_default_context(cafile=str(platform.authority))
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        port = int(platform.variables["platform_https_port"])
        with (
            socket.create_connection((tenant.hostname, port), 5) as connection,
            pytest.raises((ssl.SSLError, OSError)),
        ):
            context.wrap_socket(connection, server_hostname=tenant.hostname)

    def test_a_body_beyond_the_limit_of_the_tier_is_refused(self, tenant: Tenant) -> None:
        tiers = yaml.safe_load((CHECKOUT / "roles/tenant/defaults/main/tiers.yml").read_text())
        limit = tiers["platform_tiers"]["free"]["edge"]["body_bytes"]
        body = json.dumps({"messages": [{"content": "x" * limit}]})
        answer = tenant.request(
            "POST", "/api/v2/memories", data=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413

    def test_an_unknown_hostname_reaches_nobody(self, platform: Platform) -> None:
        port = platform.variables["platform_https_port"]
        answer = requests.get(
            f"https://127.0.0.1:{port}/api/v2/health",
            headers={"Host": "nobody." + platform.variables["platform_domain"]},
            verify=False,
            timeout=10,
        )
        assert answer.status_code in (403, 404, 421)


class TestInfo:
    def test_reports_the_tenant_as_json(
        self, platform: Platform, tenant: Tenant, tmp_path: Path
    ) -> None:
        report = tmp_path / "info.json"
        platform.play.ok("tenant_info", "-l", tenant.name, result_file=str(report), output="json")
        (entry,) = json.loads(report.read_text())
        assert entry["tenant"] == tenant.name
        assert (entry["state"], entry["drift"], entry["error"]) == ("running", [], None)
        assert entry["endpoint"].startswith(tenant.url)
        assert entry["memory_bytes"] > 0 and entry["disk_bytes"] > 0

    def test_tells_people(self, platform: Platform, tenant: Tenant) -> None:
        output = platform.play.ok("tenant_info").output
        # One tenant is told of at length, each thing on a line of its own.
        told = dict(re.findall(r"^  (\S+) +(\S.*)$", output, re.MULTILINE))
        assert (told["endpoint"], told["state"]) == (tenant.url, "running"), output
        assert "drift:" not in told and "error:" not in told, output


def test_memories_survive_a_restart_of_each_container(tenant: Tenant) -> None:
    sentence = tenant.store_something()
    for role in ROLES:
        tenant.container(role).restart(timeout=20)
        assert tenant.remembers(sentence, 90), role


def test_the_controller_finds_no_second_truth(platform: Platform, tenant: Tenant) -> None:
    """A run after all of that changes nothing and touches no container."""
    before = tenant.container_ids()
    run = platform.play.ok("deploy_tenant")
    assert run.changed == {}
    assert tenant.container_ids() == before


def test_the_clients_of_memmachine_work_unchanged(tenant: Tenant) -> None:
    """The official library and mem-cli with nothing but URL and key."""
    universal = ["--org-id", "ci", "--project-id", "cli"]
    command = ["mem-cli", "--base-url", tenant.url, "--api-key", tenant.key, "memory"]
    environment = {"REQUESTS_CA_BUNDLE": str(tenant.platform.authority)}

    def client(*arguments: str) -> str:
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    client("add", *universal, "--create", "Bees dance to tell the way")
    assert "Bees dance" in client("search", *universal, "What do bees do?")
