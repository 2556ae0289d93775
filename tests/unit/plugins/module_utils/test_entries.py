# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._entries import (
    duplicates,
    find_entries,
    load_entries,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_files_and_folders_are_entries_backups_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("acme.yml", "beta.yaml", "gamma.json", "acme.yml~", "#acme.yml#", ".acme.yml.swp"):
        (tmp_path / name).write_text("{}")
    for name in ("acme.yml.bak", "README", "README.md", ".git"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "delta" / "deep").mkdir(parents=True)
    (tmp_path / "delta" / "b.yml").write_text("x: 2")
    (tmp_path / "delta" / "a.yml").write_text("x: 1\ny: 1")
    (tmp_path / "delta" / "deep" / "c.yml").write_text("z: 3")
    (tmp_path / "delta" / "notes.txt").write_text("no YAML: [")
    entries = {entry.name: entry for entry in find_entries(str(tmp_path))}
    assert sorted(entries) == ["acme", "beta", "delta", "gamma"]
    assert load_entries([entries["delta"]]).variables == {"delta": {"x": 2, "y": 1, "z": 3}}


def test_a_missing_directory_has_no_entries_and_a_file_is_no_directory(tmp_path: Path) -> None:
    assert find_entries(str(tmp_path / "missing")) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(MemcloudError, match="cannot be read"):
        find_entries(str(tmp_path / "file"))


def test_the_entry_that_ansible_reads_wins(tmp_path: Path) -> None:
    write(
        tmp_path, aDOTyml="x: yml", aDOTjson='{"x": "json"}', bDOTyaml="x: yaml", b__mDOTyml="x: 1"
    )
    entries = {entry.name: entry.files for entry in find_entries(str(tmp_path))}
    assert entries["a"] == (str(tmp_path / "a.yml"),)
    assert entries["b"] == (str(tmp_path / "b" / "m.yml"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [\n", "broken.yml:2:1 is no valid YAML"),
        ("a: b: c", "broken.yml:1:5 is no valid YAML"),
        ("\x00", "no valid YAML"),
        ("x: 1\nexpires: 2026-11-31\n", "broken.yml:2:10 is no valid YAML: no valid timestamp"),
        ("x: [{y: 2026-11-21T25:00:00Z}]", "broken.yml:1:9 is no valid YAML: no valid timestamp"),
        ("x: !!timestamp abc", "broken.yml:1:4 is no valid YAML: no valid timestamp"),
        ("x: !!int abc", "broken.yml:1:4 is no valid YAML: no valid int"),
        ("x: 0x_", "broken.yml:1:4 is no valid YAML: no valid int"),
        ("x: !!bool abc", "broken.yml:1:4 is no valid YAML: no valid bool"),
        ("- a\n", "must be a mapping of variables, not a list"),
        ("just text", "must be a mapping"),
        ("$ANSIBLE_VAULT;1.1;AES256\n61", "no vault secret"),
    ],
)
def test_a_broken_entry_is_named_and_the_others_are_there(
    tmp_path: Path, text: str, words: str
) -> None:
    write(tmp_path, brokenDOTyml=text, goodDOTyml="tenant_tier: pro")
    found = load_entries(find_entries(str(tmp_path)))
    assert found.variables == {"good": {"tenant_tier": "pro"}}
    assert words in found.problems["broken"]


def test_an_unreadable_file_is_a_problem_of_its_tenant(tmp_path: Path) -> None:
    os.symlink(tmp_path / "nowhere", tmp_path / "gone.yml")
    assert "cannot be read" in load_entries(find_entries(str(tmp_path))).problems["gone"]


def test_vaulted_values_are_opaque_and_vaulted_files_are_decrypted(tmp_path: Path) -> None:
    write(
        tmp_path,
        aDOTyml="x: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6161\ny: !unsafe '{{ x }}'\nz: 1\n",
        bDOTyml="$ANSIBLE_VAULT;1.1;AES256\n6161\n",
        cDOTyml="",
    )
    found = load_entries(find_entries(str(tmp_path)), decrypt=lambda path: "tenant_tier: pro")
    assert found.variables == {
        "a": {"x": None, "y": None, "z": 1},
        "b": {"tenant_tier": "pro"},
        "c": {},
    }


def test_shared_uids_and_hostnames_are_problems_of_each_tenant() -> None:
    problems = duplicates(
        {
            "a": {"tenant_uid": "1", "tenant_hostname": "x.example.com"},
            "b": {"tenant_uid": "1", "tenant_hostname": "{{ inventory_hostname }}.example.com"},
            "c": {"tenant_uid": "3", "tenant_hostname": "{{ inventory_hostname }}.example.com"},
            "d": {"tenant_uid": "4", "tenant_hostname": "X.example.com", "tenant_state": "deleted"},
            "e": {"tenant_uid": 5, "tenant_hostname": "y.example.com"},
            "f": {"tenant_uid": "6", "tenant_hostname": "Y.example.com"},
        }
    )
    assert sorted(problems) == ["a", "b", "e", "f"]
    assert problems["a"] == "tenant_uid: 1 is that of b too; each tenant needs its own"
    assert "that of e too" in problems["f"]


def test_a_hostname_is_shared_with_a_tenant_that_has_none_of_its_own() -> None:
    fleet = {
        "acme": {},
        "globex": {"tenant_hostname": " Acme.Example.com "},
        "other": {"platform_domain": "other.example.com", "tenant_hostname": ""},
        "gone": {"tenant_state": "deleted"},
        "kept": {"tenant_hostname": "gone.example.com"},
        "same": {"tenant_hostname": "other.other.example.com"},
    }
    words = "tenant_hostname: {} is that of {} too; each tenant needs its own"
    of_its_own = {
        "other": words.format("other.other.example.com", "same"),
        "same": words.format("other.other.example.com", "other"),
    }
    assert duplicates(fleet, "example.com") == {
        "acme": words.format("acme.example.com", "globex"),
        "globex": words.format("acme.example.com", "acme"),
        **of_its_own,
    }
    assert duplicates(fleet, "{{ domain }}.com") == of_its_own
    assert duplicates(fleet) == of_its_own
