# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the build context on the controller and hand it to the module as text."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.memcloud.memmachine.plugins.module_utils._images import (
    ImageError,
    read_context,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    WorkAction,
)


class ActionModule(WorkAction):
    """Controller side of the module of the same name."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module with the files of context_dir in context."""
        arguments = dict(self._task.args)
        directory = arguments.pop("context_dir", None)
        if directory:
            arguments["context"] = dict(self._read(directory), **(arguments.get("context") or {}))
        result: dict[str, Any] = self._execute_module(
            module_name="memcloud.memmachine.node_image",
            module_args=arguments,
            task_vars=task_vars,
        )
        return result

    def _read(self, directory: str) -> dict[str, str]:
        try:
            path = self._find_needle("files", directory)
            files = read_context(path)
            return {name: content.decode("utf-8") for name, content in files.items()}
        except UnicodeDecodeError as error:
            raise AnsibleActionFail(
                f"context_dir {directory} holds a file that is not text: {error}. "
                "A build context of this module is text only."
            ) from error
        except (AnsibleError, ImageError) as error:
            raise AnsibleActionFail(f"context_dir {directory}: {error}") from error
