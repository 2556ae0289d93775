# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking Traefik's own API and the gate, on the node's loopback, what they have loaded."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import sha256


def wait_for_router(port: int, router: str, tenant: str, seconds: float = 15.0) -> None:
    """Wait until Traefik shows a router as enabled.

    :raises MemcloudError: with what Traefik says instead.
    """

    def problem(status: int, answer: dict[str, Any]) -> str:
        if status != 200:
            return f"{status}: it does not know the route"
        if answer.get("status") == "enabled":
            return ""
        return f"{answer.get('status')}: {answer.get('error')}"

    last = _wait(port, f"/api/http/routers/{router}", problem, seconds)
    if last:
        raise MemcloudError(
            f"{tenant}: Traefik does not serve its route after {seconds:.0f} s ({last}): see the "
            "log of the edge container; one broken file in its directory makes it refuse all "
            "changes"
        )


def wait_for_gate(port: int, tenant: str, content: str | None, seconds: float = 15.0) -> None:
    """Wait until the gate decides by a tenant's file of this content (None: by no file).

    :raises MemcloudError: with what the gate says instead.
    """
    wanted = None if content is None else sha256(content)

    def problem(status: int, answer: dict[str, Any]) -> str:
        if status != 200:
            return f"{status}: it is older than this collection, run setup_node"
        if answer.get("problem"):
            return str(answer["problem"])
        return "" if answer.get("sha256") == wanted else "it has not taken the file over"

    last = _wait(port, f"/loaded/{tenant}", problem, seconds)
    if last:
        raise MemcloudError(
            f"{tenant}: the gate does not follow its file after {seconds:.0f} s ({last}): see the "
            "log of the gate container"
        )


def check_gate(port: int, tenant: str) -> None:
    """Stop before a route is written that asks the gate what only a newer one answers.

    One of before would refuse each call of the tenant's MCP, which no proof makes.

    :raises MemcloudError: when the node was set up by an older collection.
    """
    status, _answer = ask(port, "/body")
    if status == 404:
        raise MemcloudError(
            f"{tenant}: its node was set up by an older collection, whose gate does not serve the "
            "routes of this one: run setup_node for the node, then this again. Nothing was touched"
        )


def ask(port: int, path: str, timeout: float = 5.0) -> tuple[int, Any]:
    """Status and answer of a question to edge or gate; 0 and the reason when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else {}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()


def _wait(
    port: int, path: str, problem: Callable[[int, dict[str, Any]], str], seconds: float
) -> str:
    """Ask until there is no problem left; the last one otherwise."""
    deadline = time.monotonic() + seconds
    last = "no answer"
    while True:
        status, answer = ask(port, path)
        last = problem(status, answer) if status else str(answer)
        if not last:
            return ""
        if time.monotonic() >= deadline:
            return last
        time.sleep(0.1)
