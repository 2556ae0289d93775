"""Each kind of drift is named by a check and repaired by the next run, which touches nothing else.

The scenario has two tenants: what is broken is always gamma's, and delta must never be touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.platform import ROLES, Platform, Tenant


@pytest.fixture(scope="module")
def gamma(platform: Platform) -> Tenant:
    return platform.tenant("gamma")


@pytest.fixture(scope="module")
def delta(platform: Platform) -> Tenant:
    return platform.tenant("delta")


def stop_app(tenant: Tenant) -> None:
    tenant.container("app").stop(timeout=10)


def remove_neo4j(tenant: Tenant) -> None:
    tenant.container("neo4j").remove(force=True)


def change_limit(tenant: Tenant) -> None:
    tenant.container("postgres").update(mem_limit="300m", memswap_limit="300m")


def edit_configuration(tenant: Tenant) -> None:
    path = tenant.platform.data_dir / "tenants" / tenant.name / "app/configuration.yml"
    path.write_text(path.read_text() + "# edited by hand\n")


def delete_route(tenant: Tenant) -> None:
    tenant.route_file.unlink()


def remove_network(tenant: Tenant) -> None:
    network = tenant.platform.docker().networks.get(f"{tenant.platform.name}-{tenant.name}-app")
    network.disconnect(tenant.container("app"), force=True)
    network.remove()


def open_secret(tenant: Tenant) -> None:
    os.chmod(tenant.platform.data_dir / "tenants" / tenant.name / "app/configuration.yml", 0o644)


def edit_keys(tenant: Tenant) -> None:
    path = tenant.platform.data_dir / "gate/tenants" / f"{tenant.name}.json"
    path.write_text(path.read_text().replace('"running"', '"suspended"'))


CHANGING = re.compile(r"\b[0-9a-f]{12}\b|\b10(\.\d+){3}(/28)?")
HOME, GAMMA = "{data}/tenants/gamma", "{platform}-gamma"
CONFIGURATION = HOME + "/app/configuration.yml"
READ_AGAIN = f"container {GAMMA}-app must read configuration.yml again: - -> restarted"
# What is broken, what the check says (… is a hash or an address), and what the repair may touch.
DRIFT: list[tuple[Callable[[Tenant], None], list[str], set[str]]] = [
    (stop_app, [f"container {GAMMA}-app is not running: exited (0) -> running"], {"app"}),
    (remove_neo4j, [f"container {GAMMA}-neo4j is missing: - -> running"], {"neo4j", "app"}),
    (
        change_limit,
        [f"container {GAMMA}-postgres memory limit differs: 300m -> 192m"],
        {"postgres"},
    ),
    (
        edit_configuration,
        [f"file {CONFIGURATION} was changed by hand: sha256 … -> as generated", READ_AGAIN],
        {"app"},
    ),
    (delete_route, ["file {data}/edge/dynamic/gamma.yml is missing: - -> written"], set()),
    (
        remove_network,
        [
            f"network {GAMMA}-app is missing: - -> …",
            f"container {GAMMA}-app must be attached to network {GAMMA}-app again: - -> …",
        ],
        {"app"},
    ),
    (
        open_secret,
        [f"file {CONFIGURATION} owner or mode differs: 0644 30012:30012 -> 0600 30012:30012"],
        {"app"},
    ),
    (
        edit_keys,
        ["file {data}/gate/tenants/gamma.json content differs: sha256 … -> …"],
        set(),
    ),
]


def differences(output: str) -> list[str]:
    """What a run with --diff says: each thing that differs, with before and after."""
    lines = [line for line in output.splitlines() if not line.startswith(("--- ", "+++ "))]
    before = [line[1:] for line in lines if line.startswith("-")]
    after = [line[1:] for line in lines if line.startswith("+")]
    return [
        CHANGING.sub("…", f"{one} -> {two.rpartition(': ')[2]}")
        for one, two in zip(before, after, strict=True)
    ]


@pytest.mark.parametrize(
    ("break_it", "words", "touched"), DRIFT, ids=[case[0].__name__ for case in DRIFT]
)
def test_drift_is_seen_in_words_and_repaired(
    platform: Platform,
    gamma: Tenant,
    delta: Tenant,
    break_it: Callable[[Tenant], None],
    words: list[str],
    touched: set[str],
) -> None:
    sentence = gamma.store_something()
    before, others = gamma.container_ids(), delta.container_ids()
    break_it(gamma)
    broken = ours(platform, "ps", gamma)

    checked = platform.play.ok("deploy_tenant", "--check", "--diff")
    assert ours(platform, "ps", gamma) == broken, "a check changes nothing"
    assert set(checked.changed) == {"gamma"}
    names = {"platform": platform.name, "data": platform.data_dir}
    assert differences(checked.output) == [line.format(**names) for line in words]

    repaired = platform.play.ok("deploy_tenant")
    assert set(repaired.changed) == {"gamma"}
    after = gamma.container_ids()
    assert {role for role in ROLES if after[role] != before[role]} <= touched
    assert delta.container_ids() == others
    assert gamma.remembers(sentence)
    assert platform.play.ok("deploy_tenant").changed == {}


def test_a_paused_tenant_stays_paused(platform: Platform, gamma: Tenant) -> None:
    sentence = gamma.store_something()
    gamma.change_entry(tenant_wake=False)  # a request would start it again
    platform.play.ok("pause_tenant", tenant="gamma")
    paused = gamma.container_ids()
    statuses = {role: gamma.container(role).status for role in ROLES}
    assert "running" not in statuses.values()
    answer = gamma.request("POST", "/api/v2/memories/search", json={"query": "x"})
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert gamma.request("GET", "/health", key="").json() == {"status": "paused"}

    run = platform.play.ok("deploy_tenant")
    assert run.changed == {}
    assert gamma.container_ids() == paused
    assert {role: gamma.container(role).status for role in ROLES} == statuses

    platform.play.ok("resume_tenant", tenant="gamma")
    assert gamma.remembers(sentence, 60)


def test_killed_runs_converge_when_run_again(platform: Platform, delta: Tenant) -> None:
    """Each run has everything to do again but the data, and is killed a bit later."""
    sentence = delta.store_something()
    moments = {
        "a container exists": lambda: ours(platform, "ps", "--all", delta),
        "all of them run": lambda: len(ours(platform, "ps", delta)) == len(ROLES),
    }
    for moment, has_come in moments.items():
        for role in ROLES:
            delta.container(role).remove(force=True)
        delta.route_file.unlink()
        assert platform.play.kill_when(has_come, "deploy_tenant", "-l", "delta"), moment
        platform.play.ok("deploy_tenant", "-l", "delta")
        assert delta.remembers(sentence), moment
    assert platform.play.ok("deploy_tenant", "-l", "delta").changed == {}


def test_a_first_run_that_is_killed_again_and_again_is_finished_by_the_next(
    platform: Platform,
) -> None:
    """Each run is killed a bit later, on what the ones before it left."""
    nova = platform.tenant("nova")
    wish = {"tenant": "nova", "tier": "free", "key_file": str(nova.key_file)}
    moments = {
        "the entry is written": nova.entry_file.exists,
        "a network exists": lambda: ours(platform, "network", "ls", nova),
        "a container exists": lambda: ours(platform, "ps", "--all", nova),
        "all of them run": lambda: len(ours(platform, "ps", nova)) == len(ROLES),
    }
    try:
        for moment, has_come in moments.items():
            assert platform.play.kill_when(has_come, "create_tenant", **wish), moment
        uid = nova.entry["tenant_uid"]
        platform.play.ok("create_tenant", **wish)
        assert nova.entry["tenant_uid"] == uid
        assert len(nova.entry["tenant_api_keys"]) == 1
        assert nova.remembers(nova.store_something())
        assert nova.leftovers() == []
        found = platform.inventory.rglob("*nova*")
        left = [path.name for path in found if path.parent.name != ".reports"]
        assert sorted(left) == ["nova.json", "nova.key", "nova.yml"]
        assert platform.play.ok("deploy_tenant", "-l", "nova").changed == {}
    finally:
        platform.delete("nova")


class TestNewTenants:
    def test_two_runs_at_the_same_moment_get_different_slots(
        self, platform: Platform, twins: list[Tenant]
    ) -> None:
        runs = [platform.play.start("deploy_tenant", "-l", twin.name) for twin in twins]
        outputs = [run.communicate(timeout=600)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
        addresses = [twin.address("app") for twin in twins]
        assert addresses[0] != addresses[1]

    def test_an_entry_by_hand_and_the_same_command_are_a_tenant(
        self, platform: Platform, twins: list[Tenant]
    ) -> None:
        """Without create_tenant: the key is the operator's own."""
        key = "mb_" + secrets.token_urlsafe(32)
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        twins[1].change_entry(tenant_api_keys=[{"name": "default", "sha256": sha256}])
        platform.play.ok("deploy_tenant", "-l", twins[1].name)
        assert twins[1].request("GET", "/api/v2/health").status_code == 403
        twins[1].key_file.write_text(key)
        assert twins[1].remembers(twins[1].store_something())

    def test_deleting_keeps_the_memories_until_told_otherwise(
        self, platform: Platform, twins: list[Tenant]
    ) -> None:
        tenant = twins[0]
        sentence = tenant.store_something()
        platform.play.ok("delete_tenant", tenant=tenant.name)
        assert ours(platform, "ps", "--all", tenant) == []
        assert len(ours(platform, "volume", "ls", tenant)) == 2

        tenant.key_file.unlink(missing_ok=True)
        key_file = str(tenant.key_file)
        platform.play.ok("create_tenant", tenant=tenant.name, tier="free", key_file=key_file)
        assert tenant.remembers(sentence, 60)

        platform.play.ok("delete_tenant", tenant=tenant.name, keep_data=False)
        assert ours(platform, "volume", "ls", tenant) == []
        assert not tenant.entry_file.exists()


@pytest.fixture(scope="module")
def twins(platform: Platform) -> Iterator[list[Tenant]]:
    """Two tenants that are written but not deployed."""
    yield [platform.create("twin1"), platform.create("twin2")]
    platform.delete(*(name for name in platform.tenants() if name.startswith("twin")))


def ours(platform: Platform, *command: str | Tenant) -> list[str]:
    """What Docker lists of a tenant."""
    *words, tenant = command
    name = f"name={platform.name}-{tenant.name}-"
    listed = subprocess.run(
        ["docker", *words, "--quiet", "--filter", name], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()
