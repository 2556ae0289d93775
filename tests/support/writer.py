"""A customer who stores numbered memories all the time, while operators do what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from .platform import Tenant
from .playbook import CHECKOUT

# As long as the official client waits for an answer.
CLIENT_SECONDS = 30


@dataclass
class Writer:
    """Stores memory after memory through the edge and remembers which were acknowledged.

    Like the official client it waits 30 s for an answer and never sends a POST twice. What was not
    acknowledged may or may not be there; what was must be.
    """

    tenant: Tenant
    pause: float = 0.3
    project: str = field(default_factory=lambda: f"writer-{uuid.uuid4().hex[:8]}")
    acknowledged: list[int] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    """What came instead of an acknowledgement, by status or error, and how often."""
    longest_wait: float = 0.0
    longest_gap: float = 0.0
    """The longest time without an acknowledgement."""

    def __post_init__(self) -> None:
        self._key = self.tenant.key
        self._stopping = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopping.set()
        self._thread.join(CLIENT_SECONDS + 10)

    def sentence(self, number: int | str) -> str:
        return f"Entry {number} of {self.project} was written."

    @property
    def sentences(self) -> list[str]:
        """What was acknowledged."""
        return [self.sentence(number) for number in self.acknowledged]

    def use_key(self, key: str) -> None:
        """Go on with another key."""
        self._key = key

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more memories were acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"nothing is stored any more: {self.report()}"
            time.sleep(0.05)

    def lost(self, tenant: Tenant | None = None) -> list[int]:
        """Acknowledged memories that the tenant (or another one) does not have."""
        found = stored(tenant or self.tenant, self.project)
        return [number for number in self.acknowledged if self.sentence(number) not in found]

    def report(self) -> str:
        return (
            f"{len(self.acknowledged)} acknowledged, refused {self.refused}, "
            f"longest wait {self.longest_wait:.1f} s, longest gap {self.longest_gap:.1f} s"
        )

    def _write(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            began = time.monotonic()
            outcome = self._store(number)
            self._note(number, outcome, time.monotonic() - began)
            self._stopping.wait(self.pause)

    def _note(self, number: int, outcome: str, seconds: float) -> None:
        """What came of one attempt that has just ended."""
        self.longest_wait = max(self.longest_wait, seconds)
        if outcome != "200":
            self.refused[outcome] = self.refused.get(outcome, 0) + 1
            return
        self.acknowledged.append(number)
        self.longest_gap = max(self.longest_gap, time.monotonic() - self._last)
        self._last = time.monotonic()

    def _store(self, number: int) -> str:
        body = {
            "org_id": "ci",
            "project_id": self.project,
            "messages": [{"content": self.sentence(number)}],
        }
        try:
            answer = self.tenant.request(
                "POST", "/api/v2/memories", key=self._key, json=body, timeout=CLIENT_SECONDS
            )
        except requests.RequestException as error:
            return type(error).__name__
        if answer.status_code == 503 and "Retry-After" not in answer.headers:
            return "503 without Retry-After"
        return str(answer.status_code)


class OfficialWriter(Writer):
    """The same with the official client, in a process of its own: its time-out, its retries.

    Of 0.3.9, since it understands the answers of old and new servers: that of 0.4.0 stumbles over
    ids that are numbers, after the memory was stored.
    """

    def _write(self) -> None:
        given = {"key": self._key, "url": self.tenant.url, "project": self.project}
        given |= {"sentence": self.sentence("{}"), "pause": self.pause}
        environment = {
            **os.environ,
            "PYTHONPATH": str(official_client("0.3.9")),
            "REQUESTS_CA_BUNDLE": str(self.tenant.platform.authority),
        }
        program = Path(__file__).with_name("official_client.py")
        # -P: the modules beside the program have names of the standard library.
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                [sys.executable, "-P", program],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            closing = threading.Thread(
                target=lambda: (self._stopping.wait(), process.stdin.close()), daemon=True
            )
            closing.start()
            for line in process.stdout:
                number, outcome, seconds = json.loads(line)
                self._note(number, outcome, seconds)
            if process.wait():
                log.seek(0)
                self._note(0, log.read().decode().strip().splitlines()[-1], 0.0)


def official_client(version: str) -> Path:
    """A folder with the official client of a version, for PYTHONPATH; the rest is there already."""
    folder = CHECKOUT / f".cache/official-client-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            packages = [f"{name}=={version}" for name in ("memmachine-client", "memmachine-common")]
            install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", f"{fresh}/all"]
            subprocess.run([*install, *packages], check=True, timeout=120)
            os.rename(f"{fresh}/all", folder)
    return folder


def stored(tenant: Tenant, project: str) -> set[str]:
    """The sentences of a project, all of them."""
    found: set[str] = set()
    for page in range(1000):
        body: dict[str, Any] = {"org_id": "ci", "project_id": project, "type": "episodic"}
        body |= {"page_size": 500, "page_num": page}
        answer = tenant.request("POST", "/api/v2/memories/list", json=body)
        answer.raise_for_status()
        episodes = answer.json()["content"].get("episodic_memory") or []
        found |= {episode["content"] for episode in episodes}
        if len(episodes) < 500:
            return found
    raise AssertionError(f"more than 500,000 memories in {project}")
