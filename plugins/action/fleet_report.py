# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show tenants: a table for people, JSON for programs; on the controller alone."""

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
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import tenants_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import page, stated, table

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs once for what was read on all nodes."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the tenants, sorted by name, after showing them."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        found: dict[str, Any] = {}
        for batch in arguments.get("batches") or ():
            for tenant in tenants_of(batch):
                found[tenant["tenant"]] = stated(tenant, batch["node"])
        for tenants in arguments.get("tenants") or ():
            found.update(tenants)
        errors = arguments.get("errors") or []
        task_vars = task_vars or {}
        for name in task_vars["ansible_play_hosts_all"]:
            if name not in found:
                own = [message for message in errors if message.startswith(name + ": ")]
                general = [message for message in errors if message.startswith("platform: ")]
                problem = "\n".join(own or general) or "nothing is known about it"
                found[name] = {"tenant": name, "state": "error", "error": problem}
        tenants = [found[name] for name in sorted(found)]
        output = str(arguments.get("output") or "table")
        if output not in ("table", "json", "none"):
            raise AnsibleActionFail(f"output is {output!r}; it can be table, json or none")
        if output == "json":
            display.display(json.dumps(tenants, indent=2))
        elif output == "table":
            display.display(page(tenants[0]) if len(tenants) == 1 else table(tenants))
            if len(tenants) > 1:
                problems = (tenant["error"] for tenant in tenants if tenant.get("error"))
                for problem in dict.fromkeys(problems):
                    display.display(problem)
        self._write(tenants)
        result.update(changed=False, tenants=tenants)
        return result

    def _write(self, tenants: list[dict[str, Any]]) -> None:
        path = self._task.args.get("result_file")
        if not path:
            return
        path = os.path.abspath(os.path.expanduser(str(path)))
        try:
            write_atomically(path, json.dumps(tenants, indent=2) + "\n", 0o600)
        except (OSError, MemcloudError) as error:
            raise AnsibleActionFail(f"result_file: {path} cannot be written: {error}") from error
