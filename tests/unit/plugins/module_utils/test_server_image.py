# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import (
    CommandFailed,
    run_in_image,
)


class Engine:
    """Stands in for the client of the Docker Engine."""

    def __init__(self, code: int, output: bytes = b"it said so\n") -> None:
        self.code = code
        self.output = output
        self.limits: dict[str, Any] = {}
        self.removed: list[str] = []

    def create_host_config(self, **limits: Any) -> dict[str, Any]:
        self.limits = limits
        return limits

    def create_container(self, image: str, command: list[str], **options: Any) -> dict[str, str]:
        assert options["user"] == "30012:30012"
        return {"Id": "c1"}

    def start(self, container: str) -> None: ...

    def wait(self, container: str, timeout: int) -> dict[str, int]:
        return {"StatusCode": self.code}

    def logs(self, container: str, stderr: bool = True) -> bytes:
        return (b"it logged so\n" if stderr else b"") + self.output

    def remove_container(self, container: str, **options: Any) -> None:
        self.removed.append(container)


def test_a_command_in_an_image_has_no_network_and_leaves_nothing() -> None:
    engine = Engine(0)
    assert run_in_image(engine, "image", ["check", "/file"]) == "it said so\n"
    assert engine.limits["network_mode"] == "none"
    assert engine.limits["read_only"] is True
    assert engine.removed == ["c1"]


def test_a_failing_command_says_what_it_said_and_leaves_nothing() -> None:
    engine = Engine(1)
    with pytest.raises(CommandFailed, match="it said so") as caught:
        run_in_image(engine, "image", ["check", "/file"])
    assert caught.value.code == 1
    assert "logged" not in str(caught.value)
    assert engine.removed == ["c1"]


def test_a_command_that_fails_silently_shows_its_log() -> None:
    with pytest.raises(CommandFailed, match="it logged so"):
        run_in_image(Engine(1, b""), "image", ["check", "/file"])
