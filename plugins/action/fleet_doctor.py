# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one node and its tenants, in one call."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import secrets_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction


class ActionModule(NodeAction):
    """Sends the keys with which the doctor asks each tenant."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings; a node that cannot be asked is one."""
        batch = self._task.args["batch"]
        probe_keys: dict[str, str] = {}
        if self.switch("probe", True):
            secrets = secrets_of(self._parsed(self._tenants(), task_vars))
            probe_keys = {name: known["probe"] for name, known in secrets.items()}
        arguments = {
            "platform": json.dumps(batch["platform"]),
            "tenants": batch["tenants"],
            "probe_keys": json.dumps(probe_keys),
            "complete": bool(batch.get("complete")),
            "elsewhere": json.dumps(batch.get("elsewhere") or {}),
            "controller_time": time.time(),
        }
        answer, problem = self._ask("node_doctor", arguments, task_vars)
        findings = list(answer.get("findings") or ())
        if problem:
            advice = "see that the node runs and can be reached; then setup_node"
            findings = [_error("node", problem, advice)]
        told = [{"node": batch["node"], **finding} for finding in findings]
        return {"changed": False, "findings": told}


def _error(check: str, what: str, advice: str) -> dict[str, str]:
    return {"level": "error", "subject": "", "check": check, "what": what, "advice": advice}
