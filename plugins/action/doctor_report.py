# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what the doctor found: a table for people, JSON for programs; on the controller alone."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._doctor_report import (
    counts,
    in_order,
    table,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report_action import (
    ReportAction,
)


class ActionModule(ReportAction):
    """Runs once for what was found on all nodes."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings, the worst first; fail when something is wrong."""
        arguments = self._task.args
        findings = in_order(f for found in arguments["findings"] for f in found)
        self.report(findings, lambda: table(findings, verbose=self.switch("verbose")))
        summary = counts(findings)
        result: dict[str, Any] = {"changed": False, "summary": summary}
        if (summary["error"] or summary["warning"]) and self.switch("fail", True):
            words = f"{summary['error']} errors and {summary['warning']} warnings: see above"
            result.update(failed=True, msg=words)
        else:
            result["findings"] = findings
        return result
