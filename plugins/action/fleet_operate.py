# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out an operation on tenants of one node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    access_of,
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
    """Does it part by part; in check mode it says what it would do."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was done for each tenant; failures are entries, not exceptions."""
        given = self._task.args
        batch, operation = given["batch"], str(given["operation"])
        tenants = self._tenants(self.names("tenants") or None)
        names = [tenant["tenant"] for tenant in tenants]
        if self._task.check_mode:
            msg = f"check mode: {operation} of {', '.join(names)} was not done"
            return {"changed": False, "tenants": {}, "skipped": True, "msg": msg}
        parsed = self._parsed(tenants, task_vars)
        secrets = secrets_of(parsed)
        params = {name: dict(given.get("params") or {}) for name in names}
        access = access_of(parsed, params) if self.switch("repository") else {}
        private = {name: access.get(name, {}) for name in names}

        def ask(part: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
            arguments = {
                "operation": operation,
                "platform": platform_text(batch),
                "tenants": json.dumps(part),
                "secrets": by_tenant(secrets, part),
                "params": by_tenant(params, part),
                "private": by_tenant(private, part),
                "owner": f"{run_owner(task_vars)}, {operation}",
            }
            return self._ask("tenant_operate", arguments, task_vars)

        display.display(f"{batch['node']}: {operation} of {len(tenants)} of its tenants")
        entries = call_in_parts(batch, tenants, ask, _line)
        changed = any(entry.get("changed") for entry in entries.values())
        return {"changed": changed, "tenants": entries}


def _line(entry: Mapping[str, Any]) -> str:
    words = [str(entry.get("message") or "done")]
    if entry.get("held_seconds"):
        words.append(f"requests waited at most {entry['held_seconds']:.1f} s")
    return ", ".join(words)
