# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the schedule of backups do what cron is to have done, and say when they could not.

Each is run by a shell as cron runs it, with another place for locks and a playbook of this test.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from support import controller

# The playbook gives the file to root, as cron wants it, which root alone can do. make test is run
# by root.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the file of a schedule is root's")
LINE = re.compile(r"([0-9*/]+ ){5}root (?P<command>.*)")
PLAYBOOKS = controller.TOP / "playbooks"
SETTING = re.compile(r"([A-Z_]+)=(.*)")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schedule")


@pytest.fixture(scope="module")
def commands(place: Path) -> dict[str, str]:
    """What cron gives to the shell, by playbook."""
    inventory = place / "with a space.yml"
    inventory.write_text("nodes: {hosts: {node1: {platform_name: zz}}}\n")
    schedule = place / "schedule"
    given = ("-e", f"cron_file={schedule}", "-i", str(inventory))
    code, output = controller.play("playbooks/schedule_backups.yml", *given)
    assert code == 0, output
    assert "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=true\n" in schedule.read_text()
    stub = place / "ansible-playbook"
    stub.write_text('#!/bin/sh\necho "did $*"\nexit ${STATUS:-0}\n')
    stub.chmod(0o755)
    found = {}
    for line in schedule.read_text().splitlines():
        if line.startswith("#") or SETTING.fullmatch(line):
            continue
        match = LINE.fullmatch(line)
        assert match, line
        assert not re.search(r"(?<!\\)%", line), "cron takes it for the end of the command"
        command = match["command"].replace("\\%", "%")
        (program,) = re.findall(r"\S+/ansible-playbook", command)
        (name,) = re.findall(r"playbooks/(\w+)\.yml", command)
        for before, after in (
            ("logger -t memcloud-zz-backups", "cat"),
            (f" {program} ", f" {stub} "),
            ("/run/lock/", f"{place}/"),
        ):
            assert command.count(before) == 1, command
            command = command.replace(before, after)
        found[name] = command.replace("--wait 7200", "--wait 0.2")
    return found


def said(command: str, **environment: str) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == "", command
    return done.stdout


CARE = ("prune_backups", "check_backups", "verify_backups")


def test_all_of_them_run_their_playbook(commands: dict[str, str], place: Path) -> None:
    assert sorted(commands) == sorted(("backup_tenant", *CARE))
    for name, command in commands.items():
        output = said(command)
        assert output.startswith(f"did -i {place}/with a space.yml {PLAYBOOKS}/{name}.yml")
        assert output.count("\n") == 1
    assert "-e share=10%" in said(commands["check_backups"])


@pytest.mark.parametrize("name", CARE)
def test_one_that_waited_in_vain_says_so(commands: dict[str, str], name: str, place: Path) -> None:
    with (place / "schedule-care").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert said(commands[name]).startswith(f"{name} was left out: it waited two hours for")
        assert said(commands["backup_tenant"]).startswith("did ")
    assert "left out" not in said(commands[name])


def test_one_that_fails_was_not_left_out(commands: dict[str, str]) -> None:
    assert "left out" not in said(commands["prune_backups"], STATUS="2")


def test_points_are_due_again_in_a_quarter_of_an_hour(
    commands: dict[str, str], place: Path
) -> None:
    with (place / "schedule-backups").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert said(commands["backup_tenant"]) == ""


def test_a_schedule_of_another_inventory_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    """Two platforms of one name have one usual place, which is not cron's in this test."""
    playbook = tmp_path / "playbooks/schedule_backups.yml"
    playbook.parent.mkdir()
    text = (controller.TOP / "playbooks/schedule_backups.yml").read_text()
    playbook.write_text(text.replace("'/etc/cron.d/", f"'{tmp_path}/"))
    schedule, own = tmp_path / "memcloud-zz", tmp_path / "own"
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    for inventory in (one, two):
        inventory.write_text("nodes: {hosts: {node1: {platform_name: zz}}}\n")

    def run(inventory: Path, *words: str) -> tuple[int, str]:
        code, output = controller.play(playbook, "-i", inventory, *words)
        return code, " ".join(output.split())

    code, output = run(one)
    assert code == 0, output
    before = schedule.read_text()
    assert f"# Inventory: {one}\n" in before
    assert "/run/lock/memcloud-zz-care" in before
    for words in ((), ("-e", "state=absent")):
        code, output = run(two, *words)
        assert code != 0
        assert f"{schedule} is the schedule of another inventory ({one})" in output
        assert schedule.read_text() == before
    assert run(two, "-e", f"cron_file={own}")[0] == 0
    assert "/run/lock/own-care" in own.read_text()
    assert run(one)[0] == 0
    assert run(one, "-e", "state=absent")[0] == 0
    assert not schedule.exists()
    assert own.exists()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Somebody's project: the collection installed in it, a vault, and the tenant acme."""
    collections = tmp_path / "collections" / "ansible_collections" / "memcloud"
    collections.mkdir(parents=True)
    (collections / "memmachine").symlink_to(controller.TOP)
    (tmp_path / "site.cfg").write_text("[defaults]\ncollections_path = collections\n")
    inventory = tmp_path / "inventory"
    (inventory / "host_vars").mkdir(parents=True)
    (inventory / "host_vars" / "acme.yml").write_text("tenant_tier: free\n")
    (inventory / "nodes.yml").write_text("nodes: {hosts: {node1: {platform_name: zz}}}\n")
    (inventory / "tenants.yml").write_text("plugin: memcloud.memmachine.tenants\n")
    (tmp_path / "password").write_text("it opens the vault\n")
    (inventory / "group_vars").mkdir()
    vault = VaultLib([("default", VaultSecret(b"it opens the vault"))])
    (inventory / "group_vars" / "all.yml").write_bytes(vault.encrypt("secret: 1\n"))
    return tmp_path


def schedule_of(site: Path, *words: str) -> tuple[int, str]:
    return controller.play(
        "memcloud.memmachine.schedule_backups",
        *("-i", "inventory", "-e", f"cron_file={site}/schedule", *words),
        cwd=site,
        ANSIBLE_CONFIG=str(site / "site.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(site / "collections"),
    )


def test_what_is_scheduled_reads_the_inventory_as_the_run_did_that_wrote_it(site: Path) -> None:
    code, output = schedule_of(site, "--vault-password-file", "password")
    assert code == 0, output
    lines = (site / "schedule").read_text().splitlines()
    settings = dict(match.groups() for line in lines if (match := SETTING.fullmatch(line)))
    assert settings["ANSIBLE_CONFIG"] == f"{site}/site.cfg"
    assert settings["ANSIBLE_COLLECTIONS_PATH"] == f"{site}/collections"
    assert settings["ANSIBLE_VAULT_IDENTITY_LIST"] == f"default@{site}/password"
    (backup,) = [match["command"] for line in lines if (match := LINE.fullmatch(line))][:1]
    command = backup.replace("-e due=true", "--list-hosts").replace("| logger", "| grep acme #")
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("/run/lock/", f"{site}/")],
        env=settings,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "acme", done.stderr


def test_what_could_not_read_the_inventory_is_not_scheduled(site: Path) -> None:
    (site / "inventory" / "tenants.yml").write_text("plugin: memcloud.memmachine.nothing\n")
    code, output = schedule_of(site, "--vault-password-file", "password")
    assert code != 0
    assert f"Completely failed to parse inventory source {site}/inventory/tenants.yml" in output
    assert not (site / "schedule").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-e", "cron_file={}/memcloud.production"), "which cron would pass over without a word"),
        (("-e", "cron_file=memcloud-production"), "it is an absolute path"),
        (("-e", "state=abesnt"), "state is abesnt; it can be present or absent. Nothing was"),
        (("-l", "node1"), "-l node1 leaves localhost out, whose schedule is for all tenants"),
    ],
)
def test_a_schedule_that_would_not_be_kept_is_not_written(
    site: Path, words: tuple[str, ...], said: str
) -> None:
    given = [word.format(site) for word in words]
    code, output = schedule_of(site, "--vault-password-file", "password", *given)
    assert code != 0
    assert said in " ".join(output.split())
    assert not list(site.glob("*schedule")) + list(site.glob("memcloud*"))


def test_one_that_cron_passed_over_is_taken_away(site: Path) -> None:
    given = ("-e", f"cron_file={site}/memcloud.production", "-e", "state=absent")
    (site / "memcloud.production").write_text(f"# Inventory: {site}/inventory\n")
    code, output = schedule_of(site, "--vault-password-file", "password", *given)
    assert code == 0, output
    assert not (site / "memcloud.production").exists()
