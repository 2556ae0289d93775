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
  - Fails when something is left that should be gone. What the place of the restore points refuses
    to delete (an object lock) is reported and is no failure.
  - An action plugin that runs on the controller alone.
options:
  tenant:
    description: Name of the tenant; the host of the task by default.
    type: str
  report:
    description: What the node reported.
    type: dict
    default: {}
  result_file:
    description:
      - Where the report goes; C(<inventory>/.reports/deleted-<tenant>-<moment>.json) by default.
        The text is beside it.
    type: path
    default: ""
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
  description: The tenant, what was C(found), what is C(gone), C(left) and C(locked).
  type: dict
  returned: when there is one
report_file:
  description: Where it was written.
  type: str
  returned: when there is one
"""
