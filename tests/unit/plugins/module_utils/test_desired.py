"""Variables in, desired state out."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    Facts,
    desired_tenant,
    overruled,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import forward_text
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import RESERVED

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data

FACTS = Facts(3, {"postgres": "sha256:p", "neo4j": "sha256:n", "memmachine": "sha256:m"}, cpus=2)
MIB = 1024**2
ROLES = Path(__file__).parents[4] / "roles"


def desired(facts=FACTS, with_secrets=False, **variables):
    platform, tenant, secrets = tenant_data.make(**variables)
    return desired_tenant(tenant, platform, facts, secrets if with_secrets else None)


def containers(**variables):
    return {c.role: c for c in desired(**variables)[0].containers}


def test_three_containers_two_networks_two_volumes():
    state, _contents = desired()
    assert [c.name for c in state.containers] == [
        "mc-acme-postgres",
        "mc-acme-neo4j",
        "mc-acme-app",
    ]
    assert [(n.name, n.bridge, n.internal) for n in state.networks] == [
        ("mc-acme-data", "mc-d3", True),
        ("mc-acme-app", "mc-a3", False),
    ]
    assert [v.name for v in state.volumes] == [
        "mc-acme-01234567-postgres",
        "mc-acme-01234567-neo4j",
    ]


def names_of(name, uid):
    """Everything on a node that is called after a tenant, by the place where names must differ."""
    state = desired(name=name, tenant_uid=uid)[0]
    later = desired(dataclasses.replace(FACTS, generation=2), name=name, tenant_uid=uid)[0]
    route = next(json.loads(f.content) for f in state.files if "/dynamic/" in f.path)["http"]
    forward = json.loads(forward_text(name, f"{name}.example.com", "192.0.2.1", 443, True, 1.0))
    moved = {kind: set(forward["http"][kind]) for kind in ("routers", "middlewares", "services")}
    return {
        "containers": {c.name for c in state.containers},
        "networks": {n.name for n in state.networks},
        "volumes": {v.name for v in (*state.volumes, *later.volumes)},
        "files": {f.path for f in state.files} | set(state.absent),
        **{kind: set(entries) | moved.get(kind, set()) for kind, entries in route.items()},
    }


def test_nothing_of_a_tenant_has_the_name_of_anothers_or_of_the_platforms():
    tenants = [
        *("a", "a-b", "a-app", "a-data", "a-postgres", "a-neo4j", "a-gate", "a-mcp", "a-verify2"),
        *("a-01234567", "a-01234567-postgres", "a-postgres-g2", "a-moved-until", "app", "1", "1-1"),
        *("gate", "edge", "keeper", "demo", "check", "memcloud", "mc", "platform-0"),
    ]
    owners = {}
    for number, name in enumerate(tenants):
        for place, names in names_of(name, f"{number:08x}01234567").items():
            for owned in names:
                assert owners.setdefault((place, owned), name) == name
    taken = {owned for place, owned in owners if place in ("containers", "networks")}
    roles = [
        (ROLES / name / "tasks").glob("*.yml") for name in ("docker_node", "edge", "demo_model")
    ]
    text = "".join(path.read_text() for paths in roles for path in paths)
    own = set(re.findall(r'name: "{{ \w+ }}-([a-z-]+)"', text))
    assert own == {"node", "gate", "keeper", "edge", "demo-model"}
    assert not {f"mc-{name}" for name in own | {"check"}} & taken
    assert set(re.findall(r"dynamic/(\w+)\.yml", text)) == {"node"}
    assert "node" in RESERVED
    assert set(re.findall(r"certs/([a-z-]+)", text)) == {"platform-", "acme-server-ca"}


def test_every_container_is_confined():
    for container in containers().values():
        assert container.read_only
        assert container.no_new_privileges
        assert container.cap_drop == ("ALL",)
        assert container.cap_add == ()
        assert int(container.user.split(":")[0]) >= 30010
        assert min(container.memory, container.pids, container.cpu_shares) > 0
        assert container.environment == {}


def test_databases_are_on_the_internal_network_alone():
    found = containers()
    assert [n.name for n in found["postgres"].networks] == ["mc-acme-data"]
    assert [n.name for n in found["neo4j"].networks] == ["mc-acme-data"]
    assert [(n.name, n.address) for n in found["app"].networks] == [
        ("mc-acme-app", "10.192.0.114"),
        ("mc-acme-data", "10.192.0.100"),
    ]


@pytest.mark.parametrize(
    ("tier", "role", "memory"),
    [
        ("free", "app", 448),
        ("free", "neo4j", 384),
        ("pro", "app", 1280),
        ("enterprise", "app", 4096),
    ],
)
def test_limits_follow_the_tier(tier, role, memory):
    assert containers(tenant_tier=tier)[role].memory == memory * MIB


def test_cpu_limits_do_not_exceed_what_the_node_has():
    assert {c.cpus for c in containers(tenant_tier="enterprise").values()} == {2.0}


@pytest.mark.parametrize(
    ("state", "running"), [("running", True), ("paused", False), ("suspended", False)]
)
def test_wanted_state(state, running):
    assert {c.running for c in containers(tenant_state=state).values()} == {running}


def test_a_deleted_tenant_has_nothing_but_keeps_its_volumes():
    state, contents = desired(tenant_state="deleted")
    assert state.containers == state.networks == state.files == ()
    assert contents == {}
    assert "/var/lib/memcloud/mc/edge/dynamic/acme.yml" in state.absent
    assert "/var/lib/memcloud/mc/gate/tenants/acme.json" in state.absent
    assert not any("volume" in path or path.endswith("tenants/acme") for path in state.absent)


def test_without_secrets_there_is_no_content_and_the_same_state():
    bare, none = desired()
    full, contents = desired(with_secrets=True)
    assert bare == full
    assert none == {}
    assert set(contents) == {file.path for file in full.files if file.secret}


def test_no_secret_in_the_desired_state():
    platform, tenant, secrets = tenant_data.make(platform_model_api_key="sk-very-secret-key")
    state, _contents = desired_tenant(tenant, platform, FACTS, secrets)
    said = repr(state) + json.dumps(tenant) + json.dumps(platform)
    for name, value in secrets.items():
        assert not value or value not in said, name


def test_secret_files_are_private_to_their_container():
    state, _contents = desired()
    for file in state.files:
        if file.secret:
            assert file.mode == 0o600
            assert file.uid in (30010, 30011, 30012)


@pytest.mark.parametrize(
    ("change", "files"),
    [
        (
            {"tenant_secret_epoch": 2},
            {"admin_password", "app_password", "auth.ini", "configuration.yml"},
        ),
        ({"platform_model_api_key": "sk-another"}, {"configuration.yml"}),
        ({"platform_language_model": "other-chat"}, {"configuration.yml"}),
        ({"tenant_limits": {"burst": 7}}, {"acme.yml"}),
        ({"tenant_hostname": "other.example.com"}, {"acme.yml"}),
        ({"tenant_api_keys": []}, {"acme.json"}),
        ({"tenant_owner": "someone"}, set()),
    ],
)
def test_a_change_reaches_the_files_that_it_concerns_and_no_other(change, files):
    def marks(**variables):
        state, _contents = desired(**variables)
        return {f.path: f.fingerprint or f.content for f in state.files}

    given = {"platform_model_provider": "openai", "platform_model_api_key": "sk-one"}
    before, after = marks(**given), marks(**{**given, **change})
    changed = {os.path.basename(path) for path in after if after[path] != before.get(path)}
    # the gate's entry carries the hash of the probe key, which follows the epoch
    assert changed - {"acme.json"} == files - {"acme.json"}


def test_a_missing_image_is_named_so():
    state, _contents = desired(facts=Facts(1, {}, 2))
    assert {c.image for c in state.containers} == {"missing"}


@pytest.mark.parametrize(
    ("stated", "wake", "asleep", "woken", "in_force"),
    [
        ("running", True, False, False, "running"),
        ("running", True, True, False, "paused"),
        ("running", False, True, False, "running"),
        ("running", True, False, True, "running"),
        ("paused", True, False, False, "paused"),
        ("paused", True, False, True, "running"),
        ("paused", False, False, True, "paused"),
        ("paused", True, True, False, "paused"),
        ("suspended", True, True, True, "suspended"),
    ],
)
def test_entry_and_decisions_of_the_node_make_one_state(stated, wake, asleep, woken, in_force):
    facts = dataclasses.replace(FACTS, asleep=asleep, woken=woken)
    state, _contents = desired(facts, tenant_state=stated, tenant_wake=wake)
    gate = gate_of(state)
    assert gate["state"] == in_force
    assert gate["wake"] is wake
    assert gate["hold_seconds"] == (20 if wake else 0)
    assert {c.running for c in state.containers} == {in_force == "running"}


def test_an_operation_holds_whatever_the_state_is():
    facts = dataclasses.replace(FACTS, held=True, asleep=True)
    gate = gate_of(desired(facts, tenant_wake=False)[0])
    assert (gate["state"], gate["hold_seconds"]) == ("updating", 20)


def test_writes_are_closed_at_the_gate_alone():
    closed = desired(dataclasses.replace(FACTS, writes="closed"))[0]
    assert gate_of(closed)["writes"] == "closed"
    assert closed.containers == desired()[0].containers


def test_what_counts_no_longer_is_named():
    _platform, tenant, _secrets = tenant_data.make()
    both = {"asleep": {"since": "x"}, "woken": {"since": "x"}}
    assert overruled(tenant, both) == ["woken"]
    assert overruled({**tenant, "state": "paused"}, both) == ["asleep"]
    assert overruled({**tenant, "state": "suspended"}, both) == ["asleep", "woken"]
    assert overruled({**tenant, "wake": False}, both) == ["asleep", "woken"]
    assert overruled(tenant, {}) == []


def gate_of(state):
    return json.loads(next(f.content for f in state.files if "/gate/tenants/" in f.path))
