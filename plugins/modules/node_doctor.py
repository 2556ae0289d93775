#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_doctor
short_description: Find out what is wrong with a node and its tenants
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Looks at the engine, disk, clock, firewall, edge, gate, images, locks and leftovers of a node,
    and at drift, secrets, certificate, keys, restore points and memory of its tenants. Nothing is
    changed, but for a memory that is stored, found and deleted again in a project of its own.
  - Called by the action plugin M(memcloud.memmachine.fleet_doctor), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
options:
  probe_keys:
    description: By tenant the key of its memory round trip, as JSON; without one there is none.
    type: str
    default: "{}"
  complete:
    description: Whether these are all tenants of the node, so that what else is there is nobody's.
    type: bool
    default: false
  elsewhere:
    description: By uid the nodes of the inventory's other tenants, as JSON.
    type: str
    default: "{}"
  controller_time:
    description: Seconds since the epoch at the controller.
    type: float
    default: 0
attributes:
  check_mode:
    description: It changes nothing that lasts.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look at a node
  memcloud.memmachine.node_doctor:
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
    complete: true
"""

RETURN = r"""
findings:
  description:
    - The worst first; each with C(level) (error, warning, ok), C(subject) (a tenant, or empty for
      the node), C(check), C(what) and C(advice).
  type: list
  elements: dict
  returned: always
"""

import functools
import json
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._deploy import TenantNode
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor import (
    Check,
    as_result,
    examine,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor_node import NodeDoctor
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor_tenant import (
    TenantDoctor,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look at the node and at its tenants."""
    given = module.params
    node = TenantNode(json.loads(given["platform"]), "doctor")
    tenants = {tenant["tenant"]: tenant for tenant in json.loads(given["tenants"])}
    keys = json.loads(given["probe_keys"])
    whole = (given["complete"], given["controller_time"], json.loads(given["elsewhere"]))
    checks = NodeDoctor(node, tenants, *whole).checks()
    try:
        for plan in node.plan(tenants.values()):
            tenant = tenants[plan.tenant]
            checks += TenantDoctor(node, tenant, plan, keys.get(plan.tenant, "")).checks()
    except (MemcloudError, OSError) as error:
        # An engine that is down, say. What is wrong with the node may be why.
        checks.append(Check("", "tenants", functools.partial(_fail, error)))
    return {"changed": False, "findings": as_result(examine(checks))}


def _fail(error: Exception) -> Iterator[tuple[str, str, str]]:
    raise error


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "platform": {"type": "str", "required": True},
                "tenants": {"type": "str", "required": True},
                "probe_keys": {"type": "str", "default": "{}", "no_log": True},
                "complete": {"type": "bool", "default": False},
                "elsewhere": {"type": "str", "default": "{}"},
                "controller_time": {"type": "float", "default": 0},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
