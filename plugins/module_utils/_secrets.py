# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of a tenant: derived from a root key where machines use them, random where people do.

For the controller only: a root key never reaches a node.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import keep_out_of_git
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    kind_of,
    whole_number,
)

ROOT_KEY_BYTES = 32
PURPOSES = frozenset({"postgres-admin", "postgres-app", "neo4j", "neo4j-salt", "probe", "backup"})

_VARIABLE = "platform_root_keys"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_DERIVED_LENGTH = 32
# 32 random bytes have fewer distinct values than this once in more than 10^20 keys.
_FEWEST_DISTINCT_BYTES = 16
_INFO = b"memcloud.memmachine/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_HOW_TO_MAKE = (
    "make one with `ansible-playbook memcloud.memmachine.init_inventory`, which says how the "
    "inventory reads it, or with `openssl rand -base64 32`"
)


def parse_root_keys(value: Any) -> dict[int, bytes]:
    """The root keys by version, from ``{1: <base64 of 32 bytes>}``."""
    if value is None or value == {}:
        raise _bad("is missing. Give at least one root key as {1: <base64>}; " + _HOW_TO_MAKE)
    if not isinstance(value, Mapping):
        raise _bad(
            "must be a mapping from a version to a key, as {1: <base64>}, not %s" % kind_of(value)
        )
    keys = {_version(version): _root_key(version, text) for version, text in value.items()}
    if len(keys) != len(value):
        raise _bad("has one version twice, as a number and as text; take one of them out")
    if len(set(keys.values())) != len(keys):
        raise _bad("has the same key under two versions; each version needs a key of its own")
    return keys


def derive(root_keys: Mapping[int, bytes], version: int, uid: str, purpose: str, epoch: int) -> str:
    """The password of one tenant for one purpose: 32 characters of [A-Za-z0-9]."""
    if purpose not in PURPOSES:
        raise MemcloudError("no secret is derived for the purpose %r" % purpose)
    if version not in root_keys:
        raise _bad(
            "has no key of version %d, which tenant_root_key_version asks for; it has version %s"
            % (version, ", ".join(str(known) for known in sorted(root_keys)))
        )
    info = b"\0".join((_INFO, uid.encode(), purpose.encode(), b"%d" % epoch))
    number = int.from_bytes(_hkdf(root_keys[version], info, 64), "big")
    characters = []
    for _position in range(_DERIVED_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)


def root_key_check(root_key: bytes) -> str:
    """A value by which a node recognises a root key without being able to derive anything."""
    return _hkdf(root_key, _INFO + b"\0root-key-check", 16).hex()


def make_root_key() -> str:
    return base64.b64encode(secrets.token_bytes(ROOT_KEY_BYTES)).decode()


def write_root_key(path: str, *, dry_run: bool = False) -> bool:
    """Make a root key in a file, 0600, unless the file is there; whether one was to be made."""
    if os.path.lexists(path):
        try:
            with open(path, encoding="ascii") as file:
                _root_key(1, file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise MemcloudError(f"{path} cannot be read as a root key: {error}") from error
        return False
    if not dry_run:
        directory = os.path.dirname(os.path.abspath(path))
        os.makedirs(directory, mode=0o700, exist_ok=True)
        keep_out_of_git(directory)
        # Linked into place: a run that is killed leaves no half key, and none is overwritten.
        scratch = f"{path}.{secrets.token_hex(4)}"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(make_root_key() + "\n")
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(scratch, path)
        finally:
            os.unlink(scratch)
    return True


def mint_uid() -> str:
    return secrets.token_hex(8)


def mint_api_key() -> str:
    return "mb_" + secrets.token_urlsafe(32)


def hash_api_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_sha256(text: str) -> bool:
    return _SHA256.match(text) is not None


def _hkdf(key: bytes, info: bytes, length: int) -> bytes:
    # Not at the top: ansible-core brings cryptography to the controller, a node need not have it.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


def _version(value: Any) -> int:
    version = whole_number(value)
    if version is None or version < 1:
        raise _bad("has %r as a version; versions are whole numbers from 1" % (value,))
    return version


def _root_key(version: Any, value: Any) -> bytes:
    where = "version %s " % version
    if not isinstance(value, str) or not value.strip():
        raise _bad(where + "is empty or not text; " + _HOW_TO_MAKE)
    try:
        key = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _bad(where + "is not base64; " + _HOW_TO_MAKE) from None
    if len(key) != ROOT_KEY_BYTES:
        raise _bad(
            where + "has %d bytes instead of %d; " % (len(key), ROOT_KEY_BYTES) + _HOW_TO_MAKE
        )
    if len(set(key)) < _FEWEST_DISTINCT_BYTES or key[:16] == key[16:]:
        raise _bad(where + "is weak (its bytes repeat): it was not made at random; " + _HOW_TO_MAKE)
    return key


def _bad(message: str) -> VariableError:
    return VariableError("platform", _VARIABLE, message)
