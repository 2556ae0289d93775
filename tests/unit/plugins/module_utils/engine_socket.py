# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker Engine that only answers what it is told to, on a socket of its own."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading


class EngineSocket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers ``GET`` from a mapping of paths, and remembers every ``DELETE``."""

    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.host = f"unix://{path}"
        self.answers = {}
        self.deleted = []
        self.refused = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "socket"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        answer = self.server.answers.get(path)
        self._send(200 if answer is not None else 404, answer)

    def do_DELETE(self):
        path = self.path.partition("?")[0]
        if path in self.server.refused:
            self._send(409, {"message": self.server.refused[path]})
        else:
            self.server.deleted.append(path)
            self._send(204, None)

    def _send(self, status, answer):
        text = json.dumps(answer).encode() if status != 204 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if text:
            self.wfile.write(text)
