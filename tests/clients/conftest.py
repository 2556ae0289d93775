# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant as its customer knows it: an address, a key, a certificate authority.

    MEMCLOUD_KEY_FILE=acme.key pytest tests/clients --url https://acme.example.org --ca-file ca.crt

Nothing of the clients is changed: the official library, its command line and the official MCP SDK
get the address and the key, and learn of the authority by the usual environment variables.
"""

from __future__ import annotations

import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests


@dataclass(frozen=True)
class Door:
    """The public door of one tenant."""

    url: str
    key: str = field(repr=False)
    ca_file: str | None

    def tls(self) -> ssl.SSLContext:
        """Return what trusts the tenant's certificate."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True)
class Story:
    """A project of its own and a sentence that no other run has stored."""

    org: str
    project: str
    word: str

    @property
    def sentence(self) -> str:
        """Return what is stored."""
        return f"Captain {self.word} keeps the spare compass in the green cupboard."

    @property
    def question(self) -> str:
        """Return what is asked."""
        return f"Where does captain {self.word} keep the compass?"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, each with an environment variable; the key is never an argument."""
    group = parser.getgroup("tenant")
    group.addoption("--url", default=os.environ.get("MEMCLOUD_URL"), help="or MEMCLOUD_URL")
    group.addoption(
        "--key-file",
        default=os.environ.get("MEMCLOUD_KEY_FILE"),
        help="or MEMCLOUD_KEY_FILE, or the key itself in MEMCLOUD_KEY",
    )
    group.addoption("--ca-file", default=os.environ.get("MEMCLOUD_CA_FILE"), help="authority")
    group.addoption(
        "--stream-seconds",
        type=float,
        default=float(os.environ.get("MEMCLOUD_STREAM_SECONDS", "180")),
        help="how long an MCP stream stays open (or MEMCLOUD_STREAM_SECONDS)",
    )


@pytest.fixture(scope="session")
def door(request: pytest.FixtureRequest) -> Door:
    """The tenant under test; without an address everything here is skipped."""
    url = request.config.getoption("--url")
    key_file = request.config.getoption("--key-file")
    key = Path(key_file).read_text().strip() if key_file else os.environ.get("MEMCLOUD_KEY", "")
    if not url or not key:
        pytest.skip("no tenant given: --url and --key-file")
    ca_file = request.config.getoption("--ca-file")
    return Door(url.rstrip("/"), key, str(Path(ca_file).resolve()) if ca_file else None)


@pytest.fixture(autouse=True)
def trust(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the authority where the clients look for it, and keep proxies away."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if door.ca_file is not None:
            monkeypatch.setenv(name, door.ca_file)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def story(door: Door, trust: None) -> Iterator[Story]:
    """Something to remember; its project is deleted afterwards."""
    word = uuid.uuid4().hex[:12]
    result = Story("memcloud-tests", f"clients-{word}", word)
    yield result
    requests.post(
        f"{door.url}/api/v2/projects/delete",
        json={"org_id": result.org, "project_id": result.project},
        headers={"Authorization": f"Bearer {door.key}"},
        timeout=30,
    )


def eventually(check: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Wait until something holds; deletions reach some stores a moment later."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
