# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import Templar

sys.path.insert(0, str(Path(__file__).parents[1] / "action"))
from controller_side import Run, write_inventory

TWO_NODES = (
    "nodes: {hosts: {node1: {ansible_connection: local}, node-2: {ansible_host: 192.0.2.7}}}"
)
IN_LINE = (
    "all: {vars: {platform_domain: inline.example}}\n"
    "nodes: {hosts: {node1: {ansible_connection: local}}}\n"
)


def value(run: Run, host: str, name: str) -> Any:
    variables = run.task_vars(host)
    return Templar(run.loader, variables).template(variables[name])


def test_each_entry_is_a_tenant_in_the_groups_of_its_node_and_tier(tmp_path: Path) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            nodes_DOT_yml=TWO_NODES,
            host_vars__acme_DOT_yml="tenant_node: node1\n",
            host_vars__globex_DOT_json='{"tenant_node": "node-2", "tenant_tier": "pro"}',
            host_vars__umbrella__tenant_DOT_yml="tenant_node: node-2\ntenant_tier: [wrong]\n",
            host_vars__node1_DOT_yml="some: thing\n",
            host_vars__localhost_DOT_yml="some: thing\n",
            host_vars__acme_DOT_yml_DOT_bak="x: [\n",
            **{"host_vars__acme_DOT_yml~": "x: [\n"},
        )
    )
    groups = run.groups()
    assert groups["tenants"] == ["acme", "globex", "umbrella"]
    assert groups["at_node1"] == ["acme"]
    assert groups["at_node_2"] == ["globex", "umbrella"]
    assert groups["tier_free"] == ["acme"]
    assert groups["tier_pro"] == ["globex"]
    assert sorted(groups["nodes"]) == ["node-2", "node1"]


def test_a_tenant_has_the_connection_of_its_node(tmp_path: Path) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            nodes_DOT_yml=TWO_NODES,
            group_vars__nodes_DOT_yml="ansible_user: deploy\n",
            host_vars__acme_DOT_yml="tenant_node: node1\n",
            host_vars__globex_DOT_yml="tenant_node: node-2\n",
        )
    )
    assert value(run, "acme", "ansible_connection") == "local"
    assert value(run, "acme", "ansible_host") == "node1"
    assert value(run, "globex", "ansible_connection") == "ssh"
    assert value(run, "globex", "ansible_host") == "192.0.2.7"
    assert value(run, "globex", "ansible_user") == "deploy"
    assert value(run, "globex", "ansible_port") is None


def test_with_one_node_an_entry_need_not_name_it(tmp_path: Path) -> None:
    run = Run(write_inventory(tmp_path, host_vars__acme_DOT_yml="tenant_tier: pro\n"))
    assert run.groups()["at_node1"] == ["acme"]
    assert value(run, "acme", "tenant_node") == "node1"


def test_group_vars_say_what_entries_do_not(tmp_path: Path) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            nodes_DOT_yml=TWO_NODES,
            group_vars__tenants_DOT_yml="tenant_tier: pro\ntenant_node: node1\n",
            host_vars__acme_DOT_yml="x: 1\n",
            host_vars__globex_DOT_yml="tenant_node: '{{ some_node }}'\n",
        )
    )
    groups = run.groups()
    assert groups["tier_pro"] == ["acme", "globex"]
    assert groups["at_node1"] == ["acme"]


def test_a_broken_entry_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            host_vars__acme_DOT_yml="tenant_uid: '1'\n",
            host_vars__twin_DOT_yml="tenant_uid: '1'\n",
            host_vars__broken_DOT_yml="a: [\n",
            host_vars__mistyped_DOT_yml="tenant_api_keys: [{expires: 2026-11-31}]\n",
            host_vars__locked_DOT_yml="$ANSIBLE_VAULT;1.1;AES256\n6161\n",
        )
    )
    assert run.groups()["tenants"] == ["acme", "twin"]
    problems = run.task_vars("acme")["memcloud_entry_problems"]
    assert sorted(problems) == ["acme", "broken", "locked", "mistyped", "twin"]
    assert "broken.yml:2:1 is no valid YAML" in problems["broken"]
    assert "cannot be decrypted" in problems["locked"]
    assert "that of twin too" in problems["acme"]


def test_a_vaulted_entry_is_read_where_the_secret_is_known(tmp_path: Path) -> None:
    secrets = [("default", VaultSecret(b"a password"))]
    text = VaultLib(secrets).encrypt("tenant_tier: pro\n").decode()
    inventory = write_inventory(tmp_path, host_vars__acme_DOT_yml=text)
    assert "acme" not in Run(inventory).groups().get("tenants", [])
    run = Run(inventory, vault_secrets=secrets)
    assert run.groups()["tier_pro"] == ["acme"]


def test_an_inventory_without_entries_has_an_empty_group(tmp_path: Path) -> None:
    assert Run(write_inventory(tmp_path)).groups()["tenants"] == []


def test_other_files_are_left_to_other_plugins(tmp_path: Path) -> None:
    (tmp_path / "tenants.yml").write_text("tenants: {hosts: {acme: {tenant_node: here}}}\n")
    run = Run(tmp_path)
    assert run.groups()["tenants"] == ["acme"]
    assert "ansible_connection" not in run.task_vars("acme")


def test_a_tenant_named_by_another_source_too_is_a_tenant(tmp_path: Path) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            others_DOT_yml="tenants: {hosts: {acme: }}\nweb: {hosts: {www: }}\n",
            nodes_DOT_yml="nodes: {hosts: {node1: }}",
            host_vars__acme_DOT_yml="tenant_tier: pro\n",
            host_vars__www_DOT_yml="x: 1\n",
        )
    )
    assert run.groups()["tenants"] == ["acme"]
    assert run.groups()["tier_pro"] == ["acme"]


def test_a_thousand_entries_are_read_quickly(tmp_path: Path) -> None:
    write_inventory(tmp_path)
    (tmp_path / "host_vars").mkdir()
    for number in range(1000):
        text = "".join(f"tenant_{name}: something\n" for name in "abcdefghijkl")
        (tmp_path / "host_vars" / f"t{number}.yml").write_text(f"tenant_tier: pro\n{text}")
    started = time.process_time()
    run = Run(tmp_path)
    # 0.35 s measured; the bound leaves room for a busy machine.
    assert time.process_time() - started < 3
    assert len(run.groups()["tier_pro"]) == 1000


def test_entries_made_by_hand_are_told_apart_until_they_are_complete(tmp_path: Path) -> None:
    complete = "tenant_uid: '1'\ntenant_api_keys: []\n"
    run = Run(
        write_inventory(
            tmp_path,
            host_vars__acme_DOT_yml=complete,
            host_vars__bare_DOT_yml="tenant_tier: pro\n",
            host_vars__keyless_DOT_yml="tenant_uid: '2'\n",
            host_vars__gone_DOT_yml="tenant_uid: '3'\ntenant_state: deleted\n",
        )
    )
    assert run.groups()["tenants_incomplete"] == ["bare", "keyless"]


@pytest.mark.parametrize(
    ("files", "domain"),
    [
        ({}, "memcloud.localhost"),
        ({"nodes_DOT_yml": IN_LINE}, "inline.example"),
        ({"group_vars__all_DOT_yml": "platform_domain: all.example\n"}, "all.example"),
        (
            {
                "nodes_DOT_yml": IN_LINE,
                "group_vars__all__platform_DOT_yml": "platform_domain: all.example\n",
                "group_vars__tenants_DOT_yml": "platform_domain: tenants.example\n",
            },
            "tenants.example",
        ),
    ],
)
def test_a_hostname_that_another_tenant_has_by_default_is_told(
    tmp_path: Path, files: dict[str, str], domain: str
) -> None:
    run = Run(
        write_inventory(
            tmp_path,
            **files,
            host_vars__acme_DOT_yml="tenant_tier: pro\n",
            host_vars__globex_DOT_yml=f"tenant_hostname: acme.{domain}\n",
        )
    )
    assert run.task_vars("globex")["memcloud_entry_problems"] == {
        "acme": f"tenant_hostname: acme.{domain} is that of globex too; each tenant needs its own",
        "globex": f"tenant_hostname: acme.{domain} is that of acme too; each tenant needs its own",
    }


def test_names_that_yaml_would_read_as_something_else_are_names(tmp_path: Path) -> None:
    names = ["0x1f", "1", "1e5", "2026-01-01", "3com", "no", "null"]
    run = Run(write_inventory(tmp_path, **{f"host_vars__{name}_DOT_yml": "" for name in names}))
    assert run.groups()["tenants"] == names
    for name in names:
        assert [host.name for host in run.inventory.get_hosts(name)] == [name]
