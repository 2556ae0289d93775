"""What is stored must fit into smaller sizes; larger ones are not even measured."""

from __future__ import annotations

import os
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._capacity import (
    check_fits,
    figures_of,
    human,
    stored_bytes,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data

MIB, GIB = 1024**2, 1024**3


def tenant(tier, **tiers):
    variables = {"platform_tiers": tiers} if tiers else {}
    return tenant_data.make(tenant_tier=tier, **variables)[1]


def deployed(tier):
    return {"proved": "2026-11-21T00:00:00Z", "tier": tier, "figures": figures_of(tenant(tier))}


# Tier before and after, GiB of PostgreSQL and Neo4j, and a word of the refusal.
CASES = [
    ("pro", "free", 0.2, 0.3, ""),
    ("pro", "free", 0.7, 0.6, r"free has 1 GiB of storage, but 1.3 GiB are stored \(PostgreSQL"),
    ("pro", "pro", 20, 0, ""),  # nothing gets smaller: not measured
    ("free", "pro", 20, 0, ""),
    ("enterprise", "pro", 6, 3, ""),
    ("enterprise", "thin", 9, 0, "thin gives PostgreSQL 16 MiB .* need at least 144 MiB"),
    ("enterprise", "thin", 0.5, 9, "thin gives Neo4j 8 MiB .* need at least 144 MiB"),
]
THIN = {
    "from": "pro",
    "postgres": {"shared_buffers": "16MB"},
    "neo4j": {"pagecache": "8m"},
}


@pytest.mark.parametrize(("before", "after", "postgres", "neo4j", "message"), CASES)
def test_a_tier_must_hold_what_is_stored(before, after, postgres, neo4j, message):
    wanted = tenant(after, thin=THIN) if after == "thin" else tenant(after)
    stored = {"postgres": int(postgres * GIB), "neo4j": int(neo4j * GIB)}
    if not message:
        check_fits(wanted, deployed(before), stored.get)
        return
    with pytest.raises(VariableError, match=message) as failure:
        check_fits(wanted, deployed(before), stored.get)
    assert str(failure.value).startswith("acme: tenant_tier: ")
    assert str(failure.value).endswith("Nothing was touched")


@pytest.mark.parametrize(
    ("record", "measured"),
    [
        ({}, False),
        ({"proved": "x", "tier": "free"}, False),
        ({"proved": "x", "tier": "pro"}, True),  # of a run that wrote no figures
        ({"tier": "pro", "figures": {"storage": 10 * GIB}}, False),  # nothing was stored yet
        ({"proved": "x", "tier": "free", "figures": {"storage": 2 * GIB}}, True),
    ],
)
def test_it_is_measured_when_a_size_gets_smaller(record, measured):
    asked = []
    check_fits(tenant("free"), record, lambda role: asked.append(role) or 0)
    assert bool(asked) is measured


@pytest.mark.parametrize("tier", ["free", "pro", "enterprise"])
def test_a_full_tenant_may_keep_its_own_tier(tier):
    wanted = tenant(tier)
    full = {"postgres": wanted["storage"] // 2, "neo4j": wanted["storage"] // 2}
    check_fits(wanted, {"proved": "x", "tier": "other"}, full.get)


def test_logs_of_a_database_are_not_what_is_stored(tmp_path):
    for path in ("data/base/1", "data/pg_wal/1", "neo4j/transactions/neo4j/log"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"x" * MIB)
    assert MIB <= stored_bytes(str(tmp_path)) < 2 * MIB


def test_sizes_for_people():
    assert [human(size) for size in (5, 2048, 3 * MIB // 2, GIB)] == [
        "5 bytes",
        "2 KiB",
        "1.5 MiB",
        "1 GiB",
    ]
