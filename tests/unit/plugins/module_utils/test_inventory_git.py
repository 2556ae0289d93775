# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Git writer against real repositories: a bare one and clones of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _inventory_git
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_git import GitWriter
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    NEW,
    EntryExistsError,
    Request,
)

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Operator", "-c", "user.email=operator@example.com")
    done = subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    bare = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, timeout=60)
    seed = clone(bare, tmp_path / "seed")
    (seed / "inventory").mkdir()
    (seed / "inventory" / "nodes.yml").write_text("nodes: {}\n")
    git(seed, "checkout", "-q", "-b", "main")
    git(seed, "add", ".")
    git(seed, "commit", "-q", "-m", "Start")
    git(seed, "push", "-q", "origin", "main")
    return bare


def clone(bare: Path, directory: Path) -> Path:
    subprocess.run(
        ["git", "clone", "-q", str(bare), str(directory)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return directory


def writer(directory: Path, **options: Any) -> GitWriter:
    return GitWriter(str(directory / "inventory"), **options)


def pushed(bare: Path, path: str) -> str:
    return git(bare, "show", f"main:inventory/host_vars/{path}")


def test_an_entry_is_pushed_and_the_clone_can_be_thrown_away(remote: Path, tmp_path: Path) -> None:
    job = clone(remote, tmp_path / "job")
    writer(job).check()
    change = writer(job, author="Bot <bot@example.com>").apply(
        Request("acme", {"tenant_uid": "u1"}, expect=NEW)
    )
    assert change.changed
    assert change.where == str(job / "inventory" / "host_vars" / "acme.yml")
    assert (job / "inventory" / "host_vars" / "acme.yml").exists()
    shutil.rmtree(job)
    assert "tenant_uid: u1" in pushed(remote, "acme.yml")
    log = git(remote, "log", "-1", "--format=%an|%ae|%cn|%s", "main").strip()
    assert log == "Bot|bot@example.com|Bot|Tenant acme: create"
    again = clone(remote, tmp_path / "again")
    assert writer(again).read("acme") == {"tenant_uid": "u1"}
    assert not writer(again).apply(Request("acme", {"tenant_uid": "u1"})).changed


def test_only_the_entry_is_committed_whatever_lies_around(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    (work / "inventory" / "nodes.yml").write_text("nodes: {changed: true}\n")
    (work / "staged").write_text("x")
    git(work, "add", "staged")
    (work / "inventory" / ".secrets").mkdir()
    (work / "inventory" / ".secrets" / "acme.json").write_text("a key")
    writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    names = git(remote, "show", "--name-only", "--format=", "main").split()
    assert names == ["inventory/host_vars/acme.yml"]
    assert "changed" in (work / "inventory" / "nodes.yml").read_text()
    assert "staged" in git(work, "diff", "--cached", "--name-only")
    assert (work / "inventory" / "host_vars" / "acme.yml").exists()


def test_a_clone_that_is_behind_is_brought_forward(remote: Path, tmp_path: Path) -> None:
    behind, other = clone(remote, tmp_path / "behind"), clone(remote, tmp_path / "other")
    writer(other).apply(Request("globex", {"tenant_uid": "u2"}))
    writer(behind).apply(Request("acme", {"tenant_uid": "u1"}))
    assert (behind / "inventory" / "host_vars" / "globex.yml").exists()
    assert git(behind, "status", "--porcelain") == ""


def test_unpushed_commits_stay_where_they_are(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    (work / "draft").write_text("x")
    git(work, "add", "draft")
    git(work, "commit", "-q", "-m", "Draft")
    writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    assert "draft" not in git(remote, "ls-tree", "-r", "--name-only", "main")
    assert (work / "inventory" / "host_vars" / "acme.yml").exists()
    assert git(work, "log", "-1", "--format=%s").strip() == "Draft"


@pytest.mark.parametrize("kind", ["core.sshCommand", "GIT_SSH_COMMAND", "GIT_SSH", ""])
def test_the_clone_says_by_which_ssh_it_is_pushed(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    work = clone(remote, tmp_path / "work")
    log = tmp_path / "log"
    for name in ("own-ssh", "ssh"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$0 $@" >> {log}\nfor words; do :; done\nexec sh -c "$words"\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    for name in ("GIT_SSH_COMMAND", "GIT_SSH"):
        monkeypatch.delenv(name, raising=False)
    git(work, "remote", "set-url", "origin", f"ssh://git@git.example.com{remote}")
    if kind.startswith("GIT"):
        monkeypatch.setenv(kind, str(tmp_path / "own-ssh"))
    elif kind:
        git(work, "config", kind, f"{tmp_path}/own-ssh -i deploy_key")
    writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    used = "own-ssh" if kind else "ssh"
    calls = log.read_text().splitlines()
    assert {Path(call.split()[0]).name for call in calls} == {used}
    assert all(("-o BatchMode=yes" in call) == (not kind) for call in calls)


def test_a_clone_whose_entry_is_another_one_is_refused(remote: Path, tmp_path: Path) -> None:
    first = clone(remote, tmp_path / "first")
    keys = [{"name": "default", "sha256": "a"}, {"name": "leaked", "sha256": "b"}]
    variables = {"tenant_uid": "u1", "tenant_tier": "free", "tenant_api_keys": keys}
    writer(first).apply(Request("acme", variables))
    stale = clone(remote, tmp_path / "stale")
    writer(first).apply(Request("acme", {"tenant_api_keys": keys[:1]}))
    before = git(remote, "rev-parse", "main")
    for dry_run in (True, False):
        with pytest.raises(MemcloudError, match="acme: its entry in this clone .*git pull"):
            request = Request("acme", {"tenant_tier": "pro"}, seen={"tenant_api_keys": keys})
            writer(stale).apply(request, dry_run=dry_run)
        # Nor one that asks for what is there: the run would go on with what it read.
        with pytest.raises(MemcloudError, match="acme: its entry in this clone .*git pull"):
            writer(stale).apply(Request("acme", {"tenant_tier": "free"}), dry_run=dry_run)
    assert git(remote, "rev-parse", "main") == before
    git(stale, "pull", "-q")
    entry = stale / "inventory" / "host_vars" / "acme.yml"
    entry.write_text(entry.read_text() + "tenant_pinned: true\n")
    with pytest.raises(MemcloudError, match="has changes of its own"):
        writer(stale).apply(Request("acme", {"tenant_tier": "pro"}))
    git(stale, "commit", "-q", "-a", "-m", "Pin")
    git(stale, "push", "-q", "origin", "main")
    writer(stale).apply(Request("acme", {"tenant_tier": "pro"}))
    assert "tenant_pinned: true" in pushed(remote, "acme.yml")


@pytest.mark.parametrize("checkout", ["main", "--detach", "-b other"])
def test_operations_of_one_clone_one_after_another(
    remote: Path, tmp_path: Path, checkout: str
) -> None:
    work = clone(remote, tmp_path / "work")
    git(work, "checkout", "-q", *checkout.split())
    ours = writer(work, branch="main")
    ours.apply(Request("acme", {"tenant_uid": "u1", "tenant_keys": [1, 2]}, expect=NEW))
    for variables in ({"tenant_state": "paused"}, {"tenant_keys": [1]}, {"tenant_state": "x"}):
        assert ours.apply(Request("acme", variables, uid="u1")).changed
    ours.apply(Request("acme", {"tenant_tier": "pro"}, ["tenant_state"], uid="u1"))
    assert ours.read("acme") == {"tenant_uid": "u1", "tenant_keys": [1], "tenant_tier": "pro"}
    ours.apply(Request("acme", {}, uid="u1", delete=True))
    ours.apply(Request("acme", {"tenant_uid": "u2"}, expect=NEW))


def test_a_run_that_was_killed_behind_the_push_is_done_again(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = clone(remote, tmp_path / "work")
    writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    request = Request("acme", {"tenant_state": "suspended"})
    with monkeypatch.context() as killed:
        killed.setattr(GitWriter, "_bring_home", lambda self, root, request: None)
        writer(work).apply(request)
    entry = work / "inventory" / "host_vars" / "acme.yml"
    assert "suspended" not in entry.read_text()
    assert not writer(work).apply(request).changed
    assert "suspended" in entry.read_text()


def test_clones_that_push_at_the_same_time_all_get_through(remote: Path, tmp_path: Path) -> None:
    clones = [clone(remote, tmp_path / f"job{number}") for number in range(5)]

    def create(number: int) -> None:
        writer(clones[number]).apply(
            Request(f"t{number}", {"tenant_uid": f"u{number}"}, expect=NEW)
        )

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(create, range(5)))
    for number in range(5):
        assert f"u{number}" in pushed(remote, f"t{number}.yml")


def test_of_clones_that_create_one_name_one_wins(remote: Path, tmp_path: Path) -> None:
    clones = [clone(remote, tmp_path / f"job{number}") for number in range(4)]

    def create(number: int) -> bool:
        try:
            writer(clones[number]).apply(Request("acme", {"tenant_uid": f"u{number}"}, expect=NEW))
        except EntryExistsError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(create, range(4))) == 1


def test_an_entry_stands_beside_those_that_others_have_pushed(remote: Path, tmp_path: Path) -> None:
    clones = [clone(remote, tmp_path / f"job{number}") for number in range(4)]

    def alone(entries: Mapping[str, Mapping[str, Any]]) -> None:
        if entries:
            raise MemcloudError(f"there is {next(iter(entries))}")

    def create(number: int) -> bool:
        try:
            writer(clones[number]).apply(Request(f"t{number}", {"x": number}, beside=alone))
        except MemcloudError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(create, range(4))) == 1


def test_a_run_in_one_clone_several_times_at_once(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: writer(work).apply(Request(f"t{n}", {"x": n})), range(4)))
    assert len(git(remote, "ls-tree", "--name-only", "main:inventory/host_vars").split()) == 4
    assert git(work, "worktree", "list").count("\n") == 1


def test_a_detached_clone_needs_the_branch_named(remote: Path, tmp_path: Path) -> None:
    job = clone(remote, tmp_path / "job")
    git(job, "checkout", "-q", "--detach")
    with pytest.raises(MemcloudError, match="platform_git_branch"):
        writer(job).check()
    writer(job, branch="main").apply(Request("acme", {"tenant_uid": "u1"}))
    assert "u1" in pushed(remote, "acme.yml")
    assert (job / "inventory" / "host_vars" / "acme.yml").exists()


def test_deleting_and_dry_runs(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    before = git(remote, "rev-parse", "main")
    assert writer(work).apply(Request("acme", {"x": 1}), dry_run=True).changed
    assert git(remote, "rev-parse", "main") == before
    assert not (work / "inventory" / "host_vars").exists()
    writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    writer(work).apply(Request("acme", {}, uid="u1", delete=True))
    assert "acme" not in git(remote, "ls-tree", "-r", "--name-only", "main")
    assert not (work / "inventory" / "host_vars" / "acme.yml").exists()
    assert git(remote, "log", "-1", "--format=%s", "main").strip() == "Tenant acme: delete"


def test_where_nothing_can_be_pushed_nothing_is_touched(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(MemcloudError, match="cannot be pushed to"):
        writer(work).apply(Request("acme", {"tenant_uid": "u1"}))
    assert not (work / "inventory" / "host_vars" / "acme.yml").exists()
    git(work, "remote", "set-url", "--push", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(MemcloudError, match="cannot be pushed to origin"):
        writer(work).check()
    git(work, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(MemcloudError, match="cannot be fetched from origin"):
        writer(work).check()


def test_outside_of_a_repository_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(MemcloudError, match="in no Git repository"):
        GitWriter(str(tmp_path)).check()


def test_the_credentials_of_a_remote_are_not_told(remote: Path, tmp_path: Path) -> None:
    work = clone(remote, tmp_path / "work")
    with pytest.raises(MemcloudError, match="cannot be fetched from http://127.0.0.1:9/") as told:
        writer(work, remote="http://bot:a-token@127.0.0.1:9/x.git").check()
    assert "a-token" not in str(told.value)


def test_one_who_is_always_overtaken_gives_up(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = clone(remote, tmp_path / "work")
    rejected = subprocess.CompletedProcess([], 1, "", "! [rejected] (fetch first)")
    real = GitWriter._git

    def overtaken(self: GitWriter, directory: str, *arguments: str) -> Any:
        return rejected if arguments[0] == "push" else real(self, directory, *arguments)

    monkeypatch.setattr(_inventory_git, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(GitWriter, "_git", overtaken)
    with pytest.raises(MemcloudError, match="overtaken"):
        writer(work).apply(Request("acme", {"tenant_uid": "u1"}))


def test_a_push_stands_whatever_becomes_of_the_clone(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = clone(remote, tmp_path / "work")
    real, told = GitWriter._git, list[str]()

    def unreachable_since(self: GitWriter, directory: str, *arguments: str) -> Any:
        if arguments[0] == "push":
            monkeypatch.setattr(self, "_remote", str(tmp_path / "nowhere"))
            arguments = ("push", "origin", arguments[-1])
        return real(self, directory, *arguments)

    monkeypatch.setattr(GitWriter, "_git", unreachable_since)
    assert writer(work, warn=told.append).apply(Request("acme", {"tenant_uid": "u1"})).changed
    assert "tenant_uid: u1" in pushed(remote, "acme.yml")
    assert len(told) == 1
    assert "acme: its entry was written to " in told[0] and "git pull" in told[0]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_push_that_was_given_up_is_looked_for(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    work = clone(remote, tmp_path / "work")
    real = GitWriter._git
    given_up = subprocess.CompletedProcess([], 124, "", "git push took more than 120 s")

    def slow(self: GitWriter, directory: str, *arguments: str) -> Any:
        if arguments[0] != "push":
            return real(self, directory, *arguments)
        if arrives:
            real(self, directory, *arguments)
        return given_up

    monkeypatch.setattr(GitWriter, "_git", slow)
    if arrives:
        assert writer(work).apply(Request("acme", {"tenant_uid": "u1"})).changed
        assert (work / "inventory" / "host_vars" / "acme.yml").exists()
        return
    with pytest.raises(MemcloudError, match=r"cannot be pushed to origin \(git push took more"):
        writer(work).apply(Request("acme", {"tenant_uid": "u1"}))


def test_that_nobody_knows_whether_a_push_arrived_is_told(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = clone(remote, tmp_path / "work")
    real = GitWriter._git

    def lost(self: GitWriter, directory: str, *arguments: str) -> Any:
        if arguments[0] != "push":
            return real(self, directory, *arguments)
        monkeypatch.setattr(self, "_remote", str(tmp_path / "nowhere"))
        return subprocess.CompletedProcess([], 128, "", "fatal: the remote end hung up")

    monkeypatch.setattr(GitWriter, "_git", lost)
    with pytest.raises(MemcloudError, match="acme: whether its entry was pushed to .* not known"):
        writer(work).apply(Request("acme", {"tenant_uid": "u1"}))


@pytest.mark.parametrize(
    ("stderr", "shown"),
    [
        (
            "fatal: https://bot:token@example.com/x.git denied",
            "fatal: https://example.com/x.git denied",
        ),
        ("one\ntwo\n", "two"),
        ("", "exit code 1"),
    ],
)
def test_messages_of_git_without_credentials(stderr: str, shown: str) -> None:
    done = subprocess.CompletedProcess([], 1, "", stderr)
    assert _inventory_git._last_line(done) == shown
