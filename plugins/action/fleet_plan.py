# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the tenants of one node with what they should be, in one call."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    run_owner,
    tenants_of,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import failure_of

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs for one representative of each node, delegated to the node."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the tenants that are not as they should be, each with words and diff."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        batch = self._task.args["batch"]
        arguments = {
            "platform": json.dumps(batch["platform"]),
            "tenants": batch["tenants"],
            "purge": self._task.args.get("purge", False),
            "settle": self._task.args.get("settle", False),
            "owner": run_owner(task_vars),
        }
        try:
            answer = self._execute_module(
                module_name="memcloud.memmachine.tenant_plan",
                module_args=arguments,
                task_vars=task_vars,
            )
            problem = failure_of(batch["node"], answer)
        except AnsibleConnectionFailure as error:
            answer, problem = {}, f"node {batch['node']} cannot be reached: {error}"
        names = [tenant["tenant"] for tenant in tenants_of(batch)]
        if problem:
            drifted = [{"tenant": name, "error": f"{name}: {problem}"} for name in names]
        else:
            drifted = answer["tenants"]
        for entry in drifted:
            entry["representative"] = batch["representative"]
        quiet = bool(self._task.args.get("quiet"))
        if not quiet:
            display.display(f"{batch['node']}: {len(names)} checked, {len(drifted)} drifted")
        for entry in drifted if not quiet else ():
            for line in _lines(entry):
                display.display(f"  {entry['tenant']}: {line}")
        result.update(
            changed=False,
            checked=len(names),
            drifted=drifted,
            missing_versions=answer.get("missing_versions", []),
        )
        return result


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
