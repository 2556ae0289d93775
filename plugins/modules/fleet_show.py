#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_show
short_description: Show the journal or the statistics of all nodes
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Puts together what M(memcloud.memmachine.fleet_read) read on each node, as a table or as JSON.
  - What could not be read is below the table, is a warning beside JSON, and fails the task where nothing else was read.
  - An action plugin that runs once, on the controller alone.
options:
  about:
    description: What is shown.
    type: str
    choices: [journal, stats]
    required: true
  read:
    description: Results of M(memcloud.memmachine.fleet_read), one a node.
    type: list
    elements: dict
    required: true
  tenants:
    description: Names of the tenants that are shown; all when empty.
    type: list
    elements: str
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
- name: Show the journal
  memcloud.memmachine.fleet_show:
    about: journal
    read: "{{ groups.memcloud_told | map('extract', hostvars, ['__tenant_read']) }}"
  run_once: true
"""

RETURN = r"""
rows:
  description: The rows of all nodes, the journal's by time.
  type: list
  elements: dict
  returned: success
errors:
  description: Nodes that could not be asked and entries that cannot be used, and why.
  type: list
  elements: str
  returned: success
"""
