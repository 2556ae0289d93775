# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Traefik passes the requests of a tenant that moved away on, unread.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_forward.py

Runs as root on a node that setup_node has set up. The new node is a small TLS server with a
certificate of its own.
"""

from __future__ import annotations

import contextlib
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
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import TRAEFIK_UID
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
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


def connect(context: ssl.SSLContext) -> http.client.HTTPSConnection:
    """A connection of a client that takes the old node for the tenant's."""
    plain = socket.create_connection(("127.0.0.1", edge_port()), 5)
    connection = http.client.HTTPSConnection(HOSTNAME, timeout=5)
    connection.sock = context.wrap_socket(plain, server_hostname=HOSTNAME)
    return connection


def ask(connection: http.client.HTTPSConnection) -> tuple[http.client.HTTPResponse, str]:
    connection.request("GET", "/", headers={"Authorization": "Bearer mb_key"})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_new_connections_reach_the_new_node_and_kept_ones_are_ended(new_node):
    port, authority = new_node
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    kept = connect(trusting)  # what it talks to is the old node's own edge
    assert ask(kept)[0].status == 404
    path = forward_path(str(DATA_DIR), "moved")
    text = forward_text("moved", HOSTNAME, "127.0.0.1", port, True, time.time() + 60)
    atomic_write(path, text, 0o640, 0, TRAEFIK_UID)
    try:
        deadline = time.monotonic() + 10
        checking = ssl.create_default_context(cafile=str(authority))
        while True:
            try:
                connection = connect(checking)
                break
            except (ssl.SSLError, ConnectionError):  # the old node's own certificate
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with contextlib.closing(connection):
            assert ask(connection)[1] == f"new node, {HOSTNAME}, Bearer mb_key"
        answer, _text = ask(kept)
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.will_close
    finally:
        os.unlink(path)
        kept.close()
