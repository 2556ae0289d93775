# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.action.memmachine_image import ActionModule


def arguments_of(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module gets when a task gives these arguments."""
    task = SimpleNamespace(args=given, async_val=0, check_mode=False, diff=False)
    action = ActionModule(task, None, None, None, None, None)
    seen: dict[str, Any] = {}

    def execute(**call: Any) -> dict[str, Any]:
        seen.update(call["module_args"])
        return {}

    monkeypatch.setattr(action, "_execute_module", execute)
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *given: {})
    action.run(task_vars={})
    return seen


def test_the_module_gets_the_collections_build_context(monkeypatch: pytest.MonkeyPatch) -> None:
    context = arguments_of({"version": "0.4.0"}, monkeypatch)["context"]
    assert context["Dockerfile"].startswith("# MemMachine from packages")
    assert {"Dockerfile.pull", "launch.py", "locks/memmachine-0.4.0.txt"} <= set(context)


def test_a_context_of_the_tasks_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"version": "0.4.0", "context": {"Dockerfile": "FROM x"}}
    assert arguments_of(given, monkeypatch) == given
