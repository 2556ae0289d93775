# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore points in a folder of a node go with a tenant that moves. Both nodes are this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import yaml
from support import controller

TOP = Path(__file__).parents[3]
CARRY = TOP / "playbooks/support/carry_restore_points.yml"
NAME = "acme-01234567"


def carry(directory: Path, there: Path, here: Path) -> None:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
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
    code, output = controller.play(*given, cwd=directory, TMPDIR=str(directory))
    assert code == 0, output


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
