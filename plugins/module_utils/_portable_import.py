# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of an archive into a MemMachine server: each memory once, whatever happens on the way.

What a batch could store twice is found by asking the server for the batch's time span, so nothing
has to be kept in memory, and an import can be repeated with or without its cursor.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import (
    ApiError,
    MemoryServer,
    Project,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import (
    BATCH,
    Batch,
    Memory,
    PortableError,
    batches,
    feature_of,
    fingerprint,
    memory_of,
    set_type_of,
)

# A server goes on with a request whose sender was killed: seconds after which it is through.
SETTLE_SECONDS = 30.0
_ATTEMPTS = 4


@dataclass
class Cursor:
    """How far an import is; written before and after each batch.

    :param position: byte up to which every line is stored.
    :param sending: when the batch behind the position was sent; 0 when none is under way.
    :param before: ids that the server had in that batch's time span before.
    :param fresh: whether the project at the position had no memory before the import.
    """

    path: str
    archive: str
    position: int = 0
    sending: float = 0.0
    project: list[str] = field(default_factory=list)
    fresh: bool = False
    before: list[str] = field(default_factory=list)
    added: int = 0
    present: int = 0

    @classmethod
    def load(cls, path: str, archive: str) -> Cursor:
        """The cursor of an earlier run over the same archive, or a new one."""
        try:
            with open(path, encoding="utf-8") as stream:
                known = json.load(stream)
        except (FileNotFoundError, ValueError):
            known = {}
        if known.pop("archive", None) != archive:
            return cls(path, archive)
        return cls(path, archive, **known)

    @property
    def begun(self) -> bool:
        """Whether an earlier run may have stored something."""
        return bool(self.position or self.sending)

    def save(self) -> None:
        """Write it, whole or not at all."""
        known = {name: value for name, value in vars(self).items() if name != "path"}
        atomic_write(self.path, json.dumps(known), 0o600)


def import_memories(
    server: MemoryServer,
    path: str,
    cursor: Cursor,
    projects: Iterable[Mapping[str, Any]],
    *,
    size: int = BATCH,
    settle: float = SETTLE_SECONDS,
) -> dict[str, int]:
    """Store what the lines of a file say, and what the server does not have yet.

    Can be killed at any time and run again with the same cursor, or with a new one.

    :param projects: the manifest's projects.
    :returns: how many were ``added`` and how many were ``present``.
    """
    if cursor.position == 0:
        _prepare(server, projects)
    run = _Import(server, cursor, settle)
    with open(path, "rb") as stream:
        stream.seek(cursor.position)
        for batch in batches(stream, size):
            run.store(batch)
    return {"added": cursor.added, "present": cursor.present}


def _prepare(server: MemoryServer, projects: Iterable[Mapping[str, Any]]) -> None:
    """Projects with their descriptions, and the kinds of semantic sets of their organisations."""
    organisations: set[str] = set()
    for entry in projects:
        project = (str(entry["org"]), str(entry["project"]))
        if server.description(project) is None:
            server.create_project(project, str(entry.get("description") or ""))
        if project[0] in organisations:
            continue
        organisations.add(project[0])
        known = [_kind_key(set_type_of(kind)) for kind in server.set_types(project)]
        for kind in entry.get("set_types") or ():
            if _kind_key(kind) not in known:
                server.create_set_type(project, kind)


def _kind_key(kind: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    return bool(kind["org_level"]), tuple(sorted(kind["tags"]))


class _Import:
    """Stores batch after batch."""

    def __init__(self, server: MemoryServer, cursor: Cursor, settle: float) -> None:
        self._server = server
        self._cursor = cursor
        self._settle = settle

    def store(self, batch: Batch) -> None:
        """Have a batch in the server, and write down that it is."""
        cursor = self._cursor
        if cursor.project != list(batch.project):
            cursor.project = list(batch.project)
            cursor.fresh = self._server.count(batch.project) == 0
        for attempt in range(1, _ATTEMPTS + 1):
            again = bool(cursor.sending)
            if again:
                ago = max(0.0, time.time() - cursor.sending)  # the clock may have been set back
                time.sleep(max(0.0, self._settle - ago))
            try:
                if batch.semantic:
                    added = self._features(batch)
                else:
                    added = self._episodes(batch, again, 1 if attempt == _ATTEMPTS else BATCH)
                break
            except ApiError as error:
                refused = 400 <= error.status < 500 and error.status != 429
                if refused or attempt == _ATTEMPTS:
                    raise
                if error.status and cursor.sending:
                    cursor.sending = 1.0  # it answered: whatever it does about it is done
                time.sleep(attempt)
        cursor.position, cursor.sending = batch.end, 0.0
        cursor.added += added
        cursor.present += len(batch.memories) - added
        cursor.save()

    def _send(self) -> None:
        """Write down that from now on nobody knows what of the batch is stored."""
        self._cursor.sending = time.time()
        self._cursor.save()

    def _episodes(self, batch: Batch, again: bool, size: int) -> int:
        """Have the batch's memories stored, so many a request: equal times make it any length."""
        cursor = self._cursor
        found = list(_stored(self._server, batch)) if again or not cursor.fresh else []
        if again:
            # What came since may be half of a memory (a row without its vector): stored anew.
            mine, before = {fingerprint(memory) for memory in batch.memories}, set(cursor.before)
            new = [memory for memory in found if memory["id"] not in before]
            halves = [memory["id"] for memory in new if fingerprint(memory) in mine]
            self._server.delete(batch.project, halves)
            found = [memory for memory in found if memory["id"] in before]
        missing = _without(batch.memories, found)
        cursor.before = [memory["id"] for memory in found]
        if not missing:
            return 0
        self._send()
        for pending in (False, True):
            memories = [memory for memory in missing if bool(memory.get("pending")) is pending]
            # What semantic memory has worked on is in the archive: not to be derived again.
            types = ["episodic", "semantic"] if pending else ["episodic"]
            for begin in range(0, len(memories), size):
                self._add(batch.project, memories[begin : begin + size], types)
        return len(missing)

    def _add(self, project: Project, memories: list[Memory], types: list[str]) -> None:
        try:
            self._server.add(project, [_message(memory) for memory in memories], types)
        except ApiError as error:
            if len(memories) > 1:
                raise
            (memory,) = memories
            raise ApiError(
                f"{error}. It was asked to store memory {memory['id']} of {'/'.join(project)} "
                f"alone ({memory['timestamp']}, {len(memory['content'])} characters). If the model "
                "provider answers otherwise, it does not take this one, which no search finds "
                "where it is now either: have it deleted there, then run this again",
                error.status,
            ) from error

    def _features(self, batch: Batch) -> int:
        set_id, found = _features_of(self._server, batch)
        missing = _without(batch.memories, found)
        if missing:
            self._send()
        for memory in missing:
            self._server.add_feature(batch.project, set_id, memory)
        return len(missing)


def _features_of(server: MemoryServer, batch: Batch) -> tuple[str, Iterator[Memory]]:
    """The set of a batch of semantic memories, and what the server has in it."""
    kind = batch.memories[0]["set"]
    set_id = server.set_id(batch.project, kind["org_level"], kind["tags"])
    found = server.features(batch.project, set_id, kind["tags"])
    return set_id, (
        feature_of(batch.project, kind["org_level"], kind["tags"], feature) for feature in found
    )


def _message(memory: Memory) -> dict[str, Any]:
    return {
        "content": memory["content"],
        "producer": memory["producer"],
        "produced_for": memory["produced_for"],
        "timestamp": memory["timestamp"],
        "role": memory["role"],
        "metadata": memory["metadata"],
        "episode_type": memory["kind"],
    }


def _stored(server: MemoryServer, batch: Batch) -> Iterator[Memory]:
    """What the server has in the time span of a batch."""
    first, last = batch.memories[0]["timestamp"], batch.memories[-1]["timestamp"]
    for episode in server.episodes(batch.project, first, last):
        yield memory_of(batch.project, episode)


def _without(memories: Iterable[Memory], found: Iterable[Memory]) -> list[Memory]:
    """Those of the memories that are not among the found; two equal ones need two."""
    have = Counter(fingerprint(memory) for memory in found)
    missing = []
    for memory in memories:
        mark = fingerprint(memory)
        if have[mark] > 0:
            have[mark] -= 1
        else:
            missing.append(memory)
    return missing


# -- proof --------------------------------------------------------------------------------------


def prove_import(
    server: MemoryServer, path: str, projects: Iterable[Mapping[str, Any]], *, exact: bool
) -> list[dict[str, Any]]:
    """Hold every line against the server once more; the counts by project.

    :param exact: the server must have nothing else (a tenant that was empty before).
    :raises PortableError: when a memory is missing, or is there twice.
    """
    counts: Counter[tuple[Project, str]] = Counter()
    with open(path, "rb") as stream:
        for batch in batches(stream, 5 * BATCH):
            counts[batch.project, batch.memories[0]["type"]] += len(batch.memories)
            missing = _not_there(server, batch)
            if missing:
                name = "/".join(batch.project)
                raise PortableError(
                    f"{name}: {len(missing)} of {len(batch.memories)} memories did not arrive, "
                    f"the first is {missing[0]['id']} of the archive"
                )
    told = []
    for entry in projects:
        project = (str(entry["org"]), str(entry["project"]))
        episodic, now = counts[project, "episodic"], server.count(project)
        if episodic != entry["episodic"] or (exact and now != episodic):
            raise PortableError(
                f"{project[0]}/{project[1]}: the manifest says {entry['episodic']} memories, the "
                f"archive has {episodic}, the server {now}: they must be the same"
            )
        told.append(
            {
                "org": project[0],
                "project": project[1],
                "archived": episodic,
                "stored": now,
                "semantic": counts[project, "semantic"],
            }
        )
    return told


def switch_off(server: MemoryServer, projects: Iterable[Mapping[str, Any]]) -> None:
    """Switch off what was off in each project, once its memories are where they belong."""
    for entry in projects:
        off = entry.get("switched_off") or ()
        if off:
            server.switch((str(entry["org"]), str(entry["project"])), dict.fromkeys(off, False))


def _not_there(server: MemoryServer, batch: Batch) -> list[Memory]:
    if not batch.semantic:
        return _without(batch.memories, _stored(server, batch))
    _set_id, found = _features_of(server, batch)
    return _without(batch.memories, found)
