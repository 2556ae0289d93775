# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor found, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import aligned

_ORDER = {"error": 0, "warning": 1, "ok": 2}


def in_order(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The worst first, then by node and tenant."""
    return sorted(
        (dict(finding) for finding in findings),
        key=lambda f: (_ORDER[f["level"]], f.get("node", ""), f["subject"], f["check"]),
    )


def counts(findings: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of each level."""
    summary = dict.fromkeys(_ORDER, 0)
    for finding in findings:
        summary[finding["level"]] += 1
    return summary


def table(findings: Sequence[Mapping[str, Any]], verbose: bool = False) -> str:
    """A line for each thing that is wrong with what to do below it, and how much was fine.

    :param verbose: with a line for each thing that is fine, too.
    """
    lines = []
    shown = [f for f in findings if verbose or f["level"] != "ok"]
    heads = aligned([(f["level"].upper(), _subject(f), f["check"] + ":") for f in shown])
    for head, finding in zip(heads, shown):
        lines.append(f"{head} {finding['what']}")
        if finding.get("advice"):
            lines.append(f"    -> {finding['advice']}")
    summary = counts(findings)
    if summary["error"] or summary["warning"]:
        words = f"{summary['error']} errors, {summary['warning']} warnings, {summary['ok']} fine"
    else:
        words = f"Nothing is wrong: {summary['ok']} things were looked at."
    return "\n".join([*lines, words])


def _subject(finding: Mapping[str, Any]) -> str:
    node, tenant = finding.get("node") or "", finding["subject"]
    return f"{node}/{tenant}" if node and tenant else node or tenant
