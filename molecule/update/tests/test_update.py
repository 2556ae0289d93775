"""A tenant goes to other server versions with its memories, and back, while a client writes.

The tests follow one tenant's life and depend on each other in their order: 0.3.8, broken images of
0.3.9, 0.3.9 itself, another image of PostgreSQL, 0.4.0 (which cannot read the data in place), back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.images import (
    ANOTHER,
    MARK,
    SEARCHES,
    STARTS,
    STORES,
    own_images,
    remove_derived,
    replace_image,
    with_line,
)
from support.platform import Platform, Tenant
from support.playbook import CHECKOUT
from support.writer import OfficialWriter

# Lines put into the server of an image, each before what it should do.
BROKEN = {
    "does not start": (STARTS, "sys.exit('cannot')"),
    "starts but cannot store": (STORES, "raise RestError(code=500, message='cannot')"),
    "starts but cannot search": (SEARCHES, "raise RestError(code=500, message='cannot')"),
}


@pytest.fixture(scope="module")
def tenant(platform: Platform) -> Iterator[Tenant]:
    made = platform.create("upsilon", tenant_version="0.3.9")
    platform.play.ok("setup_node")  # builds the images that entries name
    made.change_entry(tenant_version="0.3.8")
    platform.play.ok("deploy_tenant", tenant=made.name)
    yield made
    platform.delete(made.name)
    remove_derived(platform)


@pytest.fixture(scope="module")
def sentence(tenant: Tenant) -> str:
    """A memory of 0.3.8, to be found in every version."""
    return tenant.store_something()


@pytest.fixture
def images(platform: Platform) -> Iterator[None]:
    """What a test changes in the node's record of images is put back."""
    with own_images(platform):
        yield


def record_of(tenant: Tenant) -> dict[str, Any]:
    path = tenant.platform.data_dir / "tenants" / tenant.name / "state.json"
    return dict(json.loads(path.read_text()))


def settled(tenant: Tenant) -> bool:
    """Whether deploying finds nothing to do."""
    return tenant.platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}


def left_behind(tenant: Tenant) -> list[str]:
    """Volumes of the tenant that its record does not know."""
    record = record_of(tenant)
    kept = {record.get("generation", 1), (record.get("previous") or {}).get("generation", 1)}
    suffixes = {"" if generation == 1 else f"-g{generation}" for generation in kept}
    uid = tenant.entry["tenant_uid"][:8]
    wanted = {
        f"{tenant.platform.name}-{tenant.name}-{uid}-{role}{suffix}"
        for role in ("postgres", "neo4j")
        for suffix in suffixes
    }
    volumes = tenant.platform.docker().volumes.list(filters={"label": tenant.labels})
    found = {volume.name for volume in volumes}
    return sorted(found - wanted)


def test_deploying_another_version_points_to_the_update(tenant: Tenant, sentence: str) -> None:
    tenant.change_entry(tenant_version="0.3.9")
    run = tenant.platform.play.run("deploy_tenant", tenant=tenant.name)
    tenant.change_entry(tenant_version="0.3.8")
    assert run.returncode != 0
    assert f"run update_tenant -e tenant={tenant.name}" in run.output


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_image_is_rolled_back(
    tenant: Tenant, sentence: str, images: None, fault: str
) -> None:
    replace_image(tenant.platform, "memmachine", with_line(*BROKEN[fault]), version="0.3.9")
    # One that ends is not waited for; the others are given time to start on a busy machine.
    patience = 90 if fault == "does not start" else 30
    with OfficialWriter(tenant) as writer:
        run = tenant.platform.play.run(
            "update_tenant", tenant=tenant.name, version="0.3.9", patience=patience
        )
        writer.wait_for(1)
    assert run.returncode != 0
    assert "failed and was undone" in run.output, run.output
    assert "last lines" in run.output, run.output
    assert tenant.entry["tenant_version"] == "0.3.8"
    assert record_of(tenant)["version"] == "0.3.8"
    assert set(writer.refused) <= {"503"} and writer.lost() == [], writer.report()
    assert tenant.remembers(sentence)
    assert left_behind(tenant) == []


def test_an_image_update_costs_a_client_no_error(tenant: Tenant, sentence: str) -> None:
    assert settled(tenant)
    check = tenant.platform.play.ok("update_tenant", "--check", tenant=tenant.name, version="0.3.9")
    assert "image: both versions use the same tables" in check.output
    assert tenant.entry["tenant_version"] == "0.3.8"
    with OfficialWriter(tenant) as writer:
        tenant.platform.play.ok("update_tenant", tenant=tenant.name, version="0.3.9")
    # Told to come again where the machine was too slow for the time that the edge may hold.
    assert set(writer.refused) <= {"503"}, writer.report()
    assert writer.acknowledged and writer.lost() == []
    assert tenant.entry["tenant_version"] == "0.3.9"
    assert tenant.remembers(sentence)
    assert settled(tenant)


def test_another_image_of_a_database_comes_the_same_way(
    tenant: Tenant, sentence: str, images: None
) -> None:
    replace_image(tenant.platform, "postgres", ANOTHER)
    run = tenant.platform.play.ok("update_tenant", tenant=tenant.name)
    assert "image: other images, the same data" in run.output
    assert tenant.container("postgres").exec_run(["ls", MARK])[0] == 0
    assert tenant.remembers(sentence)
    run = tenant.platform.play.ok("rollback_tenant", tenant=tenant.name)
    assert tenant.container("postgres").exec_run(["ls", MARK])[0] != 0


def test_a_killed_update_is_undone_by_the_next_run(tenant: Tenant, sentence: str) -> None:
    command = tenant.platform.play.command("update_tenant", tenant=tenant.name, version="0.4.0")
    running = subprocess.Popen(
        command, cwd=CHECKOUT, env=tenant.platform.play.environment, start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while "operation" not in record_of(tenant) and time.monotonic() < deadline:
        time.sleep(0.05)
    lease = tenant.platform.data_dir / "locks" / f"tenant-{tenant.name}.json"
    module = json.loads(lease.read_text())["pid"]
    time.sleep(3)  # in the middle of the export
    os.killpg(running.pid, signal.SIGKILL)
    os.kill(module, signal.SIGKILL)
    running.wait()
    assert record_of(tenant)["operation"]["name"] == "update"
    run = tenant.platform.play.run("deploy_tenant", tenant=tenant.name)
    assert "run update_tenant" in run.output  # its entry names the version already
    assert tenant.remembers(sentence)
    assert record_of(tenant)["version"] == "0.3.9" and "operation" not in record_of(tenant)
    assert left_behind(tenant) == []


def test_a_version_that_cannot_read_the_data_gets_it_by_export(
    tenant: Tenant, sentence: str
) -> None:
    with OfficialWriter(tenant) as writer:
        # The killed run has written the version to the entry: it is finished.
        run = tenant.platform.play.ok("update_tenant", tenant=tenant.name)
    assert "reload: MemMachine 0.4.0 cannot use the data in place" in run.output
    assert set(writer.refused) <= {"503"}, writer.report()
    assert writer.acknowledged and writer.lost() == []
    assert tenant.remembers(sentence)
    assert tenant.request("GET", "/api/v2/health").json()["version"] == "0.4.0"
    assert settled(tenant) and left_behind(tenant) == []


def test_going_back_says_what_it_costs_and_finds_what_was(tenant: Tenant, sentence: str) -> None:
    later = tenant.store_something()
    run = tenant.platform.play.run("rollback_tenant", tenant=tenant.name)
    assert run.returncode != 0 and "minutes since" in run.output
    assert tenant.remembers(later)
    tenant.platform.play.ok("rollback_tenant", tenant=tenant.name, force=True)
    assert tenant.entry["tenant_version"] == "0.3.9"
    assert tenant.remembers(sentence)
    assert later not in tenant.search(later)
    assert settled(tenant) and left_behind(tenant) == []
