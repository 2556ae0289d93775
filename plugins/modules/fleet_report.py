#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Show tenants as a table or as JSON
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Shows what M(memcloud.memmachine.fleet_facts) read on all nodes, or what the inventory says.
  - An action plugin that runs once, on the controller alone.
options:
  tenants:
    description: Results of M(memcloud.memmachine.fleet_facts), one a node.
    type: list
    elements: dict
    default: []
  batches:
    description: Batches of M(memcloud.memmachine.fleet_inputs), for a report without facts.
    type: list
    elements: dict
    default: []
  errors:
    description: What is wrong with tenants that cannot be used.
    type: list
    elements: str
    default: []
  output:
    description: What is shown.
    type: str
    choices: [table, json, none]
    default: table
  result_file:
    description: A file for the JSON, 0600.
    type: path
    default: ""
attributes:
  check_mode:
    description: Reads only; the result file is written.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Show the tenants
  memcloud.memmachine.fleet_report:
    batches: "{{ inputs.batches }}"
  run_once: true
"""

RETURN = r"""
tenants:
  description: The tenants, sorted by name.
  type: list
  elements: dict
  returned: success
"""
