# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task runs it; images.json tells what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.memcloud.memmachine.plugins.module_utils import _engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._images import Image, ImageError
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_image import (
    Built,
    Wanted,
)
from ansible_collections.memcloud.memmachine.plugins.modules import memmachine_image

VERSIONS = {"memmachine": "0.4.0", "python": "3.13.5", "psycopg2": "2.9.13"}


class Node:
    """Stands in for a node that builds images."""

    def __init__(self) -> None:
        self.has_image = False
        self.asked: list[Wanted] = []
        self.warning = ""
        self.error: Exception | None = None

    def __call__(
        self, client: Any, wanted: Wanted, files: dict[str, bytes], *, check_mode: bool
    ) -> Built:
        if isinstance(self.error, Exception):
            raise self.error
        self.asked.append(wanted)
        changed, there = not self.has_image, self.has_image or not check_mode
        self.has_image = there
        image = Image("memcloud/memmachine:0.4.0-abc", "sha256:1" if there else "", {}, changed)
        versions = VERSIONS if there else {}
        return Built(image, "packages", "asked for", versions, self.warning)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(docker, "APIClient", lambda **given: mock.Mock(api_version="1.41"))
    monkeypatch.setattr(memmachine_image._memmachine_image, "ensure_memmachine", node)
    return node


def run(
    capsys: pytest.CaptureFixture[str], data_dir: Path, *, check: bool = False
) -> dict[str, Any]:
    options = {"version": "0.4.0", "platform_data_dir": str(data_dir), "source": "packages"}
    given = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(given), pytest.raises(SystemExit):
        memmachine_image.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_check_mode_then_run_then_run_again(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = run(capsys, tmp_path, check=True)
    assert (checked["changed"], checked["id"]) == (True, "")
    assert not (tmp_path / "images.json").exists()
    first, second = run(capsys, tmp_path), run(capsys, tmp_path)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["versions"] == VERSIONS
    assert run(capsys, tmp_path, check=True)["changed"] is False


def test_the_image_is_noted_under_its_version(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, tmp_path)
    assert json.loads((tmp_path / "images.json").read_text()) == {
        "memmachine": {
            "0.4.0": {
                "id": "sha256:1",
                "ref": "memcloud/memmachine:0.4.0-abc",
                "version": "0.4.0",
                "source": "packages",
                "python": "3.13.5",
                "psycopg2": "2.9.13",
            }
        }
    }


def test_a_warning_is_passed_on(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(
        memmachine_image.AnsibleModule, "warn", lambda module, text: warnings.append(text)
    )
    node.warning = "no lock file"
    run(capsys, tmp_path)
    assert warnings == ["no lock file"]


def test_an_error_says_what_it_says(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.error = ImageError("no such version")
    assert run(capsys, tmp_path)["msg"] == "no such version"


def test_an_engine_that_refuses_is_named(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.error = docker.errors.DockerException("refused")
    message = run(capsys, tmp_path)["msg"]
    assert "unix:///var/run/docker.sock" in message
    assert "refused" in message


def test_a_missing_library_is_named(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "HAS_DOCKER", False)
    assert "Docker SDK" in run(capsys, tmp_path)["msg"]
