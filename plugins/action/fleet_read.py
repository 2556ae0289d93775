# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the registry, the journal or the numbers of the tenants of one node."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import tenants_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import moment_before
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import stated


class ActionModule(NodeAction):
    """Reads rows of one kind: registry, journal or stats."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return rows with their node; a node that cannot be asked is an error, no failure."""
        given = self._task.args
        batch = given["batch"]
        node, platform = batch["node"], batch["platform"]
        since = str(given.get("since") or "")
        now = datetime.datetime.now(datetime.timezone.utc)
        arguments = {
            "about": given["about"],
            "platform": json.dumps(platform),
            "tenants": batch["tenants"],
            "since": moment_before(since, now, "since") if since else "",
            "only": self.names("only"),
        }
        answer, problem = self._ask("tenant_read", arguments, task_vars)
        rows = [
            {**row, "node": node, "platform": platform["name"]} for row in answer.get("rows") or ()
        ]
        result: dict[str, Any] = {"changed": False, "node": node, "rows": rows, "error": problem}
        if given["about"] == "registry":
            result["tenants"] = _tenants(batch, rows, problem)
        return result


def _tenants(
    batch: dict[str, Any], rows: list[dict[str, Any]], problem: str
) -> dict[str, dict[str, Any]]:
    """What entries and registry say together, by tenant of the inventory."""
    known = {row["uid"]: row for row in rows}
    names = ("state", "versions", "error", "created", "changed", "deleted", "last_activity")
    told = {}
    for tenant in tenants_of(batch):
        # Where the node said nothing, it is not what the entry says that it should be.
        entry = {**stated(tenant, batch["node"]), "state": "unknown"}
        row = known.get(tenant["uid"]) or {}
        entry.update({name: row[name] for name in names if row.get(name)})
        if problem:
            entry["error"] = problem
        told[tenant["tenant"]] = entry
    return told
