# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking after the restore points of many tenants: list, check, prune, remove.

Needs restic and no engine, so it runs where the credentials are: on a node, or on the controller.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    NoRepository,
    Refused,
    Repository,
    RepositoryError,
    is_local,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import to_forget

ACTIONS = ("list", "check", "prune", "remove")
_THREADS = 4


def care(
    action: str, repositories: Mapping[str, Mapping[str, Any]], dry_run: bool = False
) -> list[dict[str, Any]]:
    """Do one thing with the repositories of tenants; one's failure does not stop the others.

    :param action: one of :data:`ACTIONS`.
    :param repositories: by tenant its access, with ``keep`` (for ``prune``: how many hourly,
        daily, weekly, monthly points stay) and ``share`` (for ``check``: how much data is read).
    :param dry_run: only say what would be done.
    """
    work = {"list": _list, "check": _check, "prune": _prune, "remove": _remove}[action]

    def one(tenant: str) -> dict[str, Any]:
        answer: dict[str, Any] = {"tenant": tenant, "operation": action, "changed": False}
        access = repositories[tenant]
        answer["url"] = str(access["url"])
        with tempfile.TemporaryDirectory(prefix="memcloud-restic-") as scratch:
            repository = Repository(tenant, access, scratch)
            try:
                if action != "remove":
                    repository.open()
                answer.update(work(repository, access, dry_run))
            except NoRepository:
                answer.update(points=[], message="has no restore points")
            except Refused as error:
                answer["error"] = (
                    f"{error}. These credentials may not do this: removing needs "
                    "platform_backup_prune_environment, and nothing under object lock goes before "
                    "its time"
                )
            except (MemcloudError, OSError) as error:
                text = str(error)
                answer["error"] = text if text.startswith(tenant) else f"{tenant}: {text}"
        return answer

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, repositories))


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
        repository.open()
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
