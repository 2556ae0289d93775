# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what another run needs to be run like this one."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_settings import (
    run_environment,
)


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Change nothing; fail where another run could not have what this one has."""
        return {"changed": False, "directory": os.getcwd(), "environment": run_environment()}
