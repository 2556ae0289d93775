# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories of a tenant as lines of JSON: written out of a server, read again.

The server makes the ids, so an id says nothing in another server. What makes two memories the same
here is everything else: project, time, producer, role, content, metadata, type (a fingerprint).
Lines of a project are ordered by time and a batch never ends between equal times, so that equal
memories are always in one batch. See docs/portability.md; importing is in _portable_import.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import (
    MemoryServer,
    Project,
    timestamp,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import (
    PROBE_ORGANISATION,
    PROBE_PROJECT,
)

BATCH = 100
_PROBE: Project = (PROBE_ORGANISATION, PROBE_PROJECT)
_IDENTITY = (
    "org",
    "project",
    "timestamp",
    "producer",
    "produced_for",
    "role",
    "kind",
    "content",
    "metadata",
)
_SEMANTIC_IDENTITY = ("category", "tag", "feature", "value", "metadata")

Memory = dict[str, Any]


class PortableError(MemcloudError):
    """An archive that cannot be used, or memories that did not arrive."""


def fingerprint(memory: Mapping[str, Any]) -> bytes:
    """What makes a memory the same in two servers."""
    names = _SEMANTIC_IDENTITY if memory["type"] == "semantic" else _IDENTITY
    text = json.dumps([memory[name] for name in names], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


# -- export -------------------------------------------------------------------------------------


def export_memories(
    server: MemoryServer,
    stream: BinaryIO,
    *,
    more_projects: Iterable[Project] = (),
    deleted: Iterable[Project] = (),
    pending: frozenset[str] = frozenset(),
    more_sets: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Write every memory of every project as a line; what was written, by project.

    :param more_projects: projects that the server's list may leave out (it names those with a
        session; memories stored for semantic memory alone have none).
    :param deleted: projects that are being deleted: what is still there of them is left out.
    :param pending: ids of memories that semantic memory has not worked on yet.
    :param more_sets: ids of semantic sets to which perhaps no memory leads any more.
    """
    projects = sorted({*server.projects(), *more_projects} - {_PROBE, *deleted})
    told: list[dict[str, Any]] = []
    seen_sets: set[str] = set()
    kinds: dict[str, list[dict[str, Any]]] = {}
    for project in projects:
        org = project[0]
        if org not in kinds:
            kinds[org] = [set_type_of(entry) for entry in server.set_types(project)]
        tags = {tag for kind in kinds[org] for tag in kind["tags"]} - {"producer_id"}
        scopes: set[tuple[tuple[str, str], ...]] = {()}
        episodes = 0
        for episode in server.episodes(project):
            memory = memory_of(project, episode)
            if memory["id"] in pending:
                memory["pending"] = True
            own = {tag: str(memory["metadata"][tag]) for tag in tags if tag in memory["metadata"]}
            own["producer_id"] = memory["producer"]
            scopes.add(tuple(sorted(own.items())))
            _write(stream, memory)
            episodes += 1
        semantic = 0
        for memory in _semantic(server, project, sorted(scopes), seen_sets):
            _write(stream, memory)
            semantic += 1
        told.append(
            {
                "org": org,
                "project": project[1],
                "description": server.description(project) or "",
                "switched_off": _switched_off(server, project),
                "set_types": kinds[org],
                "episodic": episodes,
                "semantic": semantic,
            }
        )
    for entry in told:
        project = (entry["org"], entry["project"])
        for set_id in sorted(set(more_sets) - seen_sets):
            scope = _scope_of(server, project, entry["set_types"], set_id)
            for memory in _semantic(server, project, [scope] if scope else [], seen_sets):
                _write(stream, memory)
                entry["semantic"] += 1
    return told


def _switched_off(server: MemoryServer, project: Project) -> list[str]:
    return sorted(name for name, on in server.switches(project).items() if not on)


def _scope_of(
    server: MemoryServer, project: Project, kinds: Iterable[Mapping[str, Any]], set_id: str
) -> tuple[tuple[str, str], ...]:
    """The tags of a set, read out of its id and confirmed by the server; empty when it has none."""
    for kind in kinds:
        tags = sorted(kind["tags"])
        pattern = "__" + "_".join(f"{re.escape(tag)}_(.*)" for tag in tags) + r"\Z"
        found = re.search(pattern, set_id, re.DOTALL)
        if found and tags:
            scope = dict(zip(tags, found.groups()))
            if server.set_id(project, kind["org_level"], scope) == set_id:
                return tuple(sorted(scope.items()))
    return ()


def memory_of(project: Project, episode: Mapping[str, Any]) -> Memory:
    """The line of a memory that a server listed."""
    return {
        "type": "episodic",
        "org": project[0],
        "project": project[1],
        "id": str(episode["uid"]),
        "timestamp": timestamp(episode["created_at"]),
        "producer": episode["producer_id"],
        "produced_for": episode.get("produced_for_id") or "",
        "role": episode["producer_role"],
        "kind": episode.get("episode_type") or "message",
        "content": episode["content"],
        "metadata": episode.get("metadata") or {},
    }


def _semantic(
    server: MemoryServer,
    project: Project,
    scopes: Iterable[tuple[tuple[str, str], ...]],
    seen: set[str],
) -> Iterator[Memory]:
    """The semantic memories of all sets that a project's memories belong to, each set once."""
    for scope in scopes:
        for entry in server.sets(project, dict(scope)):
            if entry["id"] in seen:
                continue
            seen.add(entry["id"])
            tags = {tag: value for tag, value in scope if tag in entry["tags"]}
            for feature in server.features(project, entry["id"], tags):
                yield feature_of(project, bool(entry["is_org_level"]), tags, feature)


def feature_of(
    project: Project, org_level: bool, tags: Mapping[str, str], feature: Mapping[str, Any]
) -> Memory:
    details = feature.get("metadata") or {}
    return {
        "type": "semantic",
        "org": project[0],
        "project": project[1],
        "id": str(details.get("id") or ""),
        "set": {"org_level": org_level, "tags": dict(tags)},
        "category": feature["category"],
        "tag": feature["tag"],
        "feature": feature["feature_name"],
        "value": feature["value"],
        "metadata": details.get("other") or {},
    }


def set_type_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "org_level": bool(entry["is_org_level"]),
        "tags": list(entry["tags"]),
        "name": entry.get("name"),
        "description": entry.get("description"),
    }


def _write(stream: BinaryIO, memory: Memory) -> None:
    line = json.dumps(memory, ensure_ascii=False, sort_keys=True)
    stream.write(line.encode("utf-8", "surrogatepass") + b"\n")


# -- reading an archive -------------------------------------------------------------------------


@dataclass
class Batch:
    """Lines that are stored together: of one project and type, or of one semantic set."""

    memories: list[Memory]
    begin: int
    end: int

    @property
    def semantic(self) -> bool:
        """Whether these are semantic memories."""
        return bool(self.memories[0]["type"] == "semantic")

    @property
    def project(self) -> Project:
        """The project of all of them."""
        return self.memories[0]["org"], self.memories[0]["project"]


def batches(stream: BinaryIO, size: int = BATCH) -> Iterator[Batch]:
    """The lines from where the stream is, in batches.

    Memories of the same time are never parted, nor are those of a semantic set.

    :raises PortableError: when a line cannot be read, or the order of times is not kept.
    """
    batch: Batch | None = None
    position = stream.tell()
    for line in stream:
        begin, position = position, position + len(line)
        memory = _parse(line, begin)
        if batch is not None and _together(batch, memory, size):
            batch.memories.append(memory)
            batch.end = position
            continue
        if batch is not None:
            yield batch
        batch = Batch([memory], begin, position)
    if batch is not None:
        yield batch


def _parse(line: bytes, begin: int) -> Memory:
    try:
        memory: Memory = json.loads(line.decode("utf-8", "surrogatepass"))
        if memory["type"] == "episodic":
            memory["timestamp"] = timestamp(memory["timestamp"])
        fingerprint(memory)
        for name in ("org", "project"):
            if name not in memory:
                raise ValueError(f"it has no {name}")
        return memory
    except (ValueError, KeyError, TypeError) as error:
        raise PortableError(
            f"memories.ndjson: the line at byte {begin} is no memory ({error}): the archive was "
            "changed or cut; export it again"
        ) from error


def _together(batch: Batch, memory: Memory, size: int) -> bool:
    last = batch.memories[-1]
    if (memory["type"], memory["org"], memory["project"]) != (
        last["type"],
        last["org"],
        last["project"],
    ):
        return False
    if batch.semantic:
        return bool(memory["set"] == last["set"])
    if memory["timestamp"] < last["timestamp"]:
        raise PortableError(
            f"memories.ndjson: {memory['org']}/{memory['project']}: {memory['timestamp']} stands "
            f"behind {last['timestamp']}: lines of a project are ordered by time; export it again"
        )
    return memory["timestamp"] == last["timestamp"] or len(batch.memories) < size


def file_sha256(path: str) -> str:
    """SHA-256 of a file, read in pieces."""
    total = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            total.update(piece)
    return total.hexdigest()
