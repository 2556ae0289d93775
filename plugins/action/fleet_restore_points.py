# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look after the restore points of the tenants of one node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import backup_access
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._object_versions import (
    ObjectVersions,
    is_s3,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._parts import (
    by_tenant,
    call_in_parts,
)

display = Display()


class ActionModule(NodeAction):
    """Is delegated to the node, or to the controller where no node may do it."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was found or done for each tenant; failures are entries."""
        given = self._task.args
        batch, action = given["batch"], str(given["action"])
        tenants = self._tenants(self.names("tenants") or None)
        prune = self.switch("prune_credentials")
        if prune:
            # Nodes may want another user; the controller may know none but its own.
            self._connection.set_become_plugin(None)
        repositories = {
            tenant.name: {
                **backup_access(tenant.name, tenant.uid, tenant.root_key_version, platform, prune),
                "keep": dict(tenant.tier.backup),
                "share": str(given.get("share") or ""),
                "data_dir": platform.data_dir,
            }
            for tenant, platform in self._parsed(tenants, task_vars)
        }

        def ask(part: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
            arguments = {"action": action, "repositories": by_tenant(repositories, part)}
            answer, problem = self._ask("restore_points", arguments, task_vars)
            if action == "prune":
                _tell_of_versions(answer.get("tenants") or (), repositories)
            return answer, problem

        display.display(f"{batch['node']}: restore points of {len(tenants)} of its tenants")
        entries = call_in_parts(batch, tenants, ask, _line)
        changed = any(entry.get("changed") for entry in entries.values())
        return {"changed": changed, "tenants": entries}


def _tell_of_versions(
    entries: Iterable[dict[str, Any]], repositories: Mapping[str, Mapping[str, Any]]
) -> None:
    """Say it where what was pruned is still in the bucket, as older versions.

    They stay: noncurrent versions are what an overwriting node cannot destroy. All repositories of
    a platform are in one bucket, which is asked once.
    """
    pruned = [entry for entry in entries if entry.get("removed")]
    if not pruned or not is_s3(pruned[0]["url"]):
        return
    tenant = pruned[0]["tenant"]
    try:
        kept = ObjectVersions(tenant, repositories[tenant]).are_kept()
        words = "the bucket keeps them as older versions until a rule of its own removes them"
        words = words if kept else ""
    except MemcloudError as error:
        words = f"whether the bucket keeps them as older versions cannot be seen ({error})"
    for entry in pruned:
        entry["message"] = "; ".join(filter(None, (entry["message"], words)))


def _line(entry: Mapping[str, Any]) -> str:
    lines = [str(entry.get("message") or "done")]
    if entry.get("operation") == "list":
        lines += [
            f"    {point['id']}  {point['taken'][:19]}Z  {point.get('reason', '')}"
            for point in entry.get("points") or ()
        ]
    return "\n".join(lines)
