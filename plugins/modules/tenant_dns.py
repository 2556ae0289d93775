#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_dns
short_description: Have the DNS record of a tenant set or removed
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Calls the command C(platform_dns_hook), if there is one, as C(<hook> present <tenant>
    <hostname> <address> <ttl>) or C(<hook> absent <tenant> <hostname>).
  - The hook must be able to be called again for a record that is as it should be.
  - The record of a deleted tenant whose hostname another one has by now is left alone.
  - An action plugin that runs on the controller alone.
options:
  tenant:
    description: Name of the tenant; the host of the play by default.
    type: str
  state:
    description: Whether there is to be a record.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: The hook is not called; RV(command) says what would be.
    support: full
  diff_mode:
    description: Only the hook knows what the record was.
    support: none
"""

EXAMPLES = r"""
- name: Have the tenant's name lead to its node
  memcloud.memmachine.tenant_dns:
"""

RETURN = r"""
command:
  description: The command that was called, empty when there is no hook, or when the record is another tenant's.
  type: list
  elements: str
  returned: success
said:
  description: What the hook printed.
  type: str
  returned: when it was called
"""
