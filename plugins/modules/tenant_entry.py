#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_entry
short_description: Change or remove entries of tenants where the inventory is kept
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Writes by the inventory writer that C(platform_inventory_writer) names. Comments and order of
    an entry stay. An entry that has another C(tenant_uid) than the inventory is not touched.
  - A deleted tenant gets no other C(tenant_state), and a suspended one is not paused. With several
    tenants their state stays what it is. Where all of them are deleted, nothing is written.
  - An action plugin that runs once for all tenants, on the controller alone.
options:
  tenants:
    description: Names of the tenants; all hosts of the play by default.
    type: list
    elements: str
  state:
    description: V(absent) removes the entry.
    type: str
    choices: [present, absent]
    default: present
  variables:
    description: Variables to set.
    type: dict
    default: {}
  remove:
    description: Names of variables to remove.
    type: list
    elements: str
    default: []
  expected:
    description: Values that entries must have when they are written; others are of another run.
    type: dict
    default: {}
  as_read:
    description:
      - Whether an entry must be, but for what is written, as this run read it. It is what the run
        brings to the tenant's node.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the entries; secrets in them are masked.
    support: full
"""

EXAMPLES = r"""
- name: Pause the tenants of the play from now on
  memcloud.memmachine.tenant_entry:
    variables:
      tenant_state: paused
  run_once: true
"""

RETURN = r"""
tenants:
  description: Names of the tenants whose entries were changed.
  type: list
  elements: str
  returned: success
kept:
  description: Tenants whose state stays what it is, and why.
  type: dict
  returned: success
"""
