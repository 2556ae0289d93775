# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a tenant works: a memory stored, found and deleted again, through the edge.

The server's health page is a constant and proves nothing. The probe uses a key of its own, which
the gate accepts from the node alone and does not count as activity, and a project of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

PROBE_ORGANISATION = "memcloud"
PROBE_PROJECT = "probe"
_PROJECT = {"org_id": PROBE_ORGANISATION, "project_id": PROBE_PROJECT}
_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.1
_TURN_SECONDS = 0.5
_LISTEN_SECONDS = 0.05
_CHECK_SECONDS = 1.0
_ANSWER_SECONDS = 60.0


class ProbeError(MemcloudError):
    """The memory round trip failed."""


class _PinnedHTTPS(http.client.HTTPSConnection):
    """HTTPS to the loopback address, under the tenant's hostname."""

    def connect(self) -> None:
        plain = socket.create_connection((_LOOPBACK, self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)  # type: ignore[attr-defined]


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _CHECK_SECONDS).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Edge:
    """The node's edge as the probe reaches it.

    :param ca_file: certificate authority to check the edge's certificate with; None where the
        certificate may not have been issued yet (ACME) or is not for the loopback: the way stays
        within the node.
    """

    hostname: str
    port: int
    tls: bool
    ca_file: str | None = None

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A connection to the edge under the tenant's hostname."""
        if not self.tls:
            return http.client.HTTPConnection(_LOOPBACK, self.port, timeout=timeout)
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return _PinnedHTTPS(self.hostname, self.port, timeout=timeout, context=context)


@dataclass(frozen=True)
class Proof:
    """Seconds from the beginning of the wait."""

    ready: float
    added: float
    found: float
    deleted: float

    def as_dict(self) -> dict[str, float]:
        """Plain data, rounded to milliseconds."""
        return {name: round(value, 3) for name, value in self.__dict__.items()}


class Probe:
    """One memory round trip of one tenant.

    :param deadline: seconds that the whole may take.
    :param servers: addresses and ports of the tenant's server and its Neo4j. The edge is not asked
        before something listens at all of them: each of its answers costs time that servers need
        to start, and a server that asks its Neo4j too early asks again after seconds only.
    """

    def __init__(
        self,
        tenant: str,
        edge: Edge,
        key: str,
        deadline: float = 180.0,
        servers: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._tenant = tenant
        self._edge = edge
        self._servers = servers
        self._key = key
        self._began = time.monotonic()
        self._ready = 0.0
        self._deadline = self._began + deadline

    def wait_ready(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the server answers through the edge.

        :param check: asked once a second; raises when waiting longer is no use.
        :raises ProbeError: with the last answer.
        """
        last, checked = "no answer", float("-inf")
        while time.monotonic() < self._deadline:
            if time.monotonic() - checked > _CHECK_SECONDS:
                check()
                checked = time.monotonic()
            silent = next((server for server in self._servers if not _listens(*server)), None)
            if silent:
                last = "nothing listens at {}:{}".format(*silent)
                time.sleep(_LISTEN_SECONDS)
                continue
            try:
                status, body = self._request("GET", "/api/v2/health", None, 5.0)
                if status == 200:
                    self._ready = self._elapsed()
                    return
                last = f"{status} {body[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                last = str(error) or type(error).__name__
            time.sleep(_POLL_SECONDS)
        raise self._error("get an answer", last)

    def round_trip(self) -> Proof:
        """Store, find and delete one memory.

        :raises ProbeError: naming the step that failed and what was answered.
        """
        word = secrets.token_hex(8)
        sentence = f"The proof of this moment is {word}."
        body = {
            **_PROJECT,
            "messages": [{"content": sentence, "producer": "memcloud-probe", "role": "user"}],
        }
        try:
            self._post("store a memory", "/api/v2/memories", body, retry=True)
            added = self._elapsed()
            self._search(word)
            found = self._elapsed()
        except ProbeError:
            with contextlib.suppress(ProbeError):  # what failed first is what matters
                self._delete_all()
            raise
        self._delete_all()
        return Proof(self._ready, added, found, self._elapsed())

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _search(self, word: str) -> None:
        body = {**_PROJECT, "query": f"What is the proof of this moment {word}?", "top_k": 5}
        content = self._post("search", "/api/v2/memories/search", body).get("content") or {}
        if word not in json.dumps(content):
            raise self._error("find the memory just stored", json.dumps(content)[:300])

    def _delete_all(self) -> None:
        """Empty the probe's project: of this probe, and of one that was killed before."""
        content = self._post("list the probe's memories", "/api/v2/memories/list", _PROJECT)
        content = content.get("content") or {}
        episodes = [str(episode["uid"]) for episode in content.get("episodic_memory") or []]
        traces = [
            str(trace["metadata"]["id"])
            for trace in content.get("semantic_memory") or []
            if (trace.get("metadata") or {}).get("id")
        ]
        for kind, ids in (("episodic", episodes), ("semantic", traces)):
            if ids:
                path = f"/api/v2/memories/{kind}/delete"
                self._post("delete the probe's memories", path, {**_PROJECT, f"{kind}_ids": ids})

    def _post(self, step: str, path: str, body: dict[str, Any], retry: bool = False) -> Any:
        """One POST; with ``retry`` once more while the server is still becoming ready."""
        while True:
            try:
                status, raw = self._request("POST", path, body, _ANSWER_SECONDS)
            except (OSError, http.client.HTTPException) as error:
                if retry and time.monotonic() < self._deadline:
                    continue  # whatever it stored in the end goes with the probe's project
                raise self._error(step, str(error) or type(error).__name__) from error
            if status < 300:
                return json.loads(raw) if raw else {}
            if status == http.HTTPStatus.TOO_MANY_REQUESTS and time.monotonic() < self._deadline:
                time.sleep(_TURN_SECONDS)  # clients of the tenant use its rate up
                continue
            # Neo4j may still be starting: the server answers 500 until it can be reached.
            if not retry or status < 500 or time.monotonic() >= self._deadline:
                raise self._error(step, f"{status} {raw[:300]!r}")
            time.sleep(_POLL_SECONDS)

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float
    ) -> tuple[int, str]:
        connection = self._edge.connect(timeout)
        headers = {"Host": self._edge.hostname, "Authorization": f"Bearer {self._key}"}
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body)
        try:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(1_000_000).decode("utf-8", "replace")
        finally:
            connection.close()

    def _error(self, step: str, got: str) -> ProbeError:
        return ProbeError(
            f"{self._tenant}: memory round trip through the edge failed: could not {step} "
            f"within {self._elapsed():.0f} s: {got}"
        )
