# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a run that was given a variable which its playbooks do not read."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import FleetVariables
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    check_run_variables,
)


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Change nothing; fail before anything is touched."""
        check_run_variables(task_vars)
        if self.switch("nodes"):
            self._check_nodes(task_vars)
        return {"changed": False}

    def _check_nodes(self, task_vars: dict[str, Any]) -> None:
        """Stop where the nodes of the play cannot be set up as the inventory says."""
        fleet = FleetVariables(task_vars, self._templar)
        errors: dict[str, None] = {}
        for node in task_vars["ansible_play_hosts"]:
            try:
                fleet.check_settings(node)
            except MemcloudError as error:
                errors[str(error)] = None
        if errors:
            raise MemcloudError("Nothing was touched.\n" + "\n".join(errors))
