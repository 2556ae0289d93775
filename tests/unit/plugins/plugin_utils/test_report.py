# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import (
    journal_table,
    page,
    size,
    stated,
    stats_table,
    table,
)


def container(role: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"mc-acme-{role}",
        "health": "answers",
        "version": "1.0",
        "memory_bytes": 100 * 1024**2,
        "memory_limit_bytes": 200 * 1024**2,
        "addresses": {"a": "10.0.0.3", "b": "10.0.0.2"},
        "restarts": 0,
        "out_of_memory": False,
        **changes,
    }


def tenant(**changes: Any) -> dict[str, Any]:
    return {
        "tenant": "acme",
        "state": "running",
        "wanted": "running",
        "tier": "free",
        "version": "0.4.0",
        "running_version": "0.3.9",
        "node": "node1",
        "endpoint": "https://acme.example.com",
        "owner": "",
        "uid": "u1",
        "keys": [{"name": "default", "expires": None}, {"name": "ci", "expires": "2027"}],
        "containers": {role: container(role) for role in ("postgres", "neo4j", "app")},
        "healthy": True,
        "memory_bytes": 300 * 1024**2,
        "disk_bytes": 5 * 1024**2,
        "storage_bytes": 1024**3,
        "addresses": {"app": "10.0.0.18"},
        "drift": [],
        "error": None,
        **changes,
    }


def cells(tenants: list[dict[str, Any]]) -> list[list[str]]:
    lines = table(tenants).splitlines()
    starts = [lines[0].index(name) for name in lines[0].split()]
    return [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in lines[1:]
    ]


def test_a_line_a_tenant_with_columns_in_line() -> None:
    rows = cells([tenant(), tenant(tenant="a-long-name", drift=["x", "y"], healthy=False)])
    assert rows[0] == [
        "acme", "running", "free", "0.3.9", "node1", "ok", "300M/600M", "5.0M/1.0G", "-",
        "https://acme.example.com",
    ]  # fmt: skip
    assert rows[1][0] == "a-long-name"
    assert rows[1][8] == "2"


def test_the_table_says_whose_node_has_other_images_now() -> None:
    outdated = tenant(outdated=["neo4j"])
    rows = cells([outdated, {**outdated, "drift": ["x"]}, {**outdated, "error": "node1 is full"}])
    assert [row[8] for row in rows] == ["update", "1, update", "error"]


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({"containers": {}}, "-"),
        ({"healthy": False, "containers": {}}, "-"),
        (
            {
                "healthy": False,
                "containers": {
                    "postgres": container("postgres"),
                    "app": container("app", health="exited (3)"),
                },
            },
            "neo4j missing, app exited (3)",
        ),
        (
            {
                "healthy": False,
                "containers": {"app": container("app", health="exited (0)")},
            },
            "stopped",
        ),
    ],
)
def test_health_in_a_word_or_two(changes: dict[str, Any], health: str) -> None:
    assert cells([tenant(**changes)])[0][5] == health


def test_no_tenant_and_a_tenant_that_cannot_be_read() -> None:
    assert table([]) == "There is no tenant."
    rows = cells([{"tenant": "acme", "state": "error", "error": "tenant_tier: unknown"}])
    assert rows[0][1] == "error"
    assert rows[0][8] == "error"


def test_a_page_says_everything_about_one() -> None:
    text = page(
        tenant(
            state="error",
            drift=["container x: is stopped"],
            outdated=["postgres", "neo4j"],
            error="node1 is full",
            containers={"app": container("app", restarts=2, out_of_memory=True)},
        )
    )
    for words in (
        "state     error (should be running)",
        "version   0.3.9",
        "keys      default, ci (until 2027)",
        "app 1.0: answers, container mc-acme-app, 100M of 200M, 10.0.0.2 10.0.0.3, 2 restarts,"
        " was out of memory",
        "drift: container x: is stopped",
        "update: its node has other images now for postgres, neo4j; see update_tenant",
        "error: node1 is full",
    ):
        assert words in text
    assert "owner" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.0K"), (15 * 1024, "15K"), (3 * 1024**4, "3072G")],
)
def test_sizes_are_short(value: int, text: str) -> None:
    assert size(value) == text


def test_what_the_inventory_says_has_no_hash_of_a_key() -> None:
    inputs = {
        **{name: name for name in ("tenant", "uid", "owner", "tier", "version", "hostname")},
        "endpoint": "https://x",
        "state": "running",
        "storage": 5,
        "keys": [{"name": "default", "sha256": "abc", "expires": None}],
    }
    told = stated(inputs, "node1")
    assert told["wanted"] == "running"
    assert told["keys"] == [{"name": "default", "expires": None}]
    assert "abc" not in repr(told)
    documented = (Path(__file__).parents[4] / "docs/registry.md").read_text()
    assert set(told) <= set(re.findall(r"`(\w+)`", documented))


def test_the_journal_is_a_line_for_each_thing_that_happened():
    row = {
        "at": "2026-11-21T09:00:00Z",
        "tenant": "acme",
        "operation": "deploy",
        "result": "failed",
        "seconds": 1.25,
        "who": "ben@desk",
        "job": "77",
        "playbook": "deploy_tenant",
        "error": "no room\n" + "x" * 200,
        "change": "",
    }
    head, line = journal_table([row]).splitlines()
    assert head.startswith("TIME") and "ben@desk, job 77" in line and line.endswith("x…")
    assert journal_table([]) == "Nothing happened."


def test_the_statistics_are_a_line_for_each_tenant():
    edge = {"requests": 3, "client_errors": 1, "server_errors": 0, "latency_seconds": {"p50": 0.1}}
    row = {
        "tenant": "acme",
        "edge": edge,
        "storage_bytes": {"postgres": 2048, "neo4j": 0},
        "episodes": 5,
        "semantic_memories": None,
        "running_hours": 1.5,
        "last_activity": None,
    }
    _head, line = stats_table([row]).splitlines()
    assert " ".join(line.split()) == "acme 3 1 0 0.10s - - 5 - 2.0K 0B 1.5 -"
