# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate_keys on the controller: what stands in the entries, and what follows from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.memcloud.memmachine.plugins.action import tenant_keys

sys.path.insert(0, str(Path(__file__).parent))
from controller_side import ROOT_KEY, Run, write_inventory

PLAYBOOK = Path(__file__).parents[4] / "playbooks/rotate_keys.yml"
ANOTHER = "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="
ENTRY = 'tenant_uid: "0123456789abcde%d"\ntenant_node: node1\n'


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """acme, and globex that is deleted; a second root key."""
    keys = f'platform_root_keys: {{1: "{ROOT_KEY}", 2: "{ANOTHER}"}}\n'
    return write_inventory(
        tmp_path,
        group_vars__all_DOT_yml=keys,
        host_vars__acme_DOT_yml=ENTRY % 1,
        host_vars__globex_DOT_yml=ENTRY % 2 + "tenant_state: deleted\n",
    )


def entry(inventory: Path, name: str) -> Any:
    return yaml.safe_load((inventory / "host_vars" / f"{name}.yml").read_text())


def test_the_newest_root_key_is_written_once(inventory: Path) -> None:
    result = Run(inventory).act(tenant_keys, tenants=["acme"], change="root_key")
    assert result["changed"]
    assert result["tenants"]["acme"]["message"] == "tenant_root_key_version is 2"
    assert entry(inventory, "acme")["tenant_root_key_version"] == 2
    again = Run(inventory).act(tenant_keys, tenants=["acme"], change="root_key")
    assert not again["changed"]
    assert again["tenants"]["acme"]["message"] == "has them already"


@pytest.mark.parametrize("change", ["root_key", "databases"])
def test_a_deleted_tenant_beside_others_is_passed_over(inventory: Path, change: str) -> None:
    result = Run(inventory).act(tenant_keys, tenants=["acme", "globex"], change=change)
    assert result["tenants"]["acme"]["action"] == change
    assert result["tenants"]["globex"] == {
        "action": "passed over",
        "variables": {},
        "message": "is deleted and stays as it is: what was kept of it needs version 1 of "
        "platform_root_keys until it is purged or brought back",
    }
    assert entry(inventory, "globex")["tenant_state"] == "deleted"
    assert "tenant_root_key_version" not in entry(inventory, "globex")


@pytest.mark.parametrize("change", ["root_key", "databases", "rotate"])
def test_a_deleted_tenant_alone_is_refused(inventory: Path, change: str) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        Run(inventory).act(tenant_keys, tenants=["globex"], change=change)
    assert str(caught.value) == (
        "globex: is deleted, its keys open nothing: create_tenant brings it back with a new key"
    )


def test_a_version_that_the_inventory_has_not_got(inventory: Path) -> None:
    arguments = {"tenants": ["acme"], "change": "root_key", "root_key_version": 3}
    with pytest.raises(AnsibleActionFail) as caught:
        Run(inventory).act(tenant_keys, **arguments)
    assert str(caught.value) == (
        "acme: root_key_version: is 3, but platform_root_keys has only version 1, 2: add the new "
        "key under a new version first, and keep the old one until every tenant has moved"
    )


def test_what_cannot_be_done_to_one_is_done_to_none(tmp_path: Path) -> None:
    sha256 = {"acme": "a" * 64, "globex": "b" * 64}
    ci = "  - {name: ci, sha256: %s}\n" % ("c" * 64)
    keys = {
        name: f"tenant_api_keys:\n  - {{name: default, sha256: {value}}}\n"
        for name, value in sha256.items()
    }
    inventory = write_inventory(
        tmp_path,
        host_vars__acme_DOT_yml=ENTRY % 1 + keys["acme"] + ci,
        host_vars__globex_DOT_yml=ENTRY % 2 + keys["globex"],
    )
    before = entry(inventory, "acme")
    with pytest.raises(AnsibleActionFail, match="globex: has no key ci"):
        Run(inventory).act(tenant_keys, tenants=["acme", "globex"], change="revoke", key_name="ci")
    assert entry(inventory, "acme") == before


@pytest.mark.parametrize(
    ("variables", "hosts"),
    [
        ({}, []),
        ({"what": "databases"}, []),
        ({"what": "root_key", "tenant": "acme"}, "tenants:&acme"),
        ({"what": "root_key"}, "tenants:&all"),
        ({"what": "root_key", "ansible_check_mode": True}, []),
    ],
)
def test_restore_points_take_a_new_root_key_once_it_is_deployed(
    variables: dict[str, Any], hosts: Any
) -> None:
    plays = yaml.safe_load(PLAYBOOK.read_text())
    assert plays[-2]["ansible.builtin.import_playbook"] == "support/change_keys.yml"
    assert plays[-1]["tasks"][0]["vars"] == {"memcloud_points": "open"}
    templar = Templar(DataLoader(), {"ansible_check_mode": False, **variables})
    assert templar.template(trust_as_template(plays[-1]["hosts"])) == hosts


@pytest.mark.parametrize("change", ["rotate", "add"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_job_of_awx_makes_no_key_that_goes_with_it(
    inventory: Path, change: str, check_mode: bool
) -> None:
    keys = [{"name": "default", "sha256": "a" * 64}]
    (inventory / "host_vars/acme.yml").write_text(
        ENTRY % 1 + yaml.safe_dump({"tenant_api_keys": keys})
    )
    name = "default" if change == "rotate" else "ci"

    def act(check_mode: bool = False, job: int = 7, **given: Any) -> Any:
        wish = {"tenants": ["acme"], "change": change, "key_name": name, **given}
        return Run(inventory, awx_job_id=job).act(tenant_keys, check_mode=check_mode, **wish)

    for keys_dir in ("", "platform_keys_dir: keys\n"):
        (inventory / "group_vars/tenants.yml").write_text(keys_dir)
        with pytest.raises(AnsibleActionFail, match="acme: no key was made, .*api_key_sha256"):
            act(check_mode)
        with pytest.raises(AnsibleActionFail, match="acme: no key was made, .*absolute path"):
            act(check_mode, result_file="memcloud-key.json")
        assert not os.path.exists("memcloud-key.json")
        assert entry(inventory, "acme")["tenant_api_keys"] == keys
        assert not (inventory / ".secrets/acme.json").exists()
    stays = inventory.parent / "stays"
    for given in ({"api_key_sha256": "b" * 64}, {"result_file": str(stays / "a")}, {"job": 0}):
        assert act(True, **given)["changed"]
    (inventory / "group_vars/tenants.yml").write_text(f"platform_keys_dir: {stays}\n")
    assert act()["changed"]
    assert sorted(path.name for path in stays.iterdir())[0].startswith("acme")


def test_the_last_key_but_one_is_revoked_by_a_job_of_awx(inventory: Path) -> None:
    keys = [{"name": name, "sha256": name[0] * 64} for name in ("default", "ci")]
    (inventory / "host_vars/acme.yml").write_text(
        ENTRY % 1 + yaml.safe_dump({"tenant_api_keys": keys})
    )
    run = Run(inventory, awx_job_id=7)
    assert run.act(tenant_keys, tenants=["acme"], change="revoke", key_name="ci")["changed"]


@pytest.mark.parametrize("change", ["rotate", "add", "revoke"])
@pytest.mark.parametrize("of_group", [True, False])
def test_keys_from_elsewhere_are_not_replaced_as_a_whole(
    inventory: Path, change: str, of_group: bool
) -> None:
    keys = [{"name": "default", "sha256": "a" * 64}]
    variable = "tenant_api_keys" if of_group else "acme_keys"
    (inventory / "group_vars/tenants.yml").write_text(yaml.safe_dump({variable: keys}))
    text = ENTRY % 1 + ("" if of_group else 'tenant_api_keys: "{{ acme_keys }}"\n')
    (inventory / "host_vars/acme.yml").write_text(text)
    with pytest.raises(AnsibleActionFail, match="^acme: its tenant_api_keys come from a template"):
        Run(inventory).act(tenant_keys, tenants=["acme"], change=change, key_name="default")
    assert (inventory / "host_vars/acme.yml").read_text() == text


@pytest.mark.parametrize("change", ["add", "revoke"])
@pytest.mark.parametrize("name", ["", " ", None])
def test_no_key_is_meant_that_is_not_named(inventory: Path, change: str, name: str | None) -> None:
    keys = [{"name": name, "sha256": name[0] * 64} for name in ("default", "ci")]
    (inventory / "host_vars/acme.yml").write_text(
        ENTRY % 1 + yaml.safe_dump({"tenant_api_keys": keys})
    )
    with pytest.raises(AnsibleActionFail, match=r"^Say which key: -e key_name=<name>\. Nothing"):
        Run(inventory).act(tenant_keys, tenants=["acme"], change=change, key_name=name)
    assert entry(inventory, "acme")["tenant_api_keys"] == keys
