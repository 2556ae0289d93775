# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vaults that a schedule can open are named with their whole paths; others stop the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _run_settings
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_settings import (
    run_environment,
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_run_settings.constants, "DEFAULT_VAULT_IDENTITY_LIST", ["dev@dev.txt"])
    monkeypatch.setattr(_run_settings.constants, "DEFAULT_VAULT_PASSWORD_FILE", None)

    def start(**words: object) -> dict[str, str]:
        monkeypatch.setattr(_run_settings, "CLIARGS", words)
        return run_environment()

    return start


def test_vaults_of_the_configuration_and_of_the_run_are_named(started, tmp_path: Path) -> None:
    found = started(vault_ids=("prod@~/prod.txt", "plain"), vault_password_files=("/a@b",))
    assert found["ANSIBLE_VAULT_IDENTITY_LIST"].split(",") == [
        f"dev@{tmp_path}/dev.txt",
        f"prod@{Path.home()}/prod.txt",
        f"{tmp_path}/plain",
        "default@/a@b",
    ]


@pytest.mark.parametrize(
    "words",
    [
        {"ask_vault_pass": True},
        {"vault_ids": ("prod@/a", "other@prompt")},
        {"vault_ids": ("prompt",)},
        {"vault_password_files": ("-",)},
    ],
)
def test_a_password_that_was_typed_stops_the_run(started, words: dict[str, object]) -> None:
    with pytest.raises(MemcloudError, match="was typed, .* --vault-password-file"):
        started(**words)
