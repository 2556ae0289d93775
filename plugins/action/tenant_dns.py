# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the DNS record of a tenant set or removed, by the operator's hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._dns import (
    call_hook,
    dns_command,
)


class ActionModule(ControllerAction):
    """Runs for the tenant, on the controller alone."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Call the hook; without one nothing is done."""
        name = str(self._task.args.get("tenant") or task_vars["inventory_hostname"])
        state = str(self._task.args.get("state") or "present")
        variables = {"tenant_node": task_vars["tenant_node"]} if _names_node(task_vars) else {}
        controller = Controller(task_vars, self._templar)
        tenant, platform = controller.tenant(name, variables)
        if not platform.dns_hook:
            return {"changed": False, "command": []}
        if state == "absent" and controller.hostname_is_anothers(tenant, platform):
            msg = f"{name}: {tenant.hostname} is another tenant's by now, whose record stays"
            return {"changed": False, "command": [], "msg": msg}
        address = ""
        if state == "present":
            address = self._address(tenant.node, platform, task_vars)
        command = dns_command(
            platform.dns_hook, state, name, tenant.hostname, address, platform.dns_ttl
        )
        # What the record was before, the hook alone knows; it is called whenever it might differ.
        result: dict[str, Any] = {"changed": False, "command": command}
        if not self._task.check_mode:
            result["said"] = call_hook(name, command)
        return result

    def _address(self, node: str, platform: Platform, task_vars: Mapping[str, Any]) -> str:
        if platform.public_address:
            return platform.public_address
        raw = task_vars["hostvars"].raw_get(node)
        templar = self._templar.copy_with_new_env(available_variables=raw)
        if "ansible_host" in raw:
            return str(templar.template(raw["ansible_host"]))
        if templar.template(raw.get("ansible_connection")) == "local":
            raise VariableError(
                node,
                "platform_public_address",
                "is missing: give the node the address under which clients reach it",
            )
        return node


def _names_node(task_vars: Mapping[str, Any]) -> bool:
    """Whether this run has given the host a node that its entry, read before, may not have."""
    node = task_vars.get("tenant_node")
    return isinstance(node, str) and "{{" not in node
