# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking after the restore points of many tenants: open, list, check, prune, remove.

Needs restic and no engine, so it runs where the credentials are: on a node, or on the controller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import told
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import scratch_directory
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    NoRepository,
    Refused,
    Repository,
    RepositoryError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import to_forget
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local

ACTIONS = ("open", "list", "check", "prune", "remove")
_THREADS = 4
_READING = "reading, and adding a password, is what platform_backup_environment must allow"
_REMOVING = (
    "removing needs platform_backup_prune_environment, and nothing under object lock goes before "
    "its time"
)
_NEEDED = dict.fromkeys(("open", "list", "check"), _READING)
_NEEDED.update(prune=_REMOVING, remove=_REMOVING)


def care(
    action: str, repositories: Mapping[str, Mapping[str, Any]], dry_run: bool = False
) -> list[dict[str, Any]]:
    """Do one thing with the repositories of tenants; one's failure does not stop the others.

    :param action: one of :data:`ACTIONS`.
    :param repositories: by tenant its access, with ``keep`` (for ``prune``: how many hourly,
        daily, weekly, monthly points stay), ``share`` (for ``check``: how much data is read) and
        ``data_dir`` (where its node's records are, to know whether there should be any).
    :param dry_run: only say what would be done.
    """
    work = {
        "open": _open,
        "list": _list,
        "check": _check,
        "prune": _prune,
        "remove": _remove,
    }[action]

    def one(tenant: str) -> dict[str, Any]:
        answer: dict[str, Any] = {"tenant": tenant, "operation": action, "changed": False}
        access = repositories[tenant]
        answer["url"] = str(access["url"])
        try:
            try:
                with scratch_directory("memcloud-restic-") as scratch:
                    repository = Repository(tenant, access, scratch)
                    if action != "remove":
                        repository.open(dry_run)
                    answer.update(work(repository, access, dry_run))
                    answer["changed"] = answer["changed"] or repository.password_new
            except NoRepository as error:
                known = _recorded(tenant, access) if action == "check" else ""
                if known:
                    raise NoRepository(f"{error}. They are gone: {known}") from None
                answer.update(points=[], message="has no restore points")
        except Refused as error:
            answer["error"] = f"{error}. These credentials may not do this: {_NEEDED[action]}"
        except Exception as error:
            # Restore points are cared for on nodes, and on the controller.
            answer["error"] = told(tenant, error, "the disk")
        return answer

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, repositories))


def _open(repository: Repository, _access: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    words = "open with its present root key"
    if repository.password_new:
        words = "would take" if dry else "take"
        words += " the password of the new root key"
    return {"message": f"its restore points {words}"}


def _recorded(tenant: str, access: Mapping[str, Any]) -> str:
    """What the tenant's node knows of restore points in this very place; empty when nothing."""
    if not access.get("data_dir"):
        return ""
    point = NodeState(str(access["data_dir"])).tenant(tenant).get("restore_point") or {}
    if point.get("url") != access["url"]:
        return ""
    return (
        f"its node stored {point['id']} there at {point['taken']}. Find out who removed them, or "
        "put the place back; backup_tenant begins anew"
    )


def _list(repository: Repository, _access: Mapping[str, Any], _dry: bool) -> dict[str, Any]:
    points = repository.points()
    newest = f", the newest {points[-1]['id']} of {points[-1]['taken'][:19]}" if points else ""
    return {"points": points, "message": f"{len(points)} restore points{newest}"}


def _check(repository: Repository, access: Mapping[str, Any], _dry: bool) -> dict[str, Any]:
    repository.check(str(access.get("share") or ""))
    points = repository.points()
    read = f", {access['share']} of the data read again" if access.get("share") else ""
    return {"points": points, "message": f"{len(points)} restore points are whole{read}"}


def _prune(repository: Repository, access: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    points = repository.points()
    gone = to_forget([(point["id"], point["taken"]) for point in points], access["keep"])
    if not dry:
        repository.forget(gone)
    left = [point for point in points if point["id"] not in gone]
    verb = "would be removed" if dry else "removed"
    return {
        "changed": bool(gone),
        "points": left,
        "removed": gone,
        "message": f"{len(gone)} restore points {verb}, {len(left)} stay",
    }


def _remove(repository: Repository, _access: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    if is_local(repository.url) and not os.path.isdir(repository.url):
        return {"points": [], "removed": [], "left": [], "message": "has no restore points"}
    try:
        repository.open(dry)
        points = repository.points()
    except RepositoryError:
        if not is_local(repository.url):
            raise
        points = []  # whatever it is, the folder goes
    left = [] if dry else repository.remove()
    verb = "would be removed" if dry else "removed"
    rest = f"; what remains: {'; '.join(left)}" if left else ""
    return {
        "changed": True,
        "points": points if dry else [],
        "removed": [point["id"] for point in points],
        "left": left,
        "message": f"{len(points)} restore points {verb}{rest}",
    }
