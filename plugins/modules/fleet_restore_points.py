#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_restore_points
short_description: Open, list, check, prune or remove the restore points of one node's tenants
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls M(memcloud.memmachine.restore_points) once for the given tenants of a node, where the
    task runs - on the node, or on the controller for what no node has the credentials for.
  - Passwords are derived here, on the controller.
  - Says after O(action=prune) when the bucket of the restore points (S3) keeps what was removed, as
    older versions. Needs boto3 for that.
options:
  action:
    description: What to do, as in M(memcloud.memmachine.restore_points).
    type: str
    choices: [open, list, check, prune, remove]
    required: true
  batch:
    description: The tenants of one node, an item of the C(batches) of
      M(memcloud.memmachine.fleet_inputs).
    type: dict
    required: true
  tenants:
    description: Names of the tenants; all of the batch when left out.
    type: list
    elements: str
  prune_credentials:
    description: Whether platform_backup_prune_environment is used.
    type: bool
    default: false
  share:
    description: With O(action=check), how much of the data is read again, such as V(10%).
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: The removed restore points are in the result.
    support: none
"""

EXAMPLES = r"""
- name: List restore points
  memcloud.memmachine.fleet_restore_points:
    action: list
    batch: "{{ memcloud_batch }}"
  delegate_to: "{{ memcloud_batch.node }}"
"""

RETURN = r"""
tenants:
  description: By tenant its restore points, what was removed, and an error if any.
  type: dict
  returned: always
"""
