"""Slots, addresses, root key checks, locks and records of a node."""

from __future__ import annotations

import json
import multiprocessing
import os
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _locks, _node_state
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

POOL = "10.192.0.0/14"


def test_addresses_of_a_slot():
    found = _node_state.addresses_of(POOL, 3)
    assert found.data_subnet == "10.192.0.96/28"
    assert (found.postgres, found.neo4j, found.app_data) == (
        "10.192.0.98",
        "10.192.0.99",
        "10.192.0.100",
    )
    assert found.app_subnet == "10.192.0.112/28"
    assert (found.app_gateway, found.app) == ("10.192.0.113", "10.192.0.114")


def test_the_default_pool_carries_thousands_without_overlap():
    assert _node_state.slots_of(POOL) == 8192
    subnets = set()
    for slot in range(8192):
        found = _node_state.addresses_of(POOL, slot)
        subnets |= {found.data_subnet, found.app_subnet}
    assert len(subnets) == 2 * 8192


def test_a_slot_outside_of_the_pool_is_refused():
    with pytest.raises(MemcloudError, match="slot 2 is outside"):
        _node_state.addresses_of("10.0.0.0/26", 2)


def test_the_lowest_free_slot_is_claimed_once_and_kept(tmp_path):
    state = _node_state.NodeState(str(tmp_path))
    assert state.slot("a" * 16) is None
    assert state.claim_slot("a" * 16, "acme", POOL, "me") == 1
    assert state.claim_slot("b" * 16, "globex", POOL, "me") == 2
    assert state.claim_slot("a" * 16, "acme", POOL, "me") == 1
    state.release_slot("a" * 16, "me")
    assert state.claim_slot("c" * 16, "initech", POOL, "me") == 1
    assert state.slot("b" * 16) == 2


def test_a_full_pool_says_so(tmp_path):
    state = _node_state.NodeState(str(tmp_path))
    state.claim_slot("a" * 16, "acme", "10.0.0.0/26", "me")
    with pytest.raises(MemcloudError, match="globex: platform_subnet_pool .* no free slot"):
        state.claim_slot("b" * 16, "globex", "10.0.0.0/26", "me")


def _claim(directory, number, results):
    state = _node_state.NodeState(directory)
    results.put(state.claim_slot(f"{number:016x}", f"t{number}", POOL, f"run {number}"))


def test_runs_at_the_same_moment_get_different_slots(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    runs = [context.Process(target=_claim, args=(str(tmp_path), n, results)) for n in range(12)]
    for run in runs:
        run.start()
    slots = sorted(results.get(timeout=30) for _run in runs)
    for run in runs:
        run.join(30)
    assert slots == list(range(1, 13))


def test_another_root_key_is_refused(tmp_path):
    state = _node_state.NodeState(str(tmp_path))
    state.check_root_key("acme", 1, "aa")
    state.remember_root_key(1, "aa", "me")
    state.remember_root_key(1, "bb", "me")
    state.check_root_key("acme", 1, "aa")
    with pytest.raises(MemcloudError, match="acme: platform_root_keys: version 1 is not the root"):
        state.check_root_key("acme", 1, "bb")
    state.check_root_key("acme", 2, "bb")


def test_a_node_that_is_not_set_up_says_what_to_run(tmp_path):
    with pytest.raises(MemcloudError, match="run setup_node|Run setup_node"):
        _node_state.NodeState(str(tmp_path)).images()


def test_records_of_tenants(tmp_path):
    state = _node_state.NodeState(str(tmp_path))
    assert state.tenants() == []
    assert state.tenant("acme") == {"schema": 1, "files": {}}
    os.makedirs(tmp_path / "tenants" / "acme")
    state.write_tenant("acme", {"state": "running"})
    assert state.tenant("acme")["state"] == "running"
    assert state.tenants() == ["acme"]
    assert (tmp_path / "tenants" / "acme" / "state.json").stat().st_mode & 0o777 == 0o600


def test_who_finds_a_lock_taken_learns_from_whom(tmp_path):
    with (
        _locks.locked(str(tmp_path), "tenant-acme", "ann@desk"),
        pytest.raises(_locks.LockedError, match="tenant-acme: is locked by ann@desk since 20"),
        _locks.locked(str(tmp_path), "tenant-acme", "bob@desk", wait=0.3),
    ):
        pytest.fail("the lock was given twice")
    assert _locks.holder(str(tmp_path), "tenant-acme") is None


def test_a_lock_tells_its_holder_and_forgets_it(tmp_path):
    assert _locks.holder(str(tmp_path), "node") is None
    with _locks.locked(str(tmp_path), "node", "ann@desk"):
        assert "ann@desk" in _locks.holder(str(tmp_path), "node")
    assert not (tmp_path / "node.json").exists()


def _die_with_the_lock(directory, ready):
    with _locks.locked(directory, "node", "killed run"):
        ready.set()
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    victim = context.Process(target=_die_with_the_lock, args=(str(tmp_path), ready))
    victim.start()
    assert ready.wait(10)
    victim.kill()
    victim.join(10)
    assert json.loads((tmp_path / "node.json").read_text())["owner"] == "killed run"
    with _locks.locked(str(tmp_path), "node", "next run", wait=1):
        pass
