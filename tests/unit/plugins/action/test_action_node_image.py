# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action node_image hands the build context to the module as text."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.task import Task
from ansible_collections.memcloud.memmachine.plugins.action.node_image import ActionModule


@pytest.fixture
def action(tmp_path, monkeypatch):
    task = Task()
    task.args = {"name": "thing", "context_dir": "image"}
    plugin = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    monkeypatch.setattr(plugin, "_find_needle", lambda kind, name: str(tmp_path / kind / name))
    monkeypatch.setattr(plugin, "_execute_module", lambda **given: given)
    (tmp_path / "files" / "image").mkdir(parents=True)
    return plugin


def test_files_become_context(action, tmp_path):
    (tmp_path / "files" / "image" / "Dockerfile").write_text("FROM a\n")
    given = action.run(task_vars={})
    assert given["module_name"] == "memcloud.memmachine.node_image"
    assert given["module_args"] == {"name": "thing", "context": {"Dockerfile": "FROM a\n"}}


def test_text_of_the_task_wins_over_a_file(action, tmp_path):
    (tmp_path / "files" / "image" / "conf").write_text("old")
    action._task.args["context"] = {"conf": "new"}
    assert action.run(task_vars={})["module_args"]["context"] == {"conf": "new"}


def test_task_without_a_directory_goes_straight_to_the_module(action):
    action._task.args = {"name": "thing", "context": {"Dockerfile": "FROM a\n"}}
    assert action.run(task_vars={})["module_args"] == action._task.args


def test_empty_directory_is_an_error(action):
    with pytest.raises(AnsibleActionFail, match="context_dir image: No build context"):
        action.run(task_vars={})


def test_directory_that_is_not_found_is_an_error(action, monkeypatch):
    def missing(kind, name):
        raise AnsibleError("Unable to find it")

    monkeypatch.setattr(action, "_find_needle", missing)
    with pytest.raises(AnsibleActionFail, match="Unable to find it"):
        action.run(task_vars={})


def test_file_that_is_no_text_is_an_error(action, tmp_path):
    (tmp_path / "files" / "image" / "blob").write_bytes(b"\xff\xfe")
    with pytest.raises(AnsibleActionFail, match="not text"):
        action.run(task_vars={})
