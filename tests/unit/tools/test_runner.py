"""What tools/test.py says of a part whose tests were skipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools/test.py"
QUICKSTART = "a quickstart is in use on this machine (/x): `make clean` takes it away"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tools_test", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path)
    return module.Runs()


def said(capsys):
    """The words, without the times."""
    lines = capsys.readouterr().out.splitlines()
    return [line.partition("] ")[2].replace("(0 s)", "()") for line in lines]


def test_all_passed(runs, capsys):
    assert runs.run("part", ["echo", "3 passed in 1s"]) is True
    assert runs.end() == 0
    assert said(capsys) == ["part started", "part passed ()", "all passed"]


def test_a_part_of_which_all_was_skipped_has_failed(runs, capsys):
    text = "SKIPPED [1] tests/a.py:3: no node\nSKIPPED [2] tests/b.py:4: no node\n3 skipped in 1s"
    assert runs.run("part", ["echo", text]) is False
    assert runs.end() == 1
    assert said(capsys) == [
        "part started",
        "part SKIPPED: no node",
        "SKIPPED in part: no node",
        "FAILED: part",
    ]


def test_a_quickstart_in_use_is_an_excuse_and_said_loudly(runs, capsys):
    text = f"SKIPPED [6] tests/quickstart/test_quickstart.py:57: {QUICKSTART}\n6 skipped in 1s"
    assert runs.run("quickstart", ["echo", text]) is True
    assert runs.end() == 0
    assert said(capsys) == [
        "quickstart started",
        f"quickstart SKIPPED: {QUICKSTART}",
        f"SKIPPED in quickstart: {QUICKSTART}",
        "all passed but what was SKIPPED, see above",
    ]


def test_what_a_passed_part_skipped_is_said(runs, capsys):
    text = "SKIPPED [1] tests/a.py:3: no IPv6: here\n5 passed, 1 skipped in 1s"
    assert runs.run("part", ["echo", text]) is True
    assert runs.end() == 0
    assert said(capsys) == [
        "part started",
        "part passed (), but for what was skipped: no IPv6: here",
        "SKIPPED in part: no IPv6: here",
        "all passed but what was SKIPPED, see above",
    ]


def test_errors_of_a_part_that_failed_are_the_last_words_too(runs, capsys):
    script = "echo 'E   assert 1 == 2'; echo 'more of it'; exit 1"
    assert runs.run("early", ["sh", "-c", script]) is False
    assert runs.run("later", ["echo", "3 passed in 1s"]) is True
    assert runs.end() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("] ")[2] or line for line in lines[-3:]] == [
        "why early failed:",
        "E   assert 1 == 2",
        "FAILED: early",
    ]
