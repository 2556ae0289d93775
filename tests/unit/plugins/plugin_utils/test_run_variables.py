# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt -e stops a run instead of being no -e at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _run_variables
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    PLAYBOOKS,
    check_run_variables,
    known_variables,
)

OURS = {"playbook_dir": PLAYBOOKS}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    def give(*names: str) -> None:
        extra = dict.fromkeys(names, "x")
        monkeypatch.setattr(_run_variables, "load_extra_vars", lambda _loader: extra)

    return give


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tennant", "tenant"),
        ("teir", "tier"),
        ("restorepoint", "restore_point"),
        ("keep-data", "keep_data"),
        ("canarys", "canaries"),
        ("remove_date", "remove_data"),
    ],
)
def test_a_misspelt_variable_stops_the_run(given, name: str, meant: str) -> None:
    given("tenant", name)
    with pytest.raises(MemcloudError, match=f"^{name}: .*did you mean {meant}"):
        check_run_variables(OURS)


@pytest.mark.parametrize(
    "name",
    [
        "tenant",
        "awx_job_id",
        "tower_user_name",
        "ansible_user",
        "company_region",
        "platform_domian",
    ],
)
def test_what_is_known_or_somebody_elses_does_not(given, name: str) -> None:
    given(name)
    check_run_variables(OURS)


def test_a_playbook_of_the_user_has_variables_of_its_own(given) -> None:
    given("tennant")
    check_run_variables({"playbook_dir": "/srv/mine"})


def test_the_headers_tell_of_every_variable_that_a_playbook_takes() -> None:
    taken = re.compile(r"(?<![\w.])([a-z][a-z0-9_]*) (?:\| default\(|is defined)")
    others = ("platform_", "tenant_", "memcloud_", "ansible_")
    used = {
        name
        for path in Path(PLAYBOOKS).rglob("*.yml")
        for name in taken.findall(path.read_text())
        if not name.startswith(others)
    }
    assert len(used) > 30
    assert used <= known_variables()
