# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that run on the controller alone: create, answer, change entries, report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.memcloud.memmachine.plugins.action import (
    doctor_inputs,
    fleet_facts,
    fleet_inputs,
    fleet_report,
    registry_export,
    tenant_answer,
    tenant_create,
    tenant_entry,
    tenant_keys,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_awx import AwxWriter
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_git import GitWriter
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller import (
    Controller,
    writer_of,
)

sys.path.insert(0, str(Path(__file__).parent))
from controller_side import ROOT_KEY, Run, write_inventory

UID = "0123456789abcdef"
ENTRY = f'tenant_uid: "{UID}"\ntenant_node: node1\n'
TWO_NODES = "nodes: {hosts: {node1: , node2: }}\n"
IDENTITY = ("-c", "user.name=Operator", "-c", "user.email=operator@example.com")


def entry(inventory: Path, name: str) -> Any:
    return yaml.safe_load((inventory / "host_vars" / f"{name}.yml").read_text())


def told(inventory: Path, name: str) -> Any:
    return json.loads((inventory / ".secrets" / f"{name}.json").read_text())


def test_create_writes_entry_and_answer_and_tells_no_key(tmp_path: Path) -> None:
    run = Run(write_inventory(tmp_path))
    result = run.act(tenant_create, tenant="acme", tier="pro", owner="c1")
    assert result["changed"]
    assert result["action"] == "created"
    assert result["add_host"]["host_name"] == "acme"
    assert result["add_host"]["host_vars"]["tenant_tier"] == "pro"
    assert entry(tmp_path, "acme")["tenant_uid"] == told(tmp_path, "acme")["uid"]
    assert told(tmp_path, "acme")["api_key"] not in json.dumps(result)
    assert (tmp_path / ".secrets" / ".gitignore").read_text() == "*\n"
    again = Run(tmp_path).act(tenant_create, tenant="acme")
    assert not again["changed"]
    assert again["action"] == "resumed"
    assert "add_host" not in again


@pytest.mark.parametrize("name", ["1", "3com"])
def test_a_name_may_begin_with_a_digit(tmp_path: Path, name: str) -> None:
    run = Run(write_inventory(tmp_path))
    run.act(tenant_create, tenant=name)
    assert told(tmp_path, name)["endpoint"] == f"https://{name}.memcloud.localhost"
    result = Run(tmp_path).act(fleet_inputs, name)
    (tenant,) = json.loads(result["batches"][0]["tenants"])
    assert tenant["tenant"] == name


def test_a_run_over_one_tenant_knows_the_hostnames_of_the_others(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        nodes_DOT_yml=TWO_NODES,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\ntenant_node: node2\n'
        "tenant_hostname: acme.memcloud.localhost\n",
    )
    with pytest.raises(AnsibleActionFail) as error:
        Run(inventory).act(fleet_inputs, "globex", tenants=["globex"])
    assert str(error.value) == (
        "Nothing was touched.\nglobex: tenant_hostname: acme.memcloud.localhost is that of acme "
        "too; each tenant needs its own"
    )


def test_a_hostname_of_another_tenant_is_found_in_an_inventory_of_awx(tmp_path: Path) -> None:
    other = "{tenant_uid: aaaaaaaaaaaaaaa1, tenant_node: node1, tenant_hostname: a.example.com}"
    inventory = write_inventory(
        tmp_path,
        group_vars__all_DOT_yml=f'platform_root_keys: {{1: "{ROOT_KEY}"}}\n'
        "platform_inventory_writer: awx\n",
        hosts_DOT_yml=f"tenants: {{hosts: {{globex: {other}}}}}\n",
    )
    with pytest.raises(AnsibleActionFail, match="acme: tenant_hostname: .* is that of globex too"):
        Run(inventory).act(tenant_create, tenant="acme", hostname="a.example.com")


def test_a_hostname_that_another_run_has_just_given_away_is_given_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tenants with one hostname would stop every run over all of them."""
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\n'
        "tenant_hostname: a.example.com\n",
    )
    before: dict[str, Any] = {}
    monkeypatch.setattr(Controller, "_stated", lambda _self, _platform: before)
    wish = {"tenant_hostname": "A.example.com"}
    words = "tenant_hostname: a.example.com is that of globex too"
    with pytest.raises(AnsibleActionFail, match=f"^initech: {words}"):
        Run(inventory).act(tenant_create, tenant="initech", hostname="a.example.com")
    with pytest.raises(AnsibleActionFail, match=f"^acme: {words}"):
        Run(inventory).act(tenant_entry, tenants=["acme"], variables=wish)
    assert not (tmp_path / "host_vars" / "initech.yml").exists()
    assert not (tmp_path / ".secrets" / "initech.json").exists()
    assert "tenant_hostname" not in entry(tmp_path, "acme")


def test_create_in_check_mode_writes_nothing(tmp_path: Path) -> None:
    run = Run(write_inventory(tmp_path))
    result = run.act(tenant_create, tenant="acme", check_mode=True)
    assert result["changed"]
    assert "tenant_node: node1" in result["diff"]["after"]
    assert "add_host" not in result
    assert not (tmp_path / "host_vars").exists()
    assert not (tmp_path / ".secrets").exists()


def test_create_takes_the_node_with_the_fewest_tenants(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        nodes_DOT_yml=TWO_NODES,
        host_vars__a_DOT_yml=f'tenant_uid: "{"1" * 15}a"\ntenant_node: node1\n',
    )
    Run(inventory).act(tenant_create, tenant="acme")
    assert entry(tmp_path, "acme")["tenant_node"] == "node2"
    Run(inventory).act(tenant_create, tenant="globex", node="node2")
    Run(inventory).act(tenant_create, tenant="initech")
    assert entry(tmp_path, "initech")["tenant_node"] == "node1"


def test_entries_of_one_run_that_get_a_node_count_for_each_other(tmp_path: Path) -> None:
    """Each is completed by a process of its own, which knows what Ansible read at first."""
    names = [f"t{number}" for number in range(6)]
    files = {f"host_vars__{name}_DOT_yml": "tenant_tier: free\n" for name in names}
    run = Run(write_inventory(tmp_path, nodes_DOT_yml=TWO_NODES, **files))
    room = {"memory": 64 << 30, "disk": 1 << 40, "slots": 99, "tenants": []}
    for name, rooms in zip(names, [{}] * 3 + [{"node1": room, "node2": room}] * 3, strict=True):
        run.act(tenant_create, tenant=name, rooms=rooms)
    placed = [entry(tmp_path, name)["tenant_node"] for name in names]
    assert sorted(placed) == ["node1"] * 3 + ["node2"] * 3


def test_an_entry_that_was_emptied_is_not_begun_anew_on_another_node(tmp_path: Path) -> None:
    entries = {"host_vars__acme_DOT_yml": ""}
    run = Run(write_inventory(tmp_path, nodes_DOT_yml=TWO_NODES, **entries))
    room = {"memory": 64 << 30, "disk": 1 << 40, "slots": 99}
    rooms = {"node1": {**room, "tenants": ["acme"]}, "node2": {**room, "tenants": []}}
    with pytest.raises(AnsibleActionFail, match="^acme: tenant_node: .* node1 has a tenant of"):
        run.act(tenant_create, tenant="acme", rooms=rooms)
    assert entry(tmp_path, "acme") is None
    assert not (tmp_path / ".secrets" / "acme.json").exists()
    run.act(tenant_create, tenant="globex", rooms=rooms)


def test_create_takes_what_group_vars_say(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        group_vars__tenants_DOT_yml="tenant_tier: pro\nplatform_keys_dir: keys\n",
    )
    result = Run(inventory).act(
        tenant_create, tenant="acme", variables={"tenant_limits": {"burst": 9}}
    )
    assert entry(tmp_path, "acme")["tenant_tier"] == "pro"
    assert entry(tmp_path, "acme")["tenant_limits"] == {"burst": 9}
    assert result["result_file"] == str(tmp_path / "keys" / "acme.json")


BAD_WISHES: list[tuple[dict[str, Any], str]] = [
    ({}, "-e tenant=<name>"),
    ({"tenant": "Bad_Name"}, "no DNS label"),
    ({"tenant": "../../etc"}, "no DNS label"),
    ({"tenant": "node1"}, "name of a node"),
    ({"tenant": "tier_pro"}, "no DNS label"),
    ({"tenant": "node"}, "node: name: is the name of the edge's own file (node.yml), which"),
    (
        {"tenant": "www"},
        "www: name: is the name of another host of the inventory; choose another one",
    ),
    (
        {"tenant": 1},
        "tenant is 1, which is a number and no name. Nothing was touched: write -e tenant=<name>, "
        "or the name in quotes where it is JSON or YAML",
    ),
    ({"tenant": False}, "tenant is False, which is true or false and no name"),
    ({"tenant": "acme", "tier": "gold"}, "tenant_tier"),
    ({"tenant": "acme", "node": "node9"}, "tenant_node"),
    ({"tenant": "acme", "version": "9"}, "tenant_version"),
    ({"tenant": "acme", "hostname": "taken.example.com"}, "that of globex too"),
    ({"tenant": "acme", "hostname": "umbrella.memcloud.localhost"}, "that of umbrella too"),
    ({"tenant": "acme", "variables": {"tenant_model_api_key": "sk-1"}}, "in clear"),
    ({"tenant": "acme", "variables": {"tenant_colour": "blue"}}, "tenant_colour"),
    ({"tenant": "acme", "api_key_sha256": "abc"}, "api_key_sha256"),
]


@pytest.mark.parametrize(("wish", "words"), BAD_WISHES)
def test_create_stops_before_anything_is_touched(
    tmp_path: Path, wish: dict[str, Any], words: str
) -> None:
    inventory = write_inventory(
        tmp_path,
        host_vars__globex_DOT_yml=ENTRY + "tenant_hostname: taken.example.com\n",
        host_vars__umbrella_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\n',
        others_DOT_yml="web: {hosts: {www: }}\n",
    )
    with pytest.raises(AnsibleActionFail) as error:
        Run(inventory).act(tenant_create, **wish)
    assert words in str(error.value)
    assert sorted(path.name for path in (tmp_path / "host_vars").iterdir()) == [
        "globex.yml",
        "umbrella.yml",
    ]
    assert not (tmp_path / ".secrets" / "acme.json").exists()


def test_create_says_what_an_inventory_lacks(tmp_path: Path) -> None:
    no_node = write_inventory(tmp_path / "a", nodes_DOT_yml="nodes: {}\n")
    with pytest.raises(AnsibleActionFail, match="There is no node"):
        Run(no_node).act(tenant_create, tenant="acme")
    no_key = write_inventory(tmp_path / "b", group_vars__all_DOT_yml="x: 1\n")
    with pytest.raises(AnsibleActionFail, match="platform_root_keys"):
        Run(no_key).act(tenant_create, tenant="acme")
    no_git = write_inventory(
        tmp_path / "c", group_vars__tenants_DOT_yml="platform_inventory_writer: git\n"
    )
    with pytest.raises(AnsibleActionFail, match="no Git repository"):
        Run(no_git).act(tenant_create, tenant="acme")
    assert not (no_git / ".secrets").exists()


def test_an_answer_names_the_authority_wherever_keys_are_kept(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path / "inventory",
        group_vars__tenants_DOT_yml=f"platform_keys_dir: {tmp_path}/keys\n",
    )
    Run(inventory).act(tenant_create, tenant="acme")
    assert Run(inventory).act(tenant_answer, "acme")["answer"]["ca_file"] is None
    beside = inventory / ".secrets/ca.crt"
    beside.parent.mkdir(exist_ok=True)
    beside.write_text("x")
    assert Run(inventory).act(tenant_answer, "acme")["answer"]["ca_file"] == str(beside)


def test_an_answer_is_finished_with_state_and_authority(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path)
    Run(inventory).act(tenant_create, tenant="acme")
    (tmp_path / ".secrets" / "ca.crt").write_text("x")
    result = Run(inventory).act(tenant_answer, "acme")
    assert result["changed"]
    assert result["answer"]["state"] == "running"
    assert result["answer"]["api_key"] is None
    assert result["ansible_stats"]["data"]["memcloud_tenant"] == result["answer"]
    assert told(tmp_path, "acme")["state"] == "running"
    assert told(tmp_path, "acme")["ca_file"] == str(tmp_path / ".secrets" / "ca.crt")
    key = told(tmp_path, "acme")["api_key"]
    assert key not in json.dumps(result)
    assert not Run(inventory).act(tenant_answer, "acme")["changed"]
    exposed = Run(inventory).act(tenant_answer, "acme", expose_key=True, set_stats=False)
    assert exposed["answer"]["api_key"] == key
    assert "ansible_stats" not in exposed


def test_an_answer_tells_a_failure_and_forgets_it_after_a_success(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path)
    Run(inventory).act(tenant_create, tenant="acme")
    Run(inventory).act(tenant_answer, "acme", state="error", error="node1 is full")
    assert told(tmp_path, "acme")["state"] == "error"
    assert told(tmp_path, "acme")["error"] == "node1 is full"
    Run(inventory).act(tenant_answer, "acme")
    assert told(tmp_path, "acme")["state"] == "running"
    assert told(tmp_path, "acme")["error"] is None


def test_an_answer_tells_a_failure_even_where_the_entry_cannot_be_used(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path)
    path = Run(inventory).act(tenant_create, tenant="acme")["result_file"]
    (tmp_path / "group_vars" / "all.yml").write_text("x: 1\n")
    Run(inventory).act(tenant_answer, "acme", result_file=path, state="error", error="no root key")
    assert told(tmp_path, "acme")["error"] == "no root key"
    with pytest.raises(AnsibleActionFail, match="platform_root_keys"):
        Run(inventory).act(tenant_answer, "acme")


def test_a_job_of_awx_creates_no_tenant_whose_key_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = write_inventory(tmp_path)
    run = Run(inventory, awx_job_id=7)
    monkeypatch.chdir(tmp_path)
    for lost in (
        {},
        {"result_file": "acme.json"},
        {"key_file": "acme.key", "result_file": str(tmp_path / "a")},
    ):
        with pytest.raises(AnsibleActionFail, match="acme: no key was made, .*api_key_sha256"):
            run.act(tenant_create, tenant="acme", **lost)
    assert not (tmp_path / "host_vars/acme.yml").exists()
    for name, given in (
        ("acme", {"api_key_sha256": "a" * 64}),
        ("globex", {"key_file": str(tmp_path / "key")}),
        ("initech", {"expose_key": True, "result_file": "initech.json"}),
    ):
        assert run.act(tenant_create, tenant=name, **given)["action"] == "created"


def test_entries_are_changed_for_all_tenants_at_once(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY + "# a comment\n",
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\ntenant_state: paused\n',
    )
    run = Run(inventory)
    dry = run.act(tenant_entry, "acme", check_mode=True, variables={"tenant_state": "paused"})
    assert dry["tenants"] == ["acme"]
    assert "tenant_state" not in entry(tmp_path, "acme")
    result = run.act(tenant_entry, "acme", variables={"tenant_state": "paused"})
    assert result["tenants"] == ["acme"]
    assert "+" not in result["diff"][0]["before"]
    assert entry(tmp_path, "acme")["tenant_state"] == "paused"
    assert "# a comment" in (tmp_path / "host_vars" / "acme.yml").read_text()
    again = Run(inventory).act(tenant_entry, "acme", variables={"tenant_state": "paused"})
    assert not again["changed"]


def test_options_given_as_text_say_what_they_say(tmp_path: Path) -> None:
    """As a variable of the command line is: the word false would replace a key, and show it."""
    inventory = write_inventory(tmp_path)
    Run(inventory).act(tenant_create, tenant="acme", reissue_key="false")
    key = told(tmp_path, "acme")["api_key"]
    again = Run(inventory).act(tenant_create, tenant="acme", reissue_key="no")
    assert again["action"] == "resumed"
    result = Run(inventory).act(tenant_answer, "acme", expose_key="false", set_stats="false")
    assert key not in json.dumps(result)
    assert "ansible_stats" not in result
    variables = {"tenant_owner": "customer-17"}
    changed = Run(inventory).act(
        tenant_entry, tenants="acme", variables=variables, remove="tenant_tier"
    )
    assert changed["tenants"] == ["acme"]
    assert entry(tmp_path, "acme")["tenant_owner"] == "customer-17"
    assert "tenant_tier" not in entry(tmp_path, "acme")


def test_a_variable_without_its_prefix_is_not_written_to_do_nothing(tmp_path: Path) -> None:
    run = Run(write_inventory(tmp_path, host_vars__acme_DOT_yml=ENTRY))
    words = r"state: would stand in the entry and do nothing \(did you mean tenant_state\?\)"
    with pytest.raises(AnsibleActionFail, match=f"^acme: {words}"):
        run.act(tenant_entry, "acme", variables={"state": "suspended"})
    with pytest.raises(AnsibleActionFail, match=f"^initech: {words}"):
        run.act(tenant_create, tenant="initech", variables={"state": "suspended"})
    assert "state" not in entry(tmp_path, "acme")
    # What is somebody's own is theirs.
    assert run.act(tenant_entry, "acme", variables={"billing_number": 7})["changed"]


@pytest.mark.parametrize("text", ["{{ lookup('pipe', 'id') }}", "a {% raw %}", "{# b #}"])
def test_text_that_later_runs_would_evaluate_is_written_to_no_entry(
    tmp_path: Path, text: str
) -> None:
    """A survey's answer is plain text; what Ansible reads from an entry is a template."""
    run = Run(write_inventory(tmp_path, host_vars__acme_DOT_yml=ENTRY))
    words = "has {{, {% or {# in it, and in the entry every later run would evaluate it"
    for action, wish in (
        (tenant_create, {"tenant": "initech", "owner": text}),
        (tenant_create, {"tenant": "initech", "variables": {"billing": {"names": [text]}}}),
        (tenant_entry, {"variables": {"tenant_owner": text}}),
    ):
        with pytest.raises(AnsibleActionFail) as error:
            run.act(action, "acme", **wish)
        assert words in str(error.value)
    assert not (tmp_path / "host_vars" / "initech.yml").exists()
    assert not (tmp_path / ".secrets").exists()
    assert "tenant_owner" not in entry(tmp_path, "acme")


def test_what_is_deleted_or_suspended_keeps_its_state_and_takes_the_rest(tmp_path: Path) -> None:
    states = {"acme": "running", "globex": "deleted", "initech": "suspended"}
    files = {
        f"host_vars__{name}_DOT_yml": f'tenant_uid: "aaaaaaaaaaaaaaa{number}"\n'
        f"tenant_node: node1\ntenant_state: {state}\n"
        for number, (name, state) in enumerate(states.items())
    }
    inventory = write_inventory(tmp_path, **files)
    variables = {"tenant_state": "paused", "tenant_tier": "pro"}
    result = Run(inventory).act(tenant_entry, tenants=list(states), variables=variables)
    assert {name: entry(tmp_path, name)["tenant_state"] for name in states} == {
        **states,
        "acme": "paused",
    }
    assert {entry(tmp_path, name)["tenant_tier"] for name in states} == {"pro"}
    assert result["kept"] == {
        "globex": "is deleted and stays so: create_tenant brings it back",
        "initech": "is suspended and stays so: resume_tenant ends that",
    }
    # Alone as well, and what is asked for is not a state.
    again = Run(inventory).act(tenant_entry, tenants=["initech"], variables=variables)
    assert again["kept"] and not again["changed"]
    limits = {"tenant_limits": {"burst": 50}}
    assert Run(inventory).act(tenant_entry, tenants=["globex"], variables=limits)["changed"]


@pytest.mark.parametrize("kind", ["file", "git"])
def test_an_entry_with_a_vaulted_file_beside_it_is_changed(tmp_path: Path, kind: str) -> None:
    secrets = [("default", VaultSecret(b"a password"))]
    text = VaultLib(secrets).encrypt("vault_acme_model_api_key: sk-1\n").decode()
    inventory = write_inventory(
        tmp_path / "inventory",
        group_vars__tenants_DOT_yml=f"platform_inventory_writer: {kind}\n",
        host_vars__acme__tenant_DOT_yml=ENTRY,
        host_vars__acme__vault_DOT_yml=text,
    )
    if kind == "git":
        remote = tmp_path / "remote.git"
        for words in (
            ("init", "-q", "--bare", "-b", "main", str(remote)),
            ("-C", str(inventory), "init", "-q", "-b", "main"),
            ("-C", str(inventory), "remote", "add", "origin", str(remote)),
            ("-C", str(inventory), "add", "."),
            ("-C", str(inventory), *IDENTITY, "commit", "-q", "-m", "Start"),
            ("-C", str(inventory), "push", "-q", "origin", "main"),
        ):
            subprocess.run(["git", *words], check=True, timeout=60)

    def run() -> Run:
        return Run(inventory, vault_secrets=secrets)

    result = run().act(tenant_entry, "acme", variables={"tenant_state": "suspended"})
    assert result["tenants"] == ["acme"]
    assert entry(inventory, "acme/tenant")["tenant_state"] == "suspended"
    added = run().act(tenant_keys, "acme", change="add", key_name="ci")
    assert "sk-1" not in json.dumps(added)
    assert entry(inventory, "acme/tenant")["tenant_api_keys"][0]["name"] == "ci"
    assert (inventory / "host_vars/acme/vault.yml").read_text() == text
    run().act(tenant_entry, "acme", state="absent")
    assert not (inventory / "host_vars/acme").exists()


def test_no_entry_is_changed_unless_all_can_be(tmp_path: Path) -> None:
    """globex's entry, which Ansible read, is encrypted when it is to be written."""
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\ntenant_node: node1\n',
    )
    run = Run(inventory)
    names = ["acme", "globex"]
    run.act(tenant_entry, tenants=names, check_mode=True, variables={"tenant_state": "paused"})
    (tmp_path / "host_vars/globex.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    with pytest.raises(AnsibleActionFail, match=r"globex|vault|encrypted"):
        run.act(tenant_entry, tenants=names, variables={"tenant_state": "paused"})
    assert "tenant_state" not in entry(tmp_path, "acme")


def test_deleting_forgets_the_key_and_removing_the_answer_too(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path)
    key_file = tmp_path / "acme.key"
    Run(inventory).act(tenant_create, tenant="acme", key_file=str(key_file))
    Run(inventory).act(tenant_entry, tenants=["acme"], variables={"tenant_state": "deleted"})
    assert not key_file.exists()
    assert told(tmp_path, "acme")["state"] == "deleted"
    Run(inventory).act(tenant_entry, tenants=["acme"], state="absent")
    assert not (tmp_path / "host_vars" / "acme.yml").exists()
    assert not (tmp_path / ".secrets" / "acme.json").exists()


def test_an_entry_that_changed_hands_is_not_touched(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, host_vars__acme_DOT_yml=ENTRY)
    run = Run(inventory)
    run.act(tenant_entry, "acme", check_mode=True)
    (tmp_path / "host_vars" / "acme.yml").write_text(ENTRY.replace(UID, "f" * 16))
    with pytest.raises(AnsibleActionFail, match="another tenant"):
        run.act(tenant_entry, "acme", state="absent")
    assert (tmp_path / "host_vars" / "acme.yml").exists()


def test_what_another_run_wrote_meanwhile_is_not_taken_off_its_node_again(tmp_path: Path) -> None:
    """A key is revoked, or the tenant suspended, between the reading of an entry and its change."""
    keys = [{"name": name, "sha256": name[0] * 64} for name in ("default", "ci")]
    text = ENTRY + f"tenant_api_keys: {json.dumps(keys)}\n"
    inventory = write_inventory(tmp_path, host_vars__acme_DOT_yml=text)
    late = Run(inventory)
    late.task_vars("acme")
    revoke = {"tenants": ["acme"], "change": "revoke", "key_name": "ci"}
    Run(inventory).act(tenant_keys, **revoke)
    change = {"tenants": ["acme"], "variables": {"tenant_tier": "pro"}}
    with pytest.raises(AnsibleActionFail, match="^acme: tenant_api_keys was changed by another"):
        late.act(tenant_entry, **change, as_read=True)
    assert "tenant_tier" not in entry(tmp_path, "acme")
    # What is only put back is brought to no node.
    late.act(tenant_entry, **change)
    late = Run(inventory)
    late.task_vars("acme")
    Run(inventory).act(tenant_entry, tenants=["acme"], variables={"tenant_state": "suspended"})
    for again in (
        {**revoke, "change": "rotate", "key_name": ""},
        {**revoke, "change": "databases"},
    ):
        with pytest.raises(AnsibleActionFail, match="^acme: tenant_state was changed by another"):
            late.act(tenant_keys, **again)
    with pytest.raises(AnsibleActionFail, match="^acme: tenant_state was changed by another"):
        late.act(tenant_create, tenant="acme", reissue_key=True)
    assert not (tmp_path / ".secrets" / "acme.json").exists()
    Run(inventory).act(tenant_keys, **{**revoke, "change": "rotate", "key_name": ""})


@pytest.mark.parametrize(("overlap", "left"), [("", 2), ("24h", 2), ("0", 1), (0, 1)])
def test_a_survey_that_leaves_the_overlap_open_gets_the_usual_one(
    tmp_path: Path, overlap: object, left: int
) -> None:
    keys = json.dumps([{"name": "default", "sha256": "d" * 64}])
    text = ENTRY + f"tenant_api_keys: {keys}\n"
    inventory = write_inventory(tmp_path, host_vars__acme_DOT_yml=text)
    Run(inventory).act(tenant_keys, tenants=["acme"], change="rotate", overlap=overlap)
    assert len(entry(tmp_path, "acme")["tenant_api_keys"]) == left


def test_writers_are_made_from_the_settings_of_the_platform(tmp_path: Path) -> None:
    assert isinstance(writer_of("git", str(tmp_path), {}), GitWriter)
    settings = {
        "platform_awx_url": "http://awx",
        "platform_awx_token": "t",
        "platform_awx_inventory": 7,
    }
    assert isinstance(writer_of("awx", str(tmp_path), settings), AwxWriter)
    inventory = write_inventory(
        tmp_path,
        group_vars__tenants_DOT_yml="platform_git_branch: \"{{ 'ma' ~ 'in' }}\"\n",
        host_vars__acme_DOT_yml=ENTRY + "platform_inventory_writer: git\n",
    )
    run = Run(inventory)
    from ansible.template import Templar

    controller = Controller(run.task_vars("localhost"), Templar(run.loader, {}))
    _tenant, platform = controller.tenant("acme", {})
    writer = controller.writer(platform)
    assert isinstance(writer, GitWriter)
    assert writer._branch_given == "main"


def test_the_inventory_directory_is_that_of_the_plugin_else_of_the_nodes(tmp_path: Path) -> None:
    from ansible.template import Templar

    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "hosts.yml").write_text("nodes: {hosts: {node1: }}\n")
    run = Run(plain / "hosts.yml")
    controller = Controller(run.task_vars("localhost"), Templar(run.loader, {}))
    assert controller.inventory_dir == str(plain)
    other = write_inventory(tmp_path / "other")
    run = Run(other / "tenants.yml")
    controller = Controller(run.task_vars("localhost"), Templar(run.loader, {}))
    assert controller.inventory_dir == str(other)


def test_report_of_what_the_inventory_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\ntenant_tier: gold\n',
    )
    run = Run(inventory)
    inputs = run.act(fleet_inputs, "acme", tolerant=True)
    path = tmp_path / "out" / "tenants.json"
    result = run.act(
        fleet_report,
        "acme",
        batches=inputs["batches"],
        errors=inputs["errors"],
        output="none",
        result_file=str(path),
    )
    assert [tenant["tenant"] for tenant in result["tenants"]] == ["acme", "globex"]
    assert "tenant_tier" in result["tenants"][1]["error"]
    assert json.loads(path.read_text()) == result["tenants"]
    for output in ("table", "json"):
        run.act(fleet_report, "acme", batches=inputs["batches"], errors=[], output=output)
    with pytest.raises(AnsibleActionFail, match="it can be table, json or none"):
        run.act(fleet_report, "acme", output="xml")
    with pytest.raises(AnsibleActionFail, match="result_file"):
        run.act(fleet_report, "acme", output="none", result_file="/proc/none/x")


def test_facts_of_a_node_are_merged_with_what_the_inventory_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(write_inventory(tmp_path, host_vars__acme_DOT_yml=ENTRY))
    batch = run.act(fleet_inputs, "acme")["batches"][0]
    answers: dict[str, Any] = {
        "tenant_facts": {"tenants": [{"tenant": "acme", "state": "running"}]},
        "tenant_plan": {"tenants": [{"tenant": "acme", "drift": ["x"], "error": ""}]},
    }

    def call(self: Any, module_name: str, **_options: Any) -> Any:
        return answers[module_name.rpartition(".")[2]]

    monkeypatch.setattr(fleet_facts.ActionModule, "_execute_module", call)
    acme = run.act(fleet_facts, "acme", batch=batch)["tenants"]["acme"]
    assert acme["state"] == "running"
    assert acme["endpoint"] == "https://acme.memcloud.localhost"
    assert acme["drift"] == ["x"]
    assert acme["error"] is None
    answers["tenant_facts"] = {"unreachable": True, "msg": "no route"}
    acme = run.act(fleet_facts, "acme", batch=batch)["tenants"]["acme"]
    assert acme["state"] == "unknown"
    assert "node node1 cannot be reached" in acme["error"]


def test_a_change_that_could_not_be_deployed_is_written_nowhere(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\n',
    )
    with pytest.raises(AnsibleActionFail, match="tenant_tier is|tenant_tier: is"):
        Run(inventory).act(tenant_entry, "acme", variables={"tenant_tier": "gold"})
    with pytest.raises(AnsibleActionFail, match="tenant_hostname"):
        Run(inventory).act(
            tenant_entry, "acme", variables={"tenant_hostname": "acme.memcloud.localhost"}
        )
    assert "tenant_tier" not in entry(tmp_path, "acme")
    assert "tenant_hostname" not in entry(tmp_path, "acme")


def test_broken_entries_stop_a_run_over_all_tenants_but_not_one_over_others(
    tmp_path: Path,
) -> None:
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__broken_DOT_yml="a: [\n",
        host_vars__twin_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\n',
        host_vars__other_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\n',
    )
    run = Run(inventory)
    assert run.act(fleet_inputs, "acme", tenants=["acme"])["errors"] == []
    with pytest.raises(AnsibleActionFail, match=r"twin: tenant_uid: .* that of other too"):
        run.act(fleet_inputs, "acme", tenants=["acme", "twin"])
    errors = run.act(fleet_inputs, "acme", tolerant=True)["errors"]
    assert any("broken.yml:2:1 is no valid YAML" in error for error in errors)
    assert sum(error.startswith("twin: ") for error in errors) == 1


def seen_by_doctor(inventory: Path) -> dict[str, Any]:
    """The answer for a run over all nodes and tenants."""
    run = Run(inventory)
    groups, variables = run.groups(), run.task_vars("node1")
    variables["ansible_play_hosts_all"] = [*groups["nodes"], *groups.get("tenants", [])]
    run.task_vars = lambda _host: variables  # type: ignore[method-assign]
    return run.act(doctor_inputs, "node1")


def test_the_doctor_names_entries_that_were_left_out(tmp_path: Path) -> None:
    """Theirs may be what nobody else's is."""
    inventory = write_inventory(tmp_path, host_vars__broken_DOT_yml="a: [\n")
    result = seen_by_doctor(inventory)
    (finding,) = result["findings"]
    assert (finding["subject"], finding["level"]) == ("broken", "error")
    assert "broken.yml:2:1 is no valid YAML" in finding["what"]
    (batch,) = result["batches"]
    assert not batch["complete"]


def test_the_doctor_knows_where_the_tenants_of_other_nodes_live(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path,
        nodes_DOT_yml=TWO_NODES,
        host_vars__acme_DOT_yml=ENTRY,
        host_vars__globex_DOT_yml='tenant_uid: "aaaaaaaaaaaaaaa1"\ntenant_node: node2\n',
    )
    result = seen_by_doctor(inventory)
    found = {batch["node"]: batch for batch in result["batches"]}
    assert found["node1"]["elsewhere"] == {"aaaaaaaaaaaaaaa1": "node2"}
    assert found["node2"]["elsewhere"] == {UID: "node1"}
    assert found["node1"]["complete"] and found["node2"]["complete"]


def row(node: str, state: str) -> dict[str, Any]:
    return {"uid": UID, "node": node, "state": state, "created": "", "changed": "", "deleted": ""}


@pytest.mark.parametrize(
    ("silent", "written", "failed", "warned"),
    [
        ({"node": "node1", "tenants": {}}, ["running"], False, True),
        ({"node": "node1", "tenants": {"globex": {}}}, ["running"], True, False),
        ({"node": "node2", "tenants": {"acme": {}}}, [], True, False),
    ],
)
def test_what_is_exported_where_a_node_does_not_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: dict[str, Any],
    written: list[str],
    failed: bool,
    warned: bool,
) -> None:
    """acme was moved from node1 to node2."""
    moved = ENTRY.replace("node1", "node2")
    inventory = write_inventory(tmp_path, nodes_DOT_yml=TWO_NODES, host_vars__acme_DOT_yml=moved)
    told: list[str] = []
    monkeypatch.setattr(
        registry_export,
        "export_rows",
        lambda _url, rows, dry_run: told.extend(row["state"] for row in rows) or [],
    )
    read = [
        {"node": "node1", "rows": [row("node1", "deleted")], "error": "", "tenants": {}},
        {"node": "node2", "rows": [row("node2", "running")], "error": "", "tenants": {"acme": {}}},
    ]
    no_answer = {"rows": [], "error": "it cannot be reached"}
    read = [
        {**part, **silent, **no_answer} if part["node"] == silent["node"] else part for part in read
    ]
    result = Run(inventory).act(registry_export, database_url="postgresql://x", read=read)
    assert told == written
    assert bool(result.get("failed")) is failed and bool(result.get("warnings")) is warned
    assert "it cannot be reached" in str(result)
    unusable = {"errors": ["globex: tenant_tier: is none"]}
    told.clear()
    result = Run(inventory).act(
        registry_export, database_url="postgresql://x", read=read, **unusable
    )
    assert told == written
    assert "globex: tenant_tier: is none" in str(result["warnings"])
    with pytest.raises(AnsibleActionFail, match="Nothing was written.\nglobex: tenant_tier"):
        Run(inventory).act(registry_export, database_url="postgresql://x", read=[], **unusable)


def test_the_inventories_that_come_with_the_collection_can_be_used(tmp_path: Path) -> None:
    inventories = Path(__file__).parents[4] / "inventories"
    vaulted = {
        "vault_root_key": ROOT_KEY,
        "vault_model_api_key": "sk-1",
        "vault_umbrella_model_api_key": "sk-2",
    }
    run = Run(inventories / "example", **vaulted)
    batches = run.act(fleet_inputs, "acme")["batches"]
    carried = {
        batch["node"]: [tenant["tenant"] for tenant in json.loads(batch["tenants"])]
        for batch in batches
    }
    assert carried == {"node1": ["acme"], "node2": ["globex", "umbrella"]}
    for name in ("quickstart", "ci"):
        copy = tmp_path / name
        shutil.copytree(
            inventories / name, copy, ignore=shutil.ignore_patterns(".secrets", "host_vars")
        )
        (copy / ".secrets").mkdir()
        (copy / ".secrets" / "root_key").write_text(ROOT_KEY + "\n")
        Run(copy).act(tenant_create, tenant="acme")
        assert told(copy, "acme")["node"] == "node1"
