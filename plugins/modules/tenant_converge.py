#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_converge
short_description: Bring tenants of a node to what they should be, and prove it
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Brings about what differs for the given tenants, several at a time, and proves each running
    one by a memory round trip through the edge.
  - One tenant's failure is reported and does not stop the others.
  - Called by the action plugin M(memcloud.memmachine.fleet_converge), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
  - memcloud.memmachine.tenants.comparison
options:
  owner:
    description: Who runs this, for locks.
    type: str
    default: unknown
  secrets:
    description: The secrets of these tenants by tenant, as JSON.
    type: str
    required: true
attributes:
  check_mode:
    description: Does nothing in check mode; M(memcloud.memmachine.tenant_plan) says what it would.
    support: none
  diff_mode:
    description: Each tenant's differences come as before and after; secrets never.
    support: full
"""

EXAMPLES = r"""
- name: Converge tenants
  memcloud.memmachine.tenant_converge:
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
    secrets: "{{ secrets_json }}"
"""

RETURN = r"""
tenants:
  description:
    - For each tenant its name, whether it changed, what was brought about in words and as a diff,
      the seconds of its proof, its state, what could not be found out, and an error if any.
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._calls import CALLS
from ansible_collections.memcloud.memmachine.plugins.module_utils._deploy import converge_tenants
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run_call


def main() -> None:
    """Module entry."""
    run_call(
        AnsibleModule(
            argument_spec=dict(CALLS["tenant_converge"].arguments),
        ),
        converge_tenants,
    )


if __name__ == "__main__":
    main()
