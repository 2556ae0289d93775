"""Another tier: live where that is possible, and never too small for what is stored."""

from __future__ import annotations

from support.platform import Platform, Tenant
from support.writer import Writer

TIERS = {
    "roomy": {"from": "free", "app": {"memory": "512m"}},
    "quick": {"from": "free", "postgres": {"shared_buffers": "24MB"}},
    "tiny": {"from": "free", "storage": "1m"},
}


def test_limits_change_live_and_sizes_of_a_database_behind_a_held_gate(
    platform: Platform, tenant: Tenant
) -> None:
    tenant.change_entry(platform_tiers=TIERS)
    before = tenant.container_ids()
    with Writer(tenant) as writer:
        writer.wait_for(2)
        platform.play.ok("change_tier", tenant=tenant.name, tier="roomy")
        assert tenant.container_ids() == before
        assert tenant.container("app").attrs["HostConfig"]["Memory"] == 512 * 1024**2
        platform.play.ok("change_tier", tenant=tenant.name, tier="quick")
        writer.wait_for(2)
    assert tenant.sql("SHOW shared_buffers") == "24MB"
    assert tenant.container_ids()["neo4j"] == before["neo4j"]
    assert writer.refused == {}, writer.report()
    assert writer.lost() == []


def test_a_tier_that_is_too_small_is_refused_before_anything_is_written(
    platform: Platform, tenant: Tenant
) -> None:
    before, entry = tenant.container_ids(), tenant.entry_file.read_text()
    run = platform.play.refused("change_tier", tenant=tenant.name, tier="tiny")
    assert "tiny has 1 MiB of storage, but" in run.output
    assert tenant.entry_file.read_text() == entry
    tenant.change_entry(tenant_tier="tiny")
    try:
        assert (
            "are stored (PostgreSQL"
            in platform.play.refused("deploy_tenant", "-l", tenant.name).output
        )
    finally:
        tenant.entry_file.write_text(entry)
    assert tenant.container_ids() == before
