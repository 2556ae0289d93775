"""The API keys of an entry: rotated with an overlap, added under a name, revoked one by one."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    FileWriter,
    Request,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import parse_platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import parse_tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import Answer
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._keys import (
    KeyWish,
    added,
    change_keys,
    live,
    moment_before,
    moment_of,
    revoked,
    rotated,
    seconds_of,
)

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
PAST, SOON, LATER = "2026-11-21T11:00:00Z", "2026-11-21T13:00:00Z", "2026-12-24T00:00:00Z"
NEW = {"name": "default", "sha256": "n" * 64}

LENGTHS = [("0", 0), ("90s", 90), ("30m", 1800), ("24h", 86400), ("7D", 604800), ("1w", 604800)]


@pytest.mark.parametrize(("text", "seconds"), LENGTHS)
def test_a_length_of_time(text: str, seconds: int) -> None:
    assert seconds_of(text, "overlap") == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "soon"])
def test_what_is_no_length_of_time_is_named(text: str) -> None:
    with pytest.raises(MemcloudError, match="overlap: .* is no length of time"):
        seconds_of(text, "overlap")


def test_a_moment_is_a_date_or_a_length_of_time_and_has_not_passed() -> None:
    assert moment_of("1d", NOW, "expires") == "2026-11-22T12:00:00Z"
    assert moment_of("2027-01-31", NOW, "expires") == "2027-01-31T00:00:00Z"
    assert moment_of("2026-11-21T14:00:00+01:00", NOW, "expires") == SOON
    assert moment_of("36500d", NOW, "expires") == "2126-10-28T12:00:00Z"
    # A key that has ended when it is made opens nothing.
    for text in ("2026-11-20", "yesterday", "0", "0d", "36501d", "99999999999w", "9" * 99 + "d"):
        with pytest.raises(MemcloudError, match="expires: "):
            moment_of(text, NOW, "expires")


def test_a_moment_that_was_is_a_date_or_a_length_of_time_too() -> None:
    assert moment_before("1d", NOW, "since") == "2026-11-20T12:00:00Z"
    assert moment_before("2026-11-21T14:00:00+01:00", NOW, "since") == SOON
    assert moment_before("0001-01-01", NOW, "since") < PAST
    for text in ("yesterday", "2026-11-1", "24", "9999-12-31T23:59:59-12:00"):
        with pytest.raises(MemcloudError, match="since: "):
            moment_before(text, NOW, "since")


def key(name: str, letter: str, expires: Any = None) -> dict[str, Any]:
    made = {"name": name, "sha256": letter * 64}
    return {**made, "expires": expires} if expires else made


# Keys before, seconds of overlap, and (name, first letter of the hash, end) of those afterwards.
ROTATIONS = [
    ([key("default", "a")], 3600, [("default", "n", None), ("default", "a", SOON)]),
    ([key("default", "a")], 0, [("default", "n", None)]),
    # What ended before is swept, other names stay as they are.
    (
        [key("default", "a"), key("default", "b", PAST), key("ci", "c", LATER)],
        3600,
        [("default", "n", None), ("default", "a", SOON), ("ci", "c", LATER)],
    ),
    # An overlap never makes a key live longer than it would.
    (
        [key("default", "a", LATER), key("default", "b", "2026-11-21T12:00:30Z")],
        3600,
        [
            ("default", "n", None),
            ("default", "a", SOON),
            ("default", "b", "2026-11-21T12:00:30Z"),
        ],
    ),
    # YAML reads a moment without quotes as one.
    (
        [key("default", "a", datetime.datetime(2026, 11, 21, 12, 30))],
        3600,
        [("default", "n", None), ("default", "a", "2026-11-21T12:30:00Z")],
    ),
]


@pytest.mark.parametrize(("before", "overlap", "after"), ROTATIONS)
def test_rotation(before: list[Any], overlap: int, after: list[Any]) -> None:
    change = rotated("acme", before, NEW, overlap, NOW)
    assert [(k["name"], k["sha256"][0], k.get("expires")) for k in change.keys] == after


REFUSED = [
    (
        lambda keys: rotated("acme", keys, {**NEW, "name": "x"}, 0, NOW),
        "no key x.*ci, default",
    ),
    (lambda keys: rotated("acme", keys, key("default", "a"), 0, NOW), "is the present key default"),
    (lambda keys: added("acme", keys, NEW, NOW), "has a key default already"),
    (lambda keys: added("acme", keys, key("x", "c"), NOW), "is the present key ci"),
    (lambda keys: revoked("acme", keys, "x", NOW), "has no key x"),
    (lambda keys: revoked("acme", keys[:1], "default", NOW), "its only key"),
    (lambda keys: revoked("acme", [keys[0], key("ci", "c", PAST)], "default", NOW), "only key"),
    (lambda keys: revoked("acme", keys[1:], "ci", NOW), "-e tenant=acme -e key_name=ci -e overl"),
]


@pytest.mark.parametrize(("act", "message"), REFUSED)
def test_what_cannot_be_done_to_keys(act: Any, message: str) -> None:
    with pytest.raises(MemcloudError, match=message):
        act([key("default", "a"), key("ci", "c")])


def test_one_of_several_keys_is_added_and_revoked() -> None:
    two = added("acme", [key("default", "a")], key("ci", "c"), NOW).keys
    assert [k["name"] for k in two] == ["default", "ci"]
    left = revoked("acme", two, "default", NOW).keys
    assert [k["name"] for k in live(left, NOW)] == ["ci"]
    assert left[0]["expires"] == "2026-11-21T12:00:00Z"


def test_revoking_again_changes_nothing_and_is_no_error() -> None:
    keys = revoked("acme", [key("default", "a"), key("ci", "c", LATER)], "ci", NOW).keys
    assert revoked("acme", keys, "ci", NOW + datetime.timedelta(hours=1)).keys == keys
    with pytest.raises(MemcloudError, match="has no key cd"):
        revoked("acme", keys, "cd", NOW)
    # The next change sweeps it.
    assert [k["name"] for k in rotated("acme", keys, NEW, 0, NOW).keys] == ["default"]


class Place:
    """An inventory with a tenant whose key was made before."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = FileWriter(str(directory))
        variables = {
            "tenant_uid": "0123456789abcdef",
            "tenant_node": "node1",
            "tenant_api_keys": [key("default", "a")],
        }
        self.writer.apply(Request("acme", variables))

    def change(self, change: str, answer: str = "acme", dry_run: bool = False, **wish: Any) -> Any:
        return change_keys(
            KeyWish("acme", change, **{"overlap": 3600, **wish}),
            self.writer,
            self.answer(answer),
            self._validate,
            NOW,
            dry_run=dry_run,
        )

    def answer(self, name: str = "acme") -> Answer:
        return Answer("acme", str(self.directory / f"secrets/{name}.json"))

    def written(self) -> list[Any]:
        return list((self.writer.read("acme") or {})["tenant_api_keys"])

    def _validate(self, variables: Any) -> Any:
        root_keys = {1: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
        platform = parse_platform({**load_defaults(), "platform_root_keys": root_keys})
        values = {**load_defaults(), **(self.writer.read("acme") or {}), **variables}
        return parse_tenant("acme", values, platform, nodes=("node1",))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_new_key_is_in_the_answer_and_its_hash_in_the_entry(place: Place) -> None:
    outcome = place.change("rotate")
    made = place.answer().api_key()
    assert (outcome.action, outcome.ends) == ("rotated", SOON)
    assert [k["sha256"] for k in place.written()] == [sha256(made), "a" * 64]
    assert made not in repr(outcome)
    assert made not in (place.directory / "host_vars/acme.yml").read_text()


def test_a_killed_rotation_is_finished_with_the_same_key(place: Place) -> None:
    place.change("rotate")
    made, before = place.answer().api_key(), place.written()
    assert place.change("rotate").action == "resumed"
    assert (place.answer().api_key(), place.written()) == (made, before)
    # Once the node has it, the answer says so, and the next rotation is a new one.
    place.answer().write({"state": "running"})
    assert place.change("rotate").action == "rotated"
    assert place.answer().api_key() != made
    assert len(place.written()) == 3


@pytest.mark.parametrize("given", [{}, {"api_key_sha256": "c" * 64}])
def test_a_rotation_that_is_run_again_can_end_the_key_before_it_sooner(
    place: Place, given: dict[str, Any]
) -> None:
    place.change("rotate", **given)
    new = place.written()[0]
    longer = place.change("rotate", overlap=7200, **given)
    assert (longer.action, longer.ends, place.written()[1]["expires"]) == ("resumed", "", SOON)
    outcome = place.change("rotate", overlap=60, **given)
    assert (outcome.action, outcome.ends) == ("resumed", "2026-11-21T12:01:00Z")
    assert [k.get("expires") for k in place.written()] == [None, "2026-11-21T12:01:00Z"]
    assert place.change("rotate", overlap=0, **given).variables == {"tenant_api_keys": [new]}
    assert place.written() == [new]


def test_a_rotation_that_was_killed_before_the_entry_makes_another_key(place: Place) -> None:
    place.answer().write({"state": "updating"}, "mb_never_written")
    assert place.change("rotate").action == "rotated"
    assert sha256("mb_never_written") not in [k["sha256"] for k in place.written()]


def test_a_key_whose_entry_was_written_before_the_error_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = FileWriter.apply

    def half(self: FileWriter, request: Request, *, dry_run: bool = False) -> Any:
        apply(self, request, dry_run=dry_run)
        raise MemcloudError("the line was cut")

    monkeypatch.setattr(FileWriter, "apply", half)
    with pytest.raises(MemcloudError, match="written all the same, and the answer in .* is kept"):
        place.change("rotate")
    monkeypatch.setattr(FileWriter, "apply", apply)
    made = place.answer().api_key()
    assert sha256(made) == place.written()[0]["sha256"]
    assert place.change("rotate").action == "resumed"
    assert place.answer().api_key() == made


@pytest.mark.parametrize("change", ["rotate", "add", "revoke"])
def test_a_key_that_another_run_revoked_meanwhile_stays_revoked(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    keys = [key("default", "a"), key("leaked", "b"), key("old", "c")]
    place.writer.apply(Request("acme", {"tenant_api_keys": keys}))
    check = place._validate

    def overtaken(variables: Any) -> Any:
        place.writer.apply(Request("acme", {"tenant_api_keys": keys[::2]}))
        return check(variables)

    monkeypatch.setattr(place, "_validate", overtaken)
    name = {"rotate": "default", "add": "ci", "revoke": "old"}[change]
    with pytest.raises(MemcloudError, match="tenant_api_keys was changed by another run meanwhile"):
        place.change(change, key_name=name)
    assert place.written() == keys[::2]
    assert place.answer().read() == {}


def test_a_rotation_whose_entry_was_not_written_leaves_the_answer_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.change("rotate")
    place.answer().write({"state": "running"})
    before = place.answer().read()

    def fail(self: FileWriter, request: Request, *, dry_run: bool = False) -> Any:
        raise MemcloudError("push refused")

    monkeypatch.setattr(FileWriter, "apply", fail)
    with pytest.raises(MemcloudError, match="^push refused$"):
        place.change("rotate")
    assert place.answer().read() == before


def test_a_caller_may_keep_the_key(place: Place) -> None:
    for action in ("rotated", "resumed"):
        assert place.change("rotate", api_key_sha256="c" * 64).action == action
    assert [k["sha256"][0] for k in place.written()] == ["c", "a"]
    assert place.answer().read()["api_key"] is None
    with pytest.raises(MemcloudError, match="api_key_sha256 must be"):
        place.change("rotate", api_key_sha256="C" * 64)


def test_a_killed_rotation_to_a_key_that_ends_is_finished_with_it(place: Place) -> None:
    for action in ("rotated", "resumed"):
        assert place.change("rotate", expires=LATER).action == action
    made = place.answer().api_key()
    assert [k["sha256"] for k in place.written()] == [sha256(made), "a" * 64]
    for action in ("rotated", "resumed"):
        given = {"expires": LATER, "api_key_sha256": "c" * 64}
        assert place.change("rotate", **given).action == action
    assert place.written()[0]["sha256"] == "c" * 64
    # What was replaced, and lives on for a while, is no new key.
    with pytest.raises(MemcloudError, match="a new key has another hash"):
        place.change("rotate", api_key_sha256="a" * 64)


def test_a_key_that_has_ended_can_be_added_again(place: Place) -> None:
    given = {"key_name": "ci", "api_key_sha256": "c" * 64}
    assert place.change("add", **given).action == "added"
    place.change("revoke", key_name="ci")
    assert place.change("add", **given).action == "added"
    assert [k["name"] for k in live(place.written(), NOW)] == ["default", "ci"]


def test_a_named_key_has_an_answer_of_its_own_that_goes_with_it(place: Place) -> None:
    place.change("add", "acme.ci", key_name="ci", expires=LATER)
    told = json.loads((place.directory / "secrets/acme.ci.json").read_text())
    assert told["key_name"] == "ci"
    assert place.written()[1]["sha256"] == sha256(told["api_key"])
    assert place.written()[1]["expires"] == LATER
    for _again in range(2):
        assert place.change("revoke", "acme.ci", key_name="ci").action == "revoked"
        assert not (place.directory / "secrets/acme.ci.json").exists()
        assert [k["name"] for k in live(place.written(), NOW)] == ["default"]


def test_a_check_writes_nothing(place: Place) -> None:
    before = place.written()
    for change, name in (("rotate", "default"), ("add", "ci")):
        outcome = place.change(change, dry_run=True, key_name=name)
        assert outcome.change.changed
    assert place.written() == before
    assert not (place.directory / "secrets").exists()
