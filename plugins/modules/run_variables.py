#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_variables
short_description: Stop a run that was given a variable which its playbooks do not read
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Compares the extra variables of a run with those that the heads of its playbooks list, and fails
    for one that only another playbook of this collection takes, or that looks misspelt.
  - Variables of the inventory (C(platform_), C(tenant_)) are checked where they are read; those of
    Ansible, of AWX and of your own are left alone.
  - It is the first task of playbooks of this collection that read no tenants; in other playbooks it
    does nothing.
  - An action plugin that runs on the controller alone.
options:
  nodes:
    description:
      - Check the variables of the fleet, too, as the nodes of the play have them. What is secret in
        them is not read.
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is changed in either mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Make sure that the run is given variables of this playbook alone
  memcloud.memmachine.run_variables:

- name: Make sure that nodes can be set up as the inventory says, too
  memcloud.memmachine.run_variables:
    nodes: true
"""

RETURN = r""" # """
