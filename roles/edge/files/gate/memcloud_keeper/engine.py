# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few calls of the Docker Engine that the keeper makes, over its socket."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from typing import Any


class EngineError(Exception):
    """The engine does not answer, or refused something."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One Docker Engine; every call has a connection of its own, so threads may share this."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ping(self) -> None:
        """Raise unless the engine answers."""
        self._call("GET", "/_ping", 5.0)

    def inspect(self, name: str) -> dict[str, Any]:
        """One container."""
        return dict(self._call("GET", f"/containers/{_quoted(name)}/json", 30.0))

    def start(self, name: str) -> None:
        """Start a container; no effect on one that runs."""
        self._call("POST", f"/containers/{_quoted(name)}/start", 60.0)

    def stop(self, name: str) -> None:
        """Stop a container within the time that it was made with."""
        self._call("POST", f"/containers/{_quoted(name)}/stop", 90.0)

    def run(self, name: str, command: list[str], seconds: float) -> int:
        """Run a command in a container and return its exit code."""
        body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        made = self._call("POST", f"/containers/{_quoted(name)}/exec", 30.0, body)["Id"]
        self._call("POST", f"/exec/{made}/start", seconds, {"Detach": False, "Tty": False})
        code = self._call("GET", f"/exec/{made}/json", 30.0).get("ExitCode")
        return 1 if code is None else int(code)

    def volumes(self) -> list[dict[str, Any]]:
        """Every volume with its size (the engine adds them up)."""
        return list(self._call("GET", "/system/df?type=volume", 300.0).get("Volumes") or [])

    def _call(self, method: str, path: str, seconds: float, body: Any = None) -> Any:
        connection = _Connection(self._path, seconds)
        headers = {"Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise EngineError(f"{method} {path}: {response.status} {raw[:300]!r}")
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return json.loads(raw) if raw and is_json else {}


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
