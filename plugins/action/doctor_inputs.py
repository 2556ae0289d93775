# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor looks at: the nodes of the play, and its tenants, with or without each other."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    FleetVariables,
    batch_without_tenants,
    batches,
)


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return a batch a node, and as findings what is wrong with entries."""
        groups = task_vars["groups"]
        hosts = set(task_vars["ansible_play_hosts_all"])
        nodes = [name for name in groups.get("nodes") or () if name in hosts]
        raw = {name: task_vars["hostvars"].raw_get(name) for name in groups.get("tenants") or ()}
        carried = {name: str(entry.get("tenant_node") or "") for name, entry in raw.items()}
        names = [name for name, node in carried.items() if name in hosts or node in nodes]
        fleet = FleetVariables(task_vars, self._templar)
        parsed, errors = fleet.tenants(names)
        left_out = task_vars.get("memcloud_entry_problems") or {}
        errors += [
            f"{name}: {problem}"
            for name, problem in left_out.items()
            if (name in names or (nodes and name not in carried))
            and not any(error.startswith(f"{name}: ") for error in errors)
        ]
        found = {batch["node"]: batch for batch in batches(parsed)}
        findings = _findings(errors)
        for node in nodes:
            if node in found:
                continue
            try:
                found[node] = batch_without_tenants(node, fleet.platform_of_node(node))
            except MemcloudError as error:
                findings.append({**_finding(str(error), "correct its variables"), "node": node})
        for node, batch in found.items():
            # Whoever speaks for a node is a host that -l leaves in the run.
            if batch["representative"] not in hosts and node in hosts:
                batch["representative"] = node
            # An entry that cannot be read may be of any node, so nothing there is called nobody's.
            all_of_it = {name for name, carrier in carried.items() if carrier in (node, "")}
            batch["complete"] = not (errors or left_out) and all_of_it <= set(names)
            batch["elsewhere"] = {
                str(raw[name].get("tenant_uid")): carrier
                for name, carrier in carried.items()
                if carrier not in (node, "")
            }
        return {"changed": False, "batches": list(found.values()), "findings": findings}


def _findings(errors: list[str]) -> list[dict[str, str]]:
    return [_finding(message, "correct its host_vars entry") for message in errors]


def _finding(message: str, advice: str) -> dict[str, str]:
    return {
        "node": "",
        "level": "error",
        "subject": message.partition(": ")[0],
        "check": "entry",
        "what": message.partition(": ")[2],
        "advice": advice,
    }
