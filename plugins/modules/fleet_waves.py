#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_waves
short_description: Decide in which waves an update goes through the fleet
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Sorts the tenants that an update concerns into waves as the variable C(platform_update_waves)
    says; with O(outcomes) it tells at the end of the update who is on what.
  - An action plugin that runs once, on the controller alone.
options:
  version:
    description: The server version to which the fleet goes; each to that of its entry when empty.
    type: str
    default: ""
  batches:
    description: Batches of M(memcloud.memmachine.fleet_inputs).
    type: list
    elements: dict
    default: []
  facts:
    description: Results of M(memcloud.memmachine.fleet_facts), one a node.
    type: list
    elements: dict
    required: true
  canaries:
    description: Names of tenants that go first, beside those with C(tenant_canary).
    type: list
    elements: str
    default: []
  outcomes:
    description: What this module returned before the update; it tells the outcome then.
    type: dict
    default: {}
  result_file:
    description: A file for the outcome as JSON, 0600.
    type: path
    default: ""
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Decide about the order
  memcloud.memmachine.fleet_waves:
    version: 0.4.0
    batches: "{{ inputs.batches }}"
    facts: "{{ facts }}"
  register: waves
"""

RETURN = r"""
waves:
  description: The waves in their order, each with part, number, tenants and pause.
  type: list
  elements: dict
  returned: without O(outcomes)
sizes:
  description: How many tenants each wave has, as C(serial) of a play wants it.
  type: list
  elements: int
  returned: without O(outcomes)
skipped_tenants:
  description: Why a tenant is left as it is, by name.
  type: dict
  returned: without O(outcomes)
tenants:
  description: Every tenant with its version and what became of it.
  type: list
  elements: dict
  returned: with O(outcomes)
"""
