#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_read
short_description: Registry, journal or statistics of one node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.tenant_read) on the node of a batch that
    M(memcloud.memmachine.fleet_inputs) made.
  - An action plugin that runs for one representative of each node, delegated to the node. A node
    that cannot be reached is told, and does not fail the run.
options:
  batch:
    description: The node's item of the batches.
    type: dict
    required: true
  about:
    description: What is read.
    type: str
    choices: [registry, journal, stats]
    required: true
  since:
    description: Journal rows before this moment are left out; or V(24h), those that are older.
    type: str
    default: ""
  only:
    description: Names of the tenants whose journal rows are read; all that there ever were where it is empty.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the journal of the node
  memcloud.memmachine.fleet_read:
    batch: "{{ memcloud_batch }}"
    about: journal
  delegate_to: "{{ memcloud_batch.node }}"
  register: journal
"""

RETURN = r"""
rows:
  description: What was read, each row with its node.
  type: list
  elements: dict
  returned: success
tenants:
  description: For the registry, what it and the entries say together, by tenant.
  type: dict
  returned: for the registry
error:
  description: Why the node could not be asked, empty otherwise.
  type: str
  returned: success
"""
