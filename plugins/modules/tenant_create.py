#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_create
short_description: Write the entry of a new tenant and mint its key
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Checks what is asked for, chooses a node, makes identity and key, writes the answer with the
    key into a result file (0600) and then the tenant's entry by the inventory writer.
  - A tenant that exists is found again by the key in the result file; one that was deleted with
    its data kept is brought back for the same owner.
  - An action plugin that runs on the controller alone. The key is in no result.
options:
  tenant:
    description: Name of the tenant, a DNS label.
    type: str
    required: true
  tier:
    description: Its tier; what the inventory says, else V(free).
    type: str
    default: ""
  hostname:
    description: Its hostname; the name below C(platform_domain) by default.
    type: str
    default: ""
  version:
    description: Version of its server; C(platform_memmachine_version) by default.
    type: str
    default: ""
  node:
    description: The node that carries it; the one with the most room by default.
    type: str
    default: ""
  owner:
    description: The customer it belongs to.
    type: str
    default: ""
  api_key_sha256:
    description: Hash of a key that the caller keeps; no key is minted then.
    type: str
    default: ""
  reissue_key:
    description: Make a new key for a tenant that exists; the one named default stops working.
    type: bool
    default: false
  result_file:
    description: Where the answer goes; C(<platform_keys_dir>/<tenant>.json) by default.
    type: path
    default: ""
  key_file:
    description: A file for the key alone; the answer names this file instead of the key.
    type: path
    default: ""
  expose_key:
    description:
      - The play tells the key by M(memcloud.memmachine.tenant_answer), so that a job of AWX may make
        one although its files are thrown away.
    type: bool
    default: false
  variables:
    description: More C(tenant_*) variables for a new entry, or one made by hand that does not say them.
    type: dict
    default: {}
  rooms:
    description:
      - What M(memcloud.memmachine.node_room) answered for each node. Of the nodes with a free
        network, and memory and disk for the tenant's tier, that with the most memory is chosen.
      - Without it the node with the fewest tenants is chosen.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the entry; secrets in it are masked.
    support: full
"""

EXAMPLES = r"""
- name: Create a tenant
  memcloud.memmachine.tenant_create:
    tenant: initech
    tier: free
    owner: customer-17
"""

RETURN = r"""
action:
  description: What was done, one of created, completed, revived, reissued, resumed.
  type: str
  returned: success
variables:
  description: What was written into the entry.
  type: dict
  returned: success
result_file:
  description: Where the answer is.
  type: str
  returned: success
key_file:
  description: Where the key is, if it has a file of its own.
  type: str
  returned: success
"""
