#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_facts
short_description: What the tenants of one node are and use
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads state, health, addresses, memory, disk and drift of all tenants of a batch that
    M(memcloud.memmachine.fleet_inputs) made.
  - An action plugin that runs for one representative of each node, delegated to the node. A node
    that cannot be reached is an error of its tenants, not of the run.
options:
  batch:
    description: The node's item of the batches.
    type: dict
    required: true
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the tenants of the node
  memcloud.memmachine.fleet_facts:
    batch: "{{ memcloud_batch }}"
  delegate_to: "{{ memcloud_batch.node }}"
  register: facts
"""

RETURN = r"""
tenants:
  description: What is known of each tenant, by name.
  type: dict
  returned: success
"""
