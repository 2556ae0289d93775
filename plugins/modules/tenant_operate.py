#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_operate
short_description: Carry out an operation on tenants of a node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Works on the given tenants, several at a time, each under its lock.
  - One tenant's failure is reported and does not stop the others. A tenant whose operation failed
    is brought back to what it was.
  - Called by the action plugin M(memcloud.memmachine.fleet_operate), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
options:
  operation:
    description: Name of the operation.
    type: str
    required: true
  secrets:
    description: The secrets of these tenants by tenant, as JSON.
    type: str
    required: true
  params:
    description: What the operation is told, by tenant, as JSON.
    type: str
    default: "{}"
  private:
    description: The part of it that must not be shown, by tenant, as JSON.
    type: str
    default: "{}"
  owner:
    description: Who runs this, for locks.
    type: str
    default: unknown
attributes:
  check_mode:
    description: Does nothing in check mode.
    support: none
  diff_mode:
    description: Operations say in their results what they did.
    support: none
"""

EXAMPLES = r"""
- name: Work on tenants
  memcloud.memmachine.tenant_operate:
    operation: backup
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
    secrets: "{{ secrets_json }}"
"""

RETURN = r"""
tenants:
  description:
    - For each tenant its name, whether it changed, the seconds of each step, what the operation
      reports, and an error if any, with the server version and embedding model that its memories
      are of (C(recorded)).
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._calls import CALLS
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run_call
from ansible_collections.memcloud.memmachine.plugins.module_utils._operations import operate_tenants


def main() -> None:
    """Module entry."""
    run_call(
        AnsibleModule(
            argument_spec=dict(CALLS["tenant_operate"].arguments),
        ),
        operate_tenants,
    )


if __name__ == "__main__":
    main()
