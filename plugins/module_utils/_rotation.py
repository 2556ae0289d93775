# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New passwords for a tenant's databases.

PostgreSQL takes its passwords from its files whenever it starts. Neo4j reads the one in auth.ini
once in its life, so it is told: with a password that it knows, or, where none of those that it may
have is right, by taking its users away, which makes it read auth.ini again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._bolt import Bolt, BoltError

# Among a tenant's secrets: passwords that Neo4j may have had before, with blanks between them.
NEO4J_BEFORE = "neo4j_before"
ANSWER_SECONDS = 120.0
_POLL_SECONDS = 0.2
# Where Neo4j keeps users and nothing of a tenant's memories.
_USERS = ("databases/system", "transactions/system")
_SET_PASSWORD = "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED"


def version_of(tenant: Mapping[str, Any]) -> dict[str, int]:
    """What decides the passwords that a tenant should have."""
    return {"root_key": int(tenant["root_key"]["version"]), "epoch": int(tenant["secret_epoch"])}


def present_version(
    record: Mapping[str, Any], generation: int | None = None
) -> dict[str, int] | None:
    """What decided the password that Neo4j has; None when it has none yet, empty when not known.

    :param generation: on which volumes it is about to run; on those of the record when None.
    """
    known = record.get("passwords")
    if known is None:
        return {"root_key": 1, "epoch": 1} if record.get("files") else None
    known = dict(known)
    # An operation has replaced it on volumes that it tried alone.
    changed = known.pop("generation", None)
    present = int(record.get("generation") or 1)
    return known if changed in (None, present, generation) else {}


def is_due(
    tenant: Mapping[str, Any], record: Mapping[str, Any], generation: int | None = None
) -> bool:
    """Whether Neo4j has, or may have, another password than it should have.

    :param generation: as for :func:`present_version`.
    """
    return present_version(record, generation) not in (None, version_of(tenant))


def words_of(version: Mapping[str, Any] | None) -> str:
    """A version of the passwords as people read it."""
    if not version:
        return "none" if version is None else "not known"
    return f"epoch {version['epoch']} of root key {version['root_key']}"


def set_neo4j_password(
    host: str,
    password: str,
    candidates: Sequence[str],
    connect: Callable[[str, str], Bolt] = Bolt,
    seconds: float = ANSWER_SECONDS,
) -> bool:
    """Give a Neo4j its password, once it answers; whether a known one could be used.

    :param candidates: passwords that it may have, the most probable first.
    :raises BoltError: when it does not answer, or refuses the new password.
    """
    deadline = time.monotonic() + seconds
    for candidate in dict.fromkeys([*candidates, password]):
        connection = _log_on(host, candidate, connect, deadline)
        if connection is not None:
            with connection:
                if candidate != password:
                    connection.run(_SET_PASSWORD, {"password": password}, "system")
            return True
    return False


def _log_on(
    host: str, password: str, connect: Callable[[str, str], Bolt], deadline: float
) -> Bolt | None:
    """A connection, or None when the password is wrong; waits for a server that starts."""
    while True:
        try:
            return connect(host, password)
        except BoltError as error:
            if error.is_wrong_password:
                return None
            # It may be starting, or want some seconds of peace after wrong passwords.
            if time.monotonic() >= deadline:
                raise
        time.sleep(_POLL_SECONDS)


def forget_neo4j_users(volume: str, auth_ini: str) -> None:
    """Make a Neo4j that is stopped read its first password again. Its data is not touched.

    :param volume: where its volume is on the node's disk.
    :param auth_ini: the file with the password.
    """
    data = os.path.join(volume, "neo4j")
    owner = os.stat(data)
    target = os.path.join(data, "dbms", "auth.ini")
    shutil.copyfile(auth_ini, target)
    os.chmod(target, 0o600)
    os.chown(target, owner.st_uid, owner.st_gid)
    for part in _USERS:
        shutil.rmtree(os.path.join(data, part), ignore_errors=True)
