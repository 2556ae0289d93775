#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_remove
short_description: Take a platform off a node, and nothing else
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Removes containers, networks and volumes that carry the platform's label, its firewall table,
    units, files, and its block in C(/etc/hosts).
  - What several platforms of a node share goes with the last of them.
  - It needs nothing on the node but Python 3.9.
options:
  node:
    description: Name of the node, for messages.
    type: str
    required: true
  platform:
    description: Name of the platform.
    type: str
    required: true
  docker_host:
    description: Address of the Docker Engine.
    type: str
    default: unix:///var/run/docker.sock
  data_dir:
    description: Directory of the platform on the node.
    type: path
    required: true
  venv:
    description: Virtual environment of the node.
    type: path
    required: true
  data:
    description:
      - Whether volumes, which hold the tenants' memories, and restore points on the node may be
        removed.
      - Otherwise the module fails when there are any, or when there are tenants and no engine
        answers that could say, before anything is touched.
    type: bool
    default: false
  images:
    description: Whether images that no other platform of the node uses are removed.
    type: bool
    default: false
  engine:
    description:
      - Whether the engine is removed, when this collection brought it and no container of
        others is on it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be removed, and removes nothing.
    support: full
  diff_mode:
    description: Names what is removed.
    support: full
"""

EXAMPLES = r"""
- name: Take the platform off the node
  memcloud.memmachine.node_remove:
    node: "{{ inventory_hostname }}"
    platform: mc
    data_dir: /var/lib/memcloud/mc
    venv: /opt/memcloud/venv
    data: true
"""

RETURN = r"""
removed:
  description: What was removed (would be, in check mode), in words.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_removal import (
    Removal,
    plan,
)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Plan the removal, and do it unless in check mode."""
    steps = plan(Removal(**module.params))
    if not module.check_mode:
        for step in steps:
            step.act()
    removed = [step.words for step in steps]
    return {
        "changed": bool(removed),
        "removed": removed,
        "diff": {"before": "".join(words + "\n" for words in removed), "after": ""},
    }


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "node": {"type": "str", "required": True},
                "platform": {"type": "str", "required": True},
                "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
                "data_dir": {"type": "path", "required": True},
                "venv": {"type": "path", "required": True},
                "data": {"type": "bool", "default": False},
                "images": {"type": "bool", "default": False},
                "engine": {"type": "bool", "default": False},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
