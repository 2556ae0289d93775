# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a run that was given a variable which its playbooks do not read."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    check_run_variables,
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs once for all hosts of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change nothing; fail before anything is touched."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            check_run_variables(task_vars or {})
        except MemcloudError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(changed=False)
        return result
