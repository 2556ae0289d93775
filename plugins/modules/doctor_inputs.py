#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor_inputs
short_description: Sort the nodes and tenants of a play for the doctor
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads the entries of the play's tenants, and of all tenants of the play's nodes. Entries that
    cannot be used, or that the inventory plugin left out, are findings.
  - An action plugin that runs once for all hosts, on the controller alone.
options: {}
attributes:
  check_mode:
    description: It changes nothing that lasts.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Read the entries
  memcloud.memmachine.doctor_inputs:
  run_once: true
"""

RETURN = r"""
batches:
  description: A batch a node, also for nodes without tenants, for M(memcloud.memmachine.fleet_doctor).
  type: list
  elements: dict
  returned: success
findings:
  description: What is wrong with entries.
  type: list
  elements: dict
  returned: success
"""
