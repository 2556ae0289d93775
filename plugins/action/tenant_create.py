# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the entry of a new tenant and the answer with its key, on the controller alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._model import SECRET_FIELDS
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import (
    Tenant,
    check_name,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    kind_of,
    reject_bare,
    reject_templates,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import (
    Answer,
    Outcome,
    Usual,
    Wish,
    create,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import answer_path
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._placement import Need

_TEXTS = ("tier", "hostname", "version", "node", "owner", "api_key_sha256")
_PLACEHOLDER_UID = "0" * 16


class ActionModule(ControllerAction):
    """Runs on the controller; the key goes into the answer and nowhere else."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was done to the entry; the host exists for the plays that follow."""
        wish = self._wish()
        controller = Controller(task_vars, self._templar)
        answer, outcome = self._create(wish, controller)
        result = _reported(wish, answer, outcome)
        if wish.name not in task_vars["hostvars"] and not self._task.check_mode:
            # Ansible may have looked for this host's file before it was there.
            result["add_host"] = {
                "host_name": wish.name,
                "groups": ["tenants"],
                "host_vars": {**outcome.entry, "inventory_dir": controller.inventory_dir},
            }
        return result

    def _wish(self) -> Wish:
        arguments = self._task.args
        name = arguments.get("tenant")
        if name is None or name == "":
            raise MemcloudError("Say which tenant: -e tenant=<name>")
        if not isinstance(name, str):
            raise MemcloudError(
                f"tenant is {name!r}, which is {kind_of(name)} and no name. Nothing was touched: "
                "write -e tenant=<name>, or the name in quotes where it is JSON or YAML"
            )
        name = str(name)
        check_name(name)
        texts = {key: str(arguments.get(key) or "").strip() for key in _TEXTS}
        variables = arguments.get("variables") or {}
        if not isinstance(variables, Mapping):
            raise MemcloudError(
                f"{name}: variables is {kind_of(variables)} and no mapping. Nothing was touched: "
                """write it as JSON, as -e '{"variables": {"tenant_wake": false}}'"""
            )
        reject_bare(name, variables)
        for variable in variables:
            if any(variable == "tenant_model_" + secret for secret in SECRET_FIELDS):
                raise MemcloudError(
                    f"{name}: {variable} would stand in its entry in clear: put it into a vaulted "
                    "file or a lookup instead"
                )
        wish = Wish(name, **texts, reissue_key=self.switch("reissue_key"), variables=variables)
        reject_templates(name, wish.asked())
        return wish

    def _create(self, wish: Wish, controller: Controller) -> tuple[Answer, Outcome]:
        usual = {
            "tenant_tier": controller.usual("tenant_tier", "free"),
            "tenant_node": controller.nodes()[0],
        }
        # Whatever is wrong with the wish or the platform is found before a writer is asked.
        placeholders = {"tenant_uid": _PLACEHOLDER_UID, **usual}
        tentative = {**wish.stated(), **wish.variables}
        tenant, platform = controller.tenant(wish.name, tentative, placeholders)

        def node() -> str:
            chosen = controller.node_of(wish.name) or self._choose(tenant, controller)
            usual["tenant_node"] = chosen
            return chosen

        answer = self._answer(wish.name, controller, platform)
        outcome = create(
            wish,
            controller.writer(platform),
            answer,
            Usual(usual["tenant_tier"], node, max(platform.root_keys)),
            lambda variables, entry: controller.tenant(wish.name, variables, usual, entry)[0],
            now(),
            seen=controller.seen(wish.name),
            beside=lambda made, entries: controller.check_hostname(made, platform, entries),
            dry_run=self._task.check_mode,
        )
        return answer, outcome

    def _choose(self, tenant: Tenant, controller: Controller) -> str:
        tier = tenant.tier
        memory = tier.app.memory + tier.postgres.memory + tier.neo4j.memory
        rooms = self._task.args.get("rooms") or {}
        return controller.choose_node(
            tenant.name, tenant.node_group, rooms, Need(memory, tier.storage)
        )

    def _answer(self, tenant: str, controller: Controller, platform: Platform) -> Answer:
        usual = answer_path(controller.keys_dir(platform), tenant)
        path, key_file = self.path("result_file"), self.path("key_file")
        lost = controller.key_is_lost(platform, self._task.args)
        told = self.switch("expose_key")
        return Answer(tenant, path or usual, key_file, lost and not told)


def _reported(wish: Wish, answer: Answer, outcome: Outcome) -> dict[str, Any]:
    change = outcome.change
    reported: dict[str, Any] = {
        "changed": outcome.action != "resumed",
        "action": outcome.action,
        "tenant": wish.name,
        "variables": outcome.variables,
        "result_file": answer.path,
        "key_file": answer.key_file,
    }
    if change is not None and change.changed:
        reported["diff"] = change.as_diff()
    return reported
