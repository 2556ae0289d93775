# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a node and its tenants, and what to do about each. Changes nothing.

What is looked at is in ``_doctor_node.py`` and ``_doctor_tenant.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

OK, WARNING, ERROR = "ok", "warning", "error"
_THREADS = 16


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :param subject: a tenant's name, or "" for the node itself.
    :param check: what was looked at, in a word or two.
    :param what: what was found.
    :param advice: what to do about it; empty when all is well.
    """

    level: str
    subject: str
    check: str
    what: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain data for a module's result."""
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """One look at one subject: gives what is wrong, and what was fine when nothing is."""

    subject: str
    name: str
    look: Callable[[], Iterator[tuple[str, str, str]]]
    fine: str = "as it should be"


def examine(checks: Iterable[Check]) -> list[Finding]:
    """Look at everything, side by side; a look that fails is a finding, too."""

    def one(check: Check) -> list[Finding]:
        found: list[Finding] = []
        try:
            for level, what, advice in check.look():
                found.append(Finding(level, check.subject, check.name, what, advice))
        except (MemcloudError, OSError, ValueError, KeyError, TypeError) as error:
            what = f"could not be looked at: {error}"
            advice = "see the message; the other checks went on"
            found.append(Finding(ERROR, check.subject, check.name, what, advice))
        return found or [Finding(OK, check.subject, check.name, check.fine)]

    with ThreadPoolExecutor(_THREADS) as pool:
        return [finding for findings in pool.map(one, checks) for finding in findings]


def as_result(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data, the worst first."""
    order = {ERROR: 0, WARNING: 1, OK: 2}
    return [f.as_dict() for f in sorted(findings, key=lambda f: (order[f.level], f.subject))]
