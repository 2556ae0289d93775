"""A customer who stores numbered memories all the time, while operators do what they do."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests
from memmachine_client import MemMachineClient

from .platform import Tenant

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
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopping.set()
        self._thread.join(CLIENT_SECONDS + 10)

    def sentence(self, number: int) -> str:
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
        number, last = 0, time.monotonic()
        while not self._stopping.is_set():
            number += 1
            began = time.monotonic()
            outcome = self._store(number)
            ended = time.monotonic()
            self.longest_wait = max(self.longest_wait, ended - began)
            if outcome == "200":
                self.acknowledged.append(number)
                self.longest_gap = max(self.longest_gap, ended - last)
                last = ended
            else:
                self.refused[outcome] = self.refused.get(outcome, 0) + 1
            self._stopping.wait(self.pause)

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
    """The same with the official client as it is: its own connection, time-out and retries.

    The tenant's authority has to be in REQUESTS_CA_BUNDLE.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        client = MemMachineClient(api_key=self._key, base_url=self.tenant.url)
        self._memory = client.create_project(org_id="ci", project_id=self.project).memory()

    def _store(self, number: int) -> str:
        try:
            self._memory.add(self.sentence(number))
        except requests.HTTPError as error:
            return str(error.response.status_code)
        except Exception as error:  # whatever it is, it is no acknowledgement
            return type(error).__name__
        return "200"


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
