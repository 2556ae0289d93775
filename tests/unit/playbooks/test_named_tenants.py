# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No playbook stops, changes or replaces all tenants because somebody left out which one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import controller

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
GUARD = PLAYBOOKS / "support/named_tenants.yml"
ONE = "wants the tenant's name"
READS = "only reads"
ADDS = "adds restore points or archives, and changes no tenant"
# Those that mean all tenants when nobody says which.
EXEMPT = {
    "backup_tenant": ADDS,
    "check_backups": READS,
    "check_storage": "tells the gate what is stored, for a timer",
    "create_tenant": ONE,
    "delete_tenant": "wants their number",
    "deploy_tenant": "brings all to what their entries say",
    "doctor": READS,
    "export_registry": READS,
    "export_tenant": ADDS,
    "import_tenant": "wants one tenant",
    "init_inventory": "touches no tenant",
    "list_backups": READS,
    "list_tenants": READS,
    "pause_idle": "sleepers are woken by a request, for a timer",
    "prune_backups": "removes what the tiers say, for a timer",
    "remove_node": "wants the node's name",
    "schedule_backups": "touches no tenant",
    "setup_node": "touches no tenant",
    "sweep_deleted": "purges what is due, for a timer",
    "tenant_info": READS,
    "tenant_journal": READS,
    "tenant_stats": READS,
    "update_fleet": "means the fleet, in waves",
    "verify_backups": "works on throw-away tenants",
}
FIRST_NAMES = sorted(path.stem for path in PLAYBOOKS.glob("*.yml") if "-" not in path.stem)
GUARDED = [name for name in FIRST_NAMES if name not in EXEMPT]


def plays(path: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """The plays of a playbook and of those that it imports, in the order in which they run."""
    for play in yaml.safe_load(path.read_text()):
        imported = play.get("ansible.builtin.import_playbook")
        if imported:
            yield from plays((path.parent / imported).resolve())
        else:
            yield path, play


def test_there_is_a_reason_for_every_exemption() -> None:
    assert set(EXEMPT) < set(FIRST_NAMES)
    guarded = {
        name for name in FIRST_NAMES if GUARD in [p for p, _ in plays(PLAYBOOKS / f"{name}.yml")]
    }
    assert not guarded & set(EXEMPT)


@pytest.mark.parametrize("name", GUARDED)
def test_nothing_is_touched_before_the_tenants_are_named(name: str) -> None:
    order = list(plays(PLAYBOOKS / f"{name}.yml"))
    guard = [path for path, _play in order].index(GUARD)
    assert {str(play["hosts"]) for _path, play in order[:guard]} <= {"localhost"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((), "all of them with -e tenant=all. Nothing was touched."),
        (("-e", "tenant=globx"), "There is no tenant globx in this inventory"),
        (("-e", "tenant=acme"), "Say what to change"),
        (("-e", "tenant=all"), "Say what to change"),
        (("-l", "acm*"), "Say what to change"),
    ],
)
def test_tenants_are_named_by_a_variable_or_a_limit(
    tmp_path: Path, words: tuple[str, ...], answer: str
) -> None:
    (tmp_path / "hosts.yml").write_text("tenants: {hosts: {acme: , globex: }}\n")
    playbook = PLAYBOOKS / "change_tenant.yml"
    code, output = controller.play("-i", tmp_path / "hosts.yml", playbook, *words)
    assert code != 0
    assert answer in output
