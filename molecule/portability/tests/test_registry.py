"""What happened is told, what there is is known, and neither ever stands in the way."""

from __future__ import annotations

import json
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support.platform import Platform, Tenant


@pytest.fixture(scope="module")
def zeta(platform: Platform) -> Tenant:
    return platform.tenant("zeta")


@pytest.fixture
def database(zeta: Tenant) -> Iterator[str]:
    """Address of a schema that a web application could use."""
    zeta.sql("CREATE SCHEMA web AUTHORIZATION memmachine")
    home = zeta.platform.data_dir / "tenants" / zeta.name
    password = (home / "postgres/app_password").read_text()
    address = f"{zeta.address('postgres')}/memmachine?options=-csearch_path%3Dweb"
    yield f"postgresql://memmachine:{password}@{address}"
    zeta.sql("DROP SCHEMA web CASCADE")


def registry_file(platform: Platform) -> pathlib.Path:
    return platform.data_dir / "registry.sqlite"


def rows(platform: Platform, query: str) -> list[Any]:
    database = sqlite3.connect(registry_file(platform))
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def told(platform: Platform, tmp_path: pathlib.Path, playbook: str, **variables: Any) -> Any:
    path = tmp_path / "answer.json"
    platform.play.ok(playbook, output="none", result_file=str(path), **variables)
    return json.loads(path.read_text())


def test_a_run_that_changed_something_is_in_the_journal_and_one_that_did_not_is_not(
    platform: Platform, zeta: Tenant, tmp_path: pathlib.Path
) -> None:
    platform.play.ok("deploy_tenant", tenant=zeta.name)
    before = rows(platform, "SELECT count(*) FROM journal")
    platform.play.ok("deploy_tenant", tenant=zeta.name)
    assert rows(platform, "SELECT count(*) FROM journal") == before
    zeta.container("app").stop(timeout=10)
    platform.play.ok("deploy_tenant", tenant=zeta.name)
    entry = told(platform, tmp_path, "tenant_journal", tenant=zeta.name)[-1]
    assert (entry["tenant"], entry["operation"], entry["result"]) == ("zeta", "deploy", "done")
    assert entry["playbook"] == "deploy_tenant" and "@" in entry["who"]
    assert "app" in entry["change"] and entry["seconds"] > 0


def test_a_failure_is_told_with_its_error(
    platform: Platform, zeta: Tenant, tmp_path: pathlib.Path
) -> None:
    platform.play.refused("import_tenant", tenant=zeta.name, archive="/no/such/archive")
    entry = told(platform, tmp_path, "tenant_journal", tenant=zeta.name)[-1]
    assert entry["result"] == "failed" and "/no/such/archive" in entry["error"]
    (tenant,) = told(platform, tmp_path, "list_tenants", tenant=zeta.name)
    assert tenant["state"] == "running" and "/no/such/archive" in tenant["error"]


def test_a_lost_registry_is_filled_again_by_looking(
    platform: Platform, zeta: Tenant, tmp_path: pathlib.Path
) -> None:
    registry_file(platform).unlink()
    (tenant,) = told(platform, tmp_path, "list_tenants", tenant=zeta.name)
    assert tenant["state"] == "running" and tenant["created"] and tenant["versions"]["postgres"]
    assert rows(platform, "SELECT state FROM registry WHERE tenant = 'zeta'") == [("running",)]


def test_a_journal_that_cannot_be_written_fails_nothing(platform: Platform, zeta: Tenant) -> None:
    kept = registry_file(platform).rename(platform.data_dir / "registry.kept")
    registry_file(platform).mkdir()
    try:
        zeta.container("app").stop(timeout=10)
        platform.play.ok("deploy_tenant", tenant=zeta.name)
        platform.play.ok("list_tenants", tenant=zeta.name)
        platform.play.ok("tenant_info", tenant=zeta.name)
    finally:
        registry_file(platform).rmdir()
        kept.rename(registry_file(platform))


def test_statistics_count_what_a_client_did(
    platform: Platform, zeta: Tenant, tmp_path: pathlib.Path
) -> None:
    (before,) = told(platform, tmp_path, "tenant_stats", tenant=zeta.name)
    sentence = zeta.store_something()
    assert zeta.remembers(sentence)
    (after,) = told(platform, tmp_path, "tenant_stats", tenant=zeta.name)
    assert after["episodes"] == before["episodes"] + 1
    assert after["edge"]["requests"] >= before["edge"]["requests"] + 2
    assert after["edge"]["latency_seconds"]["p50"] > 0
    assert after["storage_bytes"]["postgres"] > 0 and after["storage_bytes"]["neo4j"] > 0


def test_the_deployments_of_a_web_application_follow(
    platform: Platform, zeta: Tenant, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(platform.play.environment, "MEMCLOUD_REGISTRY_URL", database)
    password = database.split(":")[2].split("@")[0]
    for expected in (True, False):
        run = platform.play.ok("export_registry", "-vvv")
        assert bool(run.changed) is expected and password not in run.output
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT status, memmachine_url, deleted_at FROM deployments WHERE tenant = 'zeta'"
        ).fetchall()
    assert found == [("running", zeta.url, None)]
