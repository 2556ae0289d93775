# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change or remove entries of tenants where the inventory is kept, on the controller alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    EXISTING,
    Change,
    Request,
    Writer,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    reject_bare,
    reject_templates,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import Answer
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import answer_path


class ActionModule(ControllerAction):
    """Runs once for all tenants it is given."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return which entries were changed, with a diff."""
        names = self.names("tenants") or task_vars["ansible_play_hosts"]
        controller = Controller(task_vars, self._templar)
        self._variables, kept = self._by_tenant(names, controller)
        # Nothing is written unless all of them can be used with what will be written.
        tenants = [controller.tenant(name, self._variables[name]) for name in names]
        as_read = self._task.args.get("as_read")
        self._seen = {name: controller.seen(name) for name in names} if as_read else {}
        self._beside = {
            tenant.name: functools.partial(controller.check_hostname, tenant, platform)
            for tenant, platform in tenants
            if "tenant_hostname" in self._variables[tenant.name]
        }
        changes: dict[str, Change] = {}
        if tenants:
            writer = controller.writer(tenants[0][1])
            writer.check()
            # Nor unless each of them can be written: an entry may be encrypted as a whole.
            if self._task.check_mode or len(tenants) > 1:
                changes = {
                    tenant.name: self._apply(writer, tenant, True) for tenant, _platform in tenants
                }
        for tenant, platform in tenants if not self._task.check_mode else ():
            changes[tenant.name] = self._apply(writer, tenant)
            self._forget_key(tenant.name, controller.keys_dir(platform))
        changed = {name: change for name, change in changes.items() if change.changed}
        diff = [change.as_diff() for change in changed.values()]
        return {"changed": bool(changed), "tenants": sorted(changed), "kept": kept, "diff": diff}

    def _by_tenant(
        self, names: Sequence[str], controller: Controller
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """The variables to write by tenant; and in words, whose state stays what it is."""
        variables = dict(self._task.args.get("variables") or {})
        if names:
            reject_bare(names[0], variables)
            reject_templates(names[0], variables)
        wanted = variables.get("tenant_state")
        kept: dict[str, str] = {}
        if wanted not in (None, "deleted"):
            states = {name: controller.state_of(name) for name in names}
            deleted = [name for name in names if states[name] == "deleted"]
            if deleted and deleted == list(names):
                raise MemcloudError(
                    f"{deleted[0]}: is deleted, and tenant_state: {wanted} would neither ask for "
                    "its owner nor end its keys. Nothing was touched: create_tenant brings it "
                    "back with a new key"
                )
            for name in names:
                if states[name] == "deleted":
                    kept[name] = "is deleted and stays so: create_tenant brings it back"
                elif (states[name], wanted) == ("suspended", "paused"):
                    kept[name] = "is suspended and stays so: resume_tenant ends that"
        others = {name: value for name, value in variables.items() if name != "tenant_state"}
        return {name: others if name in kept else variables for name in names}, kept

    def _apply(self, writer: Writer, tenant: Tenant, dry_run: bool = False) -> Change:
        return writer.apply(self._request(tenant.name, tenant.uid), dry_run=dry_run)

    def _request(self, name: str, uid: str) -> Request:
        arguments = self._task.args
        return Request(
            name,
            self._variables[name],
            self.names("remove"),
            expect=EXISTING,
            uid=uid,
            delete=arguments.get("state") == "absent",
            read=arguments.get("expected") or {},
            seen=self._seen.get(name) or {},
            beside=self._beside.get(name),
        )

    def _forget_key(self, name: str, keys_dir: str) -> None:
        """A deleted tenant's key opens nothing any more and is not kept."""
        answer = Answer(name, answer_path(keys_dir, name))
        if not os.path.exists(answer.path):
            return
        if self._task.args.get("state") == "absent":
            answer.remove()
        elif self._variables[name].get("tenant_state") == "deleted":
            answer.forget_key()
            answer.write({"state": "deleted"}, "")
