# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the tenants of one node are and use, and how they differ from what they should be."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import tenants_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import failure_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import stated


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs for one representative of each node, delegated to the node."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the facts by tenant; what went wrong on the node is an error of each tenant."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        batch = self._task.args["batch"]
        facts, problem = self._call("tenant_facts", batch, task_vars)
        drift: dict[str, Any] = {}
        if not problem:
            drift, problem = self._call("tenant_plan", batch, task_vars)
        result.update(
            changed=False,
            tenants={
                tenant["tenant"]: {
                    **stated(tenant, batch["node"]),
                    **facts.get(tenant["tenant"], {"state": "unknown"}),
                    "drift": drift.get(tenant["tenant"], {}).get("drift", []),
                    "error": problem or drift.get(tenant["tenant"], {}).get("error") or None,
                }
                for tenant in tenants_of(batch)
            },
        )
        return result

    def _call(
        self, module: str, batch: dict[str, Any], task_vars: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """A module's answer by tenant, and what went wrong."""
        try:
            answer = self._execute_module(
                module_name="memcloud.memmachine." + module,
                module_args={
                    "platform": json.dumps(batch["platform"]),
                    "tenants": batch["tenants"],
                },
                task_vars=task_vars,
            )
        except AnsibleConnectionFailure as error:
            return {}, f"node {batch['node']} cannot be reached: {error}"
        problem = failure_of(batch["node"], answer)
        if problem:
            return {}, problem
        return {entry["tenant"]: entry for entry in answer["tenants"]}, ""
