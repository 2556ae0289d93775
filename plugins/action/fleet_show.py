# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the journal or the statistics of many nodes: a table, or JSON; on the controller alone."""

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
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import (
    journal_table,
    stats_table,
)

display = Display()
_TABLES = {"journal": journal_table, "stats": stats_table}
_ORDER = {"journal": ("at", "tenant"), "stats": ("tenant", "node")}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs once for what was read on all nodes."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the rows of all nodes in order, after showing them."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        about, wanted = str(given["about"]), set(given.get("tenants") or ())
        read = list(given["read"])
        rows = [row for part in read for row in part["rows"]]
        if wanted:
            rows = [row for row in rows if row["tenant"] in wanted]
        rows.sort(key=lambda row: tuple(str(row[name]) for name in _ORDER[about]))
        problems = [part["error"] for part in read if part["error"]]
        output = str(given.get("output") or "table")
        if output not in ("table", "json", "none"):
            raise AnsibleActionFail(f"output is {output!r}; it can be table, json or none")
        if output == "json":
            display.display(json.dumps(rows, indent=2))
        elif output == "table":
            display.display("\n".join([_TABLES[about](rows), *problems]))
        path = given.get("result_file")
        if path:
            path = os.path.abspath(os.path.expanduser(str(path)))
            try:
                write_atomically(path, json.dumps(rows, indent=2) + "\n", 0o600)
            except (OSError, MemcloudError) as error:
                raise AnsibleActionFail(f"result_file: {path}: {error}") from error
        result.update(changed=False, rows=rows, errors=problems)
        if problems and not rows:
            result.update(failed=True, msg="\n".join(problems))
        return result
