# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a portable archive: a tar with a manifest in front and checksums in it.

See docs/portability.md for its layout.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import (
    PortableError,
    file_sha256,
)

FORMAT = "memcloud-portable"
SCHEMA = 1
MANIFEST = "manifest.json"
MEMORIES = "memories.ndjson"
# The native dumps beside it are for those who run their own databases; an import leaves them.
POSTGRES_DUMP = "postgres.dump"
NEO4J_DUMP = "neo4j.dump"
_KNOWN = (MEMORIES, POSTGRES_DUMP, NEO4J_DUMP)
_LONGEST_MANIFEST = 256 * 1024**2
# What reading a file that is no archive, or a part of one, ends with.
_BROKEN = (EOFError, ValueError, tarfile.TarError, zlib.error)


def pack(directory: str, names: Iterable[str], about: Mapping[str, Any], target: str) -> None:
    """Write the archive of files of a directory; it gets its name when it is whole.

    :param about: what the manifest says beside the files and their checksums.
    """
    names = list(names)
    files: dict[str, dict[str, Any]] = {
        name: {
            "bytes": os.path.getsize(os.path.join(directory, name)),
            "sha256": file_sha256(os.path.join(directory, name)),
        }
        for name in names
    }
    manifest = {"format": FORMAT, "schema": SCHEMA, **about, "files": files}
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    scratch = target + ".part"
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=4) as archive:
                _add(archive, MANIFEST, io.BytesIO(text), len(text))
                for name in names:
                    with open(os.path.join(directory, name), "rb") as source:
                        _add(archive, name, source, files[name]["bytes"])
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, target)
    finally:
        if os.path.exists(scratch):
            os.unlink(scratch)


def _add(archive: tarfile.TarFile, name: str, source: Any, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    archive.addfile(entry, source)


def read_manifest(path: str) -> dict[str, Any]:
    """The manifest of an archive.

    :raises PortableError: when the file is no archive that this version reads.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            entry = archive.next()
            if entry is None or entry.name != MANIFEST or entry.size > _LONGEST_MANIFEST:
                raise ValueError(f"{MANIFEST} is not its first file")
            source = archive.extractfile(entry)
            manifest = json.loads(source.read() if source else b"")
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}")
        if int(manifest["schema"]) > SCHEMA:
            raise ValueError(
                f"its schema {manifest['schema']} is newer than {SCHEMA}: use a newer collection"
            )
        missing = {"version", "projects"} - set(manifest)
        if missing or "sha256" not in manifest["files"][MEMORIES]:
            raise ValueError(f"its manifest is incomplete ({', '.join(sorted(missing))})")
    except (*_BROKEN, OSError, KeyError, TypeError) as error:
        why = str(error).partition(":\n")[0]  # tarfile lists every way that it tried
        raise PortableError(f"{path} is no portable archive of a tenant: {why}") from error
    return dict(manifest)


def unpack_memories(path: str, directory: str, manifest: Mapping[str, Any]) -> str:
    """Write the archive's memories into a directory, once every file's checksum was found right.

    :raises PortableError: when the archive is damaged.
    """
    target = os.path.join(directory, MEMORIES)
    wanted = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    found: dict[str, str] = {}
    try:
        with gzip.open(path, "rb") as raw:
            with tarfile.open(fileobj=raw, mode="r:") as archive:
                for entry in archive:
                    if entry.name == MANIFEST:
                        continue
                    if entry.name not in _KNOWN or not entry.isfile():
                        raise ValueError(f"it has {entry.name!r}, which no archive has")
                    source = archive.extractfile(entry)
                    if source is not None:
                        wanted_here = entry.name == MEMORIES
                        found[entry.name] = _take(source, target if wanted_here else "")
            _take(raw, "")  # to its end, where its own checksum is
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise PortableError(f"{path} is damaged: {error}. Export it again") from error
    wrong = sorted(name for name in wanted if found.get(name) != wanted[name])
    if wrong or set(found) - set(wanted):
        raise PortableError(
            f"{path} is damaged: {', '.join(wrong) or 'a file'} is not what the manifest says. "
            "Export it again"
        )
    return target


def _take(source: Any, target: str) -> str:
    """Copy a file (nowhere with an empty target) and return its SHA-256."""
    total = hashlib.sha256()
    with open(target or os.devnull, "wb") as stream:
        for piece in iter(lambda: source.read(1 << 20), b""):
            total.update(piece)
            stream.write(piece)
    return total.hexdigest()


def older(version: str, than: str) -> bool:
    """Whether a server's version is older than another one's."""

    def numbers(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)[:3]]

    return numbers(version) < numbers(than)
