# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's journal (what happened) and registry (what there is), in one SQLite file.

Both are read models: whoever cannot write them goes on, and a file that is lost or broken is
replaced by a new one, whose registry is filled from the tenants' records.

SQLite's rollback journal with full synchronisation, not WAL: one file, no shared memory beside it;
what a killed process left half written is rolled back by the next one that opens it, and a write
for which the disk has no room changes nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import names_in
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState

try:
    import sqlite3

    HAS_SQLITE = True
except ImportError:
    HAS_SQLITE = False

FILE = "registry.sqlite"
JOURNAL = (
    "at",
    "who",
    "playbook",
    "job",
    "tenant",
    "uid",
    "operation",
    "change",
    "result",
    "error",
    "seconds",
)
REGISTRY = (
    "uid",
    "tenant",
    "owner",
    "tier",
    "node",
    "endpoint",
    "versions",
    "state",
    "error",
    "created",
    "changed",
    "deleted",
)
_LONGEST = 2000
_WORDS = 12
_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, playbook TEXT NOT NULL,
  job TEXT NOT NULL, tenant TEXT NOT NULL, uid TEXT NOT NULL, operation TEXT NOT NULL,
  change TEXT NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_tenant ON journal (tenant, at);
CREATE TRIGGER IF NOT EXISTS journal_keeps_rows BEFORE DELETE ON journal
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS journal_keeps_words BEFORE UPDATE ON journal
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE IF NOT EXISTS registry (
  uid TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, tier TEXT NOT NULL,
  node TEXT NOT NULL, endpoint TEXT NOT NULL, versions TEXT NOT NULL, state TEXT NOT NULL,
  error TEXT NOT NULL, created TEXT, changed TEXT, deleted TEXT
);
"""


class Journal:
    """The journal and registry of one node.

    :param state: the node's files.
    :param platform: the platform's inputs; ``run`` among them says who runs what.
    """

    def __init__(self, state: NodeState, platform: Mapping[str, Any]) -> None:
        self._state = state
        self._platform = platform
        self.path = state.path(FILE)

    # -- writing ------------------------------------------------------------------------------

    def note(
        self,
        tenant: Mapping[str, Any],
        secrets: Mapping[str, str],
        operation: str,
        change: Iterable[str],
        error: str = "",
        seconds: float = 0.0,
    ) -> bool:
        """Write down what was done to a tenant, and what it is now; whether that could be done.

        A run in check mode does nothing, so nothing is written of what it was refused.

        :param secrets: the tenant's secrets, none of which must end up here.
        """
        run = self._platform.get("run") or {}
        if run.get("check"):
            return False
        words = list(change)
        if len(words) > _WORDS:
            words = [*words[:_WORDS], f"and {len(words) - _WORDS} more"]
        entry = {
            "at": now(),
            "who": run.get("who") or "unknown",
            "playbook": run.get("playbook") or "",
            "job": run.get("job") or "",
            "tenant": tenant["tenant"],
            "uid": tenant["uid"],
            "operation": operation,
            "change": _clean("; ".join(words), secrets),
            "result": "failed" if error else "done",
            "error": _clean(error, secrets),
            "seconds": round(seconds, 1),
        }
        row = self._row(tenant, entry["error"])

        def write(database: Any) -> bool:
            _insert(database, "journal", JOURNAL, entry)
            _upsert(database, row)
            return True

        self._take_over_notes()
        return bool(self._do(write, False))

    def rebuild(self, tenants: Iterable[Mapping[str, Any]]) -> None:
        """Have a registry row of each tenant, from its entry and its record."""
        tenants = list(tenants)

        def write(database: Any) -> None:
            known = {row["uid"]: row for row in _select(database, "registry", REGISTRY)}
            for tenant in tenants:
                row = self._row(tenant, (known.get(tenant["uid"]) or {}).get("error") or "")
                if row != known.get(tenant["uid"]):
                    _upsert(database, row)

        self._do(write, None)

    def _row(self, tenant: Mapping[str, Any], error: str) -> dict[str, Any]:
        """What is known of a tenant: its inputs, and its record on this node."""
        try:
            record = self._state.tenant(tenant["tenant"])
        except MemcloudError:
            record = {}
        if record.get("uid") not in (None, tenant["uid"]):
            record = {}
        state = str(record.get("state") or "")
        if not record.get("uid"):
            state = "deleted" if tenant["state"] == "deleted" else "deploying"
        if error and state not in ("running", "paused", "suspended", "deleted"):
            state = "error"
        deleted = record.get("deleted") or now() if state == "deleted" else None
        return {
            "uid": tenant["uid"],
            "tenant": tenant["tenant"],
            "owner": tenant.get("owner") or "",
            "tier": record.get("tier") or tenant.get("tier") or "",
            "node": tenant.get("node") or "",
            "endpoint": tenant.get("endpoint") or "",
            "versions": json.dumps(self._versions(tenant, record), sort_keys=True),
            "state": state,
            "error": error,
            "created": record.get("created"),
            "changed": record.get("changed"),
            "deleted": deleted,
        }

    def _versions(self, tenant: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
        versions = {"memmachine": str(record.get("version") or tenant.get("version") or "")}
        with contextlib.suppress(MemcloudError):
            images = self._state.images()
            for kind in ("postgres", "neo4j"):
                version = (images.get(kind) or {}).get("version")
                if version:
                    versions[kind] = str(version)
        return versions

    def _take_over_notes(self) -> None:
        """Move what the keeper left into the journal; a note that cannot be read is dropped."""
        folder = self._state.path("notes")
        names = [n for n in sorted(names_in(folder)) if n.endswith(".json")]
        paths = [os.path.join(folder, name) for name in names]

        def write(database: Any) -> bool:
            for row in filter(None, map(_note, paths)):
                # Another run may have taken it over, or this one before it was killed.
                how = "WHERE tenant = ? AND at = ? AND who = ? AND operation = ?"
                same = [row[name] for name in ("tenant", "at", "who", "operation")]
                if not list(_select(database, "journal", ["id"], how, same)):
                    _insert(database, "journal", JOURNAL, row)
            return True

        if paths and self._do(write, False):
            for path in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    # -- reading ------------------------------------------------------------------------------

    def registry(self) -> list[dict[str, Any]]:
        """Every tenant that this node has or had."""
        rows: list[dict[str, Any]] = self._do(
            lambda database: list(_select(database, "registry", REGISTRY, "ORDER BY tenant, uid")),
            [],
        )
        for row in rows:
            row["versions"] = json.loads(row["versions"])
            activity = self._state.activity(row["tenant"], row["uid"])
            row["last_activity"] = activity.get("last_activity")
        return rows

    def entries(
        self, since: str = "", names: Collection[str] = (), limit: int = 10_000
    ) -> list[dict[str, Any]]:
        """What happened since a moment, the latest rows where there are too many.

        :param names: the tenants that it is asked of; all that there ever were without any.
        """
        self._take_over_notes()
        how, values = "WHERE at >= ?", [since]
        if names:
            how += " AND tenant IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(list(names)))
        how += f" ORDER BY id DESC LIMIT {limit:d}"
        found: list[dict[str, Any]] = self._do(
            lambda database: list(_select(database, "journal", JOURNAL, how, values)), []
        )
        return found[::-1]

    # -- the file -----------------------------------------------------------------------------

    def _do(self, work: Callable[[Any], Any], otherwise: Any) -> Any:
        """Work in one transaction; ``otherwise`` where that is not possible.

        A file that is no database any more is put aside, and a new one begun.
        """
        if not HAS_SQLITE:
            return otherwise
        for _attempt in range(2):
            try:
                with contextlib.closing(self._connect()) as database:
                    database.execute("BEGIN IMMEDIATE")
                    result = work(database)
                    database.execute("COMMIT")
                    return result
            except sqlite3.DatabaseError as error:
                if error.__class__ is not sqlite3.DatabaseError:
                    return otherwise  # no room, locked for too long, read-only
                self._put_aside()
            except (sqlite3.Error, OSError):
                return otherwise
        return otherwise

    def _connect(self) -> Any:
        if not os.path.exists(self.path):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
        except BaseException:
            database.close()
            raise
        return database

    def _put_aside(self) -> None:
        moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
        with contextlib.suppress(OSError):
            os.replace(self.path, f"{self.path}.broken-{moment}")


def _note(path: str) -> dict[str, Any] | None:
    """A row that the keeper left, with all columns of the journal."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        with open(path, encoding="utf-8") as file:
            found = dict(json.load(file))
        row: dict[str, Any] = {name: str(found.get(name, "")) for name in JOURNAL}
        return {**row, "seconds": float(found.get("seconds", 0))}
    return None


def _upsert(database: Any, row: Mapping[str, Any]) -> None:
    """One row a tenant. What its record forgot when it was purged is kept."""
    changes = {name: f"excluded.{name}" for name in REGISTRY if name != "uid"}
    for name in ("created", "changed"):
        changes[name] = f"coalesce(excluded.{name}, registry.{name})"
    changes["deleted"] = (
        "CASE excluded.state WHEN 'deleted' THEN coalesce(registry.deleted, excluded.deleted) END"
    )
    marks = ", ".join("?" * len(REGISTRY))
    database.execute(
        f"INSERT INTO registry ({', '.join(REGISTRY)}) VALUES ({marks}) ON CONFLICT (uid) DO "
        f"UPDATE SET {', '.join(f'{name} = {value}' for name, value in changes.items())}",
        [row[name] for name in REGISTRY],
    )


def _insert(database: Any, table: str, names: Iterable[str], row: Mapping[str, Any]) -> None:
    names = list(names)
    marks = ", ".join("?" * len(names))
    columns = ", ".join(names)
    values = [row[name] for name in names]
    database.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)


def _select(
    database: Any, table: str, names: Iterable[str], how: str = "", values: Iterable[Any] = ()
) -> Iterator[dict[str, Any]]:
    names = list(names)
    for found in database.execute(f"SELECT {', '.join(names)} FROM {table} {how}", list(values)):
        yield dict(zip(names, found))


def _clean(text: str, secrets: Mapping[str, str]) -> str:
    """A text without any of the secrets, and not longer than a person reads."""
    for secret in secrets.values():
        if len(secret) >= 8:
            text = text.replace(secret, "***")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
