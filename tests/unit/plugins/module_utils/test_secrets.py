# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import stat

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _secrets
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()


def hkdf(key: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 once more, to check against."""
    prk = hmac.new(b"\0" * 32, key, hashlib.sha256).digest()
    block, out, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:length]


OTHER = base64.b64encode(bytes(range(1, 33))).decode()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "is missing"),
        ({}, "is missing"),
        ([TEXT], "must be a mapping"),
        (TEXT, "must be a mapping"),
        ({"one": TEXT}, "as a version"),
        ({0: TEXT}, "as a version"),
        ({1.5: TEXT}, "as a version"),
        ({True: TEXT}, "as a version"),
        ({"²": TEXT}, "has '²' as a version; versions are whole numbers from 1"),
        ({1: TEXT, "1": OTHER}, "has one version twice, as a number and as text; take one of them"),
        ({1: None}, "empty or not text"),
        ({1: "  "}, "empty or not text"),
        ({1: 12345}, "empty or not text"),
        ({1: "not base64 at all!"}, "is not base64"),
        ({1: "äöü"}, "is not base64"),
        ({1: base64.b64encode(KEY[:16]).decode()}, "has 16 bytes instead of 32"),
        ({1: base64.b64encode(KEY + KEY).decode()}, "has 64 bytes instead of 32"),
        ({1: base64.b64encode(b"\0" * 32).decode()}, "is weak"),
        ({1: base64.b64encode(b"ab" * 16).decode()}, "is weak"),
        ({1: base64.b64encode(KEY[:16] * 2).decode()}, "is weak"),
        ({1: TEXT, 2: TEXT}, "same key under two versions"),
    ],
)
def test_root_keys_that_cannot_be_used(value: object, words: str) -> None:
    with pytest.raises(MemcloudError) as error:
        _secrets.parse_root_keys(value)
    assert words in str(error.value)
    assert "platform_root_keys" in str(error.value)
    assert TEXT not in str(error.value)


def test_root_keys_by_version_from_yaml_and_from_json() -> None:
    other = base64.b64encode(bytes(range(1, 33))).decode()
    assert _secrets.parse_root_keys({1: TEXT, "2": other + "\n"}) == {
        1: KEY,
        2: bytes(range(1, 33)),
    }


def test_derived_password_is_hkdf_of_all_that_it_depends_on() -> None:
    info = b"memcloud.memmachine/v1\0" + b"\0".join([b"u", b"neo4j", b"1"])
    number = int.from_bytes(hkdf(KEY, info, 64), "big")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    expected = "".join(alphabet[number // 62**place % 62] for place in range(32))
    assert _secrets.derive({1: KEY}, 1, "u", "neo4j", 1) == expected


def test_derived_passwords_differ_by_everything_and_are_letters_and_digits() -> None:
    keys = {1: KEY, 2: bytes(range(1, 33))}
    derived = [
        _secrets.derive(keys, version, uid, purpose, epoch)
        for version in keys
        for uid in ("a", "b")
        for purpose in sorted(_secrets.PURPOSES)
        for epoch in (1, 2)
    ]
    assert len(set(derived)) == len(derived)
    assert all(re.fullmatch("[A-Za-z0-9]{32}", password) for password in derived)


@pytest.mark.parametrize(("version", "purpose"), [(2, "neo4j"), (1, "anything")])
def test_nothing_is_derived_for_an_unknown_version_or_purpose(version: int, purpose: str) -> None:
    with pytest.raises(MemcloudError):
        _secrets.derive({1: KEY}, version, "u", purpose, 1)


def test_check_value_tells_root_keys_apart() -> None:
    assert _secrets.root_key_check(KEY) != _secrets.root_key_check(bytes(range(1, 33)))
    assert re.fullmatch("[0-9a-f]{32}", _secrets.root_key_check(KEY))


def test_minted_keys_and_uids_are_never_the_same() -> None:
    keys = {_secrets.mint_api_key() for _time in range(50)}
    assert len(keys) == 50
    assert all(re.fullmatch(r"mb_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert all(re.fullmatch("[0-9a-f]{16}", _secrets.mint_uid()) for _time in range(50))


def test_hash_of_a_key_is_its_sha256() -> None:
    hashed = _secrets.hash_api_key("mb_x")
    assert hashed == hashlib.sha256(b"mb_x").hexdigest()
    assert _secrets.is_sha256(hashed)
    assert not _secrets.is_sha256(hashed.upper())
    assert not _secrets.is_sha256(hashed + "\n")


def test_root_key_file_is_made_once_and_private(tmp_path) -> None:
    path = tmp_path / ".secrets" / "root_key"
    assert _secrets.write_root_key(str(path), dry_run=True)
    assert not path.exists()
    assert _secrets.write_root_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert list(_secrets.parse_root_keys({1: text})) == [1]
    assert not _secrets.write_root_key(str(path))
    assert path.read_text() == text
    assert sorted(os.listdir(path.parent)) == [".gitignore", "root_key"]


@pytest.mark.parametrize("text", ["", "garbage", base64.b64encode(b"\0" * 32).decode()])
def test_root_key_file_with_something_else_in_it_is_not_replaced(tmp_path, text: str) -> None:
    path = tmp_path / "root_key"
    path.write_text(text)
    with pytest.raises(MemcloudError):
        _secrets.write_root_key(str(path))
    assert path.read_text() == text
