#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: root_key
short_description: Make the root key of a fleet
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Writes 32 random bytes as base64 into a file of mode 0600, unless the file is there. A key
    that is there is never replaced. All database passwords are derived from it.
options:
  path:
    description: The file.
    type: path
    required: true
attributes:
  check_mode:
    description: Says whether a key would be made.
    support: full
  diff_mode:
    description: A key is never shown.
    support: none
"""

EXAMPLES = r"""
- name: Make the root key of this inventory
  memcloud.memmachine.root_key:
    path: "{{ inventory_dir }}/.secrets/root_key"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import write_root_key


def work(module: AnsibleModule) -> dict[str, object]:
    """Make the key unless it is there."""
    path = module.params["path"]
    return {"changed": write_root_key(path, dry_run=module.check_mode), "path": path}


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={"path": {"type": "path", "required": True}},
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
