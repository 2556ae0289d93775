#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_deletion
short_description: Remove a deleted tenant's off-site restore points, and write the report
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Takes the report of what a node found and removed, removes the off-site restore points of a
    purged tenant with the credentials of C(platform_backup_prune_environment), which no node has,
    and writes the report as JSON and as text (0600).
  - In a bucket with versioning (S3), where a delete only hides an object, all versions below the
    tenant's repository are deleted for good. Those under a retention or a legal hold stay; a lock
    is never passed by.
  - Fails when something is left that should be gone, or when another node on which the tenant may
    have left something did not answer. What the place of the restore points refuses
    to delete (an object lock) is reported and is no failure; nor is it when these credentials may
    not see versions, which the report says.
  - An action plugin that runs on the controller alone.
options:
  tenant:
    description: Name of the tenant; the host of the task by default.
    type: str
  report:
    description: What the node reported.
    type: dict
    default: {}
  other_nodes:
    description:
      - Results of M(memcloud.memmachine.fleet_plan) and M(memcloud.memmachine.fleet_converge) about
        what deleted tenants had left on other nodes than their own.
    type: list
    elements: dict
    default: []
  result_file:
    description:
      - Where the report goes; C(<inventory>/.reports/deleted-<tenant>-<moment>.json) by default.
        The text is beside it.
    type: path
    default: ""
requirements:
  - restic, for restore points that are not on the node
  - boto3, for restore points in S3
attributes:
  check_mode:
    description: Does nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Report
  memcloud.memmachine.tenant_deletion:
    report: "{{ __deletion }}"
"""

RETURN = r"""
report:
  description:
    - The tenant, what was C(found), what is C(gone), C(left), C(locked) and C(unknown).
    - Of restore points in a bucket C(locked) says how many C(versions) and C(bytes) stay, C(until)
      when (the end of the last retention), and how many are under C(legal_hold).
  type: dict
  returned: when there is one
report_file:
  description: Where it was written.
  type: str
  returned: when there is one
"""
