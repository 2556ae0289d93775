#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_doctor
short_description: Find out what is wrong with one node and its tenants
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.node_doctor) once for a node. A node that cannot be reached is a
    finding.
options:
  batch:
    description: A node with its tenants, an item of the C(batches) of
      M(memcloud.memmachine.doctor_inputs).
    type: dict
    required: true
  probe:
    description: Whether a memory is stored, found and deleted for each tenant that runs.
    type: bool
    default: true
attributes:
  check_mode:
    description: It changes nothing that lasts.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look at the node and its tenants
  memcloud.memmachine.fleet_doctor:
    batch: "{{ memcloud_batch }}"
  delegate_to: "{{ memcloud_batch.node }}"
"""

RETURN = r"""
findings:
  description: What was looked at, with C(node), C(level), C(subject), C(check), C(what), C(advice).
  type: list
  elements: dict
  returned: success
"""
