"""What a restore point says about itself, and what is refused: tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import (
    DUMP,
    SCHEMA,
    checksums,
    count_differences,
    damaged,
    parse_manifest,
    refusals,
    total,
)

UID = "0123456789abcdef"
TARGET = {
    "version": "0.4.0",
    "model": {"embedder_model": "m", "embedder_dimensions": 384, "language_model": "l"},
}
SERVERS = {"postgres": "17.6", "neo4j": "5.26.16"}
SOURCE = {"tenant": "acme", "uid": UID}


def manifest(**changes: Any) -> dict[str, Any]:
    made = {
        "schema": SCHEMA,
        "id": "aa",
        "taken": "2026-11-21T03:00:00Z",
        "tenant": "acme",
        "uid": UID,
        "version": "0.4.0",
        "alembic": "e8d4a37b69f2",
        "embedder": {"model": "m", "dimensions": 384},
        "servers": dict(SERVERS),
        "counts": {"episodes": {"ci/a": {"count": 2, "digest": "9"}}, "semantic": {}},
        "parts": {
            DUMP: {"sha256": "aa", "bytes": 1},
            "neo4j/databases/neo4j/neostore": {"sha256": "bb", "bytes": 1},
        },
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert parse_manifest(json.dumps(manifest()).encode(), "p") == manifest()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"{", "manifest cannot be read", id="cut off"),
        pytest.param(b"[]", "manifest cannot be read", id="something else"),
        pytest.param(json.dumps(manifest(schema=2)).encode(), "schema 2", id="newer"),
        pytest.param(json.dumps(manifest(uid=None)).encode(), "uid is missing", id="no uid"),
        pytest.param(
            json.dumps(manifest(parts={"neo4j/databases/x": {}})).encode(),
            "postgres.dump is missing",
            id="Neo4j only",
        ),
        pytest.param(
            json.dumps(manifest(parts={DUMP: {}})).encode(), "neo4j is missing", id="dump only"
        ),
    ],
)
def test_incomplete_points_are_named(raw: bytes, words: str) -> None:
    with pytest.raises(MemcloudError, match=words):
        parse_manifest(raw, "p")


@pytest.mark.parametrize(
    ("changes", "servers", "words"),
    [
        pytest.param({}, SERVERS, [], id="it fits"),
        pytest.param({"uid": "f" * 16, "tenant": "globex"}, SERVERS, ["globex"], id="foreign"),
        pytest.param({"version": "0.3.9"}, SERVERS, ["0.3.9", "-e version=0.3.9"], id="server"),
        pytest.param(
            {"embedder": {"model": "m", "dimensions": 3}}, SERVERS, ["3 dimensions"], id="embedder"
        ),
        pytest.param(
            {"servers": {"postgres": "18.0", "neo4j": "5.26.16"}},
            SERVERS,
            ["postgres 18.0"],
            id="newer PostgreSQL",
        ),
        pytest.param(
            {"servers": {"postgres": "16.2", "neo4j": "5.20.1"}}, SERVERS, [], id="older servers"
        ),
        pytest.param({}, {"postgres": "17.6", "neo4j": "4.4.1"}, ["neo4j 5.26.16"], id="old Neo4j"),
        pytest.param({}, {}, ["this node has none"], id="no image"),
    ],
)
def test_refusals(changes: dict[str, Any], servers: dict[str, str], words: list[str]) -> None:
    reasons = "; ".join(refusals(manifest(**changes), TARGET, SOURCE, servers))
    assert bool(reasons) is bool(words)
    for word in words:
        assert word in reasons


def test_every_reason_is_told_at_once() -> None:
    point = manifest(uid="f" * 16, version="0.3.9", embedder={"model": "x", "dimensions": 3})
    assert len(refusals(point, TARGET, SOURCE, SERVERS)) == 3


def test_files_are_compared_with_the_manifest(tmp_path: Path) -> None:
    store = tmp_path / "neo4j/databases/neo4j"
    store.mkdir(parents=True)
    (store / "neostore").write_text("store")
    (tmp_path / DUMP).write_text("dump")
    point = manifest(parts=checksums(str(tmp_path)))
    (tmp_path / "manifest.json").write_text(json.dumps(point))
    assert damaged(point, checksums(str(tmp_path))) == []
    (tmp_path / DUMP).write_text("Dump")
    (store / "neostore").rename(store / "other")
    assert damaged(point, checksums(str(tmp_path))) == [
        "neo4j/databases/neo4j/neostore is missing",
        "neo4j/databases/neo4j/other is not in the manifest",
        "postgres.dump has another checksum",
    ]


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        ({"ci/a": {"count": 2, "digest": "9"}}, []),
        ({"ci/a": {"count": 1, "digest": "9"}}, ["ci/a: 1 of 2 episodes"]),
        ({"ci/a": {"count": 2, "digest": "8"}}, ["ci/a: episodes with another content"]),
        ({}, ["ci/a: 0 of 2 episodes"]),
        (
            {"ci/a": {"count": 2, "digest": "9"}, "ci/b": {"count": 1, "digest": "1"}},
            ["ci/b: 1 of 0 episodes"],
        ),
    ],
)
def test_counts(found: dict[str, Any], problems: list[str]) -> None:
    assert count_differences(manifest()["counts"], {"episodes": found}) == problems
    assert total({"episodes": found}) == sum(entry["count"] for entry in found.values())
