# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the tenants of one node are and use, and how they differ from what they should be."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import stated


class ActionModule(NodeAction):
    """Asks two modules: what there is, and what differs."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the facts by tenant; what went wrong on the node is an error of each tenant."""
        batch = self._task.args["batch"]
        facts, problem = self._by_tenant("tenant_facts", task_vars)
        drift: dict[str, Any] = {}
        if not problem:
            drift, problem = self._by_tenant("tenant_plan", task_vars)
        tenants = {}
        for tenant in self._tenants():
            name = tenant["tenant"]
            found, planned = facts.get(name, {"state": "unknown"}), drift.get(name, {})
            tenants[name] = {
                **stated(tenant, batch["node"]),
                **found,
                "drift": planned.get("drift", []),
                "error": problem or planned.get("error") or found.get("error"),
            }
        return {"changed": False, "tenants": tenants}

    def _by_tenant(
        self, module: str, task_vars: dict[str, Any]
    ) -> tuple[dict[str, dict[str, Any]], str]:
        """A module's answer by tenant, and what went wrong."""
        batch = self._task.args["batch"]
        arguments = {"platform": json.dumps(batch["platform"]), "tenants": batch["tenants"]}
        answer, problem = self._ask(module, arguments, task_vars)
        return {entry["tenant"]: entry for entry in answer.get("tenants") or ()}, problem
