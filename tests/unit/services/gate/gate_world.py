# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate over a scratch directory, asked through its ASGI door as Traefik would."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from memcloud_gate.app import Gate
from memcloud_gate.settings import Settings

T = TypeVar("T")
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
KEY, OLD_KEY, ENDED_KEY, PROBE_KEY = "mb_" + "k" * 43, "caller-brought", "mb_ended", "probe-key"
NODE_ADDRESS = "198.51.100.7"


def sha256(text: str) -> str:
    """Return what a tenant's file holds instead of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def tenant_file(name: str, **changes: Any) -> dict[str, Any]:
    """Return a tenant's file with four kinds of keys."""
    return {
        "tenant": name,
        "uid": f"uid-{name}",
        "state": "running",
        "keys": [
            {"name": "default", "sha256": sha256(KEY), "expires": None},
            {"name": "old", "sha256": sha256(OLD_KEY), "expires": "2027-01-15T08:00:01Z"},
            {"name": "ended", "sha256": sha256(ENDED_KEY), "expires": "2027-01-15T08:00:00Z"},
        ],
        "probe_sha256": sha256(PROBE_KEY),
        "app": "192.0.2.4:8080",
        "retry_after": 7,
        "writes": "open",
        **changes,
    }


class World:
    """A gate, its files, and a way to ask it."""

    def __init__(self, directory: Path) -> None:
        self.tenants = directory / "tenants"
        self.activity = directory / "activity"
        self.tenants.mkdir()
        self.wake = directory / "wake"
        self.activity.mkdir()
        self.wake.mkdir()
        self.now = NOW
        settings = Settings(
            "127.0.0.1", 9081, self.tenants, self.activity, self.wake, 0.02, 0.02, max_held=12
        )
        self.gate = Gate(
            settings,
            clock=lambda: self.now,
            is_node=lambda address: address in (NODE_ADDRESS, "127.0.0.1"),
        )

    def write(self, name: str, content: object = None, **changes: Any) -> Path:
        """Put a tenant's file in place as the collection does: scratch name, then rename."""
        path = self.tenants / f"{name}.json"
        scratch = self.tenants / f".{name}.scratch"
        text = content if isinstance(content, str) else json.dumps(tenant_file(name, **changes))
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
        return path

    async def get(
        self, path: str, key: str | None = None, method: str = "GET", **headers: str
    ) -> httpx.Response:
        """Ask the gate; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        transport = httpx.ASGITransport(app=self.gate)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            return await client.request(method, path, headers=named)

    def run(self, scene: Callable[[], Awaitable[T]]) -> T:
        """Play a scene while the gate is started."""

        async def play() -> T:
            await self.gate.start()
            try:
                return await scene()
            finally:
                await self.gate.stop()

        return asyncio.run(play())

    def ask(
        self, path: str, key: str | None = None, method: str = "GET", **headers: str
    ) -> httpx.Response:
        """Start the gate, ask once, stop it."""
        return self.run(lambda: self.get(path, key, method, **headers))
