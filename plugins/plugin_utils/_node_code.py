# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's code on a node, sent once instead of with each call.

Ansible packs a module together with everything that it imports, and the node unpacks and compiles
all of it, at each call: a second for nothing. The same code is kept on the node instead, below its
virtual environment, under the hash of its content, so a call can only meet the code that its
controller has. A call itself is a short program on the standard input of the node's Python, like a
pipelined module: nothing of it, and no secret, is in a file or on a command line.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils import _calls

CALLS = frozenset(_calls.CALLS)
_MARK = "memcloud:"
_DIRECTORY = os.path.dirname(os.path.abspath(_calls.__file__))
_PACKAGE = os.path.join("ansible_collections", "memcloud", "memmachine", "plugins", "module_utils")
# Days after which code that no controller uses goes.
_KEEP_DAYS = 7
_CALL = """
import json, os, sys
given = json.loads({given!r})
code = os.path.join(sys.prefix, "code", given["code"])
told = {{"missing_code": True}}
if os.path.isdir(code):
    os.utime(code)
    sys.path.insert(0, code)
    from {package}._calls import answer
    told = answer(given["call"], given["arguments"], given["check_mode"])
print("\\n{mark}" + json.dumps(told))
"""
# The name appears when everything is on the disk: what is there under its name is whole.
_STORE = """
import base64, contextlib, io, json, os, shutil, sys, tempfile, time, zipfile
top = os.path.join(sys.prefix, "code")
os.makedirs(top, exist_ok=True)
for name in os.listdir(top):
    path = os.path.join(top, name)
    with contextlib.suppress(FileNotFoundError):  # another run cleans up, too
        if time.time() - os.stat(path).st_mtime > {days} * 86400:
            shutil.rmtree(path, ignore_errors=True)
fresh = tempfile.mkdtemp(dir=top)
done = "{{}}"
try:
    zipfile.ZipFile(io.BytesIO(base64.b64decode({packed!r}))).extractall(fresh)
    os.chmod(fresh, 0o755)
    os.sync()
    os.rename(fresh, os.path.join(top, {code!r}))
except OSError as error:
    shutil.rmtree(fresh, ignore_errors=True)
    if not os.path.isdir(os.path.join(top, {code!r})):  # no other run was faster
        why = "the collection's code cannot be kept below %s: %s" % (top, error.strerror)
        done = json.dumps({{"failed": True, "msg": why}})
print("\\n{mark}" + done)
"""


@dataclass(frozen=True)
class Code:
    """The code of this controller."""

    digest: str
    files: Mapping[str, bytes]

    @classmethod
    @functools.cache
    def here(cls) -> Code:
        """What modules of this collection may import, read from its files once."""
        files = {}
        for name in sorted(os.listdir(_DIRECTORY)):
            if name.endswith(".py"):
                with open(os.path.join(_DIRECTORY, name), "rb") as stream:
                    files[name] = stream.read()
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        return cls(digest[:32], files)

    def call(self, call: str, arguments: Mapping[str, Any], check_mode: bool) -> bytes:
        """The program that calls a function of :mod:`_calls` on a node."""
        given = {
            "code": self.digest,
            "call": call,
            "arguments": dict(arguments),
            "check_mode": check_mode,
        }
        package = _PACKAGE.replace(os.sep, ".")
        return _CALL.format(given=json.dumps(given), package=package, mark=_MARK).encode()

    def store(self) -> bytes:
        """The program that puts the code on a node, for :meth:`call`."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(os.path.join(_PACKAGE, name), content)
        packed = base64.b64encode(buffer.getvalue()).decode()
        return _STORE.format(packed=packed, code=self.digest, days=_KEEP_DAYS, mark=_MARK).encode()


def told(stdout: str) -> dict[str, Any] | None:
    """What a program said, None when it did not come to its end."""
    for line in reversed(stdout.splitlines()):
        if line.startswith(_MARK):
            return dict(json.loads(line[len(_MARK) :]))
    return None
