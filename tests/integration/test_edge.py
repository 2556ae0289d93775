# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge and the gate of a node, from a client's side, with tenants that only echo.

Runs as root on a node that setup_node has set up with a local CA.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_edge.py
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import ipaddress
import json
import os
import socket
import ssl
import time
from pathlib import Path

import docker
import httpx
import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_leaf
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import (
    Route,
    RouteLimits,
    gate_entry,
    traefik_dynamic,
)

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
POOL = ipaddress.IPv4Network(os.environ.get("MEMCLOUD_SUBNET_POOL", "10.192.0.0/14"))
DOCKER_HOST = os.environ.get("MEMCLOUD_DOCKER_HOST", "unix:///var/run/docker.sock")
HTTP_PORT = int(os.environ.get("MEMCLOUD_HTTP_PORT", "80"))
HTTPS_PORT = int(os.environ.get("MEMCLOUD_HTTPS_PORT", "443"))
API_PORT = int(os.environ.get("MEMCLOUD_EDGE_API_PORT", "9080"))
GATE_PORT = int(os.environ.get("MEMCLOUD_GATE_PORT", "9081"))
METRICS = os.environ.get("MEMCLOUD_METRICS_ADDRESS", "127.0.0.1:9082")
LAST_SLOT = POOL.num_addresses // 32 - 3

BODY_LIMIT = 3 * 1024 * 1024
IN_FLIGHT = 4

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (DATA_DIR / "edge" / "ca.crt").exists(),
    reason=f"no edge of {PLATFORM} with a local CA on this machine",
)

ECHO = """
import json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "leaky/1.0", ""

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            size = 0
            while True:
                length = int(self.rfile.readline(), 16)
                self.rfile.read(length + 2)
                size += length
                if not length:
                    return size
        return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self):
        if "stream" in self.path:
            return self.stream(float(self.headers["X-Seconds"]))
        size = self.body()
        time.sleep(float(self.headers.get("X-Seconds", 0)))
        text = json.dumps({"path": self.path, "headers": dict(self.headers), "body": size})
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def stream(self, seconds):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.wfile.write(b"data: tick\\n\\n")
            self.wfile.flush()
            time.sleep(0.5)
        self.wfile.write(b"data: end\\n\\n")

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("0.0.0.0", 8080), Echo).serve_forever()
"""


class Tenant:
    """A tenant of the test's own: an app that echoes, a route, a gate entry."""

    def __init__(self, client: docker.DockerClient, image: str, name: str, slot: int) -> None:
        self.name = name
        self.hostname = f"{name}.memcloud.localhost"
        self.key = f"mb_{name}-key"
        base = POOL.network_address + 32 * slot
        self.address = str(base + 18)
        self._network = client.networks.create(
            f"{PLATFORM}-{name}-app",
            driver="bridge",
            options={"com.docker.network.bridge.name": f"{PLATFORM}-a{slot}"},
            ipam=docker.types.IPAMConfig(
                pool_configs=[docker.types.IPAMPool(subnet=f"{base + 16}/28")]
            ),
        )
        self._app = client.containers.create(
            image,
            entrypoint=["python3", "-c", ECHO],
            command=[],
            name=f"{PLATFORM}-{name}-app",
            network_mode="none",
            user="30012:30012",
        )
        client.networks.get("none").disconnect(self._app)
        self._network.connect(self._app, ipv4_address=self.address)
        self._app.start()
        self.route = DATA_DIR / "edge" / "dynamic" / f"{name}.yml"
        self.entry = DATA_DIR / "gate" / "tenants" / f"{name}.json"
        self.certificate = ensure_leaf(
            str(DATA_DIR / "edge" / "ca"), str(DATA_DIR / "edge" / "certs"), self.hostname
        ).path

    def open(self, *, rate: int = 200, state: str = "running") -> None:
        """Write the files by which edge and gate know the tenant, and wait for the edge."""
        limits = RouteLimits(rate, rate, IN_FLIGHT, IN_FLIGHT, BODY_LIMIT)
        app = f"{self.address}:8080"
        self._put(
            self.entry,
            gate_entry(
                tenant=self.name,
                uid="0" * 16,
                state=state,
                keys=[{"name": "default", "sha256": sha256(self.key)}],
                probe_sha256=sha256("probe"),
                app=app,
            ),
            30014,
        )
        self._put(
            self.route,
            traefik_dynamic(Route(self.name, self.hostname, app, limits, GATE_PORT)),
            30013,
        )

    @staticmethod
    def _put(path: Path, text: str, gid: int) -> None:
        scratch = path.with_suffix(".new")
        scratch.write_text(text)
        os.chown(scratch, 0, gid)
        scratch.chmod(0o640)
        scratch.replace(path)

    def remove(self) -> None:
        self.route.unlink(missing_ok=True)
        self.entry.unlink(missing_ok=True)
        Path(self.certificate).unlink(missing_ok=True)
        (DATA_DIR / "gate" / "activity" / f"{self.name}.json").unlink(missing_ok=True)
        self._app.remove(force=True)
        self._network.remove()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def tenants():
    client = docker.DockerClient(base_url=DOCKER_HOST)
    image = json.loads((DATA_DIR / "images.json").read_text())["gate"]["id"]
    with contextlib.ExitStack() as stack:
        made = []
        for index, name in enumerate(("zz-east", "zz-west")):
            tenant = Tenant(client, image, name, LAST_SLOT - index)
            stack.callback(tenant.remove)
            tenant.open()
            made.append(tenant)
        for tenant in made:
            until = time.monotonic() + 20
            while not is_live(tenant):
                assert time.monotonic() < until, "the route never became live"
                time.sleep(0.1)
        yield made


def is_live(tenant):
    """Whether route and certificate are loaded, which does not happen at the same instant."""
    try:
        return ask(tenant, "/api/v2/projects").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def east(tenants):
    return tenants[0]


@pytest.fixture
def west(tenants):
    return tenants[1]


def trust():
    context = ssl.create_default_context(cafile=str(DATA_DIR / "edge" / "ca.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def ask(tenant, path, *, key=True, method="GET", headers=None, hostname=None, **options):
    hostname = hostname or tenant.hostname
    sent = {"Host": f"{hostname}:{HTTPS_PORT}"}
    if key:
        sent["Authorization"] = f"Bearer {tenant.key if key is True else key}"
    url = httpx.URL(f"https://127.0.0.1:{HTTPS_PORT}", raw_path=path.encode())
    with httpx.Client(verify=trust(), timeout=20) as client:
        return client.request(
            method,
            url,
            headers={**sent, **(headers or {})},
            extensions={"sni_hostname": hostname},
            **options,
        )


def test_http_is_redirected(east):
    answer = httpx.get(
        f"http://127.0.0.1:{HTTP_PORT}/api/v2/projects", headers={"Host": east.hostname}
    )
    assert answer.status_code in (301, 308)
    assert answer.headers["Location"].startswith(f"https://{east.hostname}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(east, version):
    context = trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=5) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(plain, server_hostname=east.hostname)


def test_key_is_checked_and_kept_from_the_app(east):
    answer = ask(east, "/api/v2/projects", headers={"X-Tenant": "zz-west", "X_Tenant": "zz-west"})
    assert answer.status_code == 200
    seen = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert seen["x-tenant"] == east.name
    assert "authorization" not in seen
    assert "x_tenant" not in seen
    assert east.key not in answer.text


@pytest.mark.parametrize("path", ["/api/v2/projects", "/mcp", "/mcp/"])
def test_without_the_right_key_nothing_passes(east, west, path):
    refused = ask(east, path, key=False)
    assert refused.status_code == 401
    assert "WWW-Authenticate" in refused.headers
    assert ask(east, path, key="mb_wrong").status_code == 403
    assert ask(east, path, key=west.key).status_code == 403
    assert ask(east, f"{path}?api_key={east.key}&key={east.key}", key=False).status_code == 401


@pytest.mark.parametrize("path", ["/api/v2/projects", "/mcp/", "/health"])
@pytest.mark.parametrize("key", [True, False, "mb_wrong"])
def test_every_answer_has_the_security_headers(east, path, key):
    headers = ask(east, path, key=key).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/openapi.json",
        "/redoc",
        "/metrics",
        "/api/v2/metrics",
        "/api/v2/config",
        "/api/v2/config/resources",
        "/api/v2/memories/../metrics",
        "/api/v2/memories/../../docs",
        "/api/v2/memories/%2e%2e/metrics",
        "/api/v2/memories/..%2fmetrics",
        "/api/v2/memories/%252e%252e/metrics",
        "/api/v2//metrics",
        "/mcp/../docs",
        "/mcp/%2e%2e/api/v2/metrics",
        "/health/../api/v2/metrics",
        "/public/zz-west/health",
        "/auth/zz-west",
        "/stats",
        "/api/http/routers",
    ],
)
def test_nothing_but_the_public_api_is_routed(east, path):
    answer = ask(east, path)
    assert answer.status_code in (400, 404), answer.text


def test_unknown_hostname_is_answered_404():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    answer = httpx.get(
        f"https://127.0.0.1:{HTTPS_PORT}/api/v2/projects",
        headers={"Host": "nobody.example.com"},
        verify=context,
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_body_limit(east, stream, more, status):
    body = b"x" * (BODY_LIMIT + more)
    content = iter([body[:1000], body[1000:]]) if stream else body
    answer = ask(east, "/api/v2/memories", method="POST", content=content)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["body"] == BODY_LIMIT


def test_mcp_reaches_the_app_without_a_redirect(east):
    answer = ask(east, "/mcp", method="POST", content=b"{}")
    assert answer.status_code == 200
    assert answer.json()["path"] == "/mcp/"


def test_mcp_is_not_buffered(east):
    assert ticks(east, seconds=3)[0] < 1.0


def ticks(tenant, seconds):
    """When each event of a stream arrived, in seconds since the request."""
    times, received = [], b""
    started = time.monotonic()
    with (
        httpx.Client(verify=trust(), timeout=20) as client,
        client.stream(
            "GET",
            f"https://127.0.0.1:{HTTPS_PORT}/mcp/stream",
            headers={
                "Host": tenant.hostname,
                "Authorization": f"Bearer {tenant.key}",
                "X-Seconds": str(seconds),
            },
            extensions={"sni_hostname": tenant.hostname},
        ) as answer,
    ):
        assert answer.status_code == 200
        for part in answer.iter_raw():
            received += part
            times.append(time.monotonic() - started)
    assert received.endswith(b"data: end\n\n"), "the stream was cut"
    return times


@pytest.mark.parametrize("path", ["/api/v2/projects", "/mcp/"])
def test_requests_in_flight_are_limited_a_tenant(east, west, path):
    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT + 3) as pool:
        asked = [
            pool.submit(ask, east, path, headers={"X-Seconds": "2"}) for _ in range(IN_FLIGHT + 3)
        ]
        time.sleep(1)
        assert ask(west, path).status_code == 200
        statuses = sorted(future.result().status_code for future in asked)
    assert statuses == [200] * IN_FLIGHT + [429] * 3


def test_rate_is_limited_a_tenant_not_a_client(east, west):
    east.open(rate=2)
    time.sleep(1)
    try:
        statuses = [ask(east, "/api/v2/projects").status_code for _ in range(12)]
        assert 429 in statuses
        assert ask(west, "/api/v2/projects").status_code == 200
    finally:
        east.open()
        time.sleep(1)


def test_health_needs_no_key(east):
    answer = ask(east, "/health", key=False)
    assert (answer.status_code, answer.json()["status"]) == (200, "up")


def test_suspended_tenant_is_answered_503(east):
    east.open(state="suspended")
    time.sleep(1.5)
    try:
        answer = ask(east, "/api/v2/projects")
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
    finally:
        east.open()
        time.sleep(1.5)


@pytest.mark.parametrize("port", [API_PORT, GATE_PORT, int(METRICS.rpartition(":")[2])])
def test_what_is_for_the_node_listens_on_its_loopback_alone(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.254", 9))
        address = probe.getsockname()[0]
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
    with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):
        pass


def test_metrics_tell_tenants_apart(east):
    text = httpx.get(f"http://{METRICS}/metrics").text
    assert f'service="{east.name}-app@file"' in text


def test_containers_of_the_edge_run_with_as_little_as_they_need():
    client = docker.DockerClient(base_url=DOCKER_HOST)
    for name, user, capabilities in (
        ("edge", "30013:30013", ["NET_BIND_SERVICE"]),
        ("gate", "30014:30014", None),
    ):
        attributes = client.containers.get(f"{PLATFORM}-{name}").attrs
        host = attributes["HostConfig"]
        assert attributes["Config"]["User"] == user
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert [c.replace("CAP_", "") for c in host["CapAdd"] or []] == (capabilities or [])
        assert not host["Privileged"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
