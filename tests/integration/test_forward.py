# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Traefik passes the requests of a tenant that moved away on, unread.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_forward.py

Runs as root on a node that setup_node has set up. The new node is a small TLS server with a
certificate of its own.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_ca,
    ensure_leaf,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import TRAEFIK_UID
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import (
    forward_path,
    forward_text,
)

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
HOSTNAME = "moved.example.com"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (DATA_DIR / "edge/traefik.yml").exists(),
    reason=f"no edge of {PLATFORM} on this machine",
)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"new node, {self.headers['Host']}, {self.headers['Authorization']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def new_node(tmp_path):
    """Port of the new node, and the certificate of its authority."""
    (tmp_path / "certs").mkdir()
    ensure_ca(str(tmp_path / "ca"), "the new node's own")
    leaf = ensure_leaf(str(tmp_path / "ca"), str(tmp_path / "certs"), HOSTNAME)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], tmp_path / "ca/ca.crt"
    server.shutdown()
    server.server_close()


def edge_port() -> int:
    settings = yaml.safe_load((DATA_DIR / "edge/traefik.yml").read_text())
    return int(settings["entryPoints"]["websecure"]["address"].rpartition(":")[2])


def ask(authority: Path) -> str:
    """What the old node's edge answers under the tenant's hostname."""
    context = ssl.create_default_context(cafile=str(authority))
    with socket.create_connection(("127.0.0.1", edge_port()), 5) as plain:
        connection = http.client.HTTPSConnection(HOSTNAME, timeout=5)
        connection.sock = context.wrap_socket(plain, server_hostname=HOSTNAME)
        connection.request("GET", "/", headers={"Authorization": "Bearer mb_key"})
        return connection.getresponse().read().decode()


def test_the_new_node_shows_its_own_certificate_and_gets_the_key(new_node):
    port, authority = new_node
    path = forward_path(str(DATA_DIR), "moved")
    text = forward_text("moved", HOSTNAME, "127.0.0.1", port, True, time.time() + 60)
    atomic_write(path, text, 0o640, 0, TRAEFIK_UID)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ask(authority) == f"new node, {HOSTNAME}, Bearer mb_key"
                break
            except (ssl.SSLError, ConnectionError):  # the old node's own certificate
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        os.unlink(path)
