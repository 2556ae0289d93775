#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_firewall
short_description: Keep the firewall table of a node's tenants loaded
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Makes the nftables table C(inet memcloud_<platform>), which keeps tenants' containers from each
    other, from the node's own services, from private networks and from cloud metadata.
  - The table only drops, and matches the bridges of the platform by their prefix. Other tables are
    never touched.
  - It is checked before it is loaded, loaded in one step, and loaded again when somebody changed
    or removed it.
options:
  platform:
    description: Name of the platform; prefix of its bridges.
    type: str
    required: true
  path:
    description: File of rules on the node, loaded again at boot.
    type: path
    required: true
  edge_ports:
    description: Public ports of the edge, which tenants may reach on the node.
    type: list
    elements: int
    default: [80, 443]
  model_endpoints:
    description:
      - Addresses (or networks) with ports that tenants may reach on the node or in a private
        network, such as V(192.168.1.20:11434).
    type: list
    elements: str
    default: []
  state:
    description: V(absent) takes the table and its file away.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says why the table would be loaded, and changes nothing.
    support: full
  diff_mode:
    description: The rules before and after.
    support: full
requirements:
  - nftables on the node
"""

EXAMPLES = r"""
- name: Keep tenants from each other and from the node
  memcloud.memmachine.node_firewall:
    platform: mc
    path: /var/lib/memcloud/mc/node/firewall.nft
    model_endpoints: ['10.192.0.1:9083']
"""

RETURN = r"""
reasons:
  description: Why the table was loaded (would be, in check mode).
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._firewall import (
    Firewall,
    Table,
    render,
    resolvers_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run


def work(module: AnsibleModule) -> dict[str, Any]:
    """Compare the table with the rules, and load or remove it."""
    params = module.params
    table = Table(params["platform"], params["path"])
    before = table.rules()
    if params["state"] == "absent":
        after = ""
        reasons = [f"the table {table.name} is loaded"] if table.live() or before else []
    else:
        after = render(
            Firewall(
                platform=params["platform"],
                edge_ports=tuple(params["edge_ports"]),
                model_endpoints=tuple(params["model_endpoints"]),
                resolvers=resolvers_of(),
            )
        )
        reasons = table.faults(after)
    if reasons and not module.check_mode:
        if params["state"] == "absent":
            table.remove()
        else:
            table.load(after)
    return {
        "changed": bool(reasons),
        "reasons": reasons,
        "diff": {"before": before, "after": after},
    }


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "platform": {"type": "str", "required": True},
                "path": {"type": "path", "required": True},
                "edge_ports": {"type": "list", "elements": "int", "default": [80, 443]},
                "model_endpoints": {"type": "list", "elements": "str", "default": []},
                "state": {
                    "type": "str",
                    "choices": ["present", "absent"],
                    "default": "present",
                },
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
