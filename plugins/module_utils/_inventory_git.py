# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory writer for an inventory in a Git repository: commit and push.

A change is committed on top of the remote branch in a working tree of its own, so that the
operator's own working tree, index and unpushed commits play no part. When somebody else
pushed in between, the change is made again on top of theirs.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import scratch_directory
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    Change,
    FileWriter,
    Request,
)

_ATTEMPTS = 12
_TIMEOUT = 120
_GIVEN_UP = 124


class GitWriter:
    """Entries as files in a Git repository, committed and pushed.

    :param branch: the remote branch; empty for the one that is checked out.
    :param author: author of the commits, as "Name <address>".
    :param decrypt: as that of `FileWriter`.
    :param warn: is told what does not stop a run.
    """

    def __init__(
        self,
        inventory_dir: str,
        remote: str = "origin",
        branch: str = "",
        author: str = "",
        decrypt: Callable[[str], str | bytes] | None = None,
        warn: Callable[[str], object] = lambda _words: None,
    ) -> None:
        self._inventory_dir = os.path.realpath(inventory_dir)
        self._remote = remote
        self._shown = _without_credentials(remote)
        self._branch_given = branch
        self._author = author or "memcloud <memcloud@localhost>"
        self._decrypt = decrypt
        self._warn = warn
        self._local = FileWriter(inventory_dir, decrypt)

    def check(self) -> None:
        """A push that changes nothing shows whether there is somewhere to push to."""
        root = self._root()
        with self._locked(root):
            tip = self._fetch(root)
            target = f"{tip}:refs/heads/{self._branch(root)}"
            pushed = self._git(root, "push", "--dry-run", "--no-verify", self._remote, target)
            # Overtaken between fetch and push: we may push, and that is what was to be known.
            if pushed.returncode and not _rejected(pushed):
                raise self._cannot("pushed to", pushed)
        self._local.check()

    def read(self, name: str) -> dict[str, Any] | None:
        root = self._root()
        with self._locked(root), self._worktree(root, self._fetch(root)) as directory:
            return self._writer_in(root, directory).read(name)

    def apply(self, request: Request, *, dry_run: bool = False) -> Change:
        root = self._root()
        with self._locked(root):
            tip = self._fetch(root)
            with self._worktree(root, tip) as directory:
                change = self._apply_in(root, directory, tip, request, dry_run=dry_run)
            if not dry_run:
                self._bring_home(root, request)
        return change

    def _apply_in(
        self, root: str, directory: str, tip: str, request: Request, *, dry_run: bool
    ) -> Change:
        writer = self._writer_in(root, directory)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, min(2.0, 0.1 * 2**attempt)))
                tip = self._fetch(root)
                self._must(directory, "reset", "--hard", "--quiet", tip)
            present = writer.read(request.name)
            self._check_copy(root, request, present)
            change = writer.apply(request, dry_run=dry_run)
            if dry_run or not change.changed:
                return self._located(change, root, directory)
            pushed = self._commit_and_push(root, directory, change, request)
            if not _rejected(pushed):
                if pushed.returncode:
                    self._check_arrived(root, directory, pushed, request)
                return self._located(change, root, directory)
        raise MemcloudError(
            f"{request.name}: {_ATTEMPTS} pushes to {self._shown} were overtaken by others; "
            "nothing was changed. Run it again."
        )

    def _check_copy(self, root: str, request: Request, present: dict[str, Any] | None) -> None:
        """A run whose inventory says something else of a tenant would bring that to its node.

        :param present: the entry in the remote branch.
        """
        own = None if request.delete else self._local.read(request.name)
        if own is not None and request.laid_over(own) != request.laid_over(present or {}):
            raise MemcloudError(
                f"{request.name}: its entry in this clone is not that of {self._shown}, branch "
                f"{self._branch(root)}: the clone is behind, or has changes of its own. Bring it "
                "up to date with git pull, push what is yours, and run this again. Nothing was "
                "touched"
            )

    def _commit_and_push(
        self, root: str, directory: str, change: Change, request: Request
    ) -> subprocess.CompletedProcess[str]:
        what = "delete" if request.delete else "change" if change.before else "create"
        self._must(directory, "add", "--all", "--force", "--", change.where)
        self._must(
            directory,
            "commit",
            "--quiet",
            "--no-verify",
            f"--author={self._author}",
            f"--message=Tenant {request.name}: {what}",
        )
        target = f"HEAD:refs/heads/{self._branch(root)}"
        return self._git(directory, "push", "--quiet", "--no-verify", self._remote, target)

    def _check_arrived(
        self,
        root: str,
        directory: str,
        pushed: subprocess.CompletedProcess[str],
        request: Request,
    ) -> None:
        """A push that failed or was given up may have done its work before."""
        try:
            tip = self._fetch(root)
        except MemcloudError as error:
            raise MemcloudError(
                f"{request.name}: whether its entry was pushed to {self._shown} is not known "
                f"({_last_line(pushed)}), and it cannot be fetched from there. Run it again when "
                "it can: it goes on from what is there"
            ) from error
        if self._git(directory, "merge-base", "--is-ancestor", "HEAD", tip).returncode:
            raise self._cannot("pushed to", pushed)

    def _bring_home(self, root: str, request: Request) -> None:
        """Let the working copy of this run see the change too; it stands whatever happens here."""
        try:
            self._update_copy(root, request)
        except (MemcloudError, OSError) as error:
            self._warn(
                f"{request.name}: its entry was written to {self._shown}, but not to this clone "
                f"({error}): bring the clone up to date with git pull before the next run"
            )

    def _update_copy(self, root: str, request: Request) -> None:
        head = self._git(root, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()
        if head == self._branch(root):
            tip = self._fetch(root)
            if self._git(root, "merge", "--ff-only", "--quiet", tip).returncode == 0:
                return
        if request.delete or request.variables or request.remove:
            self._local.apply(
                Request(request.name, request.variables, request.remove, delete=request.delete)
            )

    def _located(self, change: Change, root: str, directory: str) -> Change:
        where = os.path.join(root, os.path.relpath(change.where, os.path.realpath(directory)))
        return Change(change.changed, change.before, change.after, where)

    def _root(self) -> str:
        found = self._git(self._inventory_dir, "rev-parse", "--show-toplevel")
        if found.returncode:
            raise MemcloudError(
                f"{self._inventory_dir} is in no Git repository, but platform_inventory_writer is "
                f"git ({_last_line(found)}). Set it to file, or run from a clone; in AWX say with "
                "platform_git_inventory where in the project the inventory is."
            )
        return os.path.realpath(found.stdout.strip())

    def _branch(self, root: str) -> str:
        if self._branch_given:
            return self._branch_given
        head = self._git(root, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()
        if not head:
            raise MemcloudError(
                "No branch is checked out (AWX checks out commits): set platform_git_branch to "
                "the branch that changes of the inventory are pushed to."
            )
        return head

    def _fetch(self, root: str) -> str:
        fetched = self._git(root, "fetch", "--quiet", self._remote, self._branch(root))
        if fetched.returncode:
            raise self._cannot("fetched from", fetched)
        return self._must(root, "rev-parse", "FETCH_HEAD").stdout.strip()

    def _writer_in(self, root: str, directory: str) -> FileWriter:
        inventory = os.path.relpath(self._inventory_dir, root)
        return FileWriter(os.path.join(os.path.realpath(directory), inventory), self._decrypt)

    @contextlib.contextmanager
    def _worktree(self, root: str, commit: str) -> Iterator[str]:
        with scratch_directory("memcloud-git-") as scratch:
            directory = os.path.join(scratch, "tree")
            self._must(root, "worktree", "add", "--quiet", "--detach", directory, commit)
            try:
                yield directory
            finally:
                self._git(root, "worktree", "remove", "--force", directory)

    @contextlib.contextmanager
    def _locked(self, root: str) -> Iterator[None]:
        """One run of this working copy at a time: they share FETCH_HEAD."""
        common = self._must(root, "rev-parse", "--git-common-dir").stdout.strip()
        descriptor = os.open(os.path.join(root, common), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _must(self, directory: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self._git(directory, *arguments)
        if done.returncode:
            raise MemcloudError(f"git {arguments[0]} failed in {directory}: {_last_line(done)}")
        return done

    @functools.cached_property
    def _environment(self) -> dict[str, str]:
        name, _bracket, address = self._author.partition("<")
        environment = {
            **{key: value for key, value in os.environ.items() if key not in _FOREIGN},
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_COMMITTER_NAME": name.strip(),
            "GIT_COMMITTER_EMAIL": address.rstrip("> "),
            "LC_ALL": "C",
        }
        if not {"GIT_SSH_COMMAND", "GIT_SSH"} & environment.keys():
            # It would count for more than what a clone with a key of its own is configured with.
            own = _run_git(environment, self._inventory_dir, "config", "core.sshCommand")
            if own.returncode:
                environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
        return environment

    def _git(self, directory: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run_git(self._environment, directory, *arguments)

    def _cannot(self, what: str, done: subprocess.CompletedProcess[str]) -> MemcloudError:
        return MemcloudError(
            f"The inventory cannot be {what} {self._shown} ({_last_line(done)}), so nothing was "
            "touched. Give the run credentials that may push (platform_git_remote, "
            "platform_git_branch), or set platform_inventory_writer to file."
        )


# Set inside hooks and by some callers; they would point git at another repository.
_FOREIGN = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})


def _run_git(
    environment: Mapping[str, str], directory: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", directory, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise MemcloudError("The writer git needs the command git on the controller") from error
    except subprocess.TimeoutExpired as error:
        words = f"git {arguments[0]} took more than {_TIMEOUT} s"
        return subprocess.CompletedProcess(error.cmd, _GIVEN_UP, "", words)


def _rejected(pushed: subprocess.CompletedProcess[str]) -> bool:
    """Whether somebody else was quicker, rather than that we may not push."""
    words = ("non-fast-forward", "fetch first", "cannot lock ref", "failed to update ref")
    return pushed.returncode != 0 and any(word in pushed.stderr for word in words)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return _without_credentials(lines[-1].strip()) if lines else f"exit code {done.returncode}"


def _without_credentials(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    host = rest.split("/", 1)[0]
    if mark and "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    return scheme + mark + rest
