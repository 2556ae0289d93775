# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    EXISTING,
    NEW,
    EntryExistsError,
    FileWriter,
    Request,
    edit_json,
    edit_yaml,
    shown,
    write_atomically,
)

UID = "1234567890123456"
ENCRYPTED = "$ANSIBLE_VAULT;1.1;AES256\n6161\n"
WRITTEN = """\
# A comment at the top

tenant_uid: "1234567890123456"   # never change
tenant_tier: 'free'

# The customer
tenant_owner: initech
tenant_model_api_key: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  6161
tenant_api_keys:
  - {name: default, sha256: abc}   # short
# the end
"""


def test_a_new_entry_is_read_back_as_it_was_meant(tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "tenant_uid": UID,
        "tenant_owner": "yes",
        "tenant_node": "node1",
        "tenant_version": "0.4.0",
        "tenant_hostname": "null",
        "tenant_secret_epoch": 2,
        "tenant_pinned": True,
        "tenant_api_keys": [
            {"name": "default", "sha256": "1e10", "created": "2026-11-21T03:00:00Z"}
        ],
        "tenant_limits": {"burst": 5},
    }
    writer = FileWriter(str(tmp_path))
    change = writer.apply(Request("acme", variables, expect=NEW))
    path = tmp_path / "host_vars" / "acme.yml"
    assert change.changed
    assert change.where == str(path)
    assert yaml.safe_load(path.read_text()) == variables
    assert writer.read("acme") == variables
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["acme.yml"]
    assert not writer.apply(Request("acme", variables)).changed


def test_comments_order_quotes_and_vaulted_values_stay() -> None:
    edited = edit_yaml(WRITTEN, {"tenant_tier": "pro", "tenant_new": 1}, ["tenant_owner"], "x.yml")
    expected = WRITTEN.replace("'free'", "pro").replace("tenant_owner: initech\n", "")
    assert [line.split() for line in edited.splitlines() if "#" in line] == [
        line.split() for line in expected.splitlines() if "#" in line
    ]
    assert "tenant_model_api_key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6161\n" in edited
    assert "tenant_tier: 'pro'" in edited
    assert "tenant_owner" not in edited
    assert (
        edited.index("tenant_tier") < edited.index("tenant_api_keys") < edited.index("tenant_new")
    )


def test_what_is_so_already_is_not_rewritten() -> None:
    odd = "tenant_tier:    free\ntenant_limits: {burst:   5}\n"
    changes = {"tenant_tier": "free", "tenant_limits": {"burst": 5}}
    assert edit_yaml(odd, changes, ["tenant_gone"], "x") == odd
    document = '{"tenant_tier":"free"}'
    assert edit_json(document, {"tenant_tier": "free"}, [], "x") == document


@pytest.mark.parametrize("head", ["", "---\n", "# only a comment\n", "---\n# comment\n"])
def test_an_entry_without_variables_gets_some(head: str) -> None:
    edited = edit_yaml(head, {"tenant_tier": "pro"}, [], "x")
    assert yaml.safe_load(edited) == {"tenant_tier": "pro"}
    assert edited.startswith(head)


@pytest.mark.parametrize(
    ("edit", "text", "words"),
    [
        (edit_yaml, "a: [", "no valid YAML and is not changed"),
        (edit_yaml, "- a", "must be a mapping"),
        (edit_yaml, "$ANSIBLE_VAULT;1.1;AES256\n61", "encrypted as a whole"),
        (edit_json, "{", "no valid JSON"),
        (edit_json, "[]", "must be a mapping"),
    ],
)
def test_what_cannot_be_edited_is_left_alone(edit: Any, text: str, words: str) -> None:
    with pytest.raises(MemcloudError, match=words):
        edit(text, {"x": 1}, [], "/inventory/host_vars/acme.yml")


def test_json_entries_stay_json(tmp_path: Path) -> None:
    path = tmp_path / "host_vars" / "acme.json"
    path.parent.mkdir()
    path.write_text('{"tenant_uid": "%s", "x": 1}' % UID)
    FileWriter(str(tmp_path)).apply(Request("acme", {"tenant_tier": "pro"}, ["x"], uid=UID))
    assert json.loads(path.read_text()) == {"tenant_uid": UID, "tenant_tier": "pro"}


def test_in_a_folder_the_file_with_the_identity_is_changed(tmp_path: Path) -> None:
    folder = tmp_path / "host_vars" / "acme"
    folder.mkdir(parents=True)
    (folder / "a_vault.yml").write_text(ENCRYPTED)
    (folder / "main.yml").write_text('tenant_uid: "%s"\n' % UID)
    writer = FileWriter(str(tmp_path), lambda path: "vault_key: sk-1\n")
    change = writer.apply(Request("acme", {"tenant_tier": "pro"}, uid=UID))
    assert change.where == str(folder / "main.yml")
    assert "tenant_tier: pro" in (folder / "main.yml").read_text()
    assert (folder / "a_vault.yml").read_text() == ENCRYPTED
    assert writer.read("acme") == {"vault_key": None, "tenant_uid": UID, "tenant_tier": "pro"}
    (folder / "main.yml").unlink()
    change = writer.apply(Request("acme", {"tenant_tier": "pro"}), dry_run=True)
    assert change.where == str(folder / "tenant.yml")
    assert writer.apply(Request("acme", {}, delete=True)).before == "(hidden)\n"
    assert not folder.exists()


def in_folder(directory: Path, **files: str) -> Path:
    folder = directory / "host_vars" / "acme"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def test_in_a_folder_a_variable_is_changed_where_it_counts(tmp_path: Path) -> None:
    main = f'tenant_uid: "{UID}"\ntenant_state: running\ntenant_tier: free\n'
    later = "# by hand\ntenant_state: running\n"
    folder = in_folder(tmp_path, main=main, overrides=later, more="x: 1\n")
    writer = FileWriter(str(tmp_path))
    change = writer.apply(Request("acme", {"tenant_state": "suspended"}, uid=UID))
    assert change.where == str(folder / "overrides.yml")
    assert (folder / "overrides.yml").read_text() == "# by hand\ntenant_state: suspended\n"
    assert (folder / "main.yml").read_text() == main
    wish = Request("acme", {"tenant_tier": "pro", "x": 2}, ["tenant_state"], uid=UID)
    change = writer.apply(wish)
    assert change.where == str(folder)
    assert "tenant_tier: free" in change.before
    assert "x: 2" in change.after
    assert writer.read("acme") == {"tenant_uid": UID, "tenant_tier": "pro", "x": 2}
    assert not writer.apply(wish).changed


def test_a_variable_of_an_encrypted_file_is_not_changed(tmp_path: Path) -> None:
    main = f'tenant_uid: "{UID}"\ntenant_state: running\ntenant_tier: free\n'
    folder = in_folder(tmp_path, main=main, vault=ENCRYPTED)
    writer = FileWriter(str(tmp_path), lambda path: "tenant_state: running\n")
    for wish in (
        Request("acme", {"tenant_tier": "pro", "tenant_state": "suspended"}),
        Request("acme", {"tenant_tier": "pro"}, ["tenant_state"]),
    ):
        with pytest.raises(MemcloudError, match=r"vault.yml is encrypted .*tenant_state"):
            writer.apply(wish)
        assert (folder / "main.yml").read_text() == main
    assert writer.apply(Request("acme", {"tenant_tier": "pro", "tenant_state": "running"})).changed


def test_what_would_not_be_what_was_asked_for_is_not_written(tmp_path: Path) -> None:
    main = "common: &common {tenant_pinned: true}\n<<: *common\n"
    folder = in_folder(tmp_path, main=main)
    with pytest.raises(MemcloudError, match="tenant_pinned cannot be changed in .*main.yml"):
        FileWriter(str(tmp_path)).apply(Request("acme", {}, ["tenant_pinned"]))
    assert (folder / "main.yml").read_text() == main


def test_what_is_encrypted_is_not_changed_where_its_secret_is_not_known(tmp_path: Path) -> None:
    folder = tmp_path / "host_vars" / "acme"
    folder.mkdir(parents=True)
    (folder / "vault.yml").write_text(ENCRYPTED)
    with pytest.raises(MemcloudError, match="no vault secret is at hand"):
        FileWriter(str(tmp_path)).apply(Request("acme", {"tenant_tier": "pro"}))
    assert os.listdir(folder) == ["vault.yml"]


def test_expectations_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    writer = FileWriter(str(tmp_path))
    with pytest.raises(MemcloudError, match="no entry"):
        writer.apply(Request("acme", {"x": 1}, expect=EXISTING))
    writer.apply(Request("acme", {"tenant_uid": UID}))
    before = (tmp_path / "host_vars" / "acme.yml").read_text()
    with pytest.raises(EntryExistsError, match="already"):
        writer.apply(Request("acme", {"tenant_uid": "x"}, expect=NEW))
    with pytest.raises(MemcloudError, match="another tenant"):
        writer.apply(Request("acme", {"tenant_tier": "pro"}, uid="f" * 16))
    with pytest.raises(MemcloudError, match="another tenant"):
        writer.apply(Request("acme", {}, uid="f" * 16, delete=True))
    assert (tmp_path / "host_vars" / "acme.yml").read_text() == before


def test_what_another_run_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    writer = FileWriter(str(tmp_path))
    writer.apply(Request("acme", {"tenant_uid": UID, "tenant_api_keys": [1, 2]}))
    read = {"tenant_api_keys": [1, 2], "tenant_tier": None}
    rotated = Request("acme", {"tenant_api_keys": [3, 2], "tenant_tier": "pro"}, read=read)
    assert writer.apply(rotated, dry_run=True).changed
    writer.apply(Request("acme", {"tenant_api_keys": [1]}))
    for dry_run in (True, False):
        with pytest.raises(MemcloudError, match="acme: tenant_api_keys was changed by another run"):
            writer.apply(rotated, dry_run=dry_run)
    writer.apply(Request("acme", {"tenant_api_keys": [3, 2]}))
    assert writer.apply(rotated).changed  # a run before this one was killed in between
    assert not writer.apply(rotated).changed


def test_what_a_run_goes_on_with_is_what_the_entry_says(tmp_path: Path) -> None:
    entry = tmp_path / "host_vars" / "acme.yml"
    entry.parent.mkdir()
    entry.write_text(
        "tenant_tier: free\ntenant_owner: !vault x\n"
        "tenant_api_keys: [{name: ci, created: 2026-11-21T09:18:28Z}]\n"
    )
    key = {"name": "ci", "created": "2026-11-21T09:18:28Z"}
    seen = {"tenant_owner": "me", "tenant_tier": "free", "tenant_api_keys": [key]}
    # From group_vars, and not in the entry.
    seen["tenant_pinned"] = True
    writer = FileWriter(str(tmp_path))
    writer.apply(Request("acme", {"tenant_tier": "pro"}, seen=seen))
    assert not writer.apply(Request("acme", {"tenant_tier": "pro"}, seen=seen)).changed
    for other in ({"tenant_tier": "free"}, {"tenant_api_keys": [key, key]}):
        (name,) = other
        with pytest.raises(MemcloudError, match=f"acme: {name} was changed by another run since"):
            writer.apply(Request("acme", {"tenant_state": "paused"}, seen={**seen, **other}))
    assert "tenant_state" not in entry.read_text()


def test_deleting_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    writer = FileWriter(str(tmp_path))
    assert not writer.apply(Request("acme", {}, expect=EXISTING, delete=True)).changed
    writer.apply(Request("acme", {"x": 1}))
    assert writer.apply(Request("acme", {}, delete=True)).changed
    assert writer.read("acme") is None


@pytest.mark.parametrize("entry", ["acme.yml", "acme/tenant.yml"])
def test_an_entry_is_not_removed_where_another_one_would_take_its_place(
    tmp_path: Path, entry: str
) -> None:
    path, other = tmp_path / "host_vars" / entry, tmp_path / "host_vars/acme.yaml"
    path.parent.mkdir(parents=True)
    for file in (path, other, tmp_path / "host_vars/acme-2.yml"):
        file.write_text("tenant_tier: free\n")
    writer, request = FileWriter(str(tmp_path)), Request("acme", {}, delete=True)
    for dry_run in (True, False):
        with pytest.raises(MemcloudError, match=r"^acme: its entry is .*/acme\.yaml beside it"):
            writer.apply(request, dry_run=dry_run)
    assert path.exists()
    other.unlink()
    assert writer.apply(request).changed and writer.read("acme") is None


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    writer = FileWriter(str(tmp_path))
    change = writer.apply(Request("acme", {"tenant_tier": "pro"}), dry_run=True)
    assert change.changed
    assert "tenant_tier: pro" in change.after
    assert os.listdir(tmp_path) == []
    writer.apply(Request("acme", {"tenant_tier": "pro"}))
    assert writer.apply(Request("acme", {}, delete=True), dry_run=True).changed
    assert writer.read("acme") == {"tenant_tier": "pro"}


def test_of_many_who_create_one_name_one_wins(tmp_path: Path) -> None:
    def create(number: int) -> bool:
        try:
            FileWriter(str(tmp_path)).apply(
                Request("acme", {"tenant_uid": f"u{number}"}, expect=NEW)
            )
        except EntryExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(16))) == 1


def test_changes_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _change in pool.map(
            lambda number: FileWriter(str(tmp_path)).apply(Request("acme", {f"x{number}": number})),
            range(24),
        ):
            pass
    assert FileWriter(str(tmp_path)).read("acme") == {f"x{number}": number for number in range(24)}


def test_a_directory_that_cannot_be_written_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FileWriter(str(tmp_path)).check()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MemcloudError, match="platform_inventory_writer"):
        FileWriter(str(tmp_path)).check()


def test_a_failed_write_leaves_the_old_file_and_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "acme.yml"
    path.write_text("old")

    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(MemcloudError, match=f"{path} cannot be written: disk full"):
        write_atomically(str(path), "new")
    assert os.listdir(tmp_path) == ["acme.yml"]
    assert path.read_text() == "old"


def test_a_link_stays_a_link_and_a_mode_stays(tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.yml"
    link.symlink_to(real)
    write_atomically(str(link), "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("text", "hidden", "visible"),
    [
        ("tenant_model_api_key: sk-1\ntenant_tier: pro\n", "sk-1", "tenant_tier: pro"),
        ("tenant_model_secret_access_key: |\n  top\n  low\nx: 1\n", "low", "x: 1"),
        ("x: !vault |\n  $ANSIBLE_VAULT\n  6161\ny: 1\n", "6161", "y: 1"),
        ("tenant_secret_epoch: 2\n", "nothing", "tenant_secret_epoch: 2"),
        ('{\n  "tenant_model_api_key": "sk-1",\n  "a": 1\n}\n', "sk-1", '"a": 1'),
        ("tenant_api_keys:\n  - sha256: abc\n", "nothing", "sha256: abc"),
        ("my_password: a\n# comment\n", "password: a", "# comment"),
    ],
)
def test_secrets_are_masked_in_what_is_shown(text: str, hidden: str, visible: str) -> None:
    masked = shown(text, "acme.json" if text.startswith("{") else "acme.yml")
    assert hidden not in masked
    assert visible in masked


def test_unreadable_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "host_vars" / "acme.json"
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MemcloudError):
        FileWriter(str(tmp_path)).apply(Request("acme", {"x": 1}))
