# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore point says about itself, and what may be restored from it. Pure.

A restore point is a directory: ``postgres.dump``, the store of Neo4j below ``neo4j/``, and
``manifest.json`` with the checksum of every file, which binds them together.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

SCHEMA = 1
MANIFEST = "manifest.json"
DUMP = "postgres.dump"
STORE = "neo4j"
# Without one of these it cannot be restored.
_NEEDED = ("id", "taken", "tenant", "uid", "version", "embedder", "servers", "counts", "parts")
_CHUNK = 1024 * 1024


def checksums(directory: str) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below a directory but the manifest, by relative path."""
    found: dict[str, dict[str, Any]] = {}
    for path, _directories, files in os.walk(directory):
        for name in files:
            whole = os.path.join(path, name)
            relative = os.path.relpath(whole, directory)
            if relative == MANIFEST:
                continue
            digest = hashlib.sha256()
            size = 0
            with open(whole, "rb") as stream:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    digest.update(chunk)
                    size += len(chunk)
            found[relative] = {"sha256": digest.hexdigest(), "bytes": size}
    return found


def parse_manifest(raw: bytes, point: str) -> dict[str, Any]:
    """The manifest of a restore point.

    :raises MemcloudError: when it is none, or one of a newer version of this collection.
    """
    try:
        manifest = json.loads(raw)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise MemcloudError(f"restore point {point} is incomplete: its manifest cannot be read")
    if manifest.get("schema") != SCHEMA:
        raise MemcloudError(
            f"restore point {point} has a manifest of schema {manifest.get('schema')!r}, this "
            f"version of the collection reads {SCHEMA}: use the version that made it"
        )
    missing = [name for name in _NEEDED if not manifest.get(name) and name != "counts"]
    parts = manifest.get("parts") or {}
    if DUMP not in parts:
        missing.append(DUMP)
    if not any(name.startswith(STORE + "/") for name in parts):
        missing.append(STORE)
    if missing:
        raise MemcloudError(
            f"restore point {point} is incomplete: {', '.join(missing)} is missing. Take another "
            "one (list_backups shows them)"
        )
    return manifest


def refusals(
    manifest: Mapping[str, Any],
    target: Mapping[str, Any],
    source: Mapping[str, str],
    servers: Mapping[str, str],
) -> list[str]:
    """Why a restore point must not be restored into a tenant; empty when it may.

    :param target: the tenant's inputs.
    :param source: name and uid of the tenant whose restore point it should be.
    :param servers: versions of PostgreSQL and Neo4j on the node.
    """
    reasons = []
    if manifest["uid"] != source["uid"]:
        reasons.append(
            f"it is of tenant {manifest['tenant']} (uid {manifest['uid']}), not of "
            f"{source['tenant']} (uid {source['uid']}): name its tenant with -e source="
            f"{manifest['tenant']}"
        )
    if manifest["version"] != target["version"]:
        reasons.append(
            f"its data is of MemMachine {manifest['version']} (Alembic revision "
            f"{manifest.get('alembic') or 'none'}), which MemMachine {target['version']} may not "
            f"be able to read: set tenant_version to {manifest['version']} for the restore "
            f"(-e version={manifest['version']})"
        )
    model = target["model"]
    wanted = {"model": model["embedder_model"], "dimensions": model["embedder_dimensions"]}
    if manifest["embedder"] != wanted:
        known = manifest["embedder"]
        reasons.append(
            f"its vectors are of {known['model']} ({known['dimensions']} dimensions), the tenant "
            f"has {wanted['model']} ({wanted['dimensions']}): set tenant_embedder_model and "
            "tenant_embedder_dimensions to what the restore point has"
        )
    for server, version in sorted(manifest["servers"].items()):
        here = servers.get(server, "")
        if _older(server, here, version):
            reasons.append(
                f"it was made by {server} {version}, this node has {here or 'none'}, which cannot "
                "read it: run setup_node with the newer image first"
            )
    return reasons


def _older(server: str, here: str, there: str) -> bool:
    """Whether a server is too old for the data of another one.

    A dump of PostgreSQL can be read by any later major version, a store of Neo4j by the same
    minor version or a later one of the same major.
    """
    if not there:
        return False
    mine, its = _numbers(here), _numbers(there)
    if server == "postgres":
        return mine[:1] < its[:1]
    return mine[:1] != its[:1] or mine[:2] < its[:2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def damaged(manifest: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What of the restored files is not what the manifest says: missing, changed, foreign."""
    wanted = manifest["parts"]
    problems = [f"{name} is missing" for name in sorted(set(wanted) - set(found))]
    problems += [f"{name} is not in the manifest" for name in sorted(set(found) - set(wanted))]
    problems += [
        f"{name} has another checksum"
        for name in sorted(set(wanted) & set(found))
        if wanted[name]["sha256"] != found[name]["sha256"]
    ]
    return problems


def count_differences(
    wanted: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Every project whose memories are not those that the manifest counts."""
    problems = []
    for kind in ("episodes", "semantic"):
        before, after = wanted.get(kind) or {}, found.get(kind) or {}
        for project in sorted({*before, *after}):
            was, now = before.get(project) or {}, after.get(project) or {}
            if was.get("count", 0) != now.get("count", 0):
                problems.append(f"{project}: {now.get('count', 0)} of {was.get('count', 0)} {kind}")
            elif was.get("digest") != now.get("digest"):
                problems.append(f"{project}: {kind} with another content")
    return problems


def total(counts: Mapping[str, Mapping[str, Any]], kind: str = "episodes") -> int:
    """How many memories of a kind all projects have."""
    return sum(int(entry["count"]) for entry in (counts.get(kind) or {}).values())
