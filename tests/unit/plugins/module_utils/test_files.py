# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is replaced in one step, and what killed writers left goes with the next write."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _files
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    keep_out_of_git,
    remove_stale,
    scratch_directory,
)

LEFT = "state.json.0123abcd.new"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    others = ["other.json.0123abcd.new", "state.json.new", "state.json.old.0123abcd.new"]
    for name in [LEFT, *others]:
        (tmp_path / name).write_text("half")
    atomic_write(str(tmp_path / "state.json"), "whole")
    assert names(tmp_path) == sorted([*others, "state.json"])
    assert (tmp_path / "state.json").read_text() == "whole"


def test_it_goes_from_the_place_where_it_was_written(tmp_path: Path) -> None:
    scratch, watched = tmp_path / "scratch", tmp_path / "watched"
    scratch.mkdir()
    watched.mkdir()
    (scratch / LEFT).write_text("half")
    atomic_write(str(watched / "state.json"), "whole", scratch_dir=str(scratch))
    assert names(scratch) == [] and names(watched) == ["state.json"]


def test_what_somebody_writes_at_this_moment_stays(tmp_path: Path) -> None:
    with (tmp_path / LEFT).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        atomic_write(str(tmp_path / "state.json"), "whole")
        assert names(tmp_path) == ["state.json", LEFT]


def test_a_writer_whose_file_was_taken_away_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    taken: list[str] = []

    def flock(handle: Any, how: int) -> None:
        if not taken:
            taken.extend(names(tmp_path))
            os.unlink(tmp_path / taken[0])
        lock(handle, how)

    monkeypatch.setattr(_files.fcntl, "flock", flock)
    atomic_write(str(tmp_path / "state.json"), "whole")
    assert len(taken) == 1
    assert names(tmp_path) == ["state.json"]
    assert (tmp_path / "state.json").read_text() == "whole"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: Any, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(_files.fcntl, "flock", flock)
    (tmp_path / LEFT).write_text("half")
    atomic_write(str(tmp_path / "state.json"), "whole")
    assert names(tmp_path) == ["state.json", LEFT]


def aged(path: Path, hours: float) -> None:
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment), follow_symlinks=False)


def test_a_scratch_directory_takes_away_what_killed_runs_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = tmp_path / "others"
    others.mkdir()
    for name in ("mc-restic-old", "mc-restic-young", "mc-other-old"):
        (tmp_path / name / "cache").mkdir(parents=True)
        (tmp_path / name / "key").write_text("secret")
        aged(tmp_path / name, 1 if name.endswith("young") else 25)
    (tmp_path / "mc-restic-link").symlink_to(others)
    aged(others, 25)
    with scratch_directory("mc-restic-") as path:
        assert os.stat(path).st_mode & 0o777 == 0o700
        made = os.path.basename(path)
        left = ["mc-other-old", "mc-restic-link", "mc-restic-young", "others"]
        assert names(tmp_path) == sorted([made, *left])
        # It goes on for days: nobody takes it away.
        aged(Path(path), 100)
        with scratch_directory("mc-restic-"):
            assert os.path.isdir(path)
    assert names(tmp_path) == left


def test_what_is_left_is_known_by_its_whole_name_and_its_age(tmp_path: Path) -> None:
    for name in ("acme-1.part", "acme-two-1.part", "acme-1.part.old", "acme-2.part"):
        (tmp_path / name).write_text("")
        aged(tmp_path / name, 2)
    aged(tmp_path / "acme-2.part", 0)
    remove_stale(str(tmp_path), r"acme-\d\.part", 3600)
    assert names(tmp_path) == ["acme-1.part.old", "acme-2.part", "acme-two-1.part"]
    remove_stale(str(tmp_path / "nowhere"), ".*")


def test_git_passes_over_secrets_and_reports_wherever_they_are(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    keys, reports = tmp_path / "inventory/.secrets/keys", tmp_path / "inventory/.reports"
    for directory, ignored in ((keys, keys.parent), (reports, reports), (tmp_path / "a", None)):
        directory.mkdir(parents=True)
        for _again in range(2):
            keep_out_of_git(str(directory))
        (directory / "file").write_text("x")
        assert ignored is None or (ignored / ".gitignore").read_text() == "*\n"
    status = ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, capture_output=True, text=True).stdout == "?? a/file\n"
    (reports / ".gitignore").write_text("!*\n")
    keep_out_of_git(str(reports))
    assert (reports / ".gitignore").read_text() == "!*\n"
