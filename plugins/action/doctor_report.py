# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what the doctor found: a table for people, JSON for programs; on the controller alone."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    write_atomically,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._doctor_report import (
    counts,
    in_order,
    table,
)

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs once for what was found on all nodes."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the findings, the worst first; fail when something is wrong."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        findings = in_order(f for found in arguments["findings"] for f in found)
        output = str(arguments.get("output") or "table")
        if output not in ("table", "json", "none"):
            raise AnsibleActionFail(f"output is {output!r}; it can be table, json or none")
        if output == "json":
            display.display(json.dumps(findings, indent=2))
        elif output == "table":
            display.display(table(findings, verbose=bool(arguments.get("verbose"))))
        self._write(findings)
        summary = counts(findings)
        result.update(changed=False, summary=summary)
        if (summary["error"] or summary["warning"]) and arguments.get("fail", True):
            words = f"{summary['error']} errors and {summary['warning']} warnings: see above"
            result.update(failed=True, msg=words)
        else:
            result["findings"] = findings
        return result

    def _write(self, findings: list[dict[str, Any]]) -> None:
        path = self._task.args.get("result_file")
        if not path:
            return
        path = os.path.abspath(os.path.expanduser(str(path)))
        try:
            write_atomically(path, json.dumps(findings, indent=2) + "\n", 0o600)
        except (OSError, MemcloudError) as error:
            raise AnsibleActionFail(f"result_file: {path} cannot be written: {error}") from error
