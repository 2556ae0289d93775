# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task runs it: check mode, run, run again; the file tells what happened."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import docker
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.memcloud.memmachine.plugins.module_utils import _engine
from ansible_collections.memcloud.memmachine.plugins.modules import memmachine_config

MODEL = {"provider": "openai", "api_key": "sk-s3cr3t"}


def arguments(path: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "path": str(path),
        "version": "0.4.0",
        "postgres": {"host": "10.192.0.34", "password": "s3cr3tpg"},
        "neo4j": {"host": "10.192.0.35", "password": "s3cr3tneo"},
        "embedder": {**MODEL, "model": "text-embedding-3-small", "dimensions": 1536},
        "language_model": {**MODEL, "model": "gpt-4o-mini"},
        "owner": os.getuid(),
    }
    return {**options, **changes}


def run(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], *, check: bool = False
) -> dict[str, Any]:
    given = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(given), pytest.raises(SystemExit):
        memmachine_config.main()
    output = capsys.readouterr().out
    assert "s3cr3t" not in output
    result: dict[str, Any] = json.loads(output)
    return result


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "chown", lambda *given: None)
    monkeypatch.setattr(memmachine_config, "is_right", lambda path, owner: os.path.exists(path))
    return tmp_path / "configuration.yml"


def test_check_mode_writes_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, arguments(path), check=True)
    assert result["changed"] is True
    assert "********" in result["diff"]["after"]
    assert not path.exists()


def test_written_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run(capsys, arguments(path)), run(capsys, arguments(path))
    assert (first["changed"], second["changed"]) == (True, False)
    assert path.stat().st_mode & 0o777 == 0o600
    assert first["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert yaml.safe_load(path.read_text())["resources"]["databases"]
    assert [entry.name for entry in path.parent.iterdir()] == ["configuration.yml"]


def test_an_edit_by_hand_is_seen(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, arguments(path))
    path.write_text(path.read_text().replace("INFO", "DEBUG"))
    result = run(capsys, arguments(path), check=True)
    assert result["changed"] is True
    assert "DEBUG" in result["diff"]["before"]


def test_a_description_that_would_not_work_leaves_the_file(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, arguments(path))
    before = path.read_text()
    result = run(capsys, arguments(path, reranker="best"))
    assert result["failed"] is True
    assert "reranker" in result["msg"]
    assert path.read_text() == before


@pytest.mark.parametrize(("version", "asked"), [("0.4.0", True), ("0.1.5", False)])
def test_the_server_of_the_image_is_asked_once(
    version: str,
    asked: bool,
    path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(docker, "APIClient", lambda **given: mock.Mock(api_version="1.41"))
    monkeypatch.setattr(
        memmachine_config._memmachine_config,
        "validate_in_image",
        lambda client, image, text: seen.append(image),
    )
    for _round in range(2):
        run(capsys, arguments(path, version=version, image="memcloud/memmachine:x"))
    assert seen == (["memcloud/memmachine:x"] if asked else [])


def test_a_directory_that_is_missing_is_named(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, arguments(path.parent / "gone" / "configuration.yml"))
    assert "gone/configuration.yml" in result["msg"]


def test_a_missing_library_is_named(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "HAS_DOCKER", False)
    result = run(capsys, arguments(path, image="memcloud/memmachine:x"))
    assert "Docker SDK" in result["msg"]


def test_a_file_that_others_may_read_is_not_right(tmp_path: Path) -> None:
    path = tmp_path / "configuration.yml"
    assert memmachine_config.is_right(str(path), os.getuid()) is False
    path.write_text("")
    path.chmod(0o644)
    assert memmachine_config.is_right(str(path), os.getuid()) is False
    path.chmod(0o600)
    assert memmachine_config.is_right(str(path), os.getuid()) is (os.getuid() == os.getgid())
