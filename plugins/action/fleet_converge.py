# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the drifted tenants of one node to what they should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    platform_text,
    run_owner,
    secrets_of,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._parts import (
    by_tenant,
    call_in_parts,
)

display = Display()


class ActionModule(NodeAction):
    """Converges the named tenants, part by part."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was brought about for each tenant; failures are entries, not exceptions."""
        batch = self._task.args["batch"]
        tenants = self._tenants(self.names("tenants"))
        secrets = secrets_of(self._parsed(tenants, task_vars))

        def ask(part: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
            arguments = {
                "platform": platform_text(batch),
                "tenants": json.dumps(part),
                "secrets": by_tenant(secrets, part),
                "purge": self.switch("purge"),
                "settle": self.switch("settle"),
                "elsewhere": str(self._task.args.get("elsewhere") or ""),
                "owner": run_owner(task_vars),
            }
            return self._ask("tenant_converge", arguments, task_vars)

        display.display(f"{batch['node']}: converging {len(tenants)} of its tenants")
        converged = call_in_parts(batch, tenants, ask, _line)
        return {"changed": False, "node": batch["node"], "tenants": converged}


def _line(entry: Mapping[str, Any]) -> str:
    words = [str(entry.get("state"))]
    if entry.get("proof"):
        words.append(f"memory round trip proved after {entry['proof']['found']:.1f} s")
    if entry.get("held_seconds"):
        words.append(f"requests waited at most {entry['held_seconds']:.1f} s")
    if entry.get("note"):
        words.append(str(entry["note"]))
    return ", ".join(words)
