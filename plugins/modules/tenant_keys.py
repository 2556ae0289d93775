#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_keys
short_description: Change API keys, and what database passwords are derived from, in tenants' entries
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Writes by the inventory writer that C(platform_inventory_writer) names; deploying the tenants
    afterwards brings it to their nodes.
  - A new API key goes into the tenant's answer, a file that its owner alone can read, and its hash
    into the entry. A run that was killed after that is finished with the same key.
  - An action plugin that runs once for all tenants, on the controller alone. No key is in its
    result.
options:
  change:
    description:
      - V(rotate) gives a named key a successor, V(add) makes one under a new name, V(revoke) ends
        those of a name at once.
      - V(databases) counts C(tenant_secret_epoch) up, V(root_key) sets C(tenant_root_key_version).
    type: str
    required: true
    choices: [rotate, add, revoke, databases, root_key]
  tenants:
    description: Names of the tenants; all hosts of the play by default.
    type: list
    elements: str
  key_name:
    description: Which key. For V(rotate) it is V(default) where none is given; others want it.
    type: str
  overlap:
    description: How long a rotated key lives on, as V(24h), V(7d), or V(0) for not at all.
    type: str
    default: 24h
  expires:
    description: When the new key ends, as V(90d) or V(2027-01-31T00:00:00Z); never by default.
    type: str
  api_key_sha256:
    description: Hash of a key that the caller keeps; no key is minted then.
    type: str
    default: ""
  root_key_version:
    description: Version of C(platform_root_keys) for V(root_key); the highest by default.
    type: int
  result_file:
    description:
      - Where the answer of one tenant goes; C(<platform_keys_dir>/<tenant>.json) by default, for a
        key with another name C(<tenant>.<key name>.json).
    type: path
    default: ""
  key_file:
    description: A file for the key alone; where the key before it was, by default.
    type: path
    default: ""
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the entries; keys are there as hashes.
    support: full
"""

EXAMPLES = r"""
- name: Replace the keys of the play's tenants; the old ones open for two more days
  memcloud.memmachine.tenant_keys:
    change: rotate
    overlap: 2d
  run_once: true
"""

RETURN = r"""
tenants:
  description:
    - By tenant what was done (C(action), one of rotated, added, revoked, resumed, databases,
      root_key, or passed over for a deleted one beside others), the C(variables) written, when the replaced key C(ends), and where the answer is
      (C(result_file), C(key_file)), and a C(message) for people.
  type: dict
  returned: success
"""
