# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check the tenants of the play once, and sort them by node."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import (
    DEFAULT_NAME,
    Answer,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    FleetVariables,
    batch_without_tenants,
    batches,
    run_origin,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import (
    answer_path,
    unanswered,
)


class ActionModule(ControllerAction):
    """Runs once for all tenants and nodes of the play, on the controller alone."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the tenants by node; fail with every error before anything is touched."""
        names = self.names("tenants") or _hosts_of(task_vars)
        nodes = set(names) & set(task_vars["groups"].get("nodes") or ())
        names = [name for name in names if name not in nodes]
        fleet = FleetVariables(task_vars, self._templar)
        parsed, errors = fleet.tenants(names)
        errors += _entry_problems(task_vars, names, errors)
        left_out: dict[str, str] = {}
        if self.switch("leave_out"):
            left_out = _left_out(names, [tenant.name for tenant, _platform in parsed], errors)
            parsed = [one for one in parsed if one[0].name not in left_out]
        if errors and not self.switch("tolerant") and not (left_out and parsed):
            raise MemcloudError("Nothing was touched.\n" + "\n".join(errors))
        by_node = batches(parsed, run_origin(task_vars))
        if self.switch("elsewhere"):
            by_node = _elsewhere(parsed, fleet, task_vars)
        for node in sorted(nodes - {batch["node"] for batch in by_node}):
            try:
                by_node.append(batch_without_tenants(node, fleet.platform_of_node(node)))
            except MemcloudError as error:
                if not self.switch("tolerant"):
                    raise
                errors.append(f"{node}: {error}")
        if self.switch("unanswered"):
            _add_unanswered(by_node, parsed, Controller(task_vars, self._templar))
        return {"changed": False, "batches": by_node, "errors": errors, "left_out": left_out}


def _left_out(names: Sequence[str], parsed: Sequence[str], errors: Sequence[str]) -> dict[str, str]:
    """What is wrong with each tenant that cannot be used, and with entries that are no hosts."""
    found: dict[str, list[str]] = {name: [] for name in names if name not in parsed}
    for error in errors:
        found.setdefault(error.partition(": ")[0], []).append(error)
    general = found.pop("platform", [])
    return {name: "\n".join(own or general) for name, own in found.items()}


def _elsewhere(
    parsed: Sequence[tuple[Tenant, Platform]], fleet: FleetVariables, task_vars: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """For each node the tenants that are on another one."""
    found: list[dict[str, Any]] = []
    for node in task_vars["groups"].get("nodes") or ():
        others = [fleet.tenant(one.name, node) for one, _there in parsed if one.node != node]
        found += batches(others, run_origin(task_vars))
    return found


def _add_unanswered(
    by_node: Sequence[dict[str, Any]],
    parsed: Sequence[tuple[Tenant, Platform]],
    controller: Controller,
) -> None:
    """Name in each batch the tenants whose answers tell of a run that did not come to its end."""
    for batch in by_node:
        batch["unanswered"] = []
    of_node = {batch["node"]: batch["unanswered"] for batch in by_node}
    for tenant, platform in parsed:
        if tenant.state == "deleted":
            continue
        left: dict[str, str] = {}
        for key_name in dict.fromkeys((DEFAULT_NAME, *(key.name for key in tenant.api_keys))):
            path = answer_path(controller.keys_dir(platform), tenant.name, key_name)
            # What cannot be read is no answer of ours, or not for us.
            with contextlib.suppress(MemcloudError):
                left[path] = unanswered(Answer(tenant.name, path), tenant)
        files = [path for path, what in left.items() if what]
        if files:
            new = "tenant" in left.values()
            of_node[tenant.node].append({"tenant": tenant.name, "new": new, "files": files})


def _entry_problems(
    task_vars: Mapping[str, Any], names: Sequence[str], known: Sequence[str]
) -> list[str]:
    """What the inventory plugin found: entries of this run that are broken or not unique.

    A broken entry is no host, so it counts when the run is over all tenants.
    """
    all_of_them = set(names) >= set(task_vars["groups"].get("tenants") or ())
    problems = task_vars.get("memcloud_entry_problems") or {}
    told = [f"{name}: {problem}" for name, problem in problems.items()]
    return [
        text
        for name, text in zip(problems, told)
        if (name in names or all_of_them)
        and not any(message.startswith(f"{name}: ") for message in known)
    ]


def _hosts_of(task_vars: Mapping[str, Any]) -> Sequence[str]:
    """The hosts of the play, of its present batch where it has a serial."""
    hosts: Sequence[str] = task_vars.get("ansible_play_batch") or task_vars["ansible_play_hosts"]
    return hosts
