"""The memory round trip, against a real HTTP server that behaves well or badly."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _probe
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import wait_for_router
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import (
    Edge,
    Probe,
    ProbeError,
)


class Server:
    """Keeps memories, and misbehaves as told."""

    def __init__(self):
        self.memories = {}
        self.semantic = {"7": "left by an earlier probe"}
        self.seen = []
        self.health = 0
        self.fail = {}
        self.forget = False
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.http.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server_state = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.startswith("/api/http/routers/"):
            self._answer(200, {"status": "enabled"} if "acme" in self.path else {"status": "bad"})
        else:
            self.server_state.health += 1
            self._answer(*self._failure("health", 200, {"status": "healthy"}))

    def do_POST(self):
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state.seen.append((self.path, self.headers["Host"], self.headers["Authorization"]))
        action = self.path.rsplit("/", 1)[-1]
        if self.path.endswith("/memories"):
            status, answer = self._failure("memories", 200, None)
            if status == 200:
                uid = str(len(state.memories))
                if not state.forget:
                    state.memories[uid] = body["messages"][0]["content"]
                answer = {"results": [{"uid": uid}]}
        elif action == "search":
            found = [{"content": text} for text in state.memories.values()]
            status, answer = 200, {"content": {"episodic_memory": found}}
        elif action == "list":
            episodes = [{"uid": uid} for uid in state.memories]
            traces = [{"metadata": {"id": uid}} for uid in state.semantic]
            content = {"episodic_memory": episodes, "semantic_memory": traces}
            status, answer = 200, {"content": content}
        elif "/episodic/" in self.path:
            for uid in body["episodic_ids"]:
                del state.memories[uid]
            status, answer = 204, None
        else:
            for uid in body["semantic_ids"]:
                del state.semantic[uid]
            status, answer = 204, None
        self._answer(status, answer)

    def _failure(self, step, status, answer):
        left = self.server_state.fail.get(step, [])
        if left:
            return left.pop(0), {"detail": "told to fail"}
        return status, answer

    def _answer(self, status, answer):
        raw = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def probe(server, deadline=5.0):
    return Probe("acme", edge_of(server), "key-1", deadline)


def edge_of(server):
    return Edge("acme.example.com", server.port, tls=False)


def test_a_round_trip_leaves_nothing_behind(server):
    prober = probe(server)
    prober.wait_ready()
    proof = prober.round_trip()
    assert proof.added <= proof.found <= proof.deleted
    assert server.memories == {}
    assert server.semantic == {}
    assert {seen[1:] for seen in server.seen} == {("acme.example.com", "Bearer key-1")}


def test_it_waits_for_a_server_that_is_starting(server):
    server.fail = {"health": [502, 503], "memories": [500, 500]}
    prober = probe(server)
    prober.wait_ready()
    prober.round_trip()
    assert server.memories == {}


def test_it_waits_for_its_turn_among_the_clients_of_the_tenant(server, monkeypatch):
    monkeypatch.setattr(_probe, "_TURN_SECONDS", 0.01)
    server.fail = {"memories": [429, 429], "search": [429], "list": [429]}
    probe(server).round_trip()
    assert server.memories == {}
    server.fail = {"memories": [429] * 1000}
    with pytest.raises(ProbeError, match="429"):
        probe(server, deadline=0.1).round_trip()


def test_no_server_is_said_with_what_came_back(server):
    server.fail = {"health": [502] * 1000}
    with pytest.raises(ProbeError, match="acme: memory round trip .* could not get an answer"):
        probe(server, deadline=0.3).wait_ready()


def test_nobody_listening_is_said(server):
    prober = Probe("acme", Edge("acme.example.com", 1, tls=False), "k", 0.3)
    with pytest.raises(ProbeError, match="refused"):
        prober.wait_ready()


def test_the_edge_is_asked_when_the_server_listens_and_not_before(server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        prober = Probe("acme", edge_of(server), "k", 0.3, [closed.getsockname()])
        with pytest.raises(ProbeError, match="nothing listens"):
            prober.wait_ready()
        assert server.health == 0
        threading.Timer(0.2, closed.listen).start()
        Probe("acme", edge_of(server), "k", 5.0, [closed.getsockname()]).wait_ready()
    assert server.health == 1


def test_waiting_ends_when_it_is_no_use(server):
    def check():
        raise ProbeError("the server does not stay up")

    with pytest.raises(ProbeError, match="does not stay up"):
        Probe("acme", edge_of(server), "k", 5.0, [("127.0.0.1", 1)]).wait_ready(check)


def test_a_refused_key_is_not_tried_again(server):
    server.fail = {"memories": [403, 403]}
    with pytest.raises(ProbeError, match="could not store a memory .* 403"):
        probe(server).round_trip()
    assert server.fail["memories"] == [403]


def test_a_memory_that_is_not_found_is_a_failure(server):
    server.forget = True
    with pytest.raises(ProbeError, match="could not find the memory just stored"):
        probe(server).round_trip()


def test_the_key_is_in_no_error(server):
    server.fail = {"memories": [403]}
    with pytest.raises(ProbeError) as caught:
        probe(server).round_trip()
    assert "key-1" not in str(caught.value)


def test_traefik_must_show_the_router(server):
    wait_for_router(server.port, "acme-api@file", "acme")
    with pytest.raises(MemcloudError, match="globex: Traefik does not serve its route"):
        wait_for_router(server.port, "globex-api@file", "globex", seconds=0.3)
    with pytest.raises(MemcloudError, match="refused"):
        wait_for_router(1, "acme-api@file", "acme", seconds=0.2)
