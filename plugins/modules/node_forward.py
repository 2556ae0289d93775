#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_forward
short_description: Pass the requests of a tenant that moved away on to its new node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Writes, or takes away, the route by which the edge of a tenant's old node passes its requests
    on. TLS is passed through unread; the new node shows its certificate and checks the keys.
  - Nothing is written where the node has no route of the tenant, since nobody was led there.
  - Takes away those of other tenants whose time is over, too.
options:
  data_dir:
    description: Where the platform keeps its data on the node.
    type: path
    required: true
  tenant:
    description: The tenant that moved.
    type: str
    required: true
  hostname:
    description: Where the tenant answers. Needed when O(state=present).
    type: str
    default: ""
  address:
    description: Name or address of the new node. Needed when O(state=present).
    type: str
    default: ""
  port:
    description: Port of the new node's edge.
    type: int
    default: 443
  tls:
    description: Whether that port speaks TLS.
    type: bool
    default: true
  seconds:
    description: How long requests are passed on, which is the lifetime of the DNS record.
    type: int
    default: 300
  state:
    description: Whether requests are to be passed on.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says whether anything would change.
    support: full
  diff_mode:
    description: The file is made of the arguments.
    support: none
"""

EXAMPLES = r"""
- name: Pass requests on while resolvers remember the old node
  memcloud.memmachine.node_forward:
    data_dir: /var/lib/memcloud/mc
    tenant: acme
    hostname: acme.example.com
    address: node2.example.com
    seconds: 300
  delegate_to: node1
"""

RETURN = r"""
path:
  description: The file of the tenant.
  type: str
  returned: success
ended:
  description: Files of other tenants that were taken away.
  type: list
  elements: str
  returned: success
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    TRAEFIK_UID,
    TenantPaths,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import (
    ended_forwards,
    forward_text,
    remove_ended,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run


def work(module: AnsibleModule) -> dict[str, Any]:
    """Write or take away the route, and those that have ended."""
    params = module.params
    data_dir, present = params["data_dir"], params["state"] == "present"
    paths = TenantPaths.of(data_dir, params["tenant"])
    path, written = paths.forward, present and os.path.exists(paths.route)
    removed = not present and os.path.exists(path)
    if module.check_mode:
        ended = ended_forwards(data_dir)
    else:
        if written:
            text = forward_text(
                params["tenant"],
                params["hostname"],
                params["address"],
                params["port"],
                params["tls"],
                time.time() + params["seconds"],
            )
            atomic_write(path, text, 0o640, 0, TRAEFIK_UID, paths.edge)
        elif removed:
            os.unlink(path)
        ended = remove_ended(data_dir)
    changed = written or removed or bool(ended)
    return {"path": path, "changed": changed, "ended": [other for other in ended if other != path]}


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "data_dir": {"type": "path", "required": True},
                "tenant": {"type": "str", "required": True},
                "hostname": {"type": "str", "default": ""},
                "address": {"type": "str", "default": ""},
                "port": {"type": "int", "default": 443},
                "tls": {"type": "bool", "default": True},
                "seconds": {"type": "int", "default": 300},
                "state": {
                    "type": "str",
                    "choices": ["present", "absent"],
                    "default": "present",
                },
            },
            required_if=[("state", "present", ("hostname", "address"))],
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
