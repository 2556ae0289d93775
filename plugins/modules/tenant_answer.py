#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_answer
short_description: Tell whoever asked for a tenant how it went
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Brings the result file of a tenant up to date, and sets the statistics C(memcloud_tenant) for
    AWX, without the key unless that is asked for.
  - An action plugin that runs on the controller alone.
options:
  tenant:
    description: Name of the tenant; the host of the play by default.
    type: str
  result_file:
    description: The answer; C(<platform_keys_dir>/<tenant>.json) by default.
    type: path
  key_file:
    description: The file with the key alone, if there is one.
    type: path
    default: ""
  state:
    description: State of the tenant; the wanted one by default.
    type: str
  error:
    description: What went wrong.
    type: str
    default: ""
  expose_key:
    description: Put the key into result and statistics. AWX shows them to everybody.
    type: bool
    default: false
  set_stats:
    description: Set the statistics.
    type: bool
    default: true
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: The answer holds a key and is not shown.
    support: none
"""

EXAMPLES = r"""
- name: Answer
  memcloud.memmachine.tenant_answer:
    tenant: initech
    result_file: /run/answers/initech.json
"""

RETURN = r"""
answer:
  description:
    - Tenant, endpoint, state, tier, node, version, uid, owner, ca_file.
    - The api_key only if it was asked for.
  type: dict
  returned: success
result_file:
  description: Where the answer is.
  type: str
  returned: success
"""
