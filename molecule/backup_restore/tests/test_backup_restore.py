"""Restore points: what was acknowledged is in them, and they come back; what is wrong is refused.

The scenario has two tenants: epsilon is backed up, and zeta becomes its clone. The repository is
in an S3-speaking server that lets a node add and not delete.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.platform import ROLES, Platform, Tenant
from support.storage import BUCKET, LOCKED_BUCKET, Storage, storage
from support.writer import Writer

PROJECT = "numbers"


@pytest.fixture(scope="module")
def epsilon(platform: Platform) -> Tenant:
    return platform.tenant("epsilon")


@pytest.fixture(scope="module")
def zeta(platform: Platform) -> Tenant:
    return platform.tenant("zeta")


@pytest.fixture(scope="module")
def s3(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    port = int(platform.variables["platform_https_port"]) + 7
    with storage(port, tmp_path_factory.mktemp("s3") / "server.log") as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def no_volume_without_a_name_is_left(platform: Platform) -> Iterator[None]:
    """Short-lived containers work on restore points, several for each."""

    def nameless() -> set[str]:
        names = (volume.name for volume in platform.docker().volumes.list())
        return {name for name in names if re.fullmatch("[0-9a-f]{64}", name)}

    before = nameless()
    yield
    assert nameless() <= before


def stored(tenant: Tenant) -> set[str]:
    """Every sentence that the tenant's PostgreSQL has."""
    rows = tenant.sql("SELECT json_agg(content) FROM episodestore WHERE session_key = 'ci/numbers'")
    return set(json.loads(rows or "[]") or [])


def settled(tenant: Tenant) -> None:
    """A deploy finds nothing to do, and nothing lies about."""
    run = tenant.platform.play.ok("deploy_tenant", tenant=tenant.name)
    assert run.changed == {}, run.output
    assert tenant.leftovers() == []


@pytest.fixture(scope="module")
def writer(epsilon: Tenant, s3: Storage) -> Writer:
    """Wrote while a restore point was taken."""
    with Writer(epsilon, project=PROJECT) as writing:
        epsilon.platform.play.ok("backup_tenant", tenant=epsilon.name, **s3.variables)
        writing.wait_for(1)
    return writing


@pytest.fixture(scope="module")
def everything(epsilon: Tenant, writer: Writer) -> set[str]:
    """All that was ever stored."""
    return stored(epsilon)


def test_no_acknowledged_memory_is_lost_while_a_restore_point_is_taken(
    epsilon: Tenant, writer: Writer, everything: set[str]
) -> None:
    assert writer.acknowledged
    assert set(writer.sentences) <= everything
    last = writer.sentences[-1]
    assert last in epsilon.search(last, PROJECT)
    # Told to come again where the machine was too slow for the time that the edge may hold.
    assert set(writer.refused) <= {"503"}, writer.report()
    settled(epsilon)


def test_no_secret_is_in_the_storage_or_on_the_node(epsilon: Tenant, s3: Storage) -> None:
    secret = s3.node["AWS_SECRET_ACCESS_KEY"]
    for role in ROLES:
        assert secret not in json.dumps(epsilon.container(role).attrs)
    found = subprocess.run(
        ["grep", "-rlF", secret, str(epsilon.platform.data_dir)], capture_output=True, check=False
    )
    assert found.stdout == b""


def test_a_schedule_backs_up_only_what_is_due(epsilon: Tenant, s3: Storage, writer: Writer) -> None:
    before = s3.objects("snapshots")
    run = epsilon.platform.play.ok("backup_tenant", tenant=epsilon.name, due=True, **s3.variables)
    assert run.changed == {}
    assert s3.objects("snapshots") == before


def test_a_restore_over_memories_needs_force(epsilon: Tenant, s3: Storage, writer: Writer) -> None:
    before = epsilon.container_ids()
    run = epsilon.platform.play.refused("restore_tenant", tenant=epsilon.name, **s3.variables)
    assert "force=true" in run.output
    assert epsilon.container_ids() == before


def test_a_tenant_goes_back_to_a_restore_point(
    epsilon: Tenant, s3: Storage, everything: set[str]
) -> None:
    later = "What was said after the restore point is gone"
    epsilon.add(later, PROJECT)
    epsilon.platform.play.ok("restore_tenant", tenant=epsilon.name, force=True, **s3.variables)
    now = stored(epsilon)
    assert now
    assert now <= everything
    assert later not in now
    some = sorted(now)[0]
    assert some in epsilon.search(some, PROJECT)
    settled(epsilon)


def test_a_clone_has_the_memories_under_its_own_key_and_passwords(
    epsilon: Tenant, zeta: Tenant, s3: Storage, writer: Writer
) -> None:
    play = zeta.platform.play
    with Writer(epsilon) as writing:
        play.ok("restore_tenant", tenant=zeta.name, source=epsilon.name, **s3.variables)
        writing.wait_for(1)
    # The source is not even held meanwhile.
    assert writing.lost() == [] and writing.refused == {}, writing.report()
    assert stored(zeta) == stored(epsilon)
    some = sorted(stored(zeta))[-1]
    assert some in zeta.search(some, PROJECT)
    assert zeta.request("GET", "/api/v2/projects", key=epsilon.key).status_code == 403
    settled(zeta)


def test_a_restore_point_of_another_tenant_is_refused(
    zeta: Tenant, epsilon: Tenant, s3: Storage, writer: Writer
) -> None:
    run = zeta.platform.play.refused(
        "restore_tenant",
        tenant=zeta.name,
        source=epsilon.name,
        source_uid="f" * 16,
        force=True,
        **s3.variables,
    )
    assert "there are no restore points" in run.output
    assert zeta.remembers(zeta.store_something())


def test_a_restore_point_proves_itself_in_a_throw_away_tenant(
    epsilon: Tenant, s3: Storage, writer: Writer
) -> None:
    before = epsilon.container_ids()
    epsilon.platform.play.ok("verify_backups", tenant=epsilon.name, **s3.variables)
    evidence = epsilon.platform.data_dir / "evidence"
    (path,) = evidence.glob(f"{epsilon.name}-{epsilon.entry['tenant_uid'][:8]}.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["proved"]
    assert last["memories"] == last["in_neo4j"]
    assert last["searched"] == min(50, last["memories"])
    assert epsilon.container_ids() == before
    assert epsilon.leftovers() == []


def test_a_node_cannot_delete_what_it_stored(s3: Storage, writer: Writer) -> None:
    key = s3.objects("snapshots")[0]
    with pytest.raises(ClientError, match="AccessDenied|Access Denied"):
        s3.client(s3.node).delete_object(Bucket=BUCKET, Key=key)
    assert key in s3.objects("snapshots")


def test_pruning_needs_credentials_that_only_the_controller_has(
    epsilon: Tenant, s3: Storage, writer: Writer
) -> None:
    epsilon.platform.play.ok("backup_tenant", tenant=epsilon.name, **s3.variables)
    assert len(s3.objects("snapshots")) == 2
    run = epsilon.platform.play.ok("prune_backups", tenant=epsilon.name, **s3.variables)
    assert run.changed
    assert len(s3.objects("snapshots")) == 1  # the newest of the day


def test_a_storage_that_is_gone(epsilon: Tenant, s3: Storage) -> None:
    gone = {**s3.variables, "platform_backup_repository": f"s3:http://127.0.0.1:1/{BUCKET}/x"}
    before = epsilon.container_ids()
    run = epsilon.platform.play.refused("backup_tenant", tenant=epsilon.name, **gone)
    assert "127.0.0.1:1" in run.output
    assert epsilon.container_ids() == before
    assert epsilon.leftovers() == []


def test_a_root_key_that_is_not_the_right_one(
    epsilon: Tenant, zeta: Tenant, s3: Storage, writer: Writer
) -> None:
    run = zeta.platform.play.refused(
        "restore_tenant",
        tenant=zeta.name,
        source=epsilon.name,
        force=True,
        platform_root_keys={"1": "c3RyaW5nIG9mIHRoaXJ0eS10d28gYnl0ZXMsIHllcyE="},
        **s3.variables,
    )
    assert "platform_root_keys" in run.output
    assert zeta.remembers(zeta.store_something())


@pytest.mark.parametrize("size", ["4k", "64k"])
def test_a_disk_that_becomes_full(epsilon: Tenant, tmp_path: Path, size: str) -> None:
    """One without room for a repository, and one that is full half-way through a restore point."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", tmp_path], check=True)
    try:
        with Writer(epsilon) as writing:
            run = epsilon.platform.play.refused(
                "backup_tenant", tenant=epsilon.name, platform_backup_repository=str(tmp_path)
            )
            writing.wait_for(1)
        begun = list(tmp_path.glob("*/config"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "no space left" in run.output
    assert len(begun) == (size == "64k")
    assert writing.lost() == [], writing.report()
    settled(epsilon)


def test_a_damaged_restore_point(epsilon: Tenant, s3: Storage, writer: Writer) -> None:
    client = s3.client(s3.pruner)
    originals = {}
    for key in s3.objects("data"):
        originals[key] = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        broken = bytearray(originals[key])
        broken[len(broken) // 3] ^= 0xFF
        client.put_object(Bucket=BUCKET, Key=key, Body=bytes(broken))
    before = epsilon.container_ids()
    run = epsilon.platform.play.refused(
        "restore_tenant", tenant=epsilon.name, force=True, **s3.variables
    )
    for key, body in originals.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=body)
    assert "restore point" in run.output
    assert epsilon.container_ids() == before
    assert epsilon.remembers(epsilon.store_something())


# Each is killed at three points in the scenario lifecycle; here their storage is elsewhere.
def test_a_killed_restore_is_finished_by_running_it_again(
    epsilon: Tenant, s3: Storage, everything: set[str]
) -> None:
    """Killed while the tenant's clients wait."""
    force = {"tenant": epsilon.name, "force": True, **s3.variables}
    assert epsilon.platform.play.kill_when(epsilon.is_held, "restore_tenant", **force)
    epsilon.platform.play.ok("restore_tenant", **force)
    assert stored(epsilon) <= everything
    settled(epsilon)


def test_a_killed_backup_loses_nothing(epsilon: Tenant, s3: Storage) -> None:
    """Killed while it works beside the tenant."""
    sentence = epsilon.store_something()
    variables = {"tenant": epsilon.name, **s3.variables}
    assert epsilon.platform.play.kill_when(epsilon.scratch_runs, "backup_tenant", **variables)
    epsilon.platform.play.ok("backup_tenant", **variables)
    assert epsilon.remembers(sentence)
    settled(epsilon)


def test_a_paused_tenant_is_backed_up_and_stays_paused(zeta: Tenant, s3: Storage) -> None:
    zeta.platform.play.ok("suspend_tenant", tenant=zeta.name)
    zeta.platform.play.ok("backup_tenant", tenant=zeta.name, **s3.variables)
    assert {role: zeta.container(role).status for role in ROLES} == dict.fromkeys(ROLES, "exited")
    settled(zeta)
    assert os.path.isdir(zeta.platform.data_dir)


def test_a_purge_says_what_is_under_lock_and_until_when(
    zeta: Tenant, s3: Storage, tmp_path: Path
) -> None:
    locked = s3.variables_for(LOCKED_BUCKET)
    zeta.platform.play.ok("backup_tenant", tenant=zeta.name, **locked)
    path = tmp_path / "report.json"
    wanted = {"tenant": zeta.name, "keep_data": False, "result_file": str(path)}
    zeta.platform.play.ok("delete_tenant", **wanted, **locked)
    told = json.loads(path.read_text())
    assert told["left"] == told["unknown"] == []
    (thing,) = told["locked"]
    versions = s3.client(s3.pruner).list_object_versions(Bucket=LOCKED_BUCKET)["Versions"]
    assert (thing["kind"], thing["versions"]) == ("restore points", len(versions))
    assert thing["bytes"] == sum(version["Size"] for version in versions)
    assert thing["until"] > told["at"]
    assert thing["until"] in path.with_suffix(".txt").read_text()
    assert not zeta.entry_file.exists()
