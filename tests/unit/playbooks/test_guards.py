# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbooks refuse before anything is touched, run as an operator runs them.

No node can be reached: its ssh is a program that only fails.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
import yaml
from support import controller

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()
ASKED = "python3 is missing"
LEFT_OUT = "Nothing was touched: correct it or leave it out, and run again"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    unreachable = {"ansible_connection": "ssh", "ansible_ssh_executable": "/bin/false"}
    nodes = dict.fromkeys(("node1", "node2"), unreachable)
    files = {
        "nodes.yml": {"nodes": {"hosts": nodes}},
        "tenants.yml": {"plugin": "memcloud.memmachine.tenants"},
        "group_vars/all.yml": {
            "platform_root_keys": {1: ROOT_KEY},
            "platform_data_dir": str(tmp_path / "data/mc"),
        },
        "host_vars/acme.yml": {"tenant_uid": "0123456789abcdef", "tenant_node": "node1"},
        "host_vars/globex.yml": {
            "tenant_uid": "fedcba9876543210",
            "tenant_node": "node2",
            "tenant_version": "0.4.0",
        },
    }
    for name, content in files.items():
        path = tmp_path / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return tmp_path / "inventory"


def play(inventory: Path, *words: str) -> tuple[int, str]:
    """Return code and output, in one line, of a run."""
    code, output = controller.play("-i", inventory, *words)
    return code, " ".join(output.split())


def refused(inventory: Path, *words: str) -> str:
    """The output of a run that failed before it asked a node."""
    status, output = play(inventory, *words)
    assert status != 0, output
    assert ASKED not in output
    return output


def asked(output: str) -> set[str]:
    """The nodes that were asked which Python they have, the first thing of all."""
    return {name for name in ("node1", "node2") if f"{name}: {ASKED}" in output}


def test_all_nodes_are_removed_by_nobody_who_did_not_say_so(inventory: Path) -> None:
    playbook = "playbooks/remove_node.yml"
    assert (
        "This would take the platform off 2 nodes (node1, node2). Say which one with -e "
        "node=<name>, or which ones with -l and any pattern; all of them with -e node=all. "
        "Nothing was touched."
    ) in refused(inventory, playbook, "-e", "remove_data=true")
    assert (
        "node: there is no node node3 among node1, node2. Nothing was touched."
    ) in refused(inventory, playbook, "-e", "node=node3")  # fmt: skip
    assert (
        "node: there is no node node1 among node2. Nothing was touched."
    ) in refused(inventory, playbook, "-e", "node=node1", "-l", "node2")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        (("-e", "node=node2"), {"node2"}),
        (("-e", "node=all"), {"node1", "node2"}),
        (("-l", "node1"), {"node1"}),
        (("-l", "node*"), {"node1", "node2"}),
    ],
)
def test_the_nodes_that_are_named_are_removed(
    inventory: Path, words: tuple[str, ...], nodes: set[str]
) -> None:
    _status, output = play(inventory, "playbooks/remove_node.yml", *words)
    assert asked(output) == nodes


def test_a_node_that_cannot_be_worked_on_is_told_with_its_own_words(inventory: Path) -> None:
    """Without sudo no Python is found either."""
    ssh = inventory.parent / "ssh"
    ssh.write_text("#!/bin/sh\necho 'sh: 1: sudo: not found'\nexit 127\n")
    ssh.chmod(0o755)
    all_variables(inventory, ansible_ssh_executable=str(ssh))
    nodes = inventory / "nodes.yml"
    nodes.write_text(yaml.safe_dump({"nodes": {"hosts": {"node1": {"ansible_host": "192.0.2.1"}}}}))
    status, output = play(inventory, "playbooks/setup_node.yml")
    assert status != 0
    assert "node1: python3 is missing (sh: 1: sudo: not found); a node needs Python 3.9" in output
    assert "and sudo where it is not reached as root" in output


def test_an_only_node_need_not_be_named(inventory: Path) -> None:
    text = (inventory / "nodes.yml").read_text()
    nodes = yaml.safe_load(text)["nodes"]["hosts"]
    (inventory / "nodes.yml").write_text(
        yaml.safe_dump({"nodes": {"hosts": {"node1": nodes["node1"]}}})
    )
    _status, output = play(inventory, "playbooks/remove_node.yml", "-e", "remove_data=true")
    assert asked(output) == {"node1"}


@pytest.mark.parametrize(
    ("playbook", "given", "said"),
    [
        ("update_fleet", "tenant=acme", "tenant: is no variable of update_fleet. It takes version, "
         "canaries, patience, slower, result_file, -l."),
        ("setup_node", "node=node1",
         "node: is no variable of setup_node. It takes -l."),
        ("remove_node", "remove_date=true",
         "remove_date: is no variable of remove_node (did you mean remove_data?). It takes node, "
         "remove_data, remove_images, remove_engine."),
        ("init_inventory", "root_keyfile=/tmp/key",
         "root_keyfile: is no variable of init_inventory (did you mean root_key_file?). It takes "
         "root_key_file."),
        ("schedule_backups", "cronfile=/tmp/cron",
         "cronfile: is no variable of schedule_backups (did you mean cron_file?). It takes state, "
         "cron_file, cron_environment."),
        ("deploy-tenant", "tier=pro",
         "tier: is no variable of deploy-tenant. It takes tenant."),
        ("delete_tenant", "keepdata=false",
         "keepdata: is no variable of delete_tenant (did you mean keep_data?). It takes tenant, "
         "keep_data, confirm, result_file."),
        ("rotate_keys", "version=0.4.0",
         "version: is no variable of rotate_keys. It takes tenant, what, key_name, overlap, "
         "api_key_sha256, expires, result_file, key_file, root_key_version."),
    ],
)  # fmt: skip
def test_a_variable_of_another_playbook_stops_the_run(
    inventory: Path, playbook: str, given: str, said: str
) -> None:
    words = ["-l", "acme"] if playbook in ("delete_tenant", "rotate_keys") else []
    output = refused(inventory, f"playbooks/{playbook}.yml", "-e", given, *words)
    assert f"{said} {LEFT_OUT}" in output
    assert not (inventory / ".secrets").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tenant=acmee",), "There is no tenant acmee in this inventory; nothing was touched."),
        (("tenant=acmee", "-l", "acme"), "There is no tenant acmee in this inventory"),
        # As of a survey that was not answered.
        (("tenant=", "-l", "acme"), "tenant is empty; nothing was touched. list_tenants shows"),
        (("tenant=globex", "-l", "acme"), "-l acme leaves tenant globex out; nothing was touched."),
    ],
)
@pytest.mark.parametrize("playbook", ["deploy_tenant", "pause_tenant"])
def test_a_tenant_that_is_not_there_or_left_out_stops_the_run(
    inventory: Path, playbook: str, words: tuple[str, ...], said: str
) -> None:
    assert said in refused(inventory, f"playbooks/{playbook}.yml", "-e", *words)


@pytest.mark.parametrize("words", [("tenant=acme", "-l", "tenants"), ("tenant=all", "-l", "acme")])
def test_a_tenant_among_those_that_are_left_is_asked_for(
    inventory: Path, words: tuple[str, ...]
) -> None:
    _status, output = play(inventory, "playbooks/deploy_tenant.yml", "-e", *words)
    assert asked(output) == {"node1"} or "node node1: " in output
    assert "node2" not in output


def test_playbooks_of_one_run_may_take_different_variables(inventory: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    _status, output = play(
        inventory,
        "memcloud.memmachine.init_inventory",
        "playbooks/setup_node.yml",
        "-e",
        f"root_key_file={key}",
    )
    assert key.exists()
    assert asked(output) == {"node1", "node2"}


def test_the_root_key_belongs_to_who_makes_it(inventory: Path) -> None:
    """Also where the inventory says for all hosts that nodes need another user."""
    all_variables(inventory, ansible_become=True, ansible_become_exe="/bin/false")
    same_user = {"ANSIBLE_BECOME_ALLOW_SAME_USER": "true"}  # for tests that root runs
    words = ("-i", inventory, "memcloud.memmachine.init_inventory")
    code, output = controller.play(*words, **same_user)
    assert code == 0, output
    assert (inventory / ".secrets/root_key").exists()


def test_whoever_makes_a_root_key_is_told_how_the_inventory_reads_it(inventory: Path) -> None:
    playbook = "playbooks/init_inventory.yml"
    assert "does not read this key yet" not in play(inventory, playbook)[1]
    (inventory / "group_vars/all.yml").unlink()
    words = ("-e", "tenant=new", "-e", "node=node1")
    lacks = refused(inventory, "playbooks/create_tenant.yml", *words)
    assert "init_inventory`, which says how the inventory reads it" in lacks
    code, output = controller.play("-i", inventory, playbook)
    assert code == 0, output
    line = re.search(r"platform_root_keys: [^\"\n]+", output)
    assert line
    lookup = f"lookup('ansible.builtin.file', '{inventory}/.secrets/root_key')"
    assert yaml.safe_load(line[0]) == {"platform_root_keys": {1: f"{{{{ {lookup} }}}}"}}


def all_variables(inventory: Path, **variables: object) -> None:
    """Lay variables over those that the inventory has for all."""
    path = inventory / "group_vars/all.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **variables}))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"platform_trusted_proxies": ["lb.example.com"]}, "platform_trusted_proxies: has 'lb."),
        ({"platform_name": "production"}, "platform_name: is 'production'; it must be 1 to 4"),
        ({"platform_trustedproxies": []}, "platform_trustedproxies: is no variable of this"),
        ({"platform_metrics_address": "0.0.0.0"}, "platform_metrics_address: has '0.0.0.0'; write"),
    ],
)
def test_a_node_is_not_set_up_with_what_tenants_are_refused_with(
    inventory: Path, variables: dict[str, object], said: str
) -> None:
    """A network that Traefik cannot read would take the edge of all tenants down."""
    all_variables(inventory, **variables)
    assert f"Nothing was touched. platform: {said}" in refused(
        inventory, "playbooks/setup_node.yml"
    )


def test_who_sets_nodes_up_needs_no_secret(inventory: Path) -> None:
    missing = "{{ lookup('ansible.builtin.file', '/nonexistent') }}"
    all_variables(
        inventory,
        platform_root_keys={1: missing},
        platform_backup_environment={"AWS_SECRET_ACCESS_KEY": missing},
        platform_public_address="{{ inventory_hostname }}.example.com",
    )
    _status, output = play(inventory, "playbooks/setup_node.yml")
    assert asked(output) == {"node1", "node2"}


@pytest.mark.parametrize(("tenant", "before"), [("acme", None), ("globex", "0.4.0")])
def test_a_restore_on_a_node_that_does_not_answer_leaves_the_version_of_the_entry(
    inventory: Path, tenant: str, before: str | None
) -> None:
    entry = inventory / "host_vars" / f"{tenant}.yml"
    kept = yaml.safe_load(entry.read_text())
    words = ("playbooks/restore_tenant.yml", "-e", f"tenant={tenant}", "-e", "version=0.3.9")
    status, output = play(inventory, *words)
    assert status != 0
    assert f"{tenant}: node {kept['tenant_node']}: " in output
    assert yaml.safe_load(entry.read_text()) == kept
    assert kept.get("tenant_version") == before


def test_only_the_tenants_whose_update_is_named_are_updated(inventory: Path) -> None:
    assert "all of them with -e tenant=all. Nothing was touched." in refused(
        inventory, "playbooks/update_tenant.yml", "-e", "version=0.4.0"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("backup_tenant", "-l", "node1"),
        ("backup_tenant", "-l", "node1", "-e", "tenant=all"),
        ("update_fleet", "-l", "nodes"),
        ("pause_tenant", "-l", "node1"),
    ],
)
def test_a_limit_of_nodes_alone_is_told_of_their_tenants(
    inventory: Path, words: tuple[str, ...]
) -> None:
    output = refused(inventory, f"playbooks/{words[0]}.yml", *words[1:])
    assert f"-l {words[2]} leaves no tenant; nothing was touched." in output
    assert "-l at_node1 for those of node1" in output


@pytest.mark.parametrize(
    "words",
    [("backup_tenant",), ("deploy_tenant",), ("doctor",), ("update_tenant", "-e", "tenant=all")],
)
def test_an_inventory_whose_tenants_cannot_be_read_stops_the_run(
    inventory: Path, words: tuple[str, ...]
) -> None:
    (inventory / "tenants.yml").write_text("plugin: memcloud.memmachine.tenants: [\n")
    output = refused(inventory, f"playbooks/{words[0]}.yml", *words[1:])
    assert "There is no group tenants in the inventory; nothing was touched." in output


def test_the_group_of_a_node_is_named_as_the_inventory_names_it(inventory: Path) -> None:
    text = (inventory / "nodes.yml").read_text()
    (inventory / "nodes.yml").write_text(text.replace("node2", "node-2.example.com"))
    output = refused(inventory, "playbooks/backup_tenant.yml", "-l", "node-2*")
    assert "-l at_node_2_example_com for those of node-2.example.com" in output


def test_a_limit_does_not_leave_out_who_writes_the_entry(inventory: Path) -> None:
    words = ("playbooks/create_tenant.yml", "-e", "tenant=initech", "-e", "node=node1")
    output = refused(inventory, *words, "-l", "node1")
    assert "-l node1 leaves localhost out" in output
    assert not (inventory / "host_vars/initech.yml").exists()
    status, output = play(inventory, *words, "-e", "deploy=false", "-l", "localhost,node1")
    assert status == 0, output
    assert (inventory / "host_vars/initech.yml").exists()


@pytest.mark.parametrize("hours", ["24h", "0", "-1", "a day"])
def test_hours_that_are_no_number_put_nobody_to_sleep(inventory: Path, hours: str) -> None:
    given = json.dumps({"idle_hours": hours})
    output = refused(inventory, "playbooks/pause_idle.yml", "-e", given)
    assert f"idle_hours is {hours}; it is a number of hours above 0" in output
    assert "Work on the node's tenants" not in output


@pytest.mark.parametrize("hours", ["", "0.5"])
def test_hours_may_be_a_part_or_left_out(inventory: Path, hours: str) -> None:
    _status, output = play(inventory, "playbooks/pause_idle.yml", "-e", f"idle_hours={hours}")
    assert "acme: node node1: " in output


@pytest.mark.parametrize("given", ["slower=x", "slower=-1", "patience=90s", "patience=0"])
def test_numbers_of_an_update_are_numbers(inventory: Path, given: str) -> None:
    output = refused(inventory, "playbooks/update_fleet.yml", "-e", given)
    assert f"{given.replace('=', ' is ')}" in output
    assert "Nothing was touched." in output


@pytest.mark.parametrize("playbook", ["update_tenant", "rollback_tenant"])
def test_a_patience_is_a_number(inventory: Path, playbook: str) -> None:
    words = (f"playbooks/{playbook}.yml", "-e", "tenant=acme", "-e", "patience=2m")
    assert "patience is 2m; it is a number of seconds" in refused(inventory, *words)


def test_more_variables_of_an_entry_are_a_mapping(inventory: Path) -> None:
    given = ("-e", "tenant=initech", "-e", "node=node1", "-e", """variables='{"tenant_wake": 0}'""")
    output = refused(inventory, "playbooks/create_tenant.yml", *given)
    assert "initech: variables is text and no mapping. Nothing was touched: write it as" in output
    assert not (inventory / "host_vars/initech.yml").exists()


def test_a_change_takes_nobody_to_another_node_empty(inventory: Path) -> None:
    change = json.dumps({"memcloud_change": {"tenant_node": "node2"}})
    output = refused(inventory, "playbooks/change_tenant.yml", "-e", "tenant=all", "-e", change)
    assert '"acme: tenant_node: would begin empty on node2, and what was stored would' in output
    assert "move_tenant -e tenant=… -e node=… takes it along" in output
    entry = yaml.safe_load((inventory / "host_vars/acme.yml").read_text())
    assert entry["tenant_node"] == "node1"


def test_the_node_of_a_run_is_that_of_the_entry(inventory: Path) -> None:
    words = ("-e", "tenant=initech", "-e", "node=node1", "-e", "tenant_node=node2")
    output = refused(inventory, "playbooks/create_tenant.yml", *words)
    assert "tenant_node: stands in a tenant's entry (did you mean node?)" in output
    assert not (inventory / "host_vars/initech.yml").exists()


@pytest.mark.parametrize("given", ["ture", "", "y"])
def test_what_is_not_said_to_be_kept_is_not_purged(inventory: Path, given: str) -> None:
    words = ("playbooks/delete_tenant.yml", "-e", "tenant=acme", "-e", f"keep_data={given}")
    assert f"keep_data is '{given}', which is neither true nor false" in refused(inventory, *words)
    assert "deleted" not in (inventory / "host_vars/acme.yml").read_text()


def test_the_doctor_looks_at_a_node_that_is_named_by_a_limit(inventory: Path) -> None:
    words = ("playbooks/doctor.yml", "-l", "node1", "-e", "fail=false")
    status, output = play(inventory, *words)
    assert status == 0, output
    assert "see that the node runs and can be reached" in output
    assert "node2" not in output


def test_a_node_whose_variables_are_wrong_hides_nothing_of_the_others(inventory: Path) -> None:
    (inventory / "host_vars/node2.yml").write_text("platform_parallelism: many\n")
    wrong = "platform_parallelism: must be a whole number, not text"
    status, output = play(inventory, "playbooks/doctor.yml", "-e", "output=json")
    assert status != 0
    assert "see that the node runs and can be reached" in output
    assert f'"what": "{wrong}", "advice": "correct its variables"' in output
    _status, output = play(inventory, "playbooks/tenant_journal.yml")
    assert "node node1: what was called ended with status 1 and said nothing: see dmesg" in output
    assert f"node2: platform: {wrong}" in output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("doctor", "-e", "node=nod1"), "there is no node nod1 among node1, node2. Nothing was"),
        (("doctor", "-e", "node="), "there is no node among node1, node2. Nothing was looked at"),
        (("doctor", "-e", "node=node1", "-l", "node2"), "-l node2 leaves node node1 out"),
        (("setup_node", "-l", "at_node1"), "-l at_node1 leaves no node; nothing was touched."),
        (("remove_node", "-l", "acme"), "of which there are node1, node2, or a group of them"),
    ],
)
def test_a_node_that_is_not_there_or_left_out_stops_the_run(
    inventory: Path, words: tuple[str, ...], said: str
) -> None:
    assert said in refused(inventory, f"playbooks/{words[0]}.yml", *words[1:])


def test_what_is_due_is_not_guessed(inventory: Path) -> None:
    entry = inventory / "host_vars/acme.yml"
    entry.write_text(entry.read_text() + "tenant_state: deleted\n")
    status, output = play(inventory, "playbooks/sweep_deleted.yml")
    assert status != 0
    assert (
        "acme: whether it is due cannot be found out, so it was not touched: node node1: "
    ) in output
    assert entry.exists()
