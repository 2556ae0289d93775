"""The file of a portable archive: what is in it, and what is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._archive import (
    older,
    pack,
    read_manifest,
    unpack_memories,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import PortableError

ABOUT = {"tenant": "acme", "version": "0.4.0", "projects": []}


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "memories.ndjson").write_bytes(b'{"a": 1}\n' * 1000)
    (tmp_path / "postgres.dump").write_bytes(os.urandom(5000))
    path = str(tmp_path / "acme.tar.gz")
    pack(str(tmp_path), ["memories.ndjson", "postgres.dump"], ABOUT, path)
    return path


def rewrite(path, change):
    """The archive again, with files changed by name."""
    with tarfile.open(path) as source:
        files = {entry.name: source.extractfile(entry).read() for entry in source}
    change(files)
    with tarfile.open(path, "w:gz") as target:
        for name, raw in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            target.addfile(entry, io.BytesIO(raw))


def test_what_was_packed_comes_out_again(archive, tmp_path):
    manifest = read_manifest(archive)
    assert manifest["tenant"] == "acme" and manifest["files"]["postgres.dump"]["bytes"] == 5000
    out = tmp_path / "out"
    out.mkdir()
    with open(unpack_memories(archive, str(out), manifest), "rb") as stream:
        assert stream.read() == b'{"a": 1}\n' * 1000
    assert [path.name for path in out.iterdir()] == ["memories.ndjson"]  # a dump is not unpacked


def test_a_pack_that_fails_leaves_no_half_archive(tmp_path):
    with pytest.raises(FileNotFoundError):
        pack(str(tmp_path), ["memories.ndjson"], ABOUT, str(tmp_path / "acme.tar.gz"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.update({"memories.ndjson": b"other"}),
        lambda files: files.update({"postgres.dump": b"other"}),
        lambda files: files.pop("postgres.dump"),
        lambda files: files.update({"../../etc/passwd": b"x"}),
        lambda files: files.update({"neo4j.dump": b"not in the manifest"}),
    ],
)
def test_an_archive_that_was_changed_is_refused(archive, tmp_path, change):
    rewrite(archive, change)
    with pytest.raises(PortableError, match="damaged"):
        unpack_memories(archive, str(tmp_path), read_manifest(archive))


def test_a_byte_that_changed_is_found(archive, tmp_path):
    manifest = read_manifest(archive)
    with open(archive, "rb") as stream:
        raw = stream.read()
    for place in range(len(raw) // 4, len(raw) - 8, len(raw) // 20):
        with open(archive, "wb") as stream:
            stream.write(raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :])
        with pytest.raises(PortableError):
            unpack_memories(archive, str(tmp_path), manifest)


@pytest.mark.parametrize("length", [50, 500, 4000])
def test_an_archive_that_was_cut_is_refused(archive, tmp_path, length):
    manifest = read_manifest(archive)
    with open(archive, "rb+") as stream:
        stream.truncate(length)
    with pytest.raises(PortableError):
        unpack_memories(archive, str(tmp_path), {**manifest, **read_manifest(archive)})


@pytest.mark.parametrize(
    "change",
    [
        {"format": "something"},
        {"schema": 2},
        {"files": {}},
    ],
)
def test_an_archive_of_another_form_is_refused(archive, change):
    def edit(files):
        manifest = {**json.loads(files["manifest.json"]), **change}
        files["manifest.json"] = json.dumps(manifest).encode()

    rewrite(archive, edit)
    with pytest.raises(PortableError, match="no portable archive"):
        read_manifest(archive)


@pytest.mark.parametrize(
    ("version", "than", "wanted"),
    [("0.3.9", "0.4.0", True), ("0.4.0", "0.4.0", False), ("0.10.0", "0.4.0", False)],
)
def test_versions_are_compared_as_numbers(version, than, wanted):
    assert older(version, than) is wanted
