# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say for one tenant what a run found or did: its changes, its failure, its outputs."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)


class ActionModule(ControllerAction):
    """Runs for each drifted tenant, on the controller alone."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return changed, diff and words of the tenant, or its failure."""
        operated = self._task.args.get("operated")
        if operated is not None:
            wanted = "" if self._task.check_mode else str(self._task.args.get("operation") or "")
            return _operated(dict(operated), wanted, str(task_vars.get("inventory_hostname")))
        entry = dict(self._task.args.get("plan") or {})
        converged = self._task.args.get("converged") or {}
        entry.update(converged)
        if entry.get("drift") and not converged and not self._task.check_mode:
            entry["error"] = entry.get("error") or (
                f"{entry['tenant']}: was not converged: see what failed on its node above"
            )
        words = entry.get("drift") or []
        if entry.get("error"):
            return {"failed": True, "msg": entry["error"], "drift": words}
        result = {
            "changed": bool(words),
            "drift": words,
            "msg": "; ".join(filter(None, [*words, entry.get("note")])) or "as it should be",
            "proof": entry.get("proof"),
            "state": entry.get("state"),
        }
        if words:
            result["diff"] = entry["diff"]
        return result


def _operated(entry: dict[str, Any], wanted: str, tenant: str) -> dict[str, Any]:
    """What was done for a tenant.

    :param wanted: the operation that must have been done; what is of another one is of before.
    """
    if wanted and entry.get("operation") != wanted and not entry.get("error"):
        words = f"{tenant}: {wanted} was not done: see what failed on its node above"
        return {"failed": True, "msg": words, "operation": {}}
    if entry.get("error"):
        return {"failed": True, "msg": entry["error"], "operation": entry}
    return {
        "changed": bool(entry.get("changed")),
        "msg": entry.get("message") or "nothing was done",
        "operation": entry,
    }
