# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what the nodes' registries say into a web application's table, from the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._deployments import export_rows


class ActionModule(ControllerAction):
    """Runs once for what was read on all nodes."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return which instances changed in the table."""
        given = self._task.args
        url = str(given.get("database_url") or "")
        if not url:
            raise MemcloudError(
                "database_url is missing: set MEMCLOUD_REGISTRY_URL in the environment, or give it "
                "from a vault (postgresql://user:password@host:port/database). Nothing was written"
            )
        read = list(given["read"])
        problems = [part["error"] for part in read if part["error"]]
        rows = [row for part in read for row in part["rows"]]
        changed = export_rows(url, rows, dry_run=self._task.check_mode)
        result: dict[str, Any] = {
            "changed": bool(changed),
            "instances": changed,
            "msg": f"{len(rows)} deployments, {len(changed)} of them changed",
        }
        if problems:
            result.update(failed=True, msg=f"{result['msg']}; left out: {'; '.join(problems)}")
        return result
