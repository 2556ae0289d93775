#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_converge
short_description: Bring tenants of a node to what they should be
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.tenant_converge) once for the given tenants of a node.
  - Passwords are derived here, on the controller, and travel to the node as a censored argument.
options:
  tenants:
    description: Names of the tenants to converge.
    type: list
    elements: str
    required: true
  batch:
    description: The tenants of one node, an item of the C(batches) of
      M(memcloud.memmachine.fleet_inputs).
    type: dict
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
attributes:
  check_mode:
    description: Not supported; the plan says what would change.
    support: none
  diff_mode:
    description: Differences are in the result.
    support: full
"""

EXAMPLES = r"""
- name: Converge
  memcloud.memmachine.fleet_converge:
    batch: "{{ memcloud_batch }}"
    tenants: [acme]
  delegate_to: "{{ memcloud_batch.node }}"
"""

RETURN = r"""
node:
  description: Name of the node.
  type: str
  returned: always
tenants:
  description: By tenant what was brought about, the proof, and an error if any.
  type: dict
  returned: always
"""
