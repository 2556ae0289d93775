"""A fleet goes to another image of Neo4j wave by wave: it stops at a failure, and goes on later.

The tests follow the fleet and depend on each other in their order: a broken image, a run that is
killed in its second wave, the same command again, and a server that is slow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.images import (
    ANOTHER,
    MARK,
    SEARCHES,
    own_images,
    remove_derived,
    replace_image,
    with_line,
)
from support.platform import Platform, Tenant
from support.writer import Writer

# What each of them has in its entry beside the rest; one without goes by its tier.
FLEET: dict[str, dict[str, Any]] = {
    "kestrel": {"tenant_canary": True},
    "finch": {},
    "owl": {"tenant_pinned": True},
}
ALL = ("--limit", ",".join(FLEET))
PAUSE = 8  # seconds, longer than the way from one wave to the next
WAVES = [{"tenants": "canary", "pause": PAUSE}, {"tenants": "free"}]


@pytest.fixture(scope="module")
def fleet(platform: Platform) -> Iterator[dict[str, Tenant]]:
    tenants = {name: platform.create(name, **more) for name, more in FLEET.items()}
    platform.play.ok("deploy_tenant", *ALL)
    with own_images(platform):
        yield tenants
    platform.play.ok("delete_tenant", *ALL, keep_data=False, confirm=len(FLEET))
    remove_derived(platform)


@pytest.fixture(scope="module")
def sentences(fleet: dict[str, Tenant]) -> dict[str, str]:
    return {name: tenant.store_something() for name, tenant in fleet.items()}


def update(platform: Platform, result: Path, **variables: Any) -> dict[str, Any]:
    return {"platform_update_waves": WAVES, "result_file": str(result), **variables}


def outcomes(result: Path) -> dict[str, str]:
    return {row["tenant"]: row["outcome"] for row in json.loads(result.read_text())["tenants"]}


def has_another(tenant: Tenant) -> bool:
    """Whether its Neo4j runs from the other image."""
    return bool(tenant.container("neo4j").exec_run(["ls", MARK])[0] == 0)


def ended(tenant: Tenant, result: Path) -> float:
    """When the tenant's last update ended."""
    tenant.platform.play.ok("tenant_journal", tenant=tenant.name, result_file=str(result))
    rows = [row for row in json.loads(result.read_text()) if row["operation"] == "update"]
    return datetime.fromisoformat(rows[-1]["at"]).timestamp()


def test_a_fleet_stops_at_the_first_tenant_that_fails(
    platform: Platform, fleet: dict[str, Tenant], sentences: dict[str, str], tmp_path: Path
) -> None:
    before = {name: tenant.container_ids() for name, tenant in fleet.items() if name != "kestrel"}
    with own_images(platform):
        replace_image(platform, "neo4j", 'ENTRYPOINT ["false"]')
        run = platform.play.refused(
            "update_fleet", *ALL, **update(platform, tmp_path / "result", patience=15)
        )
    assert run.failed == ["kestrel"]
    said = outcomes(tmp_path / "result")
    assert said.pop("kestrel").startswith("failed: kestrel: the update")
    assert said == {"finch": "not reached", "owl": "is pinned"}
    assert {name: fleet[name].container_ids() for name in before} == before
    assert all(fleet[name].remembers(sentence) for name, sentence in sentences.items())


def test_a_fleet_that_was_killed_goes_on_where_it_was(
    platform: Platform, fleet: dict[str, Tenant], sentences: dict[str, str], tmp_path: Path
) -> None:
    # Other tests on this machine make servers slow.
    variables = update(platform, tmp_path / "result", slower=0)
    finch = fleet["finch"]
    replace_image(platform, "neo4j", ANOTHER)
    with Writer(finch) as writer:
        assert platform.play.kill_when(finch.is_held, "update_fleet", *ALL, **variables)
        assert time.time() - ended(fleet["kestrel"], tmp_path / "journal") >= PAUSE
        assert has_another(fleet["kestrel"])
        done = fleet["kestrel"].container_ids()
        platform.play.ok("update_fleet", *ALL, **variables)
        writer.wait_for(3)
    assert outcomes(tmp_path / "result") == {
        "finch": "updated",
        "kestrel": "is there already",
        "owl": "is pinned",
    }
    assert fleet["kestrel"].container_ids() == done
    assert [name for name, tenant in fleet.items() if not has_another(tenant)] == ["owl"]
    assert writer.lost() == [], writer.report()
    assert all(fleet[name].remembers(sentence) for name, sentence in sentences.items())


def test_afterwards_nothing_differs_and_it_is_known_who_runs_what(
    platform: Platform, fleet: dict[str, Tenant], tmp_path: Path
) -> None:
    assert platform.play.ok("deploy_tenant", *ALL).changed == {}
    platform.play.ok("tenant_info", *ALL, result_file=str(tmp_path / "info"))
    known = {
        entry["tenant"]: entry["outdated"] for entry in json.loads((tmp_path / "info").read_text())
    }
    assert known == {"finch": [], "kestrel": [], "owl": ["neo4j"]}
    assert [left for tenant in fleet.values() for left in tenant.leftovers()] == []


def test_a_fleet_stops_at_a_tenant_that_became_slow(
    platform: Platform, fleet: dict[str, Tenant], sentences: dict[str, str], tmp_path: Path
) -> None:
    kestrel, finch = fleet["kestrel"], fleet["finch"]
    before = finch.container_ids()
    version = kestrel.request("GET", "/api/v2/health").json()["version"]
    with own_images(platform):
        slow = with_line(SEARCHES, "await __import__('asyncio').sleep(2)")
        replace_image(platform, "memmachine", slow, version=version)
        run = platform.play.refused("update_fleet", *ALL, **update(platform, tmp_path / "result"))
    assert run.failed == ["kestrel"]
    said = outcomes(tmp_path / "result")
    assert said.pop("kestrel").startswith("failed: kestrel: its memory round trip takes ")
    assert said == {"finch": "not reached", "owl": "is pinned"}
    assert finch.container_ids() == before
    platform.play.ok("rollback_tenant", tenant=kestrel.name)
    assert kestrel.remembers(sentences["kestrel"])
    assert platform.play.ok("deploy_tenant", *ALL).changed == {}
