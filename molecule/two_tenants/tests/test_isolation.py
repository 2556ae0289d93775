"""Nobody reaches another tenant, the node or the cloud's metadata; nothing passes the gate."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from support.platform import ROLES, Platform, Tenant
from support.playbook import CHECKOUT

TIERS = CHECKOUT / "roles/tenant/defaults/main/tiers.yml"
LIMITS = ("Memory", "MemorySwap", "NanoCpus", "CpuShares", "PidsLimit")
UNITS = {"m": 1024**2, "g": 1024**3}
PORTS = {"postgres": 5432, "neo4j": 7687, "app": 8080}


@pytest.fixture(scope="module")
def alpha(platform: Platform) -> Tenant:
    return platform.tenant("alpha")


@pytest.fixture(scope="module")
def beta(platform: Platform) -> Tenant:
    return platform.tenant("beta")


def tcp_segments(tenant: Tenant) -> int:
    """How many connections the app's network stack has accepted."""
    lines = tenant.python("print(open('/proc/net/snmp').read())").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["PassiveOpens"])


class TestGate:
    """Each refusal is proven by the app having accepted no connection meanwhile."""

    @pytest.mark.parametrize(
        ("case", "status"),
        [("no key", 401), ("wrong key", 403), ("key of another tenant", 403), ("in query", 401)],
    )
    @pytest.mark.parametrize("path", ["/api/v2/memories/search", "/mcp/"])
    def test_refuses_and_nothing_reaches_the_app(
        self, alpha: Tenant, beta: Tenant, case: str, status: int, path: str
    ) -> None:
        keys = {"no key": "", "wrong key": "mb_" + "x" * 43, "key of another tenant": alpha.key}
        query = {"api_key": beta.key} if case == "in query" else {}
        before = tcp_segments(beta)
        answer = beta.request(
            "POST", path, key=keys.get(case, ""), params=query, json={"query": "x"}
        )
        assert answer.status_code == status
        assert tcp_segments(beta) == before
        if status == 401:
            assert "Bearer" in answer.headers["WWW-Authenticate"]

    def test_names_the_tenant_by_its_address_and_not_by_a_header(
        self, alpha: Tenant, beta: Tenant
    ) -> None:
        lies = {"X-Tenant": "alpha", "X-Forwarded-Host": alpha.hostname}
        for name, value in lies.items():
            answer = beta.request("GET", "/api/v2/health", key=alpha.key, headers={name: value})
            assert answer.status_code == 403, name

    def test_the_app_does_not_see_the_key(self, alpha: Tenant) -> None:
        assert alpha.request("GET", "/api/v2/health").status_code == 200
        assert alpha.key not in alpha.container("app").logs().decode()


def test_memories_stay_with_their_tenant(alpha: Tenant, beta: Tenant) -> None:
    sentence = alpha.store_something()
    assert sentence in alpha.search(sentence)
    assert sentence not in beta.search(sentence)


class TestNetwork:
    def test_alpha_reaches_nothing_of_beta(self, alpha: Tenant, beta: Tenant) -> None:
        reached = []
        for role, port in PORTS.items():
            networks = beta.container(role).attrs["NetworkSettings"]["Networks"]
            for network in networks.values():
                if alpha.connects(network["IPAddress"], port):
                    reached.append((role, network["IPAddress"]))
        assert reached == []

    def test_the_same_connections_work_within_a_tenant(self, alpha: Tenant) -> None:
        assert alpha.connects(alpha.address("postgres"), PORTS["postgres"])
        assert alpha.connects(alpha.address("neo4j"), PORTS["neo4j"])

    def test_reaches_no_service_of_the_node(
        self, platform: Platform, alpha: Tenant, service_of_the_node: int
    ) -> None:
        networks = alpha.container("app").attrs["NetworkSettings"]["Networks"]
        addresses = {network["Gateway"] for network in networks.values() if network["Gateway"]}
        addresses |= {own_address(), platform.node_address}
        reached = [a for a in sorted(addresses) if alpha.connects(a, service_of_the_node)]
        assert reached == []
        variables = platform.variables
        for port in ("platform_gate_port", "platform_edge_api_port"):
            assert not alpha.connects(platform.node_address, variables[port]), port

    def test_reaches_its_model_provider(self, platform: Platform, alpha: Tenant) -> None:
        port = platform.variables["platform_demo_model_port"]
        assert alpha.connects(platform.node_address, port)

    def test_the_node_reaches_that_service(self, service_of_the_node: int) -> None:
        """The test above would prove nothing if nobody listened."""
        socket.create_connection((own_address(), service_of_the_node), 2).close()

    @pytest.mark.parametrize(
        ("address", "port"),
        [("169.254.169.254", 80), ("168.63.129.16", 80), ("fd00:ec2::254", 80)],
    )
    def test_reaches_no_metadata_of_the_cloud(
        self, platform: Platform, alpha: Tenant, address: str, port: int
    ) -> None:
        assert not alpha.connects(address, port)

    def test_metadata_addresses_are_dropped_by_rule(self, platform: Platform, host) -> None:
        rules = host.check_output(f"nft --json list table inet memcloud_{platform.name}")
        text = json.dumps(json.loads(rules))
        assert "169.254" in text and "168.63.129.16" in text and "fc00::" in text

    def test_databases_reach_nothing_outside(self, alpha: Tenant, service_of_the_node: int) -> None:
        """Their network is internal: they have no route, whatever they try."""
        for role in ("postgres", "neo4j"):
            container = alpha.container(role)
            program = f"exec 3<>/dev/tcp/{own_address()}/{service_of_the_node}"
            exit_code, _ = container.exec_run(["timeout", "3", "bash", "-c", program])
            assert exit_code != 0, role


@pytest.fixture(scope="module")
def service_of_the_node() -> Iterator[int]:
    """A port of the node that answers on every address."""
    with socket.create_server(("0.0.0.0", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])


def own_address() -> str:
    """The address that this machine is reached by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


class TestTiers:
    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize(("name", "tier"), [("alpha", "free"), ("beta", "pro")])
    def test_limits_are_those_of_the_tier(
        self, platform: Platform, name: str, tier: str, role: str
    ) -> None:
        wanted = yaml.safe_load(TIERS.read_text())["platform_tiers"][tier][role]
        memory = int(wanted["memory"].rstrip("mg")) * UNITS[wanted["memory"][-1]]
        host = platform.tenant(name).container(role).attrs["HostConfig"]
        assert {limit: host[limit] for limit in LIMITS} == {
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": int(min(wanted["cpus"], os.cpu_count() or 1) * 1e9),
            "CpuShares": wanted["cpu_shares"],
            "PidsLimit": wanted["pids"],
        }

    def test_a_burst_beyond_the_rate_is_refused_for_that_tenant_alone(
        self, alpha: Tenant, beta: Tenant
    ) -> None:
        def ask(number: int) -> int:
            # However the hostname is written, it is one tenant.
            host = f"{alpha.hostname.upper()}:{number + 1}"
            return alpha.request("GET", "/api/v2/health", headers={"Host": host}).status_code

        # Side by side: one after the other they may be slower than the rate that is allowed.
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(600)))
        assert set(statuses) == {200, 429}
        assert beta.request("GET", "/api/v2/health").status_code == 200
