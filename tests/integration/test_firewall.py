# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants' containers can reach, tried with real connections over real bridges.

Runs as root on a node that setup_node has set up. Two tenants of the test's own take the last
slots of the pool; the world outside is a network namespace with the addresses that matter in it.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_firewall.py
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
POOL = ipaddress.IPv4Network(os.environ.get("MEMCLOUD_SUBNET_POOL", "10.192.0.0/14"))
DOCKER_HOST = os.environ.get("MEMCLOUD_DOCKER_HOST", "unix:///var/run/docker.sock")
NODE_ADDRESS = str(POOL.network_address + 1)
ENDPOINT = os.environ.get("MEMCLOUD_MODEL_ENDPOINT", f"{NODE_ADDRESS}:9083")
EDGE_PORT = int(os.environ.get("MEMCLOUD_HTTPS_PORT", "443"))
LAST_SLOT = POOL.num_addresses // 32 - 1

PUBLIC = "203.0.113.7"
PRIVATE = ("192.168.254.7", "172.31.254.7", "100.127.254.7")
METADATA = ("169.254.169.254", "168.63.129.16")
OUTSIDE_PORT = 8099
HOST_PORT = 8098
APP_PORT = 8080
DATABASE_PORT = 5432

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not DATA_DIR.is_dir(), reason=f"no node of {PLATFORM} on this machine"
)

LISTEN = """
import socket, sys, threading
def serve(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        while True:
            server.accept()[0].close()
targets = [target.rsplit(":", 1) for target in sys.argv[1:]]
threads = [threading.Thread(target=serve, args=(a, int(p))) for a, p in targets]
[thread.start() for thread in threads]
print("ready", flush=True)
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1.5).close()
except OSError as error:
    sys.exit(str(error) or "closed")
"""


class Tenant:
    """A tenant's two networks with an app and a database that only listen."""

    def __init__(self, client: docker.DockerClient, image: str, name: str, slot: int) -> None:
        self._client = client
        self.name = name
        base = POOL.network_address + 32 * slot
        self.data_gateway, self.app_gateway = str(base + 1), str(base + 17)
        self.database_address, self.app_data_address = str(base + 2), str(base + 4)
        self.app_address = str(base + 18)
        self._networks = [
            self._network("data", f"{PLATFORM}-d{slot}", f"{base}/28", self.data_gateway, True),
            self._network("app", f"{PLATFORM}-a{slot}", f"{base + 16}/28", self.app_gateway, False),
        ]
        data, app = self._networks
        self.database = self._container(image, "database", DATABASE_PORT)
        self.app = self._container(image, "app", APP_PORT)
        data.connect(self.database, ipv4_address=self.database_address)
        data.connect(self.app, ipv4_address=self.app_data_address)
        app.connect(self.app, ipv4_address=self.app_address)
        for container in (self.app, self.database):
            container.start()

    def _network(self, role, bridge, subnet, gateway, internal):
        return self._client.networks.create(
            f"{PLATFORM}-{self.name}-{role}",
            driver="bridge",
            internal=internal,
            options={"com.docker.network.bridge.name": bridge},
            ipam=docker.types.IPAMConfig(
                pool_configs=[docker.types.IPAMPool(subnet=subnet, gateway=gateway)]
            ),
        )

    def _container(self, image, role, port):
        name = f"{PLATFORM}-{self.name}-{role}"
        container = self._client.containers.create(
            image,
            entrypoint=["python3", "-c", LISTEN, f"0.0.0.0:{port}"],
            command=[],
            name=name,
            network_mode="none",
            user="30012:30012",
        )
        # A container that was made without a network can be given its own ones only.
        self._client.networks.get("none").disconnect(container)
        return container

    def remove(self) -> None:
        for container in (self.app, self.database):
            container.remove(force=True)
        for network in self._networks:
            network.remove()


@pytest.fixture(scope="module")
def client():
    return docker.DockerClient(base_url=DOCKER_HOST)


@pytest.fixture(scope="module")
def tenants(client):
    image = json.loads((DATA_DIR / "images.json").read_text())["gate"]["id"]
    with contextlib.ExitStack() as stack:
        made = []
        for index, name in enumerate(("zz-one", "zz-two")):
            tenant = Tenant(client, image, name, LAST_SLOT - index)
            stack.callback(tenant.remove)
            made.append(tenant)
        for tenant in made:
            wait_for(tenant.database_address, DATABASE_PORT)
            wait_for(tenant.app_address, APP_PORT)
        yield made


@pytest.fixture(scope="module")
def one(tenants):
    return tenants[0]


@pytest.fixture(scope="module")
def two(tenants):
    return tenants[1]


@pytest.fixture(scope="module")
def host_listener():
    """A service of the node's own that listens on every address, and one at the model endpoint."""
    wanted = [f"0.0.0.0:{HOST_PORT}"]
    address, port = ENDPOINT.split(":")
    if not connects(address, int(port)):
        wanted.append(ENDPOINT)
    with listening([sys.executable], wanted):
        yield


@pytest.fixture(scope="module")
def outside():
    """The world beyond the node: public, private and metadata addresses, all of which answer."""
    name = f"{PLATFORM}outside"
    near, far = f"{PLATFORM}w0", f"{PLATFORM}w1"
    addresses = [PUBLIC, *PRIVATE, *METADATA]
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        run("ip", "addr", "add", "198.18.254.1/30", "dev", near)
        run("ip", "link", "set", near, "up")
        inside = ("ip", "-n", name)
        run(*inside, "addr", "add", "198.18.254.2/30", "dev", far)
        run(*inside, "link", "set", far, "up")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "route", "add", "default", "via", "198.18.254.1")
        for address in addresses:
            run(*inside, "addr", "add", f"{address}/32", "dev", "lo")
            run("ip", "route", "add", f"{address}/32", "via", "198.18.254.2")
        command = ["nsenter", f"--net=/var/run/netns/{name}", sys.executable]
        with listening(command, [f"0.0.0.0:{OUTSIDE_PORT}", "0.0.0.0:80"]):
            yield
    finally:
        run("ip", "netns", "del", name)
        subprocess.run(["ip", "link", "del", near], stderr=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def listening(python, targets):
    process = subprocess.Popen([*python, "-c", LISTEN, *targets], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()


def run(*command):
    subprocess.run(command, check=True, timeout=20)


def connects(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1.5):
        return True
    return False


def wait_for(address, port):
    until = time.monotonic() + 15
    while not connects(address, port):
        assert time.monotonic() < until, f"{address}:{port} never answered"
        time.sleep(0.1)


def reaches(container, address, port):
    code, _ = container.exec_run(["python3", "-c", CONNECT, address, str(port)])
    return code == 0


def user_reaches(uid, address, port):
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-c", CONNECT, address, str(port)]
        if uid == 0
        else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        + ["/usr/bin/python3", "-c", CONNECT, address, str(port)],
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
    )
    return done.returncode == 0


def primary_address():
    """The address by which the node reaches the world."""
    route = json.loads(subprocess.check_output(["ip", "-j", "-4", "route", "get", "192.0.2.254"]))
    return route[0]["prefsrc"]


def test_app_reaches_its_own_database(one):
    assert reaches(one.app, one.database_address, DATABASE_PORT)


def test_app_reaches_nothing_of_another_tenant(one, two):
    for address, port in (
        (two.app_address, APP_PORT),
        (two.app_data_address, APP_PORT),
        (two.database_address, DATABASE_PORT),
    ):
        assert not reaches(one.app, address, port), address


def test_database_reaches_nothing_of_another_tenant(one, two):
    for address, port in ((two.app_address, APP_PORT), (two.database_address, DATABASE_PORT)):
        assert not reaches(one.database, address, port), address


def test_tenants_are_apart_even_without_dockers_own_isolation(one, two):
    rule = ("DOCKER-USER", "-i", f"{PLATFORM}-+", "-o", f"{PLATFORM}-+", "-j", "ACCEPT")
    run("iptables", "-I", *rule)
    try:
        assert reaches(one.app, one.database_address, DATABASE_PORT)
        assert not reaches(one.app, two.app_address, APP_PORT)
        assert not reaches(one.database, two.database_address, DATABASE_PORT)
    finally:
        run("iptables", "-D", *rule)


def test_app_reaches_no_service_of_the_node(one, two, host_listener):
    gateways = (one.app_gateway, one.data_gateway, two.app_gateway, two.data_gateway)
    for address in (*gateways, NODE_ADDRESS, primary_address()):
        assert connects(address, HOST_PORT), f"{address} does not answer the node either"
        assert not reaches(one.app, address, HOST_PORT), address


def test_database_reaches_no_service_of_the_node(one, host_listener):
    for address in (one.data_gateway, NODE_ADDRESS, primary_address()):
        assert not reaches(one.database, address, HOST_PORT), address
    for address in (one.data_gateway, primary_address()):
        assert not reaches(one.database, address, EDGE_PORT), address


def test_app_reaches_the_model_endpoint(one, host_listener):
    address, port = ENDPOINT.split(":")
    assert reaches(one.app, address, int(port))


def test_app_reaches_the_edge_from_outside_only(one):
    assert connects(primary_address(), EDGE_PORT)
    assert reaches(one.app, primary_address(), EDGE_PORT)


def test_app_reaches_the_world(one, outside):
    assert reaches(one.app, PUBLIC, OUTSIDE_PORT)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_closed(one, outside, address):
    assert connects(address, 80), "the node itself does not reach it"
    assert not reaches(one.app, address, 80)
    assert not reaches(one.database, address, 80)


def test_metadata_over_ipv6_is_closed(one):
    assert not reaches(one.app, "fd00:ec2::254", 80)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_networks_are_closed(one, outside, address):
    assert connects(address, OUTSIDE_PORT), "the node itself does not reach it"
    assert not reaches(one.app, address, OUTSIDE_PORT)


def test_database_does_not_reach_the_world(one, outside):
    assert not reaches(one.database, PUBLIC, OUTSIDE_PORT)


@pytest.mark.parametrize(
    ("uid", "database", "app"),
    [(0, True, True), (30013, False, True), (30014, False, True), (65534, False, False)],
)
def test_users_of_the_node_reach_only_what_is_theirs(one, uid, database, app):
    assert user_reaches(uid, one.database_address, DATABASE_PORT) is database
    assert user_reaches(uid, one.app_address, APP_PORT) is app


def test_no_port_is_published(client, tenants):
    for tenant in tenants:
        for container in (tenant.app, tenant.database):
            container.reload()
            assert not container.attrs["HostConfig"]["PortBindings"]
