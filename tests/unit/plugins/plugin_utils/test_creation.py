# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wish for a tenant becomes: an entry with a hash, an answer with a key."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _inventory_writer
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    Change,
    EntryExistsError,
    FileWriter,
    Request,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import parse_platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import (
    Tenant,
    parse_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import (
    Answer,
    Outcome,
    Usual,
    Wish,
    create,
    facts_of,
)

ROOT_KEYS = {1: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
PLATFORM = parse_platform({**load_defaults(), "platform_root_keys": ROOT_KEYS})
USUAL = Usual("free", lambda: "node1", 1)
MOMENT = "2026-11-21T03:00:00Z"


def validate(name: str) -> Any:
    def tenant(variables: Mapping[str, Any], entry: Mapping[str, Any] | None) -> Tenant:
        values = {**load_defaults(), **(entry or {}), **variables}
        return parse_tenant(name, values, PLATFORM, nodes=("node1", "node2"))

    return tenant


class Place:
    """An inventory directory with its answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = FileWriter(str(directory))

    def answer(self, name: str = "acme", key_file: str = "") -> Answer:
        return Answer(name, str(self.directory / "secrets" / f"{name}.json"), key_file)

    def create(self, name: str = "acme", **wish: Any) -> Outcome:
        options = {key: wish.pop(key) for key in ("dry_run",) if key in wish}
        usual = wish.pop("usual", USUAL)
        answer = self.answer(name, wish.pop("key_file", ""))
        return create(
            Wish(name, **wish), self.writer, answer, usual, validate(name), MOMENT, **options
        )

    def entry(self, name: str = "acme") -> dict[str, Any]:
        return self.writer.read(name) or {}

    def change(self, **variables: Any) -> None:
        self.writer.apply(Request("acme", variables))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_a_new_tenant_has_an_entry_with_a_hash_and_an_answer_with_the_key(place: Place) -> None:
    outcome = place.create(tier="pro", owner="c1")
    told = place.answer().read()
    entry = place.entry()
    assert outcome.action == "created"
    assert entry["tenant_tier"] == "pro"
    assert entry["tenant_owner"] == "c1"
    assert entry["tenant_node"] == "node1"
    assert entry["tenant_uid"] == told["uid"]
    assert entry["tenant_api_keys"] == [
        {"name": "default", "sha256": sha256(told["api_key"]), "created": MOMENT}
    ]
    assert told["state"] == "deploying"
    assert told["endpoint"] == "https://acme.memcloud.localhost"
    path = Path(place.answer().path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert told["api_key"] not in repr(outcome)
    assert told["api_key"] not in (place.directory / "host_vars" / "acme.yml").read_text()


def test_the_latest_root_key_and_further_variables_are_stated(place: Place) -> None:
    place.create(variables={"tenant_limits": {"burst": 5}})
    assert place.entry()["tenant_limits"] == {"burst": 5}
    outcome = place.create(
        "globex", usual=Usual("pro", lambda: "node2", 1), hostname="x.example.com"
    )
    assert outcome.entry["tenant_hostname"] == "x.example.com"
    assert outcome.entry["tenant_node"] == "node2"
    with pytest.raises(MemcloudError, match="tenant_root_key_version"):
        place.create("late", usual=Usual("pro", lambda: "node2", 3))
    assert place.entry("late") == {}
    assert place.answer("late").read() == {}


def test_a_key_that_the_caller_keeps_is_known_by_its_hash_alone(place: Place) -> None:
    place.create(api_key_sha256=sha256("mine"))
    assert place.entry()["tenant_api_keys"][0]["sha256"] == sha256("mine")
    assert place.answer().read()["api_key"] is None
    assert place.create(api_key_sha256=sha256("mine")).action == "resumed"
    with pytest.raises(MemcloudError, match="reissue_key=true"):
        place.create(api_key_sha256=sha256("other"))
    with pytest.raises(MemcloudError, match="api_key_sha256 must be"):
        place.create("globex", api_key_sha256="mb_plain")


def test_a_key_file_holds_the_key_and_the_answer_names_it(place: Place) -> None:
    key_file = str(place.directory / "keys" / "acme.key")
    place.create(key_file=key_file)
    told = place.answer().read()
    assert told["api_key"] is None
    assert told["api_key_file"] == key_file
    key = Path(key_file).read_text().strip()
    assert stat.S_IMODE(Path(key_file).stat().st_mode) == 0o600
    assert place.entry()["tenant_api_keys"][0]["sha256"] == sha256(key)
    assert place.create().action == "resumed"
    assert place.answer().api_key() == key
    place.answer().forget_key()
    place.answer().forget_key()
    assert not Path(key_file).exists()


def test_an_answer_does_not_take_the_place_of_the_key(place: Place) -> None:
    (place.directory / "other").symlink_to("secrets")
    for name in ("secrets", "other"):
        key_file = str(place.directory / name / "acme.json")
        with pytest.raises(MemcloudError, match="acme: no key was made, since key_file and result"):
            place.create(key_file=key_file)
        assert not Path(key_file).exists()
    assert place.entry() == {}


def test_again_changes_nothing(place: Place) -> None:
    place.create()
    before = (place.entry(), place.answer().read())
    outcome = place.create(tier="free")
    assert outcome.action == "resumed"
    assert outcome.change is not None
    assert not outcome.change.changed
    assert (place.entry(), place.answer().read()) == before


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"tier": "pro"}, "tenant_tier is free and was asked to be pro"),
        ({"node": "node2"}, "tenant_node is node1"),
        ({"owner": "somebody"}, "belongs to another owner"),
        ({"variables": {"tenant_tier": "pro"}}, "tenant_tier"),
        # What its entry leaves to the platform is no other one for being asked.
        ({"hostname": "a.example.com"}, "tenant_hostname is acme.memcloud.localhost and was"),
        ({"version": "0.3.9"}, "tenant_version is 0.4.0 and was asked to be 0.3.9"),
        ({"variables": {"tenant_wake": False}}, "tenant_wake is not set and was asked to be False"),
        ({"reissue_key": True, "hostname": "a.example.com"}, "tenant_hostname is acme"),
    ],
)
def test_creating_does_not_change_a_tenant_that_exists(
    place: Place, wish: dict[str, Any], words: str
) -> None:
    place.create()
    before = place.entry()
    with pytest.raises(MemcloudError, match=words):
        place.create(**wish)
    assert place.entry() == before


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        # An entry that names another node would begin empty there.
        ({"node": "node2"}, "move_tenant -e tenant=acme -e node=node2 does that"),
        ({"version": "0.3.9"}, "update_tenant -e tenant=acme -e version=0.3.9 does that"),
        ({"tier": "pro"}, "change_tier -e tenant=acme -e tier=pro does that"),
        ({"hostname": "a.example.com"}, "change_tenant -e tenant=acme does that"),
    ],
)
def test_who_asks_a_tenant_to_be_something_else_is_told_what_changes_it(
    place: Place, wish: dict[str, Any], words: str
) -> None:
    place.change(tenant_tier="enterprise")
    if "tier" in wish:
        with pytest.raises(MemcloudError, match="Change its host_vars entry, or ask for what"):
            place.create(**wish)
    place.create()
    with pytest.raises(MemcloudError, match=words):
        place.create(**wish)


def test_without_the_key_a_tenant_that_exists_is_refused(place: Place) -> None:
    place.create()
    Path(place.answer().path).unlink()
    with pytest.raises(MemcloudError, match="reissue_key=true"):
        place.create()


def test_a_reissued_key_replaces_the_default_one_alone(place: Place) -> None:
    place.create()
    old = place.answer().api_key()
    ci = {"name": "ci", "sha256": "c" * 64}
    place.change(tenant_api_keys=[*place.entry()["tenant_api_keys"], ci])
    assert place.create(reissue_key=True).action == "reissued"
    hashes = {key["name"]: key["sha256"] for key in place.entry()["tenant_api_keys"]}
    assert hashes == {"default": sha256(place.answer().api_key()), "ci": "c" * 64}
    assert place.answer().api_key() != old


def test_a_deleted_tenant_with_kept_data_is_revived_with_its_identity(place: Place) -> None:
    place.create(owner="c1")
    uid, key = place.entry()["tenant_uid"], place.answer().api_key()
    place.change(tenant_state="deleted")
    for owner in ("", "c2"):
        with pytest.raises(MemcloudError, match="another owner"):
            place.create(owner=owner)
    with pytest.raises(MemcloudError, match="kept data is on node1"):
        place.create(owner="c1", node="node2")
    assert place.create(owner="c1", tier="pro").action == "revived"
    entry = place.entry()
    assert (entry["tenant_uid"], entry["tenant_state"], entry["tenant_tier"]) == (
        uid,
        "running",
        "pro",
    )
    assert place.answer().api_key() != key
    assert [k["sha256"] for k in entry["tenant_api_keys"]] == [sha256(place.answer().api_key())]


def test_an_entry_made_by_hand_is_completed(place: Place) -> None:
    place.change(tenant_tier="pro")
    assert place.create().action == "completed"
    entry = place.entry()
    assert entry["tenant_tier"] == "pro"
    assert entry["tenant_uid"] == place.answer().read()["uid"]
    assert entry["tenant_api_keys"][0]["sha256"] == sha256(place.answer().api_key())
    place.change(tenant_api_keys=[])
    assert place.create().action == "completed"
    assert place.entry()["tenant_uid"] == entry["tenant_uid"]


def test_an_entry_made_by_hand_gets_what_is_asked_for_and_it_does_not_say(place: Place) -> None:
    place.change(tenant_wake=False)
    asked = {"tier": "pro", "owner": "c1", "node": "node2", "hostname": "a.example.com"}
    more = {"tenant_limits": {"burst": 5}, "tenant_wake": False}
    outcome = place.create(**asked, variables=more)
    entry = place.entry()
    assert {name: entry[f"tenant_{name}"] for name in asked} == asked
    assert {name: entry[name] for name in more} == more
    assert outcome.entry == entry
    assert place.answer().read()["endpoint"] == "https://a.example.com"
    assert place.create(**asked, variables=more).action == "resumed"
    # With an identity it may be at work already.
    place.change(tenant_api_keys=[])
    with pytest.raises(MemcloudError, match="tenant_version is 0.4.0 and was asked to be 0.3.9"):
        place.create(**asked, version="0.3.9")


def test_a_completed_entry_keeps_keys_that_it_has(place: Place) -> None:
    place.change(tenant_api_keys=[{"name": "mine", "sha256": "a" * 64}])
    place.create()
    assert [key["name"] for key in place.entry()["tenant_api_keys"]] == ["mine"]
    assert place.answer().read()["api_key"] is None


def test_a_dry_run_writes_nothing(place: Place) -> None:
    outcome = place.create(dry_run=True)
    assert outcome.action == "created"
    assert outcome.change is not None
    assert "tenant_uid" in outcome.change.after
    assert list(place.directory.iterdir()) == []


def test_what_is_wrong_stops_before_anything_is_written(place: Place) -> None:
    with pytest.raises(MemcloudError, match="tenant_tier"):
        place.create(tier="gold")
    assert not (place.directory / "host_vars").exists() or not place.entry()
    assert place.answer().read() == {}


def test_a_run_that_died_after_the_answer_is_done_again(place: Place) -> None:
    place.create()
    (place.directory / "host_vars" / "acme.yml").unlink()
    assert place.create().action == "created"
    assert place.entry()["tenant_api_keys"][0]["sha256"] == sha256(place.answer().api_key())


def test_an_entry_that_cannot_be_written_leaves_no_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileWriter, request: Request, *, dry_run: bool = False) -> Change:
        raise MemcloudError("push refused")

    place.create("globex")
    told = place.answer("globex").read()
    monkeypatch.setattr(FileWriter, "apply", fail)
    with pytest.raises(MemcloudError, match="push refused"):
        place.create()
    assert place.answer().read() == {}
    with pytest.raises(MemcloudError, match="push refused"):
        place.create("globex", reissue_key=True)
    assert place.answer("globex").read() == told


@pytest.mark.parametrize("readable", [True, False])
def test_a_key_whose_entry_was_written_before_the_error_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    apply, read = FileWriter.apply, FileWriter.read

    def half(self: FileWriter, request: Request, *, dry_run: bool = False) -> Change:
        apply(self, request, dry_run=dry_run)
        if not readable:
            monkeypatch.setattr(FileWriter, "read", unreadable)
        raise MemcloudError("the line was cut.")

    def unreadable(self: FileWriter, name: str) -> Any:
        raise MemcloudError("no answer")

    monkeypatch.setattr(FileWriter, "apply", half)
    words = "acme: the line was cut. " + (
        "Its entry was written all the same, and the answer in .*acme.json is kept: run this again"
        if readable
        else r"Whether its entry was written cannot be read \(no answer\), so the answer in "
    )
    with pytest.raises(MemcloudError, match=words):
        place.create()
    monkeypatch.setattr(FileWriter, "apply", apply)
    monkeypatch.setattr(FileWriter, "read", read)
    made = place.answer().api_key()
    assert place.create().action == "resumed"
    assert place.entry()["tenant_api_keys"][0]["sha256"] == sha256(made)


def test_one_who_is_overtaken_is_told_to_choose_another_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(self: FileWriter, request: Request, *, dry_run: bool = False) -> Change:
        raise EntryExistsError("acme")

    monkeypatch.setattr(FileWriter, "apply", overtaken)
    with pytest.raises(MemcloudError, match="at the same moment"):
        place.create()
    assert place.answer().read() == {}


def test_of_many_at_once_one_creates_and_the_others_find_it(place: Place) -> None:
    with ThreadPoolExecutor(6) as pool:
        actions = [outcome.action for outcome in pool.map(lambda _: place.create(), range(6))]
    assert sorted(actions) == ["created"] + ["resumed"] * 5
    assert place.entry()["tenant_api_keys"][0]["sha256"] == sha256(place.answer().api_key())


@pytest.mark.parametrize("text", ["[]", "notes of mine", '{"tenant": "globex"}', "{}"])
def test_a_file_that_is_no_answer_about_this_tenant_is_not_overwritten(
    place: Place, text: str
) -> None:
    path = Path(place.answer().path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(MemcloudError, match="result_file"):
        place.create()
    assert path.read_text() == text


def test_an_answer_that_cannot_be_written_is_said_in_words(place: Place) -> None:
    path = Path(place.answer().path)
    path.parent.write_text("a file where the directory should be")
    with pytest.raises(MemcloudError, match=f"{path} cannot be written: File exists"):
        place.create()
    assert place.entry() == {}


def test_a_full_disk_is_said_in_words_and_leaves_no_tenant(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_inventory_writer, "atomic_write", full)
    path = place.answer().path
    with pytest.raises(MemcloudError, match=f"{path} cannot be written: No space left on device"):
        place.create()
    assert place.entry() == {}


def test_an_answer_is_only_rewritten_when_it_says_something_else(place: Place) -> None:
    place.create()
    tenant = validate("acme")({}, place.entry())
    answer = place.answer()
    assert answer.write(facts_of(tenant, "running"))
    assert not answer.write(facts_of(tenant, "running"))
    assert json.loads(Path(answer.path).read_text())["state"] == "running"
    assert answer.api_key()
