# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both services as processes of their own: they start, answer over HTTP, and stop at once."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.ports import free_port

for library in ("uvicorn", "uvloop", "httptools"):
    pytest.importorskip(library)

ROLES = Path(__file__).parents[3] / "roles"
START_SECONDS = 15.0


@contextmanager
def serving(
    folder: str, module: str, settings: Path, url: str, files: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Run a service until it answers; kill it at the end if it still runs.

    :param files: its soft and its hard limit of open files, where they are not ours.
    """
    limited = ["prlimit", f"--nofile={files}"] if files else []
    process = subprocess.Popen(
        [*limited, sys.executable, "-P", "-m", module, str(settings)],
        env={"PYTHONPATH": str(ROLES / folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                httpx.get(url, timeout=1, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def stop(process: subprocess.Popen[str]) -> tuple[int, float, str]:
    """Send SIGTERM; return exit code, seconds until the end, and everything it said."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=10)[0]
    return process.returncode, time.monotonic() - begin, said


@pytest.fixture
def gate(tmp_path: Path) -> tuple[Path, str]:
    """Settings of a gate with one tenant that is paused and holds requests."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "activity").mkdir()
    key = hashlib.sha256(b"mb_secret").hexdigest()
    record = {
        "tenant": "acme",
        "uid": "1",
        "state": "paused",
        "keys": [{"name": "default", "sha256": key, "expires": None}],
        "hold_seconds": 20,
    }
    (tmp_path / "tenants/acme.json").write_text(json.dumps(record), encoding="ascii")
    port = free_port()
    settings = {
        "listen": f"127.0.0.1:{port}",
        "tenants_dir": str(tmp_path / "tenants"),
        "activity_dir": str(tmp_path / "activity"),
    }
    (tmp_path / "gate.json").write_text(json.dumps(settings), encoding="ascii")
    return tmp_path / "gate.json", f"http://127.0.0.1:{port}"


def test_the_gate_stops_soon_and_lets_held_requests_go(gate: tuple[Path, str]) -> None:
    settings, url = gate
    answers: list[int] = []

    def held() -> None:
        headers = {"Authorization": "Bearer mb_secret"}
        answer = httpx.get(f"{url}/auth/acme", headers=headers, timeout=30, trust_env=False)
        answers.append(answer.status_code)

    with serving("edge/files/gate", "memcloud_gate", settings, f"{url}/ready") as process:
        waiting = threading.Thread(target=held)
        waiting.start()
        time.sleep(0.5)
        stats = httpx.get(f"{url}/stats", trust_env=False).json()
        code, seconds, said = stop(process)
        waiting.join(timeout=5)
    assert stats["held"] == 1
    assert (code, answers) == (0, [503]) and seconds < 3
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["message"] for line in lines] == ["tenants loaded", "gate started", "gate stopped"]
    assert "mb_secret" not in said
    written = json.loads((settings.parent / "activity/acme.json").read_text())
    assert written["counts"]["not_running"] == 1


def test_the_gate_takes_as_many_connections_as_it_may(gate: tuple[Path, str]) -> None:
    settings, url = gate
    ready = f"{url}/ready"
    with serving("edge/files/gate", "memcloud_gate", settings, ready, "256:2048") as process:
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (2048, 2048)


def test_the_demo_model_starts_answers_and_stops(tmp_path: Path) -> None:
    port = free_port()
    settings = tmp_path / "settings.json"
    content = {"listen": f"127.0.0.1:{port}", "api_key": "some-key"}
    settings.write_text(json.dumps(content), encoding="ascii")
    url = f"http://127.0.0.1:{port}"
    folder = "demo_model/files/demo_model"
    with serving(folder, "memcloud_demo_model", settings, f"{url}/health") as process:
        answer = httpx.post(
            f"{url}/v1/embeddings",
            json={"model": "demo-embedding", "input": "x"},
            headers={"Authorization": "Bearer some-key"},
            trust_env=False,
        )
        code, seconds, said = stop(process)
    assert len(answer.json()["data"][0]["embedding"]) == 384
    assert code == 0 and seconds < 3
    assert "DEMO" in said and "some-key" not in said


@pytest.mark.parametrize(
    ("folder", "module"),
    [
        ("edge/files/gate", "memcloud_gate"),
        ("demo_model/files/demo_model", "memcloud_demo_model"),
    ],
)
def test_wrong_settings_end_it_with_a_message(folder: str, module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, str(tmp_path / "missing.json")],
        env={"PYTHONPATH": str(ROLES / folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "missing.json" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_the_gate_with_a_message(gate: tuple[Path, str]) -> None:
    settings, url = gate
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "memcloud_gate", str(settings)],
            env={"PYTHONPATH": str(ROLES / "edge/files/gate"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode != 0
    assert "address already in use" in done.stdout
