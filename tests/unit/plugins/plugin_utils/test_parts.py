# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants of a node are worked on in parts, and every one of them is answered for."""

from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._parts import call_in_parts


@pytest.mark.parametrize(
    ("count", "parallelism", "sizes"),
    [
        (0, 4, []),
        (1, 4, [1]),
        (8, 4, [8]),
        (11, 4, [11]),
        (12, 4, [6, 6]),
        (20, 4, [10, 10]),
        (100, 4, [8, 8, 9] * 4),
        (100, 16, [33, 33, 34]),
    ],
)
def test_parts_are_of_about_the_same_size(
    count: int, parallelism: int, sizes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def ask(part):
        asked.append(len(part))
        return {"tenants": part}, ""

    tenants = [{"tenant": f"t{number}"} for number in range(count)]
    batch = {"platform": {"parallelism": parallelism}}
    entries = call_in_parts(batch, tenants, ask, lambda _entry: "fine")
    assert asked == sizes
    assert list(entries) == [tenant["tenant"] for tenant in tenants]


def test_a_part_that_could_not_be_asked_is_an_error_of_each_tenant() -> None:
    tenants = [{"tenant": f"t{number}"} for number in range(20)]
    answers = iter([({}, "the node is gone"), ({"tenants": tenants[10:]}, "")])
    batch = {"platform": {"parallelism": 1}}
    entries = call_in_parts(batch, tenants, lambda _part: next(answers), lambda _entry: "fine")
    assert [bool(entry.get("error")) for entry in entries.values()] == [True] * 10 + [False] * 10
    assert entries["t3"]["error"] == "t3: the node is gone"
