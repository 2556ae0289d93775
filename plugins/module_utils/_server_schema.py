# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a MemMachine server reads of its database, and what a database holds.

A server image is asked once: its own interpreter loads its models and the revisions of its
migrations, without network and without a database. The answer is kept on the node.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import read_json
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import (
    INTERPRETER,
    CommandFailed,
    run_in_image,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import sha256

# Tables of the models, revisions of the migrations, which tables the migrations look after, and
# which columns the server itself adds when it starts. It makes all other tables when they are
# missing, and never changes them.
_SCRIPT = r"""
import importlib, importlib.util, json, os, re, sys
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql

names = ("memmachine_server", "memmachine")
home = next(
    spec.submodule_search_locations[0] for spec in map(importlib.util.find_spec, names) if spec
)
dialect, tables, adds, revisions, texts = postgresql.dialect(), {}, {}, {}, ""
for directory, _directories, files in os.walk(home):
    for file in sorted(name for name in files if name.endswith(".py")):
        path = os.path.join(directory, file)
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        if os.path.basename(directory) == "versions" and re.search(r"^revision\b", text, re.M):
            spec = importlib.util.spec_from_file_location("revision_" + str(len(revisions)), path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            down = module.down_revision or ()
            revisions[module.revision] = [down] if isinstance(down, str) else list(down)
            texts += text
        elif "__tablename__" in text:
            name = os.path.relpath(path, os.path.dirname(home))[:-3].replace(os.sep, ".")
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue  # a store whose library this image lacks
            for value in list(vars(module).values()):
                metadata = getattr(value, "metadata", None)
                if isinstance(metadata, MetaData):
                    tables.update(metadata.tables)
                    added = re.findall(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+)", text)
                    for table in metadata.tables.values():
                        adds[table.name] = [name for name in added if name in table.columns]
print(json.dumps({
    "python": sys.version.split()[0],
    "revisions": revisions,
    "tables": {
        name: {column.name: column.type.compile(dialect) for column in table.columns}
        for name, table in tables.items()
    },
    "adds": {name: columns for name, columns in adds.items() if columns},
    "migrated": [name for name in tables if '"%s"' % name in texts],
}))
"""
_TABLES = """
SELECT coalesce(json_object_agg(name, columns), '{}') FROM (
  SELECT c.relname AS name, json_object_agg(a.attname, json_build_object(
    'type', format_type(a.atttypid, NULL),
    'required', a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND a.attnum > 0 AND NOT a.attisdropped
  GROUP BY c.relname) AS found
"""
_REVISIONS = "SELECT coalesce(json_agg(version_num), '[]') FROM alembic_version"
# SQLAlchemy's spelling of types, where PostgreSQL has another one.
_SPELLINGS = {
    "varchar": "character varying",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "float": "double precision",
    "float8": "double precision",
    "int": "integer",
    "int4": "integer",
    "bool": "boolean",
}


@dataclass(frozen=True)
class Column:
    """A column that exists; ``required`` when a row cannot be stored without a value for it."""

    type: str
    required: bool = False


@dataclass(frozen=True)
class Server:
    """What a server version makes of a database.

    :param revisions: every revision its migrations know, with those that come before it.
    :param tables: type of each column by table, as its models want them.
    :param adds: columns by table that it adds by itself, beside its migrations.
    :param migrated: the tables that its migrations change where they are out of date.
    """

    version: str
    python: str
    revisions: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, Mapping[str, str]]
    adds: Mapping[str, tuple[str, ...]]
    migrated: frozenset[str]

    def heads(self) -> frozenset[str]:
        """The revisions to which its migrations bring a database."""
        before = {parent for parents in self.revisions.values() for parent in parents}
        return frozenset(self.revisions) - before


@dataclass(frozen=True)
class Database:
    """What a tenant's database holds: revisions of the migrations, and tables."""

    revisions: frozenset[str]
    tables: Mapping[str, Mapping[str, Column]]


def type_name(text: str) -> str:
    """One spelling of a column's type, without length."""
    name = text.lower().partition("(")[0].strip()
    return _SPELLINGS.get(name, name)


def server_of(version: str, described: Mapping[str, Any]) -> Server:
    """A server version from what its image said."""
    return Server(
        version=version,
        python=str(described["python"]),
        revisions={name: tuple(parents) for name, parents in described["revisions"].items()},
        tables={
            table: {name: type_name(kind) for name, kind in columns.items()}
            for table, columns in described["tables"].items()
        },
        adds={table: tuple(columns) for table, columns in described["adds"].items()},
        migrated=frozenset(described["migrated"]),
    )


def describe_server(client: Any, checked: str, image: str, version: str) -> Server:
    """Ask a server image what it reads; once for each image, the answer is kept.

    :param checked: the node's directory of things that were found out.
    :param image: id of the image.
    """
    kept = os.path.join(checked, f"schema-{sha256(image + _SCRIPT)[:32]}.json")
    described = read_json(kept)
    if described is None:
        try:
            said = run_in_image(client, image, ["-I", "-c", _SCRIPT], entrypoint=[INTERPRETER])
            described = json.loads(said.strip().splitlines()[-1])
        except (CommandFailed, ValueError, IndexError) as error:
            raise MemcloudError(
                f"the image of MemMachine {version} does not say which database it reads, so "
                f"nobody can tell what an update to it would do: {error}"
            ) from error
        atomic_write(kept, json.dumps(described, sort_keys=True) + "\n", 0o600)
    return server_of(version, described)


def read_database(query: Callable[[str], str]) -> Database:
    """What a tenant's database holds.

    :param query: asks the database one query and gives back the one value of its answer.
    """
    tables = {
        table: {
            name: Column(type_name(column["type"]), bool(column["required"]))
            for name, column in columns.items()
        }
        for table, columns in json.loads(query(_TABLES)).items()
    }
    known = "alembic_version" in tables
    return Database(frozenset(json.loads(query(_REVISIONS)) if known else ()), tables)
