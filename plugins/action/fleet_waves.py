# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide in which waves an update goes through the fleet, and say at its end who is on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import tenants_of
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import aligned
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report_action import (
    ReportAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._waves import (
    VARIABLE,
    Candidate,
    canaries_of,
    outcome_of,
    parse_steps,
    skipped,
    waves_of,
)

display = Display()


class ActionModule(ReportAction):
    """Runs once for all tenants of the play, on the controller alone."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return waves and skipped tenants; at the end the outcome of every tenant."""
        given, version = self._task.args, str(self._task.args.get("version") or "")
        facts = {n: entry for node in given["facts"] for n, entry in node.items()}
        if given.get("outcomes"):
            return {"changed": False, "tenants": self._tell(task_vars, facts, version)}
        known = task_vars["groups"].get("tenants") or ()
        canaries = canaries_of(given.get("canaries") or [], known)
        try:
            steps = parse_steps(task_vars.get(VARIABLE) or load_defaults()[VARIABLE])
            candidates = [
                _candidate(tenant, facts.get(tenant["tenant"]) or {}, canaries)
                for batch in given["batches"]
                for tenant in tenants_of(batch)
            ]
            waves = waves_of(candidates, steps, version)
        except ValueError as error:
            words = f"version: {str(error)!r} is none: write one like 0.4.0. Nothing was touched"
            raise AnsibleActionFail(words) from error
        reasons = {c.name: skipped(c, version) for c in candidates}
        left = {name: reason for name, reason in sorted(reasons.items()) if reason}
        for number, wave in enumerate(waves, start=1):
            names = ", ".join(wave.tenants)
            display.display(f"wave {number} of {len(waves)} ({wave.part}): {names}")
        for name, reason in left.items():
            display.display(f"left as it is: {name} {reason}")
        return {
            "changed": False,
            "waves": [{**wave.as_dict(), "number": n} for n, wave in enumerate(waves, start=1)],
            "sizes": [len(wave.tenants) for wave in waves] or [1],
            "skipped_tenants": left,
        }

    def _tell(
        self, task_vars: Mapping[str, Any], facts: Mapping[str, Any], version: str
    ) -> list[dict[str, Any]]:
        outcomes = self._task.args["outcomes"]
        rows = []
        for name in sorted(facts):
            known = task_vars["hostvars"].raw_get(name)
            rows.append(
                {
                    "tenant": name,
                    "tier": facts[name].get("tier"),
                    "node": facts[name].get("node"),
                    "version": facts[name].get("running_version") or None,
                    "state": facts[name].get("state"),
                    "wave": known.get("memcloud_wave"),
                    "outcome": outcome_of(
                        known,
                        outcomes["skipped_tenants"].get(name, ""),
                        self._task.check_mode,
                    ),
                }
            )
        columns = ("tenant", "tier", "version", "state", "wave", "outcome")
        table = [[column.upper() for column in columns]]
        table += [["-" if row[c] is None else row[c] for c in columns] for row in rows]
        told = {"version": version or None, "tenants": rows}
        self.report(told, lambda: "\n".join(aligned(table)))
        return rows


def _candidate(
    tenant: Mapping[str, Any], facts: Mapping[str, Any], canaries: list[str]
) -> Candidate:
    return Candidate(
        tenant["tenant"],
        tenant["tier"],
        str(facts.get("running_version") or ""),
        tenant["version"],
        tenant["state"],
        pinned=bool(tenant["pinned"]),
        canary=bool(tenant["canary"]) or tenant["tenant"] in canaries,
        outdated=bool(facts.get("outdated")),
        # Of one that could not be looked at nobody knows it.
        ran=facts.get("embedder", True) is not None,
    )
