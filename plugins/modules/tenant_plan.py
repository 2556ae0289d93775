#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_plan
short_description: Compare many tenants of a node with what they should be
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads every container, network, volume and file of the platform on a node once and compares
    it with the desired state of the given tenants. Nothing is changed.
  - Called by the action plugin M(memcloud.memmachine.fleet_plan), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
  - memcloud.memmachine.tenants.comparison
options:
  owner:
    description: Who runs this, for locks.
    type: str
    default: unknown
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: Each tenant's differences come as before and after.
    support: full
"""

EXAMPLES = r"""
- name: Compare the tenants of a node
  memcloud.memmachine.tenant_plan:
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
"""

RETURN = r"""
tenants:
  description: For each tenant that is not as it should be, its name, what differs in words and as a diff, and an error if any.
  type: list
  elements: dict
  returned: always
checked:
  description: How many tenants were compared.
  type: int
  returned: always
missing_versions:
  description: Server versions that tenants want and the node has no image of.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._calls import CALLS
from ansible_collections.memcloud.memmachine.plugins.module_utils._deploy import plan_tenants
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run_call


def main() -> None:
    """Module entry."""
    run_call(
        AnsibleModule(
            argument_spec=dict(CALLS["tenant_plan"].arguments),
            supports_check_mode=True,
        ),
        plan_tenants,
    )


if __name__ == "__main__":
    main()
