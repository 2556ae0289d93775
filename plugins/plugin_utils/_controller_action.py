# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions share: what they do, and how an error ends their task."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import split_names


class WorkAction(ActionBase):  # type: ignore[misc]
    """What it cannot do fails the task with the error's own words."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what the work returns."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self.work(task_vars or {}))
        except MemcloudError as error:
            # Ansible would tell the cause once more behind it.
            raise AnsibleActionFail(str(error)) from None
        return result

    @abstractmethod
    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What this action does, and its result."""

    def path(self, option: str) -> str:
        """The absolute path that an option names; empty where it names none."""
        given = self._task.args.get(option)
        return os.path.abspath(os.path.expanduser(str(given))) if given else ""

    # Nobody reads the options of an action by their types: as text, false would be true.

    def switch(self, option: str, default: bool = False) -> bool:
        """What an option of true or false says, which may be text."""
        given = self._task.args.get(option)
        if given is None or given == "":
            return default
        try:
            return bool(boolean(given))
        except TypeError:
            raise MemcloudError(
                f"{option} is {given!r}, which is neither true nor false. Nothing was touched"
            ) from None

    def names(self, option: str) -> list[str]:
        """The names in an option, which may be text with commas between them."""
        given = self._task.args.get(option) or ()
        if isinstance(given, str):
            return split_names(given)
        return list(given)


class ControllerAction(WorkAction):
    """Works on the controller alone: asks no node."""

    _requires_connection = False
