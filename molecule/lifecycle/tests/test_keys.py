"""Keys and passwords are replaced while a customer stores memories, and nobody sees an error."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator

import pytest
import yaml
from support.platform import Platform, Tenant
from support.writer import Writer

HEALTH = "/api/v2/health"


@pytest.fixture
def writer(tenant: Tenant) -> Iterator[Writer]:
    with Writer(tenant) as writing:
        writing.wait_for(3)
        yield writing


def status(tenant: Tenant, key: str) -> int:
    return int(tenant.request("GET", HEALTH, key=key).status_code)


def wait_for_refusal(tenant: Tenant, key: str, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while status(tenant, key) != 403:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def neo4j_password(tenant: Tenant) -> str:
    path = tenant.platform.data_dir / "tenants" / tenant.name / "app/configuration.yml"
    databases = yaml.safe_load(path.read_text())["resources"]["databases"].values()
    (found,) = (d["config"]["password"] for d in databases if d["provider"] == "neo4j")
    return str(found)


def opens_neo4j(tenant: Tenant, password: str) -> bool:
    """Whether a password opens Neo4j, asked by the driver in the app's container."""
    program = (
        "import neo4j\n"
        f"driver = neo4j.GraphDatabase.driver('bolt://{tenant.address('neo4j')}:7687',"
        f" auth=('neo4j', {password!r}))\n"
        "try:\n"
        "    driver.verify_connectivity(); print('yes')\n"
        "except neo4j.exceptions.AuthError:\n"
        "    print('no')\n"
    )
    return tenant.python(program) == "yes"


def test_a_rotated_key_lives_on_for_the_overlap_and_then_dies_by_itself(
    platform: Platform, tenant: Tenant, writer: Writer
) -> None:
    old = tenant.key
    platform.play.ok("rotate_keys", tenant=tenant.name, overlap="25s")
    assert tenant.key != old
    assert status(tenant, tenant.key) == 200
    assert [key["name"] for key in tenant.entry["tenant_api_keys"]] == ["default", "default"]
    assert status(tenant, old) == 200
    writer.use_key(tenant.key)
    assert writer.refused == {}, writer.report()
    assert wait_for_refusal(tenant, old)
    assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}


def test_named_keys_come_and_go_one_by_one(platform: Platform, tenant: Tenant) -> None:
    platform.play.ok("add_key", tenant=tenant.name, key_name="ci")
    answer = platform.secrets / f"{tenant.name}.ci.json"
    key = json.loads(answer.read_text())["api_key"]
    # What had ended was swept by the way.
    assert [k["name"] for k in tenant.entry["tenant_api_keys"]] == ["default", "ci"]
    assert status(tenant, key) == status(tenant, tenant.key) == 200

    refused = platform.play.refused("revoke_key", tenant=tenant.name, key_name="cd")
    assert "has no key cd (it has ci, default)" in refused.output
    platform.play.ok("revoke_key", tenant=tenant.name, key_name="ci")
    assert status(tenant, key) == 403
    assert status(tenant, tenant.key) == 200
    assert not answer.exists()
    last = platform.play.refused("revoke_key", tenant=tenant.name, key_name="default")
    assert "is its only key" in last.output
    assert status(tenant, tenant.key) == 200


def test_database_passwords_change_and_a_client_sees_no_error(
    platform: Platform, tenant: Tenant, writer: Writer
) -> None:
    before, password = tenant.container_ids(), neo4j_password(tenant)
    run = platform.play.ok("rotate_keys", tenant=tenant.name, what="databases")
    assert tenant.entry["tenant_secret_epoch"] == 2
    assert "requests waited at most" in run.output
    writer.wait_for(2)
    assert writer.refused == {}, writer.report()
    assert tenant.container_ids()["neo4j"] == before["neo4j"]
    assert neo4j_password(tenant) != password
    assert opens_neo4j(tenant, neo4j_password(tenant))
    assert not opens_neo4j(tenant, password)
    assert tenant.sql("SELECT 1") == "1"
    assert writer.lost() == []
    assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}


def test_passwords_of_another_root_key_and_runs_that_are_killed(
    platform: Platform, tenant: Tenant, writer: Writer
) -> None:
    """Each run is killed a bit later; the tenant of this test has root keys of its own."""
    second = base64.b64encode(hashlib.sha256(b"the second root key of a test").digest()).decode()
    first = (platform.secrets / "root_key").read_text().strip()
    tenant.change_entry(platform_root_keys={1: first, 2: second})
    sentence = tenant.store_something()
    for seconds in (3.5, 5, 7):
        platform.play.kill_after(seconds, "rotate_keys", tenant=tenant.name, what="root_key")
    platform.play.ok("rotate_keys", tenant=tenant.name, what="root_key")
    assert tenant.entry["tenant_root_key_version"] == 2
    assert tenant.remembers(sentence)
    assert opens_neo4j(tenant, neo4j_password(tenant))
    writer.wait_for(2)
    assert writer.lost() == []
    assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}


def test_a_password_that_nobody_knows_is_replaced_too(platform: Platform, tenant: Tenant) -> None:
    sentence = tenant.store_something()
    known = neo4j_password(tenant)
    tenant.python(
        "import neo4j\n"
        f"driver = neo4j.GraphDatabase.driver('bolt://{tenant.address('neo4j')}:7687',"
        f" auth=('neo4j', {known!r}))\n"
        "driver.execute_query(\"ALTER USER neo4j SET PASSWORD 'strange-one' CHANGE NOT REQUIRED\","
        " database_='system')\n"
    )
    platform.play.ok("rotate_keys", tenant=tenant.name, what="databases")
    assert opens_neo4j(tenant, neo4j_password(tenant))
    assert tenant.remembers(sentence)
