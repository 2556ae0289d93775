# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of a deletion: off-site restore points, and the report."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import backup_access
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    make_directory_for,
    write_atomically,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    Locked,
    Repository,
    RepositoryError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import Controller
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import Answer
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._deletion_report import in_words
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._object_versions import (
    NotAllowed,
    ObjectVersions,
    Outcome,
    is_s3,
)

_REPORTS = ".reports"
_NODE = "node"
_OTHER_BUCKETS = ("gs:", "azure:", "b2:", "swift:")
_NOT_LOOKED = (
    "a bucket may keep what was deleted for a time (soft delete, which Google has on for seven "
    "days; versions), and only in S3 is that looked at and removed: see the bucket's settings"
)


class ActionModule(ControllerAction):
    """Runs for each deleted tenant, on the controller alone."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the report and where it was written; fail when something should not be left."""
        name = str(self._task.args.get("tenant") or task_vars["inventory_hostname"])
        report = dict(self._task.args.get("report") or {})
        if not report or self._task.check_mode:
            msg = f"{name}: there is nothing to report"
            return {"changed": False, "skipped": True, "msg": msg}
        try:
            controller = Controller(task_vars, self._templar)
            tenant, platform = controller.tenant(name, {})
            report["node"] = tenant.node
            report["locked"] = []
            report["unknown"] = []
            if report["purged"]:
                others = [node for node in controller.nodes() if node != tenant.node]
                _add_other_nodes(report, others, self._task.args.get("other_nodes") or ())
            report["gone"] += _remove_keys(name, controller.keys_dir(platform))
            if report["purged"]:
                self._remove_off_site(report, tenant, platform)
            path = self._write(report, controller.inventory_dir)
        except (MemcloudError, OSError) as error:
            raise AnsibleActionFail(f"{name}: {error}") from None
        result: dict[str, Any] = {"changed": True, "report": report, "report_file": path}
        unasked = [thing for thing in report["unknown"] if thing["kind"] == _NODE]
        if report["purged"] and (report["left"] or unasked):
            words = [f"{name}: was deleted, but its entry stays."]
            if report["left"]:
                words.append(f"This is still there: {', '.join(map(_named, report['left']))}.")
            if unasked:
                words.append(
                    f"What it left is not known on {', '.join(map(_named, unasked))}: have that "
                    "answer, or take it out of the group nodes if it is gone for good."
                )
            words.append(
                f"Run delete_tenant -e tenant={name} -e keep_data=false again; the report is {path}"
            )
            result.update(failed=True, msg=" ".join(words))
        return result

    def _remove_off_site(self, report: dict[str, Any], tenant: Tenant, platform: Platform) -> None:
        """Restore points that are not on the node go with credentials that no node has."""
        version = tenant.root_key_version
        access = backup_access(tenant.name, tenant.uid, version, platform, prune=True)
        if is_local(access["url"]):
            return  # the node did it
        with tempfile.TemporaryDirectory() as scratch:
            repository = Repository(tenant.name, access, scratch)
            thing = {"kind": "restore points", "name": access["url"]}
            report["found"].append(thing)
            try:
                left = repository.remove()
                versions = _remove_versions(report, tenant.name, access)
            except Locked as error:
                report["locked"].append({**thing, "why": str(error)})
                return
            except RepositoryError as error:
                report["left"].append({**thing, "why": str(error)})
                return
        kept = [words for words in left if not words.startswith("an empty repository")]
        if versions.left:
            counts = {"bytes": versions.left_bytes, "versions": versions.left}
            locks = {"until": versions.until or None, "legal_hold": versions.held}
            report["locked"].append({**thing, **counts, **locks, "why": versions.in_words()})
        elif kept and not versions.deleted:
            report["left"].append({**thing, "why": "; ".join(kept)})
        else:
            notes = [] if versions.deleted else left
            report["gone"].append({**thing, **({"note": "; ".join(notes)} if notes else {})})

    def _write(self, report: dict[str, Any], inventory_dir: str) -> str:
        moment = report["at"].replace(":", "").replace("-", "")
        usual = os.path.join(inventory_dir, _REPORTS, f"deleted-{report['tenant']}-{moment}.json")
        path = self.path("result_file") or usual
        try:
            _write_to(path, report)
        except MemcloudError as error:
            if path == usual:
                raise
            # Nobody can find out again what there was.
            _write_to(usual, report)
            raise MemcloudError(f"result_file: {error}. This run's report is {usual}") from error
        return path


def _write_to(path: str, report: Mapping[str, Any]) -> None:
    """The report as JSON, and as text beside it."""
    beside = os.path.splitext(path)[0] + ".txt"
    make_directory_for(path)
    write_atomically(path, json.dumps(report, indent=2) + "\n", 0o600)
    write_atomically(beside if beside != path else f"{path}.txt", in_words(report), 0o600)


def _add_other_nodes(
    report: dict[str, Any], nodes: Sequence[str], results: Sequence[Mapping[str, Any]]
) -> None:
    """What the tenant had left on nodes where it was before, each thing with its node.

    :param nodes: all on which it may have been.
    :param results: those of fleet_plan and fleet_converge, of all nodes and tenants.
    """
    asked = {str(result["node"]) for result in results if "drifted" in result}
    for node in sorted(set(nodes) - asked):
        why = "was not asked: see what failed above"
        report["unknown"].append({"kind": _NODE, "name": node, "why": why})
    for result in results:
        node = str(result.get("node") or "")
        entries = [*(result.get("drifted") or ()), *(result.get("tenants") or {}).values()]
        for entry in entries:
            if entry["tenant"] != report["tenant"]:
                continue
            if entry.get("error"):
                report["unknown"].append({"kind": _NODE, "name": node, "why": entry["error"]})
            for part in ("found", "gone", "left"):
                things = (entry.get("deletion") or {}).get(part) or ()
                report[part] += [{**thing, "node": node} for thing in things]


def _remove_versions(report: dict[str, Any], tenant: str, access: dict[str, Any]) -> Outcome:
    """What a bucket with versioning still has of restore points goes, unless it is locked."""
    thing = {"kind": "object versions", "name": access["url"]}
    if access["url"].startswith(_OTHER_BUCKETS):
        report["unknown"].append({**thing, "why": _NOT_LOOKED})
    if not is_s3(access["url"]):
        return Outcome()
    try:
        outcome = ObjectVersions(tenant, access).remove()
    except NotAllowed as error:
        why = f"whether older versions remain cannot be seen with these credentials: {error}"
        report["unknown"].append({**thing, "why": why})
        return Outcome()
    if outcome.deleted:
        counts = {"bytes": outcome.deleted_bytes, "versions": outcome.deleted}
        report["found"].append(thing)
        report["gone"].append({**thing, **counts})
    return outcome


def _named(thing: dict[str, Any]) -> str:
    why = f" ({thing['why']})" if thing.get("why") else ""
    where = f" on {thing['node']}" if thing.get("node") else ""
    return f"{thing['kind']} {thing['name']}{where}{why}"


def _remove_keys(tenant: str, keys_dir: str) -> list[dict[str, Any]]:
    """Keys that were given out beside the default one open nothing any more and are not kept."""
    paths = sorted(glob.glob(os.path.join(glob.escape(keys_dir), f"{tenant}.*.json")))
    for path in paths:
        Answer(tenant, path).remove()
    return [{"kind": "key", "name": path} for path in paths]
