"""The report of a deletion says what is gone, kept, left and locked."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._deletion_report import in_words


def report(**changes: Any) -> dict[str, Any]:
    return {
        "tenant": "acme",
        "uid": "0123456789abcdef",
        "hostname": "acme.example.com",
        "owner": "",
        "node": "node1",
        "at": "2026-11-21T12:00:00Z",
        "by": "ann@desk",
        "purged": True,
        "purge_after": None,
        "gone": [{"kind": "volume", "name": "mc-acme-01234567-neo4j", "bytes": 3 * 1024**2}],
        "left": [],
        "locked": [],
        **changes,
    }


def test_a_purge() -> None:
    text = in_words(report())
    assert "volume  mc-acme-01234567-neo4j  3.0M" in text
    assert "Nothing: everything was looked up again." in text


def test_what_is_locked_is_told_with_the_answer_of_its_place() -> None:
    locked = [{"kind": "restore points", "name": "s3:x", "why": "until 2027: AccessDenied"}]
    text = in_words(report(locked=locked))
    assert text.index("Under lock") < text.index("until 2027: AccessDenied")


def test_kept_data_has_a_date() -> None:
    text = in_words(report(purged=False, purge_after="2026-12-21T12:00:00Z"))
    assert "kept until  2026-12-21T12:00:00Z" in text
    assert "Under lock" not in text


def test_what_nobody_could_see_is_told() -> None:
    unknown = [{"kind": "object versions", "name": "s3:x", "why": "AccessDenied"}]
    text = in_words(report(unknown=unknown))
    assert text.index("Not known") < text.index("AccessDenied")
    assert "Not known" not in in_words(report(unknown=[]))


def test_what_was_on_another_node_is_told_with_it() -> None:
    gone = [{"kind": "volume", "name": "mc-acme-01234567-neo4j", "node": "node2"}]
    unknown = [{"kind": "node", "name": "node3", "why": "node node3 cannot be reached"}]
    text = in_words(report(gone=gone, unknown=unknown))
    assert "volume  mc-acme-01234567-neo4j    on node2" in text
    assert "Nothing that was seen." in text and "everything was looked up" not in text
    assert text.index("Not known") < text.index("node node3 cannot be reached")
