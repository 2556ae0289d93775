#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_report
short_description: Show what the doctor found
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Shows findings, the worst first, as a table with what to do about each, or as JSON, and fails
    when there are errors or warnings.
  - An action plugin that runs once for all nodes, on the controller alone.
options:
  findings:
    description: Lists of findings, one a node.
    type: list
    elements: list
    required: true
  output:
    description: V(table), V(json), or V(none).
    type: str
    choices: [table, json, none]
    default: table
  result_file:
    description: A file that gets the findings as JSON, readable by its owner alone.
    type: path
    default: ""
  verbose:
    description: Whether the table has what is fine, too.
    type: bool
    default: false
  fail:
    description: Whether errors and warnings make it fail.
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
- name: Show what was found
  memcloud.memmachine.doctor_report:
    findings: "{{ found }}"
  run_once: true
"""

RETURN = r"""
findings:
  description: The findings, the worst first.
  type: list
  elements: dict
  returned: when nothing is wrong, or O(fail=false)
summary:
  description: How many of each level.
  type: dict
  returned: always
"""
