# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table ``deployments`` of a web application, filled from the registries of the nodes.

A table that is there keeps its form: only columns that it has are written, and where its check of
``status`` does not know a state, the nearest one that it knows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

try:
    import psycopg
    from psycopg import sql

    HAS_PSYCOPG = True
except ImportError:
    HAS_PSYCOPG = False

TABLE = "deployments"
# Identities that are made of others, the same in every run.
_NAMESPACE = uuid.UUID("6d656d63-6c6f-5564-8000-6d656d636c64")
_CREATE = """CREATE TABLE IF NOT EXISTS deployments (
  id UUID PRIMARY KEY,
  user_id UUID NOT NULL,
  instance_id TEXT UNIQUE NOT NULL,
  memmachine_url TEXT NOT NULL,
  neo4j_url TEXT NOT NULL,
  postgres_instance TEXT NOT NULL,
  memmachine_service TEXT NOT NULL,
  neo4j_service TEXT NOT NULL,
  openai_secret TEXT NOT NULL,
  status TEXT DEFAULT 'deploying',
  error_message TEXT,
  created_at TIMESTAMPTZ DEFAULT NOW(),
  updated_at TIMESTAMPTZ DEFAULT NOW(),
  deleted_at TIMESTAMPTZ,
  tenant TEXT,
  owner TEXT,
  tier TEXT,
  node TEXT,
  versions JSONB,
  last_activity TIMESTAMPTZ,
  CONSTRAINT valid_status CHECK (status IN ('deploying', 'running', 'pausing', 'paused',
    'suspended', 'updating', 'error', 'deleting', 'deleted'))
)"""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS idx_deployments_user ON deployments (user_id)",
    "CREATE INDEX IF NOT EXISTS idx_deployments_instance ON deployments (instance_id)",
)
_COLUMNS = """SELECT column_name FROM information_schema.columns
  WHERE table_name = 'deployments' AND table_schema = ANY (current_schemas(false))"""
_CHECKS = """SELECT pg_get_constraintdef(oid) FROM pg_constraint
  WHERE contype = 'c' AND conrelid = 'deployments'::regclass"""
# The nearest states of the table's first form, which knows five of ours.
_NEAREST = {
    "pausing": "running",
    "paused": "running",
    "suspended": "running",
    "updating": "deploying",
}
# What a row is recognised by, and what is only set when it is made.
_KEPT = ("id", "instance_id")
_USER = "user_id"


def deployment(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the table for a row of a registry."""
    prefix = f"{row['platform']}-{row['tenant']}"
    return {
        "id": str(uuid.uuid5(_NAMESPACE, str(row["uid"]))),
        "user_id": user_of(str(row["owner"])),
        "instance_id": f"{row['tenant']}-{row['uid']}",
        "memmachine_url": row["endpoint"],
        "neo4j_url": f"bolt://{prefix}-neo4j:7687",
        "postgres_instance": f"{prefix}-postgres",
        "memmachine_service": f"{prefix}-app",
        "neo4j_service": f"{prefix}-neo4j",
        "openai_secret": "tenant_model_api_key",
        "status": row["state"],
        "error_message": row["error"] or None,
        "created_at": row["created"] or row["changed"] or row["deleted"],
        "updated_at": row["changed"] or row["created"] or row["deleted"],
        "deleted_at": row["deleted"],
        "tenant": row["tenant"],
        "owner": row["owner"],
        "tier": row["tier"],
        "node": row["node"],
        "versions": json.dumps(row["versions"], sort_keys=True),
        "last_activity": row["last_activity"],
    }


def one_each(
    rows: Iterable[Mapping[str, Any]], homes: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """One row a tenant: nodes where it was before have one, too.

    That of the node which the inventory names, and no other: this may be one that did not answer.
    Of a tenant without an entry, one that is not deleted, else the latest.

    :param homes: the nodes of the inventory's tenants, by uid.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        uid = str(row["uid"])
        if homes.get(uid, row["node"]) == row["node"]:
            found[uid] = max(found.get(uid, row), row, key=_present)
    return list(found.values())


def _present(row: Mapping[str, Any]) -> tuple[bool, str]:
    moments = (row["created"], row["changed"], row["deleted"])
    return row["state"] != "deleted", max(moment or "" for moment in moments)


def user_of(owner: str) -> str:
    """The user's id: the owner where that is one, else one made of it."""
    return _users_id(owner) or str(uuid.uuid5(_NAMESPACE, "owner:" + owner))


def _users_id(owner: str) -> str:
    """The owner where that is a user's id, else empty."""
    try:
        return str(uuid.UUID(owner))
    except ValueError:
        return ""


def as_status(state: str, checks: str) -> str:
    """A state as a table's checks allow it."""
    if not checks or f"'{state}'" in checks:
        return state
    return _NEAREST.get(state, "error")


def export_rows(url: str, rows: Iterable[Mapping[str, Any]], dry_run: bool = False) -> list[str]:
    """Have a row of each deployment in the table, in one transaction; instances that changed.

    :raises MemcloudError: without the address, which holds a password.
    """
    if not HAS_PSYCOPG:
        raise MemcloudError(
            "psycopg is missing in the interpreter that Ansible runs in: install "
            "requirements.txt of the collection"
        )
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            changed = _write(connection, [deployment(row) for row in rows])
            if dry_run:
                connection.rollback()
    except psycopg.Error as error:
        raise MemcloudError(
            f"database_url: the deployments cannot be written: {_without(str(error), url)}. "
            "Nothing was written"
        ) from None
    return changed


def _write(connection: Any, deployments: list[dict[str, Any]]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        if cursor.execute("SELECT to_regclass('deployments')").fetchone()[0] is None:
            cursor.execute(_CREATE)
            for index in _INDEXES:
                cursor.execute(index)
        columns = {name for (name,) in cursor.execute(_COLUMNS)}
        checks = " ".join(text for (text,) in cursor.execute(_CHECKS) if "status" in text)
        changed = []
        for values in deployments:
            values["status"] = as_status(values["status"], checks)
            known = {name: value for name, value in values.items() if name in columns}
            cursor.execute(_upsert(known, values["owner"]), list(known.values()))
            if cursor.rowcount:
                changed.append(values["instance_id"])
    return changed


def _upsert(values: Mapping[str, Any], owner: str) -> Any:
    """Insert, or update where something differs.

    :param owner: the tenant's, for a table that has no column of it.
    """
    # A row whose user is made of the owner may have been given its own one by the application.
    kept = _KEPT if _users_id(owner) else (*_KEPT, _USER)
    names = [name for name in values if name not in kept]
    return sql.SQL(
        "INSERT INTO deployments ({all}) VALUES ({marks}) ON CONFLICT (instance_id) DO UPDATE SET "
        "{sets} WHERE ({old}) IS DISTINCT FROM ({new})"
    ).format(
        all=sql.SQL(", ").join(map(sql.Identifier, values)),
        marks=sql.SQL(", ").join(sql.Placeholder() * len(values)),
        sets=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names
        ),
        old=sql.SQL(", ").join(sql.Identifier(TABLE, name) for name in names),
        new=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in names),
    )


def _without(text: str, url: str) -> str:
    """What the driver says, without the address and its password."""
    text = text.replace(url, "***")
    try:
        password = psycopg.conninfo.conninfo_to_dict(url).get("password")
    except psycopg.Error:
        return "it is no address of a PostgreSQL (postgresql://user:password@host:port/database)"
    return text.replace(str(password), "***") if password else text
