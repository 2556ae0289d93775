"""The journal and the registry of a node: what they keep, and what they survive."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState

TENANT = {
    "tenant": "acme",
    "uid": "0123456789abcdef",
    "owner": "ada@example.com",
    "tier": "free",
    "node": "node1",
    "endpoint": "https://acme.example.com",
    "version": "0.4.0",
    "state": "running",
}
SECRETS = {"postgres_app": "Xy12345678secret", "model_api_key": ""}
RUN = {"who": "ben@desk", "playbook": "deploy_tenant", "job": "77"}


@pytest.fixture
def node(tmp_path):
    for name in ("tenants/acme", "gate/activity"):
        (tmp_path / name).mkdir(parents=True)
    return NodeState(str(tmp_path))


def journal(node, **platform):
    return Journal(node, {"run": RUN, **platform})


def record(node, **values):
    known = {"uid": TENANT["uid"], "state": "running", "created": "2026-01-01T00:00:00Z"}
    node.write_tenant("acme", {"tier": "free", "version": "0.4.0", **known, **values})


def test_what_check_mode_was_refused_is_no_event_and_no_error_of_the_tenant(node):
    """rollback_tenant --check of a tenant that has nothing to go back to, say."""
    record(node)
    assert journal(node).note(TENANT, SECRETS, "deploy", ["container is missing"])
    before = journal(node).entries(), journal(node).registry()
    looks = journal(node, run={**RUN, "check": True})
    assert not looks.note(TENANT, SECRETS, "rollback_plan", [], "acme: nothing is kept")
    assert (journal(node).entries(), journal(node).registry()) == before


def test_what_was_done_is_told_with_who_and_how_long(node):
    record(node)
    assert journal(node).note(TENANT, SECRETS, "deploy", ["network is missing", "b"], "", 12.34)
    (entry,) = journal(node).entries()
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "who": "ben@desk",
        "playbook": "deploy_tenant",
        "job": "77",
        "tenant": "acme",
        "uid": TENANT["uid"],
        "operation": "deploy",
        "change": "network is missing; b",
        "result": "done",
        "error": "",
        "seconds": 12.3,
    }


def test_a_note_of_the_keeper_is_taken_over_once_and_a_damaged_one_dropped(node):
    notes = pathlib.Path(node.path("notes"))
    notes.mkdir()
    note = {"at": "2026-02-02T00:00:00Z", "who": "keeper", "tenant": "acme", "uid": TENANT["uid"]}
    note |= {"operation": "wake", "change": "a request came", "result": "done", "seconds": 6.2}
    (notes / "1.json").write_text("{")
    # As after a run that was killed before it could remove what it had taken over.
    for name in ("2.json", "3.json"):
        (notes / name).write_text(json.dumps(note))
    record(node)
    journal(node).note(TENANT, SECRETS, "pause", ["x"])
    wake, pause = journal(node).entries()
    assert wake == {**note, "playbook": "", "job": "", "error": ""}
    assert pause["operation"] == "pause"
    assert list(notes.iterdir()) == []


def test_rows_of_others_do_not_push_out_those_that_are_asked_for(node):
    record(node)
    journal(node).note(TENANT, SECRETS, "pause", ["x"])
    for number in range(3):
        other = {**TENANT, "tenant": "globex", "uid": f"{number:016x}"}
        journal(node).note(other, SECRETS, "deploy", ["x"])
    assert [row["tenant"] for row in journal(node).entries(limit=2)] == ["globex", "globex"]
    rows = journal(node).entries(names=["acme", "initech"], limit=2)
    assert [(row["tenant"], row["operation"]) for row in rows] == [("acme", "pause")]


def test_notes_wait_where_the_journal_cannot_be_written(node):
    notes = pathlib.Path(node.path("notes"))
    notes.mkdir()
    (notes / "1.json").write_text(json.dumps({"at": "2026-02-02T00:00:00Z", "who": "keeper"}))
    os.mkdir(node.path("registry.sqlite"))
    assert journal(node).entries() == []
    assert [path.name for path in notes.iterdir()] == ["1.json"]


def test_the_registry_says_what_the_tenant_is(node):
    record(node, version="0.3.9")
    activity = {"uid": TENANT["uid"], "last_activity": "2026-02-02T00:00:00Z"}
    pathlib.Path(node.path("gate", "activity", "acme.json")).write_text(json.dumps(activity))
    images = {"postgres": {"version": "17.12"}, "memmachine": {}}
    pathlib.Path(node.path("images.json")).write_text(json.dumps(images))
    journal(node).note(TENANT, SECRETS, "deploy", ["x"])
    (row,) = journal(node).registry()
    assert row["versions"] == {"memmachine": "0.3.9", "postgres": "17.12"}
    assert row["last_activity"] == "2026-02-02T00:00:00Z"
    assert (row["state"], row["owner"], row["node"]) == ("running", "ada@example.com", "node1")
    assert row["created"] == "2026-01-01T00:00:00Z" and row["deleted"] is None


@pytest.mark.parametrize(
    "left",
    ["", "\0" * 9, '{"uid": "other", "last_activity": "x"}'],
    ids=["empty", "zeros", "another tenant's"],
)
def test_what_the_gate_noted_and_a_loss_of_power_took_hides_no_tenant(node, left):
    record(node)
    pathlib.Path(node.path("gate", "activity", "acme.json")).write_text(left)
    journal(node).note(TENANT, SECRETS, "deploy", ["x"])
    (row,) = journal(node).registry()
    assert (row["state"], row["last_activity"]) == ("running", None)


@pytest.mark.parametrize(
    ("recorded", "wanted", "error", "state_word"),
    [
        ("running", "running", "", "running"),
        ("running", "running", "no room", "running"),  # brought back, serving
        ("deploying", "running", "no room", "error"),
        ("updating", "running", "no room", "error"),
        ("paused", "paused", "", "paused"),
        ("deleted", "deleted", "", "deleted"),
        (None, "running", "no room", "error"),
        (None, "deleted", "", "deleted"),
    ],
)
def test_the_state_is_one_of_the_design(node, recorded, wanted, error, state_word):
    if recorded:
        record(node, state=recorded)
    journal(node).note({**TENANT, "state": wanted}, SECRETS, "deploy", [], error)
    (row,) = journal(node).registry()
    assert row["state"] == state_word and row["error"] == error
    assert (row["deleted"] is not None) == (state_word == "deleted")


def test_a_purged_tenant_keeps_its_row_and_the_time_of_its_deletion(node):
    record(node, state="deleted", deleted="2026-03-03T00:00:00Z")
    journal(node).note({**TENANT, "state": "deleted"}, SECRETS, "delete", ["x"])
    os.unlink(node.path("tenants", "acme", "state.json"))
    journal(node).note({**TENANT, "state": "deleted"}, SECRETS, "delete", ["volumes"])
    (row,) = journal(node).registry()
    assert (row["created"], row["deleted"]) == ("2026-01-01T00:00:00Z", "2026-03-03T00:00:00Z")


def test_no_secret_gets_in(node):
    words = f"password {SECRETS['postgres_app']} was refused"
    journal(node).note(TENANT, SECRETS, "deploy", [words], words)
    with open(journal(node).path, "rb") as stream:
        assert SECRETS["postgres_app"].encode() not in stream.read()
    assert journal(node).entries()[0]["error"] == "password *** was refused"


@pytest.mark.parametrize("statement", ["DELETE FROM journal", "UPDATE journal SET error = ''"])
def test_what_is_in_the_journal_stays(node, statement):
    journal(node).note(TENANT, SECRETS, "deploy", ["x"])
    database = sqlite3.connect(journal(node).path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)
    database.close()


def test_a_lost_registry_is_filled_from_the_records(node):
    record(node, state="paused")
    journal(node).rebuild([TENANT])
    journal(node).rebuild([TENANT])
    (row,) = journal(node).registry()
    assert (row["state"], row["created"]) == ("paused", "2026-01-01T00:00:00Z")
    assert journal(node).entries() == []


def test_a_rebuild_keeps_the_error_of_the_last_run(node):
    record(node, state="updating")
    journal(node).note(TENANT, SECRETS, "update", [], "the image is missing")
    journal(node).rebuild([TENANT])
    assert journal(node).registry()[0]["error"] == "the image is missing"


@pytest.mark.parametrize("harm", ["garbage", "middle", "gone", "empty"])
def test_a_broken_file_is_put_aside_and_a_new_one_begun(node, harm):
    for _ in range(50):
        journal(node).note(TENANT, SECRETS, "deploy", ["x" * 500])
    path = journal(node).path
    with open(path, "rb") as stream:
        raw = stream.read()
    broken = {
        "garbage": b"nonsense" * 1000,
        "middle": raw[:4096] + b"\xff" * (len(raw) - 4096),
        "gone": None,
        "empty": b"",
    }[harm]
    os.unlink(path)
    if broken is not None:
        with open(path, "wb") as stream:
            stream.write(broken)
    assert journal(node).note(TENANT, SECRETS, "deploy", ["again"])
    assert journal(node).entries()[-1]["change"] == "again"
    aside = [name for name in os.listdir(node.data_dir) if ".broken-" in name]
    assert len(aside) == (1 if harm in ("garbage", "middle") else 0)


def test_a_file_that_cannot_be_written_fails_nothing(node, monkeypatch):
    monkeypatch.setattr(
        "ansible_collections.memcloud.memmachine.plugins.module_utils._journal.FILE", "no/such"
    )
    assert not journal(node).note(TENANT, SECRETS, "deploy", ["x"])
    assert journal(node).entries() == [] and journal(node).registry() == []


_WRITER = """
    import resource, signal, sys
    from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
    from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
    journal = Journal(NodeState(sys.argv[1]), {"run": {}})
    tenant, count = eval(sys.argv[2]), int(sys.argv[3])
    if sys.argv[4] != "-":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
    for number in range(count):
        print(int(journal.note(tenant, {}, "deploy", [str(number)])), flush=True)
"""


def writer(node, count, bound="-"):
    arguments = [node.data_dir, repr(TENANT), str(count), str(bound)]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_what_was_written_before_a_kill_is_there_and_the_next_one_goes_on(node):
    process = writer(node, 100_000)
    told = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert told == ["1\n"] * 20
    kept = journal(node).entries()
    assert len(kept) >= 20
    assert [entry["change"] for entry in kept] == [str(number) for number in range(len(kept))]
    assert journal(node).note(TENANT, {}, "deploy", ["next"])


def test_a_full_disk_loses_the_row_and_nothing_else(node):
    for number in range(40):
        journal(node).note(TENANT, {}, "deploy", [f"{number} " + "x" * 900])
    before = journal(node).entries()
    bound = os.path.getsize(journal(node).path)
    process = writer(node, 60, bound)
    told = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0 and told[-1] == "0"
    kept = journal(node).entries()
    assert kept[: len(before)] == before and len(kept) == len(before) + told.count("1")


def test_many_write_at_once(node):
    processes = [writer(node, 15) for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=120)[0].split() == ["1"] * 15
    assert len(journal(node).entries()) == 60


def test_since_leaves_out_what_is_older(node):
    journal(node).note(TENANT, {}, "deploy", ["x"])
    assert journal(node).entries("2999-01-01") == []
    assert len(journal(node).entries("2020-01-01")) == 1
