# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: replaced in one step, read when they are there, removed with all below them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_DAY_SECONDS = 86400.0
# Of an inventory: keys, and reports about customers.
_NEVER_IN_GIT = (".secrets", ".reports")


def keep_out_of_git(directory: str) -> None:
    """Have git pass over what is below C(.secrets) or C(.reports), in whose repository it may be.

    A C(.gitignore) that is there stays as somebody wrote it.
    """
    while directory != os.path.dirname(directory):
        if os.path.basename(directory) in _NEVER_IN_GIT:
            ignore = os.path.join(directory, ".gitignore")
            with contextlib.suppress(FileExistsError), open(ignore, "x", encoding="ascii") as file:
                file.write("*\n")
        directory = os.path.dirname(directory)


def atomic_write(
    path: str,
    content: str | bytes,
    mode: int = 0o644,
    uid: int = -1,
    gid: int = -1,
    scratch_dir: str = "",
) -> None:
    """Write a file so that a reader sees the old content or the new, never a part of it.

    What a killed run leaves is named C(<name>.<random>.new): the next write of the file takes it
    away, and the doctor finds it.

    :param uid: who it belongs to; -1 for whoever writes it, as C(gid).
    :param scratch_dir: where it is written first, on the same file system; beside it when empty.
    """
    data = content.encode() if isinstance(content, str) else content
    directory, name = os.path.split(path)
    _remove_left(scratch_dir or directory or ".", name)
    handle, scratch = _scratch(scratch_dir or directory, name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
            os.replace(scratch, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
        if isinstance(error, OSError) and error.errno:
            error.filename = path  # a full disk names none
        raise


def _scratch(directory: str, name: str) -> tuple[int, str]:
    """A new file to write to, locked for as long as its writer lives."""
    while True:
        scratch = os.path.join(directory, f"{name}.{secrets.token_hex(4)}.new")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(scratch)):
                return handle, scratch
        os.close(handle)  # taken for a killed run's before it was locked


def _remove_left(directory: str, name: str) -> None:
    """Take away what killed writers of a file left."""
    left = re.compile(re.escape(name) + r"\.[0-9a-f]{8}\.new")
    for path in [os.path.join(directory, n) for n in names_in(directory) if left.fullmatch(n)]:
        with contextlib.suppress(OSError):  # in use, gone, or a file system without locks
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(handle)


@contextlib.contextmanager
def scratch_directory(prefix: str) -> Iterator[str]:
    """A temporary directory for the time of the block, locked for as long as its maker lives.

    What killed runs of the same user left under the prefix goes first, once it is a day old: what
    they started may outlive them.
    """
    base = tempfile.gettempdir()
    for name in names_in(base):
        if name.startswith(prefix):
            _remove_abandoned(os.path.join(base, name))
    with tempfile.TemporaryDirectory(prefix=prefix) as path:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(handle)


def _remove_abandoned(path: str) -> None:
    """Remove a directory of ours that is a day old and that nobody has locked."""
    with contextlib.suppress(OSError):  # in use, gone, a link, or a file system without locks
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _DAY_SECONDS:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def stale_files(directory: str, name: str, seconds: float = 0.0) -> list[str]:
    """Files of a directory that nobody has changed for some time.

    :param name: a regular expression that their whole names match.
    """
    left, limit = [], time.time() - seconds
    for path in [os.path.join(directory, n) for n in names_in(directory) if re.fullmatch(name, n)]:
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_mtime <= limit:
                left.append(path)
    return sorted(left)


def remove_stale(directory: str, name: str, seconds: float = 0.0) -> None:
    """Remove the files that :func:`stale_files` finds."""
    for path in stale_files(directory, name, seconds):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def read_text(path: str) -> str | None:
    """Return what a file says; None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise MemcloudError(f"{path} cannot be read: {error}") from error


def names_in(directory: str) -> list[str]:
    """Return the names in a directory; none where there is no such directory."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(directory)
    return []


def disk_usage(directory: str, without: Collection[str] = ()) -> int:
    """Bytes that the files below a directory take on the disk.

    :param without: names of directories that do not count.
    """
    total = 0
    for path, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in without]
        for name in files:
            # A database removes files of its own while we look.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def existing(path: str) -> str:
    """A path, or the nearest directory above it that there is."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def remove_tree(path: str) -> None:
    """Remove a file, a link, or a directory with all that is in it, if there is one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
