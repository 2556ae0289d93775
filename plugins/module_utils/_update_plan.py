# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update of a tenant has to do, decided before anything is touched. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._server_schema import (
    Database,
    Server,
)

# Nothing to do.
NONE = "none"
# The same data is used by another image: containers are exchanged.
IMAGE = "image"
# The new server changes the database: it works on a copy.
MIGRATE = "migrate"
# The new server cannot use the data in place: memories are carried over into empty databases.
RELOAD = "reload"
# It cannot be done; the reason says why.
REFUSE = "refuse"
# Kinds that work on databases of their own, so that the present ones stay as they are.
COPYING = (MIGRATE, RELOAD)


@dataclass(frozen=True)
class UpdatePlan:
    """What an update will do, and why.

    :param kind: none, image, migrate, reload or refuse.
    :param images: the kinds of image that are exchanged: app, postgres, neo4j.
    :param dump: whether PostgreSQL goes to another major version, by dump and restore.
    """

    kind: str
    reason: str
    images: tuple[str, ...] = ()
    dump: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a module's result."""
        return {**asdict(self), "images": list(self.images)}


def version_key(version: str) -> tuple[int, int, int, int, int]:
    """A server version in a form that sorts: a preview comes before its release."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?$", version)
    if match is None:
        raise ValueError(version)
    major, minor, patch, stage, number = match.groups()
    stages = {"a": 0, "b": 1, "rc": 2, None: 3}
    return int(major), int(minor), int(patch), stages[stage], int(number or 0)


def plan_update(
    present: str,
    database: Database,
    target: Server,
    drifted: tuple[str, ...] = (),
    majors: tuple[int, int] = (0, 0),
    stores: tuple[str, str] = ("", ""),
) -> UpdatePlan:
    """What brings a tenant to another server version, or its databases to other images.

    :param present: the server version that stored the tenant's memories.
    :param drifted: the containers whose image is not the one that the node has now.
    :param majors: major versions of PostgreSQL: of the tenant's data, of the node's image.
    :param stores: versions of Neo4j: of the image that the tenant has, of the node's. Another minor
        version may change the store in a way that the one before cannot read.
    """
    dump = majors[0] != majors[1]
    if majors[0] > majors[1]:
        return UpdatePlan(
            REFUSE,
            f"the tenant's data is of PostgreSQL {majors[0]} and the node's image is of "
            f"PostgreSQL {majors[1]}, which cannot read it",
        )
    if version_key(target.version) < version_key(present):
        return UpdatePlan(
            REFUSE,
            f"MemMachine {target.version} is older than {present}, which stored the tenant's "
            "memories: rollback_tenant goes back to what was before the last update, "
            "restore_tenant to a restore point",
        )
    server = judge(present, database, target)
    if server.kind == REFUSE:
        return server
    if server.kind == NONE and not drifted:
        return server
    kind, reason = server.kind, server.reason
    if dump:
        kind = RELOAD if kind == RELOAD else MIGRATE
        reason = f"PostgreSQL {majors[0]} -> {majors[1]} by dump and restore; {reason}"
    if kind in (NONE, IMAGE) and "neo4j" in drifted and _minor(stores[0]) != _minor(stores[1]):
        words = f"Neo4j {stores[0] or 'unknown'} -> {stores[1] or 'unknown'} on a copy of its store"
        kind, reason = MIGRATE, words if kind == NONE else f"{words}; {reason}"
    if kind == NONE:
        kind, reason = IMAGE, "other images, the same data"
    images = ("app",) if server.kind != NONE or "app" in drifted else ()
    return UpdatePlan(kind, reason, images + tuple(r for r in drifted if r != "app"), dump)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def judge(present: str, database: Database, target: Server) -> UpdatePlan:
    """What another server version would do with a database."""
    unknown = sorted(database.revisions - set(target.revisions))
    if unknown:
        return UpdatePlan(
            REFUSE,
            f"the database is at revision {', '.join(unknown)}, which MemMachine {target.version} "
            "does not know: it was migrated by a newer server",
        )
    obstacles = unreadable(database, target)
    if obstacles:
        return UpdatePlan(
            RELOAD,
            f"MemMachine {target.version} cannot use the data in place: " + "; ".join(obstacles),
        )
    changes = migrations(database, target)
    if changes:
        return UpdatePlan(MIGRATE, "; ".join(changes))
    if target.version == present:
        return UpdatePlan(NONE, f"MemMachine {present} runs already")
    return UpdatePlan(IMAGE, "both versions use the same tables")


def migrations(database: Database, target: Server) -> list[str]:
    """What a server changes in a database by itself."""
    found = []
    if database.revisions != target.heads():
        before = ", ".join(sorted(database.revisions)) or "none"
        after = ", ".join(sorted(target.heads()))
        found.append(f"the database migrates from revision {before} to {after}")
    found += [
        f"the server adds column {table}.{column}"
        for table, columns in sorted(target.adds.items())
        for column in columns
        if table in database.tables and column not in database.tables[table]
    ]
    return found


def unreadable(database: Database, target: Server) -> list[str]:
    """Why a server cannot use tables that are there, and that no migration of it changes.

    It makes tables that are missing, so those are no obstacle.
    """
    found = []
    for name in sorted(set(database.tables) & set(target.tables) - target.migrated):
        has, wants = database.tables[name], target.tables[name]
        added = target.adds.get(name, ())
        found += [f"column {name}.{c} is missing" for c in wants if c not in has and c not in added]
        found += [
            f"column {name}.{c} is {has[c].type}, not {kind}"
            for c, kind in wants.items()
            if c in has and not same_type(has[c].type, kind)
        ]
        found += [
            f"column {name}.{c} is required and unknown to it"
            for c, column in has.items()
            if c not in wants and column.required
        ]
    return found


def same_type(has: str, wants: str) -> bool:
    """Whether a column of one type does for a model of the other."""
    texts = ("character varying", "text")
    return has == wants or (has in texts and wants in texts)


def last_time(durations: Mapping[str, Any], kind: str) -> str:
    """How long an update of a kind took the last time, in words; empty when nobody knows."""
    seconds = durations.get(kind)
    return f"the last one of its kind took {seconds:.0f} s" if seconds else ""


def slower(before: Sequence[float], after: Sequence[float], times: float) -> str:
    """Why the fleet stops after a tenant: its round trips take much longer than before."""
    if not before or not after:
        return ""
    was, now = median(before), median(after)
    if now <= times * was:
        return ""
    return f"its memory round trip takes {now:.2f} s, before the update it took {was:.2f} s"


def median(values: Sequence[float]) -> float:
    """The middle one of some values."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
