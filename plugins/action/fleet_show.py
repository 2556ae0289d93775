# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the journal or the statistics of many nodes: a table, or JSON; on the controller alone."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import (
    journal_table,
    stats_table,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report_action import (
    ReportAction,
)

_TABLES = {"journal": journal_table, "stats": stats_table}
_ORDER = {"journal": ("at", "tenant"), "stats": ("tenant", "node")}


class ActionModule(ReportAction):
    """Runs once for what was read on all nodes."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the rows of all nodes in order, after showing them."""
        given = self._task.args
        about, wanted = str(given["about"]), set(self.names("tenants"))
        read = list(given["read"])
        rows = [row for part in read for row in part["rows"]]
        if wanted:
            rows = [row for row in rows if row["tenant"] in wanted]
        rows.sort(key=lambda row: tuple(str(row[name]) for name in _ORDER[about]))
        problems = [*(given.get("errors") or ()), *(p["error"] for p in read if p["error"])]
        self.report(rows, lambda: "\n".join([_TABLES[about](rows), *problems]))
        result: dict[str, Any] = {"changed": False, "rows": rows, "errors": problems}
        if problems and not rows:
            result.update(failed=True, msg="\n".join(problems))
        elif str(given.get("output") or "table") != "table":
            result["warnings"] = problems  # rows alone do not say that some are missing
        return result
