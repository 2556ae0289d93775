"""Containers are inspected by plain HTTP on the engine's socket."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from unittest import mock

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inspect import inspect_all


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.split("/")[3]
        status = {"gone": 404, "broken": 500}.get(name, 200)
        body = json.dumps({"Id": name}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass

    def address_string(self):
        return "engine"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def engine(tmp_path):
    with _Server(str(tmp_path / "docker.sock"), _Handler) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_all_are_inspected_and_those_removed_meanwhile_are_left_out(engine):
    names = [f"c{number}" for number in range(20)] + ["gone"]
    found = inspect_all(engine.server_address, "1.41", 5.0, names)
    assert sorted(one["Id"] for one in found) == sorted(names[:-1])
    assert len(engine.asked) == 21
    assert all(path.startswith("/v1.41/containers/") for path in engine.asked)


def test_an_engine_that_fails_or_stops_is_an_error_that_says_so(engine, tmp_path):
    with pytest.raises(MemcloudError, match="answers 500"):
        inspect_all(engine.server_address, "1.41", 5.0, ["broken"])
    with pytest.raises(MemcloudError, match="stopped answering"):
        inspect_all(str(tmp_path / "no.sock"), "1.41", 5.0, ["c1"])


def test_many_containers_go_by_the_socket_and_few_by_the_sdk(engine):
    client = mock.Mock(api_version="1.41")
    client.inspect_container.side_effect = lambda name: {"Id": name}
    asked = Engine(f"unix://{engine.server_address}")
    asked._local.client = client
    entries = [{"Id": f"c{n}", "Labels": {"memcloud.tenant": "acme"}} for n in range(30)]
    client.containers.return_value = entries
    assert len(asked.containers("mc", ["acme"])) == 30
    assert len(engine.asked) == 30 and not client.inspect_container.called
    client.containers.return_value = entries[:3]
    assert len(asked.containers("mc", ["acme"])) == 3
    assert len(engine.asked) == 30
    labels = client.containers.call_args.kwargs["filters"]["label"]
    assert labels == ["memcloud.platform=mc", "memcloud.tenant=acme"]
