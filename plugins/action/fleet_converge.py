# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the drifted tenants of one node to what they should be, in one call."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    FleetVariables,
    run_owner,
    secrets_of,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import failure_of

display = Display()
_SMALLEST_PART = 8


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs for one representative of each node, delegated to the node."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what was brought about for each tenant; failures are entries, not exceptions."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        batch = self._task.args["batch"]
        wanted = set(self._task.args["tenants"])
        tenants = [tenant for tenant in batch["tenants"] if tenant["tenant"] in wanted]
        parsed, _errors = FleetVariables(task_vars, self._templar).tenants(sorted(wanted))
        secrets = secrets_of(parsed)
        entries: dict[str, Any] = {}
        display.display(f"{batch['node']}: converging {len(tenants)} of its tenants")
        # In parts, so that a long run says how far it is.
        size = max(_SMALLEST_PART, 2 * int(batch["platform"]["parallelism"]))
        for start in range(0, len(tenants), size):
            for entry in self._converge(batch, tenants[start : start + size], secrets, task_vars):
                entries[entry["tenant"]] = entry
                count = f"{len(entries)}/{len(tenants)}"
                display.display(f"  {count} {entry['tenant']}: {_line(entry)}")
        result.update(changed=False, tenants=entries)
        return result

    def _converge(
        self,
        batch: dict[str, Any],
        tenants: list[dict[str, Any]],
        secrets: dict[str, dict[str, str]],
        task_vars: dict[str, Any],
    ) -> list[dict[str, Any]]:
        names = [tenant["tenant"] for tenant in tenants]
        try:
            answer = self._execute_module(
                module_name="memcloud.memmachine.tenant_converge",
                module_args={
                    "platform": json.dumps(batch["platform"]),
                    "tenants": json.dumps(tenants),
                    "secrets": json.dumps({name: secrets[name] for name in names}),
                    "purge": self._task.args.get("purge", False),
                    "owner": run_owner(task_vars),
                },
                task_vars=task_vars,
            )
            problem = failure_of(batch["node"], answer)
        except AnsibleConnectionFailure as error:
            answer, problem = {}, f"node {batch['node']} cannot be reached: {error}"
        if problem:
            return [{"tenant": name, "error": f"{name}: {problem}"} for name in names]
        return list(answer["tenants"])


def _line(entry: dict[str, Any]) -> str:
    if entry.get("error"):
        return "failed"
    if entry.get("proof"):
        return f"{entry['state']}, memory round trip proved after {entry['proof']['found']:.1f} s"
    return str(entry.get("state"))
