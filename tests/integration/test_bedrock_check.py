# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Amazon Bedrock is tried: with the libraries of the server's image, against an endpoint here.

MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_bedrock_check.py
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._bedrock_check import SCRIPT

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
SECRET = "the-secret-access-key"
MODEL = {
    "region": "eu-central-1",
    "embedder_model": "amazon.titan-embed-text-v2:0",
    "embedder_dimensions": 1024,
    "language_model": "eu.amazon.nova-lite-v1:0",
    "access_key_id": "AKIA0",
    "secret_access_key": SECRET,
    "session_token": "",
}
EMBEDDING = {"embedding": [0.5] * 1024, "inputTextTokenCount": 1}
CHAT = {
    "output": {"message": {"role": "assistant", "content": [{"text": "b"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


class Bedrock(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, by the last word of the path, and keeps what it was asked."""

    answers: dict[str, tuple[int, dict[str, Any], str]] = {}
    asked: list[tuple[str, str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers["Authorization"]))
        status, body, error = self.answers[self.path.rpartition("/")[2]]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bedrock]]:
    monkeypatch.setattr(
        Bedrock, "answers", {"invoke": (200, EMBEDDING, ""), "converse": (200, CHAT, "")}
    )
    monkeypatch.setattr(Bedrock, "asked", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bedrock)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("BEDROCK", f"http://127.0.0.1:{server.server_address[1]}")
    yield Bedrock
    server.shutdown()
    server.server_close()


def tried(directory: Path) -> dict[str, Any]:
    """What the program prints in a container of the server's image."""
    directory.chmod(0o755)
    (directory / "request.json").write_text(json.dumps(MODEL))
    image = json.loads((DATA_DIR / "images.json").read_text())["memmachine"]["0.4.0"]["id"]
    command = ["docker", "run", "--rm", "--network=host", "--memory=512m", "--user=30012"]
    command += [f"--env=AWS_ENDPOINT_URL_BEDROCK_RUNTIME={os.environ['BEDROCK']}"]
    command += [f"--volume={directory}:/run/memcloud:ro", "--entrypoint=/app/.venv/bin/python"]
    done = subprocess.run(
        [*command, image, "-I", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert SECRET not in done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    return dict(json.loads(line))


def test_both_models_are_asked_with_signed_requests(bedrock: type[Bedrock], tmp_path: Path) -> None:
    assert tried(tmp_path) == {"step": "language", "status": 200, "size": 1024}
    paths = [path for path, _authorization in bedrock.asked]
    assert paths == [
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        "/model/eu.amazon.nova-lite-v1%3A0/converse",
    ]
    for _path, authorization in bedrock.asked:
        assert "Credential=AKIA0/" in authorization
        assert "/eu-central-1/bedrock/" in authorization


def test_keys_that_are_refused(bedrock: type[Bedrock], tmp_path: Path) -> None:
    words = f"The security token {SECRET} is invalid."
    bedrock.answers["invoke"] = (403, {"message": words}, "UnrecognizedClientException")
    answer = tried(tmp_path)
    assert (answer["step"], answer["status"]) == ("embedder", 403)
    assert "The security token *** is invalid." in answer["text"]
    assert len(bedrock.asked) == 1
