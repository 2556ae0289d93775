# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a node for many tenants in parts, so that a long run says how far it is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import all_failed

display = Display()
_USUAL_PART = 8


def call_in_parts(
    batch: Mapping[str, Any],
    tenants: list[dict[str, Any]],
    ask: Callable[[list[dict[str, Any]]], tuple[dict[str, Any], str]],
    line: Callable[[Mapping[str, Any]], str],
) -> dict[str, dict[str, Any]]:
    """What a node's module answers about each tenant, by name; failures are entries.

    :param ask: calls the module for some of the tenants; returns its answer and what went wrong.
    :param line: what a person wants to read about one entry.
    """
    entries: dict[str, dict[str, Any]] = {}
    # Of the same size: what a part does last, it does alone.
    usual = max(_USUAL_PART, 2 * int(batch["platform"]["parallelism"]))
    count = max(1, round(len(tenants) / usual))
    bounds = [len(tenants) * number // count for number in range(count + 1)]
    for start, end in itertools.pairwise(bounds if tenants else []):
        part = tenants[start:end]
        answer, problem = ask(part)
        for entry in all_failed(part, problem) if problem else answer["tenants"]:
            entries[entry["tenant"]] = entry
            so_far = f"{len(entries)}/{len(tenants)}"
            said = "failed" if entry.get("error") else line(entry)
            display.display(f"  {so_far} {entry['tenant']}: {said}")
    return entries


def by_tenant(values: Mapping[str, Any], tenants: list[dict[str, Any]]) -> str:
    """The entries of these tenants, as JSON for a module's argument."""
    return json.dumps({tenant["tenant"]: values[tenant["tenant"]] for tenant in tenants})
