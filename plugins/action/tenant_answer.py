# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whoever asked for a tenant how it went: the result file, and statistics of the run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import (
    Answer,
    facts_of,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import answer_path


class ActionModule(ControllerAction):
    """Runs for the tenant, on the controller alone."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the answer without its key; with it only when that was asked for."""
        arguments = self._task.args
        name = str(arguments.get("tenant") or task_vars["inventory_hostname"])
        controller = Controller(task_vars, self._templar)
        error = str(arguments.get("error") or "")
        facts: dict[str, Any] = {"state": arguments.get("state") or "error"}
        path = str(arguments.get("result_file") or "")
        try:
            tenant, platform = controller.tenant(name, {})
        except MemcloudError:
            # What made the deployment fail may be what cannot be read; that is told all the same.
            if not (path and error):
                raise
        else:
            keys_dir = controller.keys_dir(platform)
            path = path or answer_path(keys_dir, name)
            facts = facts_of(tenant, str(arguments.get("state") or tenant.state))
            # The role edge puts it beside the inventory, wherever keys are kept.
            beside = os.path.join(controller.inventory_dir, ".secrets")
            facts["ca_file"] = _ca_file(tenant, platform, (keys_dir, beside))
        answer = Answer(name, path, str(arguments.get("key_file") or ""))
        if error or answer.read().get("error"):
            facts["error"] = error or None
        changed = False if self._task.check_mode else answer.write(facts)
        shown = {**answer.read(), **facts}
        shown["api_key"] = answer.api_key() if self.switch("expose_key") else None
        told: dict[str, Any] = {"changed": changed, "answer": shown, "result_file": answer.path}
        if self.switch("set_stats", True):
            data = {"memcloud_tenant": shown}
            told["ansible_stats"] = {"data": data, "per_host": False, "aggregate": False}
        return told


def _ca_file(tenant: Tenant, platform: Platform, directories: Iterable[str]) -> str | None:
    """The certificate by which a client of this tenant trusts its node's own authority."""
    if platform.tls_mode != "local_ca":
        return None
    names = (f"ca-{tenant.node}.crt", "ca.crt")
    places = (os.path.join(directory, name) for name in names for directory in directories)
    return next((path for path in places if os.path.exists(path)), None)
