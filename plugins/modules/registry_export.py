#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_export
short_description: Write the tenants of all nodes into a table of PostgreSQL
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Brings the table C(deployments) of a web application to what the registries of the nodes say, in
    one transaction. It is made when it is missing; one that is there keeps its form.
  - Of a tenant that was moved, the registry of the node counts that its entry names. A node that did
    not answer fails the task if it has tenants, and is a warning otherwise.
  - An entry that cannot be used is a warning, since the registry of its node remembers the tenant, and a
    failure where nothing else is exported.
  - An action plugin that runs once, on the controller alone.
options:
  database_url:
    description: Address of the database with user and password. Never shown.
    type: str
    required: true
  read:
    description: Results of M(memcloud.memmachine.fleet_read) about the registry, one a node.
    type: list
    elements: dict
    required: true
  errors:
    description: What is wrong with tenants that cannot be used.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Does everything in a transaction that is taken back.
    support: full
  diff_mode:
    description: Names the instances that change.
    support: none
requirements:
  - psycopg 3 where Ansible runs
"""

EXAMPLES = r"""
- name: Tell the web application
  memcloud.memmachine.registry_export:
    database_url: "{{ lookup('ansible.builtin.env', 'MEMCLOUD_REGISTRY_URL') }}"
    read: "{{ groups.memcloud_told | map('extract', hostvars, ['__tenant_read']) }}"
  run_once: true
  no_log: true
"""

RETURN = r"""
instances:
  description: Ids of the instances whose rows changed.
  type: list
  elements: str
  returned: success
"""
