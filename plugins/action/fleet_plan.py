# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the tenants of one node with what they should be, in one call."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import run_owner
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import (
    NodeAction,
    all_failed,
)

display = Display()


class ActionModule(NodeAction):
    """Says what would be done, and does nothing."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the tenants that are not as they should be, each with words and diff."""
        batch = self._task.args["batch"]
        arguments = {
            "platform": json.dumps(batch["platform"]),
            "tenants": batch["tenants"],
            "purge": self.switch("purge"),
            "settle": self.switch("settle"),
            "elsewhere": str(self._task.args.get("elsewhere") or ""),
            "owner": run_owner(task_vars),
        }
        answer, problem = self._ask("tenant_plan", arguments, task_vars)
        tenants = self._tenants()
        drifted = all_failed(tenants, problem) if problem else answer["tenants"]
        for entry in drifted:
            entry["representative"] = batch["representative"]
        quiet = self.switch("quiet")
        if not quiet:
            display.display(f"{batch['node']}: {len(tenants)} checked, {len(drifted)} drifted")
        for entry in drifted if not quiet else ():
            for line in _lines(entry):
                display.display(f"  {entry['tenant']}: {line}")
        return {
            "changed": False,
            "node": batch["node"],
            "checked": len(tenants),
            "drifted": drifted,
            "missing_versions": answer.get("missing_versions", []),
        }


def _lines(entry: dict[str, Any]) -> list[str]:
    """What a person wants to read: each difference, or that the whole tenant is new."""
    if entry.get("error"):
        return ["cannot be planned"]
    missing = Counter(
        line.split(" ", 1)[0] for line in entry["drift"] if ": is missing (nothing -> " in line
    )
    if missing["container"] > 2 and missing["network"] > 1:
        counts = ", ".join(f"{count} x {kind}" for kind, count in missing.items())
        return [f"is not on the node yet: {counts} to be made"]
    return list(entry["drift"])
