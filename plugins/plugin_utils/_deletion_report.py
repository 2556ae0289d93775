# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a deletion for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import aligned, size

_ALL_SEEN = "Nothing: everything was looked up again."


def in_words(report: Mapping[str, Any]) -> str:
    """A page that says what was there, what is gone, what is left, and what is locked."""
    kind = "Deletion" if report["purged"] else "Deletion with kept data"
    facts = [
        ("tenant", report["tenant"]),
        ("uid", report["uid"]),
        ("owner", report.get("owner") or "-"),
        ("hostname", report["hostname"]),
        ("node", report.get("node", "-")),
        ("at", report["at"]),
        ("by", report["by"]),
    ]
    if report.get("purge_after"):
        facts.append(("kept until", report["purge_after"]))
    lines = [f"{kind} of tenant {report['tenant']}", "", *aligned(facts)]
    lines += _part("Gone", report["gone"], "Nothing was there.")
    if report["purged"]:
        seen = "Nothing that was seen." if report.get("unknown") else _ALL_SEEN
        lines += _part("Left", report["left"], seen)
        lines += _part("Under lock", report.get("locked") or (), "Nothing.")
        if report.get("unknown"):
            lines += _part("Not known", report["unknown"], "")
        lines += [
            "",
            "The journal of the node keeps what was done and when, and no memory. Copies that",
            "others made (backups of machines, logs sent elsewhere) are not covered by this.",
        ]
    else:
        lines += _part("Kept", report["left"], "Nothing.")
    return "\n".join(lines) + "\n"


def _part(title: str, things: Sequence[Mapping[str, Any]], otherwise: str) -> list[str]:
    rows = [
        (
            thing["kind"],
            thing["name"],
            size(thing["bytes"]) if thing.get("bytes") else "",
            f"on {thing['node']}" if thing.get("node") else "",
        )
        for thing in things
    ]
    body = aligned(rows) if rows else [otherwise]
    whys = [f"  {thing['why']}" for thing in things if thing.get("why")]
    return ["", title, *("  " + line for line in body), *whys]
