#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_check
short_description: See what a node has and lacks, and stop where it cannot carry tenants
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Looks at the Docker Engine and its API version, the disk, the routes, the ports and what is
    installed. It changes nothing.
  - It fails, naming node and figure, when the engine is too old, the disk too full, the pool of
    subnets in use by somebody else, or a port of the edge taken.
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
  engine_root:
    description: Data directory of the engine that will be started, when none answers yet.
    type: path
    default: /var/lib/docker
  venv:
    description: Virtual environment of the node.
    type: path
    required: true
  requirements:
    description: Content of the requirements that the virtual environment is made from.
    type: str
    default: ""
  subnet_pool:
    description: Network of which tenants get their subnets.
    type: str
    required: true
  min_free:
    description: How much space the disk must have, in MiB.
    type: int
    default: 5120
  ports:
    description: Addresses with ports that the services of the node listen on.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Look at the node
  memcloud.memmachine.node_check:
    node: "{{ inventory_hostname }}"
    platform: mc
    data_dir: /var/lib/memcloud/mc
    venv: /opt/memcloud/venv
    subnet_pool: 10.192.0.0/14
    ports: ['0.0.0.0:80', '0.0.0.0:443']
"""

RETURN = r"""
engine:
  description: Version, API versions, data directory and security options of the engine; null when none answers.
  type: dict
  returned: success
init:
  description: V(systemd), or V(none).
  type: str
  returned: success
packages:
  description: Debian packages that are missing.
  type: list
  elements: str
  returned: success
venv:
  description: Whether the virtual environment is there and made from these requirements.
  type: bool
  returned: success
free:
  description: Free bytes of the fullest file system in use.
  type: int
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_check import Wanted, survey


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look at the node."""
    params = dict(module.params)
    params["min_free"] *= 1024**2
    params["ports"] = tuple(params["ports"])
    return {"changed": False, **survey(Wanted(**params))}


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "node": {"type": "str", "required": True},
                "platform": {"type": "str", "required": True},
                "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
                "data_dir": {"type": "path", "required": True},
                "engine_root": {"type": "path", "default": "/var/lib/docker"},
                "venv": {"type": "path", "required": True},
                "requirements": {"type": "str", "default": ""},
                "subnet_pool": {"type": "str", "required": True},
                "min_free": {"type": "int", "default": 5120},
                "ports": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
