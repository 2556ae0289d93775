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
extends_documentation_fragment:
  - memcloud.memmachine.tenants.comparison
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
