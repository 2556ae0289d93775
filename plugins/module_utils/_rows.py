# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of what a node knows of its tenants: registry, journal, numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._journal import Journal
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._stats import tenant_stats


def read_rows(given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What the module tenant_read returns."""
    platform, tenants = (json.loads(given[name]) for name in ("platform", "tenants"))
    if given["about"] == "stats":
        return {"changed": False, "rows": tenant_stats(platform, tenants)}
    journal = Journal(NodeState(platform["data_dir"]), platform)
    if given["about"] == "journal":
        return {"changed": False, "rows": journal.entries(given["since"], given["only"])}
    if not check_mode:
        journal.rebuild(tenants)
    return {"changed": False, "rows": journal.registry()}
