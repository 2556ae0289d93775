# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change keys and secrets in the entries of tenants, on the controller alone."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    EXISTING,
    Change,
    Request,
)
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
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import (
    KeyOutcome,
    KeyWish,
    answer_path,
    change_keys,
    moment_of,
    seconds_of,
)

_OF_KEYS = ("rotate", "add", "revoke")
_CHANGES = (*_OF_KEYS, "databases", "root_key")
# Of a survey that was not answered, too.
_OVERLAP = "24h"


class ActionModule(ControllerAction):
    """Runs once for all tenants of the play; keys go into answers and nowhere else."""

    BYPASS_HOST_LOOP = True

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return by tenant what was written and where its answer is."""
        names = self.names("tenants") or task_vars["ansible_play_hosts"]
        change = str(self._task.args.get("change") or "")
        if change not in _CHANGES:
            raise MemcloudError(f"change is {change!r}; it can be {', '.join(_CHANGES)}")
        controller = Controller(task_vars, self._templar)
        # Nothing is written unless all of them can be used.
        tenants = [controller.tenant(name, {}) for name in names]
        present = _present(tenants)
        if change in _OF_KEYS:
            done = self._change_keys(change, present, controller)
        else:
            done = self._change_versions(change, present, controller)
        done.update(_passed_over(tenants))
        changes = [told.pop("diff") for told in done.values() if told.get("diff")]
        if self._task.check_mode:
            for told in done.values():
                told["message"] = "check mode, nothing was written: " + told["message"]
        return {"changed": bool(changes), "tenants": done, "diff": changes}

    # -- API keys -----------------------------------------------------------------------------

    def _change_keys(
        self, change: str, tenants: list[tuple[Tenant, Platform]], controller: Controller
    ) -> dict[str, dict[str, Any]]:
        arguments = self._task.args
        now = datetime.datetime.now(datetime.timezone.utc)
        key_name = str(arguments.get("key_name") or "").strip()
        if not key_name and change != "rotate":
            raise MemcloudError("Say which key: -e key_name=<name>. Nothing was touched")
        key_name = key_name or DEFAULT_NAME
        for option in ("result_file", "key_file", "api_key_sha256"):
            if arguments.get(option) and len(tenants) > 1:
                raise MemcloudError(
                    f"{option} is for one tenant, and this would change {len(tenants)}: name one "
                    "with -e tenant=<name>"
                )
        expires = arguments.get("expires")
        given = arguments.get("overlap")
        overlap = seconds_of(_OVERLAP if given in (None, "") else given, "overlap")
        ends = moment_of(expires, now, "expires") if expires else ""
        known = str(arguments.get("api_key_sha256") or "").strip()

        def one(tenant: Tenant, platform: Platform, dry_run: bool) -> dict[str, Any]:
            answer = self._answer(tenant.name, key_name, controller, platform)
            outcome = change_keys(
                KeyWish(tenant.name, change, key_name, overlap, ends, known),
                controller.writer(platform),
                answer,
                functools.partial(_laid_over, controller, tenant.name),
                now,
                seen=controller.seen(tenant.name),
                dry_run=dry_run,
            )
            return _told(outcome, answer, change)

        check_mode = bool(self._task.check_mode)
        if len(tenants) > 1 and not check_mode:
            # What cannot be done to one of them is found before any entry is written.
            for tenant, platform in tenants:
                one(tenant, platform, True)
        return {tenant.name: one(tenant, platform, check_mode) for tenant, platform in tenants}

    def _answer(
        self, tenant: str, key_name: str, controller: Controller, platform: Platform
    ) -> Answer:
        keys_dir = controller.keys_dir(platform)
        path = self.path("result_file") or answer_path(keys_dir, tenant, key_name)
        # A key that has a file of its own keeps it.
        before = Answer(tenant, path).read().get("api_key_file") or ""
        lost = controller.key_is_lost(platform, self._task.args)
        return Answer(tenant, path, self.path("key_file") or str(before), lost)

    # -- what passwords are derived from ------------------------------------------------------

    def _change_versions(
        self, change: str, tenants: list[tuple[Tenant, Platform]], controller: Controller
    ) -> dict[str, dict[str, Any]]:
        planned = []
        for tenant, platform in tenants:
            variables = self._versions(change, tenant, platform)
            controller.tenant(tenant.name, variables)
            planned.append((tenant, platform, variables))
        done: dict[str, dict[str, Any]] = {}
        for tenant, platform, variables in planned:
            writer = controller.writer(platform)
            writer.check()
            seen = controller.seen(tenant.name)
            request = Request(tenant.name, variables, expect=EXISTING, uid=tenant.uid, seen=seen)
            written = writer.apply(request, dry_run=self._task.check_mode) if variables else None
            message = " and ".join(f"{name} is {value}" for name, value in variables.items())
            done[tenant.name] = {
                "action": change,
                "variables": variables,
                "message": message or "has them already",
                "diff": _diff(written),
            }
        return done

    def _versions(self, change: str, tenant: Tenant, platform: Platform) -> dict[str, Any]:
        if change == "databases":
            return {"tenant_secret_epoch": tenant.secret_epoch + 1}
        wanted = self._task.args.get("root_key_version") or max(platform.root_keys)
        if not str(wanted).isdigit() or int(wanted) not in platform.root_keys:
            known = ", ".join(str(version) for version in sorted(platform.root_keys))
            raise VariableError(
                tenant.name,
                "root_key_version",
                f"is {wanted}, but platform_root_keys has only version {known}: add the new key "
                "under a new version first, and keep the old one until every tenant has moved",
            )
        return (
            {}
            if int(wanted) == tenant.root_key_version
            else {"tenant_root_key_version": int(wanted)}
        )


def _present(tenants: list[tuple[Tenant, Platform]]) -> list[tuple[Tenant, Platform]]:
    """Those that are not deleted, of which there must be one."""
    present = [pair for pair in tenants if pair[0].state != "deleted"]
    if tenants and not present:
        raise MemcloudError(
            f"{tenants[0][0].name}: is deleted, its keys open nothing: create_tenant brings it "
            "back with a new key"
        )
    return present


def _passed_over(tenants: list[tuple[Tenant, Platform]]) -> dict[str, dict[str, Any]]:
    """What is said of deleted tenants beside others."""
    return {
        tenant.name: {
            "action": "passed over",
            "variables": {},
            "message": "is deleted and stays as it is: what was kept of it needs version "
            f"{tenant.root_key_version} of platform_root_keys until it is purged or brought back",
        }
        for tenant, _platform in tenants
        if tenant.state == "deleted"
    }


def _told(outcome: KeyOutcome, answer: Answer, change: str) -> dict[str, Any]:
    words = [outcome.action]
    if outcome.action == "resumed":
        words = ["resumed: the key that is there already is finished, and no other one was made"]
    told: dict[str, Any] = {
        "action": outcome.action,
        "variables": outcome.variables,
        "ends": outcome.ends,
        "diff": _diff(outcome.change),
    }
    if change != "revoke":
        told.update(result_file=answer.path, key_file=answer.key_file)
        words.append(f"the key is in {answer.key_file or answer.path}")
    if outcome.ends:
        words.append(f"the one before it ends at {outcome.ends}")
    return {**told, "message": "; ".join(words)}


def _diff(change: Change | None) -> dict[str, str] | None:
    return change.as_diff() if change and change.changed else None


def _laid_over(controller: Controller, name: str, variables: Mapping[str, Any]) -> Tenant:
    return controller.tenant(name, variables)[0]
