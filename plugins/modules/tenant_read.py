#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_read
short_description: Registry, journal or statistics of the tenants of a node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads the node's registry and journal, or the tenants' numbers. A registry that was lost is filled
    again from the tenants' records on the way.
  - Called by the action plugin M(memcloud.memmachine.fleet_read), which makes its input.
extends_documentation_fragment:
  - memcloud.memmachine.tenants
options:
  about:
    description: What is read.
    type: str
    choices: [registry, journal, stats]
    required: true
  since:
    description: Journal rows before this moment are left out.
    type: str
    default: ""
  only:
    description: Names of the tenants whose journal rows are read; all that there ever were where it is empty.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Nothing but a lost registry is written.
    support: full
  diff_mode:
    description: It never changes a tenant.
    support: none
"""

EXAMPLES = r"""
- name: Read the journal of a node
  memcloud.memmachine.tenant_read:
    about: journal
    platform: "{{ platform_json }}"
    tenants: "{{ tenants_json }}"
    since: "2026-11-01"
"""

RETURN = r"""
rows:
  description: Rows of the registry, of the journal, or the numbers of each tenant.
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._calls import CALLS
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run_call
from ansible_collections.memcloud.memmachine.plugins.module_utils._rows import read_rows


def main() -> None:
    """Module entry."""
    run_call(
        AnsibleModule(
            argument_spec=dict(CALLS["tenant_read"].arguments),
            supports_check_mode=True,
        ),
        read_rows,
    )


if __name__ == "__main__":
    main()
