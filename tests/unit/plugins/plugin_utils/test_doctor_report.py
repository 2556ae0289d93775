"""Findings for people: the worst first, each with what to do."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._doctor_report import (
    counts,
    in_order,
    table,
)


def finding(level: str, subject: str = "", advice: str = "") -> dict[str, Any]:
    made = {"node": "node1", "level": level, "subject": subject, "check": "disk"}
    return {**made, "what": f"{level} it is", "advice": advice}


def test_a_table_names_what_to_do_and_leaves_out_what_is_fine() -> None:
    found = in_order([finding("ok"), finding("warning", "acme", "renew it"), finding("error")])
    assert [f["level"] for f in found] == ["error", "warning", "ok"]
    assert counts(found) == {"error": 1, "warning": 1, "ok": 1}
    lines = table(found).splitlines()
    assert lines[0].startswith("ERROR    node1       disk:")
    assert lines[1].startswith("WARNING  node1/acme  disk:")
    assert lines[2:] == ["    -> renew it", "1 errors, 1 warnings, 1 fine"]
    assert "ok it is" in table(found, verbose=True)


def test_nothing_wrong_is_said_in_words() -> None:
    assert table([finding("ok")]) == "Nothing is wrong: 1 things were looked at."
