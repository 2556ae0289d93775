#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_result
short_description: Report what a run found or did for one tenant
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Turns a tenant's entries of plan and converge, or of an operation, into the result of its host.
options:
  plan:
    description: The tenant's entry of M(memcloud.memmachine.fleet_plan).
    type: dict
    default: {}
  converged:
    description: The tenant's entry of M(memcloud.memmachine.fleet_converge); none in check mode.
    type: dict
    default: {}
  operated:
    description: The tenant's entry of M(memcloud.memmachine.fleet_operate), instead of the others.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Reports what would change.
    support: full
  diff_mode:
    description: Shows each difference.
    support: full
"""

EXAMPLES = r"""
- name: Report
  memcloud.memmachine.tenant_result:
    plan: "{{ memcloud_plan }}"
"""

RETURN = r"""
drift:
  description: Each difference in words.
  type: list
  elements: str
  returned: for plan and converge
operation:
  description: What the operation reports, with the seconds of its steps.
  type: dict
  returned: for an operation
"""
