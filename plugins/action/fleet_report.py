# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show tenants: a table for people, JSON for programs; on the controller alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import tenants_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import page, stated, table
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report_action import (
    ReportAction,
)


class ActionModule(ReportAction):
    """Runs once for what was read on all nodes."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the tenants, sorted by name, after showing them."""
        arguments = self._task.args
        found: dict[str, Any] = {}
        for batch in arguments.get("batches") or ():
            for tenant in tenants_of(batch):
                found[tenant["tenant"]] = stated(tenant, batch["node"])
        for tenants in arguments.get("tenants") or ():
            found.update(tenants)
        errors = arguments.get("errors") or []
        for name in task_vars["ansible_play_hosts_all"]:
            if name not in found:
                own = [message for message in errors if message.startswith(name + ": ")]
                general = [message for message in errors if message.startswith("platform: ")]
                problem = "\n".join(own or general) or "nothing is known about it"
                found[name] = {"tenant": name, "state": "error", "error": problem}
        tenants = [found[name] for name in sorted(found)]
        self.report(tenants, lambda: _in_words(tenants))
        return {"changed": False, "tenants": tenants}


def _in_words(tenants: Sequence[dict[str, Any]]) -> str:
    if len(tenants) == 1:
        return page(tenants[0])
    problems = (tenant["error"] for tenant in tenants if tenant.get("error"))
    return "\n".join([table(tenants), *dict.fromkeys(problems)])
