"""The roles of one tenant that deploy_tenant does not call: they make and prove the same tenant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.platform import Platform, Tenant

# The play, as the tests' playbooks are named: from playbooks/.
ROLES = "../molecule/default/roles"


@pytest.fixture
def configuration(platform: Platform, tenant: Tenant) -> Path:
    return platform.data_dir / "tenants" / tenant.name / "app/configuration.yml"


@pytest.fixture
def options(platform: Platform, tenant: Tenant, configuration: Path) -> dict[str, Any]:
    """What role memmachine must be told to write this tenant's configuration."""
    version, derived = "0.4.0", tenant.derived()
    images = json.loads((platform.data_dir / "images.json").read_text())
    port = platform.variables["platform_demo_model_port"]
    url = f"http://{platform.node_address}:{port}/v1"
    demo = {"provider": "demo", "base_url": url, "api_key": "demo"}
    return {
        "memmachine_path": str(configuration),
        "memmachine_version": version,
        "memmachine_server_image": images["memmachine"][version]["ref"],
        "memmachine_postgres": {
            "host": tenant.address("postgres"),
            "password": derived["postgres-app"],
        },
        "memmachine_neo4j": {"host": tenant.address("neo4j"), "password": derived["neo4j"]},
        "memmachine_embedder": {**demo, "model": "demo-embedding", "dimensions": 384},
        "memmachine_language_model": {**demo, "model": "demo-chat"},
    }


def test_they_find_what_deploy_tenant_made(
    platform: Platform, tenant: Tenant, options: dict[str, Any]
) -> None:
    """The configuration is the same to the last byte, so there is nothing to write."""
    assert platform.play.ok(ROLES, "-l", tenant.name, **options).changed == {}


def test_a_server_works_with_what_they_write(
    platform: Platform, tenant: Tenant, options: dict[str, Any], configuration: Path
) -> None:
    sentence = tenant.store_something()
    before, status = configuration.read_bytes(), configuration.stat()
    configuration.unlink()
    assert platform.play.ok(ROLES, "-l", tenant.name, **options).changed == {tenant.name: 1}
    written = configuration.stat()
    assert configuration.read_bytes() == before
    assert (written.st_mode, written.st_uid) == (status.st_mode, status.st_uid)
    tenant.container("app").restart(timeout=20)
    assert tenant.remembers(sentence, 60)
    assert platform.play.ok("deploy_tenant").changed == {}


def test_what_the_server_would_not_load_is_not_written(
    platform: Platform, tenant: Tenant, options: dict[str, Any], configuration: Path
) -> None:
    before = configuration.read_bytes()
    refused = platform.play.refused(
        ROLES, "-l", tenant.name, **{**options, "memmachine_reranker": "nobody"}
    )
    assert "reranker is 'nobody', but rerankers has hybrid, identity, bm25." in refused.output
    assert configuration.read_bytes() == before


def test_a_route_that_is_not_there_is_not_proven(
    platform: Platform, tenant: Tenant, options: dict[str, Any]
) -> None:
    tenant.route_file.unlink()
    try:
        refused = platform.play.refused(
            ROLES, "-l", tenant.name, **options, traefik_tenant_retries=1
        )
        port = platform.variables["platform_edge_api_port"]
        missing = "; ".join(
            f"http://127.0.0.1:{port}/api/http/routers/alpha-{name}@file: "
            "Status code was 404 and not [200]: HTTP Error 404: Not Found"
            for name in ("api", "mcp", "mcpcall", "health")
        )
        words = (
            f"alpha: the edge of node1 does not serve it as it should ({missing}). "
            "Run deploy_tenant for it, which writes its route. "
            "Where the edge answers nothing at all, run setup_node first"
        )
        assert words in refused.output, refused.output
    finally:
        platform.play.ok("deploy_tenant")
