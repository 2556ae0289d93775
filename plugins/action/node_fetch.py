# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a file from a node in pieces: neither side holds more of it in memory than one."""

from __future__ import annotations

import binascii
import hashlib
import os
import shlex
import stat
import time
from collections.abc import Iterator
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import remove_tree
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import file_sha256
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    WorkAction,
)

display = Display()
_PIECE_BYTES = 8 * 1024**2
_MODE = 0o600
_SAY_SECONDS = 30.0
# Around what is read: a shell may greet, and a connection with a terminal mixes in what goes wrong.
_BEGIN, _END = "memcloud<", ">memcloud"


class ActionModule(WorkAction):
    """Runs for a tenant, delegated to its node."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the file is; it gets its name when it is there and whole."""
        source = str(self._task.args["src"])
        self._name = str(task_vars.get("inventory_hostname") or "")
        found = self._found(source, task_vars)
        wanted = str(self._task.args.get("sha256") or found["checksum"])
        target, size = self._target(source), int(found["size"])
        # What connections show with -vvv is left out: it is the file.
        self._play_context.no_log = True
        try:
            changed = self._bring(source, target, size, wanted)
        except OSError as error:
            raise MemcloudError(
                f"{self._name}: {source} of the node cannot be written here: {error}"
            ) from error
        return {"changed": changed, "dest": target, "sha256": wanted, "size": size}

    def _found(self, source: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Size and SHA-256 of the file on the node; without the latter where it is given."""
        answer = self._execute_module(
            module_name="ansible.builtin.stat",
            module_args={
                "path": source,
                "follow": True,
                "get_checksum": not self._task.args.get("sha256"),
                "checksum_algorithm": "sha256",
                "get_mime": False,
                "get_attributes": False,
            },
            task_vars=task_vars,
        )
        found = dict(answer.get("stat") or {})
        if not found.get("isreg"):
            why = answer.get("msg") or f"there is no file {source} on the node"
            raise MemcloudError(f"{self._name}: {why}")
        return found

    def _target(self, source: str) -> str:
        target = self.path("dest")
        if str(self._task.args["dest"]).endswith("/"):
            return os.path.join(target, os.path.basename(source))
        if os.path.isdir(target):
            raise MemcloudError(f"{self._name}: {target} is a directory: write / at its end")
        return target

    def _bring(self, source: str, target: str, size: int, wanted: str) -> bool:
        """Have the file here with its mode; say whether anything was, or would be, done."""
        if os.path.isfile(target) and file_sha256(target) == wanted:
            if stat.S_IMODE(os.stat(target).st_mode) == _MODE:
                return False
            if not self._task.check_mode:
                os.chmod(target, _MODE)
        elif not self._task.check_mode:
            self._fetch(source, target, size, wanted)
        return True

    def _fetch(self, source: str, target: str, size: int, wanted: str) -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part, total = target + ".part", hashlib.sha256()
        remove_tree(part)  # of a killed run
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with os.fdopen(handle, "wb") as stream:
                for piece in self._pieces(source, size):
                    stream.write(piece)
                    total.update(piece)
                stream.flush()
                os.fsync(stream.fileno())
            if total.hexdigest() != wanted:
                raise MemcloudError(
                    f"{self._name}: {source} of the node has another SHA-256 than it should have "
                    f"({wanted}): it was changed or damaged. Nothing of it was kept here"
                )
            os.replace(part, target)
        finally:
            remove_tree(part)

    def _pieces(self, source: str, size: int) -> Iterator[bytes]:
        said = time.monotonic()
        for number, begin in enumerate(range(0, size, _PIECE_BYTES)):
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                display.display(
                    f"{self._name}: {begin // 1024**2} of {size // 1024**2} MiB of "
                    f"{os.path.basename(source)} are here"
                )
            yield self._piece(source, number, min(_PIECE_BYTES, size - begin))

    def _piece(self, source: str, number: int, size: int) -> bytes:
        done = self._low_level_execute_command(
            f"echo '{_BEGIN}'; dd if={shlex.quote(source)} bs={_PIECE_BYTES} skip={number} count=1 "
            f"iflag=fullblock status=none | base64; echo '{_END}'"
        )
        text = str(done["stdout"]).partition(_BEGIN)[2].rpartition(_END)[0]
        try:
            piece = binascii.a2b_base64(text)
        except binascii.Error:
            piece = b""
        if len(piece) != size:
            raise MemcloudError(
                f"{self._name}: {source} of the node cannot be read to its end: "
                f"{done['stderr'].strip()[-800:] or 'it changed meanwhile'}"
            )
        return piece
