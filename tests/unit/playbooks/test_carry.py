# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore points in a folder of a node go with a tenant that moves. Both nodes are this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import controller

TOP = Path(__file__).parents[3]
CARRY = TOP / "playbooks/support/carry_restore_points.yml"
NAME = "acme-01234567"


def carry(directory: Path, there: Path, here: Path) -> None:
    code, output = try_to_carry(directory, there, here)
    assert code == 0, output


def try_to_carry(directory: Path, there: Path, here: Path, **environment: str) -> tuple[int, str]:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    local["ansible_become"] = "false"
    hosts = dict.fromkeys(("acme", "old", "new"), local)
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    play = {
        "hosts": "acme",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_tasks": str(CARRY)}],
    }
    (directory / "carry.yml").write_text(yaml.safe_dump([play]))
    told = {
        "memcloud_from": "old",
        "node": "new",
        "memcloud_there": str(there),
        "memcloud_here": str(here),
        "memcloud_repository_name": NAME,
        "memcloud_point": "feedf00d",
    }
    given = ("-i", "hosts.yml", "carry.yml", "-e", json.dumps(told))
    temporary = {"TMPDIR": str(directory), **environment}
    code, output = controller.play(*given, cwd=directory, **temporary)
    return code, " ".join(output.split())


def repository(folder: Path, *points: str) -> Path:
    snapshots = folder / NAME / "snapshots"
    snapshots.mkdir(parents=True)
    for point in points:
        (snapshots / point).write_text(point)
        (snapshots / point).chmod(0o400)
    return snapshots


def test_restore_points_are_carried_to_the_other_folder(tmp_path: Path) -> None:
    repository(tmp_path / "there", "feedf00dcafe", "0123456789ab")
    here = tmp_path / "srv/here"
    carry(tmp_path, tmp_path / "there", here)
    found = here / NAME / "snapshots"
    assert sorted(path.name for path in found.iterdir()) == ["0123456789ab", "feedf00dcafe"]
    assert (found / "feedf00dcafe").stat().st_mode & 0o777 == 0o400
    assert here.stat().st_mode & 0o777 == 0o700
    # Nothing of it is left on the way.
    assert os.listdir(tmp_path / "there") == [NAME]
    assert list(tmp_path.glob("memcloud-move-*")) == []


def test_the_controller_needs_no_other_user(tmp_path: Path) -> None:
    """As with --become, which a job template of AWX has for the nodes."""
    repository(tmp_path / "there", "feedf00dcafe")
    become = {"ANSIBLE_BECOME": "true", "ANSIBLE_BECOME_EXE": "/bin/false"}
    become["ANSIBLE_BECOME_ALLOW_SAME_USER"] = "true"  # for tests that root runs
    code, output = try_to_carry(tmp_path, tmp_path / "there", tmp_path / "here", **become)
    assert code == 0, output
    assert list(tmp_path.glob("memcloud-move-*")) == []


def test_a_folder_of_the_user_keeps_its_mode_and_what_is_there(tmp_path: Path) -> None:
    repository(tmp_path / "there", "feedf00dcafe")
    found = repository(tmp_path / "here", "0123456789ab")  # of an earlier stay
    (tmp_path / "here").chmod(0o750)
    carry(tmp_path, tmp_path / "there", tmp_path / "here")
    assert sorted(path.name for path in found.iterdir()) == ["0123456789ab", "feedf00dcafe"]
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o750


def test_a_folder_that_both_nodes_share_is_left_alone(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    before = (repository(shared, "feedf00dcafe") / "feedf00dcafe").stat()
    carry(tmp_path, shared, shared)
    after = (shared / NAME / "snapshots/feedf00dcafe").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize(
    ("free", "lacking"),
    [
        (
            {"there": 512, "controller": 1, "home": (9, "/home")},
            "{top}/there on old has 512 MiB free and needs 514, "
            "{top}/controller on the controller has 1 MiB free and needs 514, "
            "the home directory on new has 9 MiB free and needs 514",
        ),
        # Packed and unpacked.
        ({"": 1026}, "{top}/here on new has 1026 MiB free and needs 1027"),
        ({"": 514, "home": (514, "/home")}, ""),
    ],
)
def test_there_must_be_room_on_the_way(tmp_path: Path, free: dict[str, Any], lacking: str) -> None:
    (repository(tmp_path / "there", "feedf00dcafe") / "large").write_bytes(bytes(1024**2))
    (tmp_path / "controller").mkdir()
    places = {
        f"{tmp_path}/there": (free.get("there", 9999), "/there"),
        f"{tmp_path}/controller": (free.get("controller", 9999), "/controller"),
        str(tmp_path): (free.get("", 9999), "/"),
        "": free.get("home", (free.get("", 9999), "/")),
    }
    code, output = try_to_carry(
        tmp_path,
        tmp_path / "there",
        tmp_path / "here",
        PATH=controller.path_with_df(tmp_path, places),
        TMPDIR=str(tmp_path / "controller"),
    )
    assert (code == 0) == (not lacking), output
    if lacking:
        assert (
            "acme: its restore points have no room on their way to new: "
            f"{lacking.format(top=tmp_path)}. Make room there and run this again."
        ) in output
        assert not (tmp_path / "here").exists()
    assert os.listdir(tmp_path / "there") == [NAME]
    assert list((tmp_path / "controller").glob("memcloud-move-*")) == []
