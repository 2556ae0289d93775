"""The doctor names what is wrong and what to do, and finds nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.platform import Platform, Tenant


@pytest.fixture
def doctor(platform: Platform, tenant: Tenant, tmp_path: Path) -> Any:
    def look(**options: Any) -> dict[tuple[str, str], dict[str, str]]:
        path = tmp_path / "found.json"
        run = platform.play.run("doctor", "-l", tenant.name, result_file=str(path), **options)
        found = json.loads(path.read_text())
        wrong = [f for f in found if f["level"] != "ok"]
        failed = bool(wrong) and options.get("fail", True)
        assert (run.returncode != 0) == failed, run.output
        return {(f["subject"], f["check"]): f for f in wrong}

    return look


def test_a_tenant_as_it_should_be(platform: Platform, tenant: Tenant, doctor: Any) -> None:
    platform.play.ok("deploy_tenant", "-l", tenant.name)
    assert doctor() == {}


def test_what_is_wrong_is_named_with_what_to_do(
    platform: Platform, tenant: Tenant, doctor: Any
) -> None:
    directory = platform.data_dir / "tenants" / tenant.name
    configuration = directory / "app/configuration.yml"
    configuration.write_text(configuration.read_text() + "\nunused:\n  api_key: $MODEL_KEY\n")
    tenant.container("app").stop(timeout=10)
    lock = platform.data_dir / "locks" / "checks.json"
    lock.write_text('{"owner": "ann@desk", "since": "2026-01-01T00:00:00Z"}')
    stray = platform.docker().volumes.create(
        f"{platform.name}-ghost-01234567-neo4j",
        labels={
            "memcloud.platform": platform.name,
            "memcloud.kind": "tenant",
            "memcloud.tenant": "ghost",
            "memcloud.uid": "0" * 16,
            "memcloud.role": "neo4j",
        },
    )
    try:
        found = doctor(fail=False)
        everything = platform.play.refused("doctor", node=tenant.entry["tenant_node"]).output
    finally:
        stray.remove()
        lock.unlink(missing_ok=True)
    assert "literally" in found[tenant.name, "secrets"]["what"]
    assert "app" in found[tenant.name, "drift"]["what"]
    assert found[tenant.name, "memory"]["level"] == "error"
    assert "ann@desk" in found["", "locks"]["what"]
    assert all(finding["advice"] for finding in found.values())
    assert "no entry names tenant ghost" in everything

    platform.play.ok("deploy_tenant", "-l", tenant.name)
    assert doctor() == {}
