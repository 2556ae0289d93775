#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_inputs
short_description: Read and check the tenants of a play once
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Reads the variables of all tenants of the play, checks them and sorts the tenants by node. Where
    nodes are hosts of the play, too, there is an item for each of them, with or without tenants.
  - Fails with every error it finds, each naming tenant and variable, before anything is touched.
  - An action plugin that runs once for all hosts, on the controller alone.
options:
  tenants:
    description: Names of the tenants; all hosts of the play by default.
    type: list
    elements: str
  tolerant:
    description: Return errors instead of failing, with the tenants that have none.
    type: bool
    default: false
  leave_out:
    description:
      - Leave out the tenants that cannot be used, as C(left_out) says, and fail where none is left.
        For runs over all tenants that only look, or do again what was done before.
    type: bool
    default: false
  elsewhere:
    description:
      - Return for each node of the group C(nodes) the tenants that are on another one, as inputs for
        that node, which is asked what they left there.
    type: bool
    default: false
  unanswered:
    description:
      - Name in each batch, as C(unanswered), the tenants with answers in C(platform_keys_dir) that say
        that the run that made the tenant, or one of its keys, did not come to its end. Each has its
        C(files) and says whether it is C(new).
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the tenants
  memcloud.memmachine.fleet_inputs:
  run_once: true
  register: inputs
"""

RETURN = r"""
batches:
  description: One item a node with its name, a representative tenant, and all of its tenants.
  type: list
  elements: dict
  returned: success
errors:
  description: What is wrong with tenants that cannot be used.
  type: list
  elements: str
  returned: success
left_out:
  description:
    - With C(leave_out), what is wrong with each tenant that is left out. Entries that cannot be read
      are no hosts; they are here where the run is over all tenants.
  type: dict
  returned: success
"""
