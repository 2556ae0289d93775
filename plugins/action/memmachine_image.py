# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand the build context of the collection to the module as text."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.memcloud.memmachine.plugins.module_utils._images import read_context
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    WorkAction,
)

CONTEXT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../roles/memmachine_image/files/image"
)


class ActionModule(WorkAction):
    """Controller side of the module of the same name."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module with the files of the build context."""
        arguments = dict(self._task.args)
        if not arguments.get("context"):
            files = read_context(os.path.realpath(CONTEXT))
            arguments["context"] = {path: text.decode("utf-8") for path, text in files.items()}
        try:
            result: dict[str, Any] = self._execute_module(
                module_name="memcloud.memmachine.memmachine_image",
                module_args=arguments,
                task_vars=task_vars,
            )
        except AnsibleConnectionFailure as error:
            node = self._task.delegate_to
            if not node:
                raise
            # The tenant that speaks for a node would be gone from the run, without a rescue.
            raise AnsibleActionFail(f"node {node} cannot be reached: {error}") from None
        return result
