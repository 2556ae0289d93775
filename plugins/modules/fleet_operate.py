#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_operate
short_description: Carry out an operation on tenants of a node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.tenant_operate) for the given tenants of a node, in parts, and says
    after each how far it is.
  - Passwords are derived here, on the controller, and travel to the node as a censored argument.
options:
  operation:
    description: Name of the operation.
    type: str
    required: true
  batch:
    description: The tenants of one node, an item of the C(batches) of
      M(memcloud.memmachine.fleet_inputs).
    type: dict
    required: true
  tenants:
    description: Names of the tenants to work on; all of the batch when left out.
    type: list
    elements: str
  params:
    description: What the operation is told about every tenant.
    type: dict
    default: {}
  repository:
    description: Whether it gets the access to the tenants' restore points.
    type: bool
    default: false
attributes:
  check_mode:
    description: Does nothing in check mode, and says so.
    support: partial
  diff_mode:
    description: Operations say in their results what they did.
    support: none
"""

EXAMPLES = r"""
- name: Back up
  memcloud.memmachine.fleet_operate:
    operation: backup
    batch: "{{ memcloud_batch }}"
  delegate_to: "{{ memcloud_batch.node }}"
"""

RETURN = r"""
tenants:
  description: By tenant what was done, the seconds of each step, and an error if any.
  type: dict
  returned: always
"""
