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
options:
  platform:
    description: The platform's settings that all tenants of the node share, as JSON.
    type: str
    required: true
  tenants:
    description: The tenants of this node, without a secret, as JSON.
    type: str
    required: true
  purge:
    description: Whether deleted tenants lose their volumes and records too.
    type: bool
    default: false
  settle:
    description:
      - Whether what the node decided since counts no longer, that is, that it put a tenant to sleep
        or that a request woke it. What the entry says is brought about.
    type: bool
    default: false
  elsewhere:
    description:
      - What becomes of the tenants on the node that they are on, when this is another one. Only what
        they left here counts then, and tenants that left nothing are passed over.
      - C(lives) spares restore points in a folder that several nodes may share, C(purged) does not.
    type: str
    choices: ["", lives, purged]
    default: ""
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
requirements:
  - Docker SDK for Python on the node (the node's virtual environment carries it)
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
