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
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._deployments import (
    export_rows,
    one_each,
)


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
        unusable = list(given.get("errors") or ())
        if unusable and not read:
            raise MemcloudError("\n".join(["Nothing was written.", *unusable]))
        rows = one_each((row for part in read for row in part["rows"]), _homes(task_vars))
        changed = export_rows(url, rows, dry_run=self._task.check_mode)
        result: dict[str, Any] = {
            "changed": bool(changed),
            "instances": changed,
            "msg": f"{len(rows)} deployments, {len(changed)} of them changed",
        }
        problems = [part["error"] for part in read if part["error"] and part["tenants"]]
        if problems:
            result.update(failed=True, msg=f"{result['msg']}; left out: {'; '.join(problems)}")
        # A node that has no tenant may not be set up yet, or not any more.
        silent = [part["error"] for part in read if part["error"] and not part["tenants"]]
        if silent:
            result["warnings"] = [f"Tenants that are gone are left out: {'; '.join(silent)}"]
        if unusable:
            words = f"As they were when they were read last: {'; '.join(unusable)}"
            result["warnings"] = [*result.get("warnings", ()), words]
        return result


def _homes(task_vars: dict[str, Any]) -> dict[str, str]:
    """The node of each tenant of the inventory, by uid."""
    groups = task_vars["groups"]
    raw = [task_vars["hostvars"].raw_get(name) for name in groups.get("tenants") or ()]
    named = {str(entry.get("tenant_uid")): str(entry.get("tenant_node")) for entry in raw}
    return {uid: node for uid, node in named.items() if node in (groups.get("nodes") or ())}
