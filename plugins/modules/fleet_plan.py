#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Compare the tenants of a node with what they should be
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.tenant_plan) once for all tenants of a node and prints what differs.
  - A node that cannot be reached becomes an error of each of its tenants.
extends_documentation_fragment:
  - memcloud.memmachine.tenants.comparison
options:
  batch:
    description: The tenants of one node, an item of the C(batches) of
      M(memcloud.memmachine.fleet_inputs).
    type: dict
    required: true
  quiet:
    description: Print nothing; the differences are in the result.
    type: bool
    default: false
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: Differences are in the result.
    support: full
"""

EXAMPLES = r"""
- name: Compare
  memcloud.memmachine.fleet_plan:
    batch: "{{ memcloud_batch }}"
  delegate_to: "{{ memcloud_batch.node }}"
"""

RETURN = r"""
node:
  description: Name of the node.
  type: str
  returned: always
drifted:
  description: Tenants that are not as they should be, with words, diff and error.
  type: list
  elements: dict
  returned: always
checked:
  description: How many tenants were compared.
  type: int
  returned: always
missing_versions:
  description: Server versions the node has no image of.
  type: list
  elements: str
  returned: always
"""
