# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restic repository of one tenant: encrypted, deduplicated, in a folder or off-site.

The password reaches restic by a pipe, what opens the place (S3 keys …) by its own environment or by
files of root's; no container and no command line ever sees either.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import remove_tree
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import MANIFEST
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import (
    is_of_the_future,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import (
    SSH_HOSTS,
    SSH_KEY,
    Place,
    is_local,
    is_sftp,
)

LATEST = "latest"
# restic itself tries for a quarter of an hour to reach a place that is gone.
_OPEN_SECONDS = 45
_LOCK_SECONDS = 120
# Of a restic that nobody waits for.
_NICENESS = 10
# What the several versions and backends of restic say.
_NO_REPOSITORY = (
    "no such file",
    "file does not exist",
    "specified key does not exist",
    "bucket does not exist",
    "object doesn't exist",
    "nosuchkey",
    " 404",
    "(404)",
)
_WRONG_PASSWORD = ("wrong password", "no key found")
_LOCKED = ("already locked", "unable to create lock")
_FORBIDDEN = (
    "access denied",
    "accessdenied",
    "forbidden",
    " 403",
    "(403)",
    "permission denied",
    "retention",
    "invalid_grant",  # Google's, of a key that it does not know
)
# How places say that an object has to stay for a time.
_LOCKS = ("retention", "object lock", "legal hold")
_FULL = ("no space left", "disk quota")
_DAMAGED = (
    "ciphertext verification failed",
    "invalid data returned",
    "wrong data returned",
    "invalid hash",
    "not found in repository",
)
_NO_SSH = ('"ssh": executable file not found',)
# ssh says one after the other, and restic may end between them.
_UNKNOWN_HOST = (
    "host key verification failed",
    "you have requested strict checking",
    "host identification has changed",
)


class RepositoryError(MemcloudError):
    """The repository cannot be used."""


class NoRepository(RepositoryError):
    """There is none yet."""


class Refused(RepositoryError):
    """The place does not let these credentials do it."""


class Locked(Refused):
    """The place keeps it for a time, whoever asks."""


class Damaged(RepositoryError):
    """What it holds is not what was stored there."""


def newest(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest one of some restore points, oldest first; not one that a wrong clock dated."""
    past = [point for point in points if not is_of_the_future(str(point["taken"]))]
    return (past or points)[-1]


class Repository:
    """One tenant's repository.

    :param owner: the tenant's name, for error texts.
    :param access: ``url``, ``passwords`` (that of the tenant's root key first, then those of
        other versions) and ``environment``.
    :param scratch: a directory for what restic keeps while it works; the caller removes it.
    """

    def __init__(self, owner: str, access: Mapping[str, Any], scratch: str) -> None:
        self._owner = owner
        self.url = str(access["url"])
        self._passwords = [str(password) for password in access["passwords"]]
        self._environment = dict(access.get("environment") or {})
        self._scratch = scratch
        self._password = self._passwords[0]
        self._opened = False
        # Whether it had not the password of the tenant's present root key yet.
        self.password_new = False

    # -- opening ------------------------------------------------------------------------------

    def open(self, dry_run: bool = False) -> None:
        """Make sure that the repository can be read; asked once.

        One that was made with an older root key gets the present key's password too.

        :param dry_run: whether it is left as it is, and read with the password that it has.

        :raises NoRepository: when there is none.
        """
        if self._opened:
            return
        for password in self._passwords:
            self._password = password
            try:
                self._run("cat", "config", "--no-lock", timeout=_OPEN_SECONDS)
            except RepositoryError as error:
                if not _says(error, _WRONG_PASSWORD):
                    raise
                continue
            self.password_new = password != self._passwords[0]
            if self.password_new and not dry_run:
                self._add_present_password()
            self._opened = True
            return
        raise RepositoryError(
            f"{self._owner}: platform_root_keys: no root key of this inventory opens its restore "
            f"points in {self.url}: give the run the key that they were made with, under any "
            "version. Nothing was touched"
        )

    def ensure(self) -> bool:
        """Make sure that there is a repository, and that it can be read; whether it was made."""
        try:
            self.open()
            return False
        except NoRepository:
            self._password = self._passwords[0]
            if is_local(self.url):
                self._remove_key_alone()
                os.makedirs(os.path.dirname(self.url), mode=0o700, exist_ok=True)
            self._run("init", timeout=_OPEN_SECONDS)
            self._opened = True
            return True

    def _remove_key_alone(self) -> None:
        """Take away the key that an C(init) left which was killed, or found the disk full.

        It has the password of the next one's, and restic could not read with it what that makes.

        :raises RepositoryError: when restore points are there, and what opens them is not.
        """
        for part in ("data", "index", "snapshots"):
            for _path, _directories, files in os.walk(os.path.join(self.url, part)):
                if files:
                    raise RepositoryError(
                        f"{self._owner}: {self.url} holds restore points, but no file config, "
                        "without which they cannot be opened: put that back from a copy of the "
                        "folder, or move the folder away to begin anew. Nothing was touched"
                    )
        remove_tree(os.path.join(self.url, "keys"))

    def _add_present_password(self) -> None:
        with _pipe(self._passwords[0]) as handle:
            self._run("key", "add", "--new-password-file", f"/dev/fd/{handle}", keep=(handle,))
        self._password = self._passwords[0]

    # -- restore points -----------------------------------------------------------------------

    def points(self) -> list[dict[str, Any]]:
        """The restore points, oldest first: id, moment, why, bytes."""
        found = json.loads(self._run("snapshots", "--json", "--no-lock") or "[]") or []
        points = [
            {
                "id": snapshot["id"][:8],
                "taken": snapshot["time"],
                **_tags(snapshot.get("tags") or ()),
            }
            for snapshot in found
        ]
        return sorted(points, key=lambda point: str(point["taken"]))

    def point(self, wanted: str) -> dict[str, Any]:
        """One restore point, the newest one for C(latest); not one that a wrong clock dated.

        :raises RepositoryError: naming those that there are.
        """
        points = self.points()
        if wanted == LATEST and points:
            return newest(points)
        found = [p for p in points if len(wanted) >= 4 and wanted.startswith(p["id"])]
        found = found or [p for p in points if len(wanted) >= 4 and p["id"].startswith(wanted)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{p['id']} ({p['taken'][:19]})" for p in points[-10:]) or "none"
        raise RepositoryError(
            f"{self._owner}: there is no restore point {wanted} in {self.url}; there are: {known}"
        )

    def store(
        self, directory: str, taken: str, tags: Mapping[str, str], urgent: bool = False
    ) -> dict[str, Any]:
        """Store a directory as a restore point; its id and how many bytes were new.

        :param urgent: somebody waits for it; else servers get the processors first.
        """
        command = ["backup", ".", "--json", "--quiet", "--ignore-inode", "--host", self._owner]
        command += ["--time", taken.replace("T", " ").rstrip("Z")]
        for name, value in tags.items():
            command += ["--tag", f"{name}={value}"]
        printed = self._run(*command, directory=directory, niceness=0 if urgent else _NICENESS)
        for line in reversed(printed.splitlines()):
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if message.get("message_type") == "summary":
                    return {
                        "id": message["snapshot_id"][:8],
                        "bytes": message["total_bytes_processed"],
                        "added_bytes": message["data_added"],
                    }
        raise RepositoryError(f"{self._owner}: restic did not say what it stored in {self.url}")

    def manifest(self, point: str) -> bytes:
        """The manifest of a restore point, as it stands there."""
        try:
            return self._run("dump", "--no-lock", point, "/" + MANIFEST).encode()
        except RepositoryError as error:
            if not _says(error, ("not found in snapshot",)):
                raise
            raise RepositoryError(
                f"{self._owner}: restore point {point} is incomplete: it has no manifest"
            ) from error

    def restore(self, point: str, directory: str) -> None:
        """Write a restore point's files into a directory.

        :raises Damaged: when restic says that its data are not what was stored.
        """
        self._run("restore", "--no-lock", point, "--target", directory)

    # -- care ---------------------------------------------------------------------------------

    def check(self, share: str = "") -> None:
        """Look whether everything is there and whole.

        :param share: how much of the data is read again, such as 10% or 500M; else none.
        """
        command = ["check"]
        if share:
            command.append(f"--read-data-subset={share}")
        self._run(*command)

    def forget(self, points: Iterable[str]) -> None:
        """Remove restore points and the data that nothing else needs."""
        points = list(points)
        if points:
            self._run("forget", "--prune", "--quiet", *points)

    def remove(self) -> list[str]:
        """Remove every restore point; what remains of the repository, in words."""
        if is_local(self.url):
            shutil.rmtree(self.url, ignore_errors=True)
            return []
        try:
            self.open()
        except NoRepository:
            return []
        points = self.points()
        if points:
            self.forget(point["id"] for point in points)
        else:  # a run that ended before may have left their data
            self._run("prune", "--quiet")
        left = self.points()
        if left:
            return [f"{len(left)} restore points in {self.url}"]
        return [f"an empty repository (its configuration and key, no data) in {self.url}"]

    # -- restic -------------------------------------------------------------------------------

    @functools.cached_property
    def _place(self) -> Place:
        return Place(self.url, self._environment, self._scratch)

    def _run(
        self,
        *arguments: str,
        directory: str | None = None,
        timeout: float | None = None,
        keep: tuple[int, ...] = (),
        niceness: int = 0,
    ) -> str:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return self._run_once(arguments, directory, timeout, keep, niceness)
            except RepositoryError as error:
                if not _says(error, _LOCKED) or time.monotonic() > deadline:
                    raise
            # Locks of processes that are no more go; that of a living one is waited for.
            self._run_once(("unlock",), None, _OPEN_SECONDS, ())
            time.sleep(3)

    def _run_once(
        self,
        arguments: tuple[str, ...],
        directory: str | None,
        timeout: float | None,
        keep: tuple[int, ...],
        niceness: int = 0,
    ) -> str:
        with _pipe(self._password) as handle:
            # It ends with whoever started it: half a restore point is none.
            command = ["setpriv", "--pdeathsig", "KILL", "nice", "-n", str(niceness)]
            command += ["restic", "--repo", self.url, *self._place.options]
            command += ["--password-file", f"/dev/fd/{handle}", *self._cache(), *arguments]
            try:
                done = subprocess.run(
                    command,
                    cwd=directory,
                    env={**self._variables(), **self._place.variables},
                    pass_fds=(handle, *keep),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=timeout,
                    check=False,
                )
            except FileNotFoundError:
                raise RepositoryError(
                    f"{self._owner}: restic is missing here: run setup_node for the node (apt-get "
                    "install restic on the controller)"
                ) from None
            except subprocess.TimeoutExpired as error:
                said = _last_words(error.stderr)
                raise RepositoryError(
                    f"{self._owner}: {self.url} did not answer within {timeout:.0f} s{said}"
                ) from None
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
        said = done.stderr.decode("utf-8", "replace")
        if is_sftp(self.url) and "subprocess ssh" not in said and "sftp session" in said:
            said = self._place.why_closed() + said
        raise self._error(arguments[0], said)

    def _error(self, command: str, said: str) -> RepositoryError:
        text = f"{self._owner}: restic {command} in {self.url}: {_last_words(said.encode(), '')}"
        lower = self._without_names(said).lower()
        if any(word in lower for word in _FULL):
            return RepositoryError(f"{text}. The disk is full: make room, then run again")
        if any(word in lower for word in _NO_SSH):
            return RepositoryError(f"{text}. Install ssh here (apt-get install openssh-client)")
        if any(word in lower for word in _UNKNOWN_HOST):
            return RepositoryError(
                f"{text}. Give the server's host key as {SSH_HOSTS} in "
                "platform_backup_environment: what ssh-keyscan prints, once you have compared it "
                "with the server's own"
            )
        if any(word in lower for word in _FORBIDDEN):
            hint = f". Is {SSH_KEY} in platform_backup_environment?" if "publickey" in lower else ""
            kind = Locked if any(word in lower for word in _LOCKS) else Refused
            return kind(text + hint)
        opening = "unable to open config file" in lower or "is there a repository" in lower
        if opening and any(word in lower for word in _NO_REPOSITORY):
            return NoRepository(f"{self._owner}: there are no restore points in {self.url}: {text}")
        if any(word in lower for word in _DAMAGED):
            return Damaged(text)
        return RepositoryError(text)

    def _without_names(self, said: str) -> str:
        """What restic said without the name of the place, which may hold any word."""
        said = re.sub(r"\S*://\S*", "", said.replace(self.url, ""))
        return said.replace(self.url.rpartition("/")[2], "")

    def _cache(self) -> list[str]:
        if is_local(self.url):
            return ["--no-cache"]
        return ["--cache-dir", os.path.join(self._scratch, "cache")]

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": os.environ.get("HOME", "/root"),
            "TZ": "UTC",
            "TMPDIR": self._scratch,
        }


@contextlib.contextmanager
def _pipe(text: str) -> Iterator[int]:
    """A descriptor from which a text can be read once."""
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode() + b"\n")
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _says(error: Exception, words: Iterable[str]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def _last_words(said: bytes | None, before: str = ": ") -> str:
    lines = [line for line in (said or b"").decode("utf-8", "replace").splitlines() if line.strip()]
    return before + " ".join(lines[-4:])[-600:] if lines else ""


def _tags(tags: Iterable[str]) -> dict[str, str]:
    pairs = (tag.partition("=") for tag in tags)
    return {name: value for name, equals, value in pairs if equals and name in ("reason", "uid")}
