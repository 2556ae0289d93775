#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_facts
short_description: What tenants are and use on their node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads state, health, addresses, memory and disk of many tenants of a node in one call.
  - Called by the action plugin M(memcloud.memmachine.fleet_facts), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
"""

EXAMPLES = r"""
- name: Read the tenants of a node
  memcloud.memmachine.tenant_facts:
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
"""

RETURN = r"""
tenants:
  description: For each tenant its state, health, containers, addresses, memory and disk.
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._calls import CALLS
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run_call
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant_facts import (
    facts_of_tenants,
)


def main() -> None:
    """Module entry."""
    run_call(
        AnsibleModule(
            argument_spec=dict(CALLS["tenant_facts"].arguments),
            supports_check_mode=True,
        ),
        facts_of_tenants,
    )


if __name__ == "__main__":
    main()
