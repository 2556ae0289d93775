# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a node for many tenants in parts, so that a long run says how far it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import failure_of

display = Display()
_SMALLEST_PART = 8


def call_in_parts(
    batch: Mapping[str, Any],
    tenants: list[dict[str, Any]],
    call: Callable[[list[dict[str, Any]]], dict[str, Any]],
    line: Callable[[Mapping[str, Any]], str],
) -> dict[str, dict[str, Any]]:
    """What a node's module answers about each tenant, by name; failures are entries.

    :param call: calls the module for some of the tenants.
    :param line: what a person wants to read about one entry.
    """
    entries: dict[str, dict[str, Any]] = {}
    size = max(_SMALLEST_PART, 2 * int(batch["platform"]["parallelism"]))
    for start in range(0, len(tenants), size):
        for entry in _part(batch, tenants[start : start + size], call):
            entries[entry["tenant"]] = entry
            count = f"{len(entries)}/{len(tenants)}"
            said = "failed" if entry.get("error") else line(entry)
            display.display(f"  {count} {entry['tenant']}: {said}")
    return entries


def _part(
    batch: Mapping[str, Any],
    tenants: list[dict[str, Any]],
    call: Callable[[list[dict[str, Any]]], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    try:
        answer = call(tenants)
        problem = failure_of(batch["node"], answer)
    except AnsibleConnectionFailure as error:
        answer, problem = {}, f"node {batch['node']} cannot be reached: {error}"
    if not problem:
        yield from answer["tenants"]
        return
    for tenant in tenants:
        yield {"tenant": tenant["tenant"], "error": f"{tenant['tenant']}: {problem}"}


def by_tenant(values: Mapping[str, Any], tenants: list[dict[str, Any]]) -> str:
    """The entries of these tenants, as JSON for a module's argument."""
    return json.dumps({tenant["tenant"]: values[tenant["tenant"]] for tenant in tenants})
