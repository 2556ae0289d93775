#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_room
short_description: See how much room a node has for another tenant
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads free slots, available memory and free disk of a node, and which tenants it knows.
  - Its result is what M(memcloud.memmachine.tenant_create) chooses a node by.
options:
  data_dir:
    description: Where the platform keeps its data on the node.
    type: path
    required: true
  subnet_pool:
    description: The networks of all tenants of the node.
    type: str
    required: true
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look for room
  memcloud.memmachine.node_room:
    data_dir: /var/lib/memcloud/mc
    subnet_pool: 10.192.0.0/14
  register: room
"""

RETURN = r"""
slots:
  description: How many tenants more the subnet pool has networks for.
  type: int
  returned: success
memory:
  description: Bytes of memory that are available.
  type: int
  returned: success
disk:
  description: Free bytes where the platform keeps its data.
  type: int
  returned: success
processors:
  description: Processors of the node.
  type: int
  returned: success
tenants:
  description: Names of the tenants that the node knows.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._room import room_of


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look at the node."""
    return {
        "changed": False,
        **room_of(module.params["data_dir"], module.params["subnet_pool"]),
    }


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "data_dir": {"type": "path", "required": True},
                "subnet_pool": {"type": "str", "required": True},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
