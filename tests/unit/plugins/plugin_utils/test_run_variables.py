# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt -e stops a run instead of being no -e at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _run_variables
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    PLAYBOOKS,
    check_run_variables,
    known_variables,
)

OURS = {"playbook_dir": PLAYBOOKS}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    def give(*names: str, **values: object) -> None:
        extra = {**dict.fromkeys(names, "true"), **values}
        monkeypatch.setattr(_run_variables, "load_extra_vars", lambda _loader: extra)

    return give


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tennant", "tenant"),
        ("teir", "tier"),
        ("restorepoint", "restore_point"),
        ("keep-data", "keep_data"),
        ("canarys", "canaries"),
        ("remove_date", "remove_data"),
    ],
)
def test_a_misspelt_variable_stops_the_run(given, name: str, meant: str) -> None:
    given("tenant", name)
    with pytest.raises(MemcloudError, match=f"^{name}: .*did you mean {meant}"):
        check_run_variables(OURS)


@pytest.mark.parametrize(
    "name",
    [
        "tenant",
        "awx_job_id",
        "tower_user_name",
        "ansible_user",
        "company_region",
        "platform_domian",
    ],
)
def test_what_is_known_or_somebody_elses_does_not(given, name: str) -> None:
    given(name)
    check_run_variables(OURS)


def test_a_playbook_of_the_user_has_variables_of_its_own(given) -> None:
    given("tennant")
    check_run_variables({"playbook_dir": "/srv/mine"})


def test_the_headers_tell_of_every_variable_that_a_playbook_takes() -> None:
    taken = re.compile(r"(?<![\w.])([a-z][a-z0-9_]*) (?:\| default\(|is defined)")
    others = ("platform_", "tenant_", "memcloud_", "ansible_")
    used = {
        name
        for path in Path(PLAYBOOKS).rglob("*.yml")
        for name in taken.findall(path.read_text())
        if not name.startswith(others)
    }
    assert len(used) > 30
    assert used <= known_variables()


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch):
    def run(*playbooks: str) -> None:
        monkeypatch.setattr(_run_variables, "CLIARGS", {"args": playbooks})

    return run


def refusal(directory: str = PLAYBOOKS) -> str:
    with pytest.raises(MemcloudError) as refused:
        check_run_variables({"playbook_dir": directory})
    return str(refused.value)


@pytest.mark.parametrize(
    "named",
    [
        "update_fleet.yml",
        "memcloud.memmachine.update_fleet",
        "memcloud.memmachine.update_fleet.yml",
    ],
)
def test_a_playbook_takes_its_own_variables_alone(
    given, of, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(PLAYBOOKS)
    of(named)
    given("version", "company_region", "platform_parallelism", "docker_node_min_free")
    check_run_variables(OURS)
    given("tenant")
    assert refusal() == (
        "tenant: is no variable of update_fleet. It takes version, canaries, patience, slower, "
        "result_file, -l. Nothing was touched: correct it or leave it out, and run again"
    )


def test_a_play_of_support_is_of_the_playbook_that_imports_it(given, of) -> None:
    of(f"{PLAYBOOKS}/delete_tenant.yml")
    given("keepdata")
    assert refusal(f"{PLAYBOOKS}/support") == (
        "keepdata: is no variable of delete_tenant (did you mean keep_data?). It takes tenant, "
        "keep_data, confirm, result_file. Nothing was touched: correct it or leave it out, and "
        "run again"
    )


def test_several_playbooks_take_the_variables_of_each(given, of) -> None:
    of(f"{PLAYBOOKS}/init_inventory.yml", f"{PLAYBOOKS}/remove_node.yml")
    given("root_key_file", "remove_data")
    check_run_variables(OURS)
    given("tenant")
    assert refusal() == (
        "tenant: is no variable of init_inventory and remove_node. It takes root_key_file, node, "
        "remove_data, remove_images, remove_engine. Nothing was touched: correct it or leave it "
        "out, and run again"
    )


def test_beside_a_playbook_of_the_user_a_misspelt_variable_still_stops_ours(given, of) -> None:
    of("/srv/mine/site.yml", f"{PLAYBOOKS}/update_fleet.yml")
    given("tenant")
    check_run_variables(OURS)
    given("tennant")
    assert refusal() == (
        "tennant: is no variable of the playbooks (did you mean tenant?). Nothing was touched: "
        "correct it or leave it out, and run again"
    )


@pytest.mark.parametrize("value", ["flase", "", "y", "ja", None, 2, [], {}])
def test_a_switch_is_true_or_false(given, of, value: object) -> None:
    said = "which is neither true nor false. Nothing was touched: correct it or leave it out"
    of(f"{PLAYBOOKS}/delete-tenant.yml")
    given(tenant="acme", keep_data=value)
    assert refusal().startswith(f"keep_data is {value!r}, {said}")
    of("/srv/mine/delete.yml")
    assert said in refusal(f"{PLAYBOOKS}/support")


@pytest.mark.parametrize(
    "value", ["true", "False", " no ", "ON", "0", True, False, 1, "{{ answer | default(true) }}"]
)
def test_what_a_switch_can_be(given, of, value: object) -> None:
    of(f"{PLAYBOOKS}/delete_tenant.yml")
    given(tenant="acme", keep_data=value, confirm=2)
    check_run_variables(OURS)


def test_a_number_of_one_playbook_may_be_a_switch_of_another(given, of) -> None:
    given(confirm="2")
    check_run_variables(OURS)
    of(f"{PLAYBOOKS}/move_tenant.yml")
    assert refusal().startswith("confirm is '2', which is neither true nor false")


@pytest.mark.parametrize(
    ("name", "meant"), [("tenant_node", " (did you mean node?)"), ("tenant_limits", "")]
)
def test_what_stands_in_entries_is_not_given_for_a_run(given, of, name: str, meant: str) -> None:
    of(f"{PLAYBOOKS}/create_tenant.yml")
    given("tenant", name)
    assert refusal().startswith(f"{name}: stands in a tenant's entry{meant}. By -e it would count")
    given("tenant", "tenant_model_api_key")
    check_run_variables(OURS)
