# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every operation on tenants, by its name. One line each, in alphabetical order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import (
    Backup,
    Depart,
    PlanDepart,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._check_storage import (
    CheckStorage,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Operation,
    operate,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore import (
    PlanRestore,
    Restore,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._sleep import Sleep
from ansible_collections.memcloud.memmachine.plugins.module_utils._transfer import (
    Export,
    Import,
    Reembed,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update import (
    PlanRollback,
    PlanUpdate,
    Rollback,
    Update,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._verify import Verify

_ALL: tuple[Operation, ...] = (
    Backup(),
    CheckStorage(),
    Depart(),
    Export(),
    Import(),
    PlanDepart(),
    PlanRestore(),
    PlanRollback(),
    PlanUpdate(),
    Reembed(),
    Restore(),
    Rollback(),
    Sleep(),
    Update(),
    Verify(),
)


def operations() -> dict[str, Operation]:
    """Every operation by its name."""
    return {operation.name: operation for operation in _ALL}


def operate_tenants(given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What the module tenant_operate returns."""
    if check_mode:
        return {"changed": False, "tenants": []}
    known = operations()
    if given["operation"] not in known:
        raise MemcloudError(
            f"there is no operation {given['operation']}; there are {', '.join(sorted(known))}"
        )
    answers = operate(
        Node(json.loads(given["platform"]), given["owner"]),
        known[given["operation"]],
        json.loads(given["tenants"]),
        json.loads(given["secrets"]),
        json.loads(given["params"]),
        json.loads(given["private"]),
    )
    return {"changed": any(answer["changed"] for answer in answers), "tenants": answers}
