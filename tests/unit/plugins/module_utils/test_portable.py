"""The portable archive, between two servers in memory that misbehave as told."""

from __future__ import annotations

import json
import os
import sys
import time
import types

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _update_data
from ansible_collections.memcloud.memmachine.plugins.module_utils._memory_api import (
    ApiError,
    MemoryServer,
    timestamp,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable import (
    PortableError,
    _scope_of,
    export_memories,
    file_sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._portable_import import (
    Cursor,
    import_memories,
    prove_import,
    switch_off,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import BEING_DELETED

sys.path.insert(0, os.path.dirname(__file__))
from fake_memories import FakeMemories

ACME = ("acme", "chat")


@pytest.fixture
def servers():
    pair = FakeMemories(), FakeMemories()
    yield pair
    for server in pair:
        server.close()


def reader(fake):
    return MemoryServer("acme", fake.address)


def fill(fake, project=ACME, count=25, ties=0):
    """Memories a second apart, and some of the same moment."""
    messages = [
        {
            "content": f"fact {number}",
            "producer": f"user{number % 3}",
            "produced_for": "",
            "role": "user",
            "timestamp": f"2026-01-01T00:00:{0 if number < ties else number % 60:02d}.000100+00:00",
            "metadata": {"number": str(number)} if number % 2 else {},
            "episode_type": "message",
        }
        for number in range(count)
    ]
    reader(fake).add(project, messages, ["episodic"])


def export(fake, tmp_path, **options):
    path = tmp_path / "memories.ndjson"
    with open(path, "wb") as stream:
        projects = export_memories(reader(fake), stream, **options)
    return str(path), projects


def bring_in(fake, path, projects, tmp_path, size=10):
    cursor = Cursor.load(str(tmp_path / "cursor.json"), file_sha256(path))
    return import_memories(reader(fake), path, cursor, projects, size=size, settle=0)


def what(fake, project=ACME):
    """Everything about a project's memories but their ids."""
    return sorted(
        json.dumps({k: v for k, v in episode.items() if k != "uid"}, sort_keys=True)
        for episode in fake.of(project)
    )


@pytest.mark.parametrize(
    "text", ["2026-01-01T01:00:00.000100+01:00", "2026-01-01T00:00:00.000100Z"]
)
def test_a_moment_has_one_text(text):
    assert timestamp(text) == "2026-01-01T00:00:00.000100+00:00"


@pytest.mark.parametrize(("count", "ties", "page"), [(0, 0, 5), (5, 0, 5), (23, 0, 5), (40, 17, 5)])
def test_every_memory_is_listed_once_whatever_the_order_of_equal_times(servers, count, ties, page):
    if count:
        fill(servers[0], count=count, ties=ties)
    listed = [episode["uid"] for episode in reader(servers[0]).episodes(ACME, page=page)]
    assert sorted(listed) == sorted(servers[0].episodes)


def test_an_import_has_everything_of_every_project_but_the_probes(servers, tmp_path):
    source, target = servers
    fill(source, ties=12)
    fill(source, ("globex", "mail"), count=3)
    fill(source, ("memcloud", "probe"), count=1)
    source.projects["empty", "one"] = "Nothing in it yet"
    path, projects = export(source, tmp_path)
    assert [entry["episodic"] for entry in projects] == [25, 0, 3]
    assert bring_in(target, path, projects, tmp_path) == {"added": 28, "present": 0}
    assert what(target) == what(source)
    assert what(target, ("globex", "mail")) == what(source, ("globex", "mail"))
    assert target.projects["empty", "one"] == "Nothing in it yet"
    proved = prove_import(reader(target), path, projects, exact=True)
    assert [(entry["project"], entry["stored"]) for entry in proved][0] == ("chat", 25)


def test_what_a_project_has_switched_off_is_off_in_the_other_server(servers, tmp_path):
    source, target = servers
    fill(source)
    fill(source, ("globex", "mail"), count=3)
    source.switches[ACME] = {"long_term_memory_enabled": False}
    _path, projects = export(source, tmp_path)
    assert [entry["switched_off"] for entry in projects] == [["long_term_memory_enabled"], []]
    switch_off(reader(target), projects)
    assert target.switches == source.switches
    source.switches = None  # an older server
    assert export(source, tmp_path)[1][0]["switched_off"] == []


def test_two_equal_memories_stay_two(servers, tmp_path):
    source, target = servers
    for _ in range(2):
        fill(source, count=1)
    path, projects = export(source, tmp_path)
    bring_in(target, path, projects, tmp_path, size=1)
    assert len(target.episodes) == 2


def test_importing_again_stores_nothing_with_and_without_the_cursor(servers, tmp_path):
    source, target = servers
    fill(source, ties=5)
    path, projects = export(source, tmp_path)
    bring_in(target, path, projects, tmp_path)
    stored = set(target.episodes)
    assert bring_in(target, path, projects, tmp_path)["added"] == 25  # of the run before
    (tmp_path / "cursor.json").unlink()
    assert bring_in(target, path, projects, tmp_path) == {"added": 0, "present": 25}
    assert set(target.episodes) == stored


@pytest.mark.parametrize("how", ["before", "after", "500"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_request_that_ends_badly_stores_nothing_twice(
    servers, tmp_path, how, number, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    source, target = servers
    fill(source, ties=5)
    path, projects = export(source, tmp_path)
    target.cut_add = {number: how}
    bring_in(target, path, projects, tmp_path)
    assert what(target) == what(source)


@pytest.mark.parametrize("how", ["before", "after", "500"])
@pytest.mark.parametrize("before", [False, True])
def test_a_killed_import_goes_on_where_it_was(servers, tmp_path, how, before, monkeypatch):
    """All attempts of one batch end badly: what a killed process leaves."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    source, target = servers
    fill(source)
    if before:
        fill(target, count=2)  # two of them are there already
    path, projects = export(source, tmp_path)
    first = target.adds + 2
    target.cut_add = dict.fromkeys(range(first, first + 4), how)
    with pytest.raises(ApiError):
        bring_in(target, path, projects, tmp_path)
    kept = set(target.episodes)
    answer = bring_in(target, path, projects, tmp_path)
    assert what(target) == what(source)
    assert answer["added"] + answer["present"] == 25
    assert len(kept & set(target.episodes)) >= 10  # the first batch was not stored again


def test_a_run_that_was_killed_in_its_first_batch_has_begun(servers, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    source, target = servers
    fill(source)
    path, projects = export(source, tmp_path)
    target.cut_add = dict.fromkeys(range(1, 5), "after")
    assert not Cursor.load(str(tmp_path / "cursor.json"), file_sha256(path)).begun
    with pytest.raises(ApiError):
        bring_in(target, path, projects, tmp_path)
    assert Cursor.load(str(tmp_path / "cursor.json"), file_sha256(path)).begun


def test_a_clock_that_was_set_back_keeps_no_import_waiting(servers, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    source, target = servers
    fill(source)
    path, projects = export(source, tmp_path)
    cursor = Cursor.load(str(tmp_path / "cursor.json"), file_sha256(path))
    cursor.sending = time.time() + 86400  # of a run that was killed
    import_memories(reader(target), path, cursor, projects, size=10, settle=30)
    assert max(slept) == 30
    assert what(target) == what(source)


def test_memories_of_one_moment_are_sent_in_requests_of_bounded_size(servers, tmp_path):
    source, target = servers
    fill(source, count=250, ties=250)
    path, projects = export(source, tmp_path)
    target.cut_add = {2: "500"}
    bring_in(target, path, projects, tmp_path)
    assert target.most == 100
    assert what(target) == what(source)


def test_a_memory_that_the_model_does_not_take_is_named(servers, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    source, target = servers
    fill(source)
    path, projects = export(source, tmp_path)
    target.untaken = {"fact 13"}
    (uid,) = (uid for uid, e in source.episodes.items() if e["content"] == "fact 13")
    words = f"memory {uid} of acme/chat alone .2026-01-01T00:00:13.000100.00:00, 7 characters.. If"
    with pytest.raises(ApiError, match=words):
        bring_in(target, path, projects, tmp_path)
    # Its customer has deleted it.
    del source.episodes[uid]
    path, projects = export(source, tmp_path)
    bring_in(target, path, projects, tmp_path)
    assert {"fact 12", "fact 14"} < {episode["content"] for episode in target.of(ACME)}


def test_a_refused_request_is_not_tried_again(servers, tmp_path):
    source, target = servers
    fill(source)
    path, projects = export(source, tmp_path)
    target.api_memories = lambda project, body: (422, {"detail": "no"})
    with pytest.raises(ApiError, match="422"):
        bring_in(target, path, projects, tmp_path)


def feature(set_id, name, category="profile"):
    return {
        "set_id": set_id,
        "category": category,
        "tag": "Person",
        "feature_name": name,
        "value": f"value of {name}",
        "metadata": {"id": name, "other": {"a": "b"} if name == "tea" else None},
    }


def test_semantic_memories_are_carried_and_not_derived_again(servers, tmp_path):
    source, target = servers
    source.kinds["acme"] = [{"is_org_level": True, "tags": ["producer_id"], "name": "User"}]
    fill(source)
    user = source.set_id(ACME, True, {"producer_id": "user1"})
    own = source.set_id(ACME, False, {})
    found = [feature(user, "tea"), feature(user, "cup", "kitchen"), feature(own, "house")]
    source.features = {entry["feature_name"]: entry for entry in found}
    pending = frozenset(list(source.episodes)[:2])
    path, projects = export(source, tmp_path, pending=pending)
    assert projects[0]["semantic"] == 3
    for _ in range(2):
        bring_in(target, path, projects, tmp_path)
        (tmp_path / "cursor.json").unlink()

    def told(fake):
        return sorted((f["set_id"], f["category"], f["value"]) for f in fake.features.values())

    assert told(target) == told(source)
    assert sorted(target.derived) == ["fact 0", "fact 1"]
    assert target.kinds["acme"][0]["tags"] == ["producer_id"]
    prove_import(reader(target), path, projects, exact=True)


@pytest.mark.parametrize("producer", ["ada", "ada_producer_id_bob", "O'Neil \\ søn", "ada\nbob\n"])
def test_a_semantic_set_to_which_no_memory_leads_is_found_by_its_id(producer):
    def set_id(_project, _org_level, tags):
        return f"mem_user_set_org_acme_1_abc__producer_id_{tags['producer_id']}"

    kinds = [{"org_level": True, "tags": ["producer_id"]}]
    scope = {"producer_id": producer}
    server = types.SimpleNamespace(set_id=set_id)
    found = _scope_of(server, ACME, kinds, set_id(ACME, True, scope))
    assert dict(found) == scope


@pytest.mark.parametrize("harm", ["missing", "twice", "changed", "no_feature"])
def test_the_proof_sees_what_did_not_arrive(servers, tmp_path, harm):
    source, target = servers
    fill(source)
    source.features["tea"] = feature(source.set_id(ACME, False, {}), "tea")
    path, projects = export(source, tmp_path)
    bring_in(target, path, projects, tmp_path)
    uid = sorted(target.episodes)[3]
    if harm == "missing":
        del target.episodes[uid]
    elif harm == "twice":
        target.episodes["copy"] = {**target.episodes[uid], "uid": "copy"}
    elif harm == "changed":
        target.episodes[uid]["producer_id"] = "somebody"
    else:
        target.features.clear()
    with pytest.raises(PortableError):
        prove_import(reader(target), path, projects, exact=True)
    if harm == "twice":
        prove_import(reader(target), path, projects, exact=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: [*lines[:3], b'{"type": "epis', *lines[4:]], "byte"),
        (lambda lines: list(reversed(lines)), "ordered by time"),
        (lambda lines: [b'{"type": "episodic"}\n'], "no memory"),
    ],
)
def test_a_spoilt_archive_is_refused_in_words(servers, tmp_path, spoil, words):
    source, target = servers
    fill(source)
    path, projects = export(source, tmp_path)
    with open(path, "rb") as stream:
        lines = spoil(stream.readlines())
    with open(path, "wb") as stream:
        stream.writelines(lines)
    with pytest.raises(PortableError, match=words):
        bring_in(target, path, projects, tmp_path)


def test_projects_that_the_server_does_not_list_are_exported_when_they_are_named(servers, tmp_path):
    source, _target = servers
    fill(source)
    del source.projects[ACME]
    assert export(source, tmp_path)[1] == []
    assert export(source, tmp_path, more_projects=[ACME])[1][0]["episodic"] == 25


def test_a_project_that_is_being_deleted_is_left_out(servers, tmp_path, monkeypatch):
    source, target = servers
    fill(source)
    fill(source, ("acme", "deleted"))
    said = {
        "episodestore": ["acme/chat", "acme/deleted"],
        f"({BEING_DELETED}) AS deleted": ["acme/deleted"],
    }

    def sql(_job, query):
        table = query.partition(" FROM ")[2].partition(" WHERE true")[0]
        return json.dumps(said.get(table, []))

    monkeypatch.setattr(_update_data, "sql", sql)
    path = str(tmp_path / "memories.ndjson")
    job = types.SimpleNamespace(name="acme", held=True)
    projects = _update_data.write_memories(job, reader(source), path)
    assert [entry["project"] for entry in projects] == ["chat"]
    bring_in(target, path, projects, tmp_path)
    assert set(target.projects) == {ACME}
