"""Memories leave one tenant and arrive in another, each once, whatever happens on the way.

Epsilon is exported, zeta takes in; both are the scenario's.
"""

from __future__ import annotations

import json
import pathlib
import tarfile
import time
from functools import partial
from typing import Any

import pytest
import yaml
from support.platform import Platform, Tenant
from support.progress import PARTS

MEMORIES = 400
SHORT_TERM = "short_term_memory_enabled"


@pytest.fixture(scope="module")
def source(platform: Platform) -> Tenant:
    """A tenant with memories of all kinds: equal times, equal memories, several projects."""
    tenant = platform.tenant("epsilon")
    if ("ci", "many") not in projects(tenant):
        for begin in range(0, MEMORIES, 100):
            messages = [
                {
                    "content": f"Fact number {number} is about tea",
                    "producer": f"user{number % 3}",
                    "role": "user" if number % 2 else "assistant",
                    "timestamp": f"2026-01-01T{number // 200:02d}:00:{number // 7 % 60:02d}.123Z",
                    "metadata": {"number": str(number % 5)} if number % 3 else {},
                }
                for number in range(begin, begin + 100)
            ]
            store(tenant, "many", messages, ["episodic"])
        twice = {"content": "Said twice", "timestamp": "2026-01-01T00:00:00Z"}
        store(tenant, "few", [twice, twice], ["episodic"])
        name = {"content": "My name is Ada and I like green tea", "producer": "ada"}
        store(tenant, "few", [dict(name) for _ in range(5)], ["episodic", "semantic"])
        wait_for_ingestion(tenant)
        switch(tenant, "/config", **{SHORT_TERM: False})
    return tenant


@pytest.fixture(scope="module")
def archive(source: Tenant, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("archive") / "epsilon.tar.gz"
    source.platform.play.ok("export_tenant", tenant=source.name, file=str(path))
    return path


def store(tenant: Tenant, project: str, messages: list[dict[str, Any]], types: list[str]) -> None:
    body = {"org_id": "ci", "project_id": project, "types": types, "messages": messages}
    for _attempt in range(50):
        answer = tenant.request("POST", "/api/v2/memories", json=body)
        if answer.status_code != 429:  # the tier's limit, while a test hurries
            break
        time.sleep(0.3)
    answer.raise_for_status()


def switch(tenant: Tenant, call: str, **switches: bool) -> Any:
    """What a customer does with the memories of the project ci/many."""
    body = {"org_id": "ci", "project_id": "many", **switches}
    answer = tenant.request("POST", f"/api/v2/memory/episodic{call}", json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def wait_for_ingestion(tenant: Tenant) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if tenant.sql("SELECT count(*) FROM set_ingested_history WHERE NOT ingested") == "0":
            return
        time.sleep(1)


def projects(tenant: Tenant) -> set[tuple[str, str]]:
    found = tenant.sql("SELECT DISTINCT session_key FROM episodestore").split()
    return {(key.partition("/")[0], key.partition("/")[2]) for key in found}


def everything(tenant: Tenant) -> list[str]:
    """All of a tenant's memories but their ids, as the database has them."""
    query = (
        "SELECT session_key, content, producer_id, producer_role, created_at AT TIME ZONE 'UTC', "
        "episode_type, metadata FROM episodestore WHERE session_key <> 'memcloud/probe' "
        "AND session_key <> 'ci/tests' ORDER BY 1, 5, 2, 3"
    )
    return tenant.sql(query).splitlines()


def semantic(tenant: Tenant) -> list[str]:
    return tenant.sql(
        "SELECT set_id, semantic_category_id, tag_id, feature, value FROM feature "
        "WHERE set_id NOT LIKE '%org_memcloud_project_probe%' AND set_id NOT LIKE '%tests%' "
        "ORDER BY 1, 2, 3, 4, 5"
    ).splitlines()


def test_an_archive_says_what_is_in_it_and_holds_no_secret(
    source: Tenant, archive: pathlib.Path
) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as files:
        raw = {entry.name: files.extractfile(entry).read() for entry in files}
    assert list(raw) == ["manifest.json", "memories.ndjson", "postgres.dump", "neo4j.dump"]
    manifest = json.loads(raw["manifest.json"])
    assert manifest["totals"]["episodic"] == len(everything(source)) == MEMORIES + 7
    assert manifest["totals"]["semantic"] == len(semantic(source)) > 0
    assert raw["postgres.dump"].startswith(b"PGDMP")
    home = source.platform.data_dir / "tenants" / source.name
    hunted = [(home / "postgres" / f"{kind}_password").read_bytes() for kind in ("admin", "app")]
    hunted.append(source.key.encode())
    assert not [name for name, text in raw.items() for secret in hunted if secret in text]


def test_a_killed_import_goes_on_and_every_memory_arrives_once(
    platform: Platform, source: Tenant, archive: pathlib.Path
) -> None:
    target = platform.tenant("zeta")
    cursor = platform.data_dir / "tenants/zeta/import.json"

    def came(count: float) -> bool:
        told = json.loads(cursor.read_text()) if cursor.exists() else {"added": 0, "present": 0}
        return bool(told["added"] + told["present"] >= count)

    # Early, in the middle and late: each run goes on where the one before it was killed.
    for part in PARTS:
        wanted = part * MEMORIES
        assert platform.play.kill_when(
            partial(came, wanted), "import_tenant", tenant="zeta", file=str(archive)
        )
        assert len(everything(target)) >= wanted
    platform.play.ok("import_tenant", tenant="zeta", file=str(archive))
    assert everything(target) == everything(source)
    assert semantic(target) == semantic(source)
    assert switch(target, "/config/get") == switch(source, "/config/get")
    assert switch(target, "/config/get")[SHORT_TERM] is False
    found = target.search("Fact number 42 is about tea", project="many")
    assert any("Fact number" in content for content in found)
    assert not cursor.exists() and not cursor.with_name("import.tar.gz").exists()
    assert not (platform.data_dir / "tenants/zeta/work").exists()


def test_an_import_that_is_done_is_not_done_again(
    platform: Platform, archive: pathlib.Path
) -> None:
    run = platform.play.ok("import_tenant", tenant="zeta", file=str(archive))
    assert "were imported at" in run.output


def test_a_tenant_with_memories_is_refused_without_force_and_gets_nothing_twice_with_it(
    platform: Platform, archive: pathlib.Path
) -> None:
    target = platform.tenant("zeta")
    before = everything(target)
    state = platform.data_dir / "tenants/zeta/state.json"
    known = json.loads(state.read_text())
    known.pop("imported")  # as after a restore of something else
    state.write_text(json.dumps(known))
    run = platform.play.refused("import_tenant", tenant="zeta", file=str(archive))
    assert "force=true" in run.output and everything(target) == before
    run = platform.play.ok("import_tenant", tenant="zeta", file=str(archive), force=True)
    assert everything(target) == before and "0 memories stored" in run.output


def test_a_damaged_archive_is_refused_and_nothing_is_stored(
    platform: Platform, archive: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    before = everything(platform.tenant("zeta"))
    broken = tmp_path / "broken.tar.gz"
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    broken.write_bytes(raw)
    run = platform.play.refused("import_tenant", tenant="zeta", file=str(broken), force=True)
    assert "damaged" in run.output and everything(platform.tenant("zeta")) == before


def test_a_tenant_moves_to_another_embedding_model_with_all_it_knows(
    platform: Platform, source: Tenant
) -> None:
    before, traces = everything(source), semantic(source)
    platform.play.ok(
        "reembed_tenant",
        tenant=source.name,
        embedder_model="demo-embedding",
        embedder_dimensions=64,
    )
    assert everything(source) == before and semantic(source) == traces
    assert source.entry["tenant_embedder_dimensions"] == 64
    assert source.sql("SELECT DISTINCT vector_dims(embedding) FROM feature") == "64"
    assert source.search("Fact number 42 is about tea", project="many")
    assert switch(source, "/config/get")[SHORT_TERM] is False
    assert platform.play.ok("deploy_tenant", tenant=source.name).changed == {}
    volumes = platform.docker().volumes.list(filters={"name": f"{platform.name}-{source.name}-"})
    assert len(volumes) == 2


def test_a_model_that_does_not_exist_leaves_the_tenant_and_its_entry_as_they_were(
    platform: Platform, source: Tenant
) -> None:
    before, entry = everything(source), source.entry
    run = platform.play.refused(
        "reembed_tenant", tenant=source.name, embedder_model="no-such-model", embedder_dimensions=32
    )
    assert "no-such-model" in run.output
    assert yaml.safe_load(source.entry_file.read_text()) == entry
    assert everything(source) == before
    assert source.search("Fact number 42 is about tea", project="many")
    assert platform.play.ok("deploy_tenant", tenant=source.name).changed == {}


def test_another_model_in_the_entry_is_refused_with_the_way_to_it(
    platform: Platform, source: Tenant
) -> None:
    entry = source.entry_file.read_text()
    try:
        source.change_entry(tenant_embedder_dimensions=128)
        run = platform.play.refused("deploy_tenant", tenant=source.name)
    finally:
        source.entry_file.write_text(entry)
    assert "reembed_tenant" in run.output and "embedder_dimensions=128" in run.output
