#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_services
short_description: Keep a node's own containers, networks and files as they should be
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Compares the services of a node (edge, gate, demo model provider) with what is given and
    creates, replaces, updates, starts or stops only what differs.
  - It uses the same comparison and the same changes as the tenants' containers do.
  - Objects of the group that are no longer given are removed; volumes never are.
options:
  platform:
    description: Name of the platform; prefix of everything it makes, and value of its label.
    type: str
    required: true
  group:
    description:
      - Which of the node's services these are. Objects of other groups are left alone.
    type: str
    required: true
  docker_host:
    description: Address of the Docker Engine.
    type: str
    default: unix:///var/run/docker.sock
  directories:
    description: Directories that must exist, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Octal mode as a string.
        type: str
        default: '0755'
      uid:
        description: Numeric owner.
        type: int
        default: 0
      gid:
        description: Numeric group.
        type: int
        default: 0
  files:
    description: Files that must have this content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      content:
        description: The whole content. Nothing secret belongs here.
        type: str
        required: true
      mode:
        description: Octal mode as a string.
        type: str
        default: '0644'
      uid:
        description: Numeric owner.
        type: int
        default: 0
      gid:
        description: Numeric group.
        type: int
        default: 0
  networks:
    description: Bridge networks.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the network.
        type: str
        required: true
      bridge:
        description: Name of the bridge interface, at most 15 characters.
        type: str
        required: true
      subnet:
        description: Subnet in CIDR notation.
        type: str
        required: true
      gateway:
        description: Address of the host in the subnet.
        type: str
        required: true
      internal:
        description: Without a way out.
        type: bool
        default: false
  containers:
    description:
      - Containers as they should be. Keys are those of a container in this collection, such as
        C(name), C(image), C(role), C(user), C(command), C(environment), C(mounts), C(network_mode),
        C(networks), C(memory) (bytes, or a size like V(64m)), C(cpus), C(cpu_shares), C(pids),
        C(read_only), C(cap_drop), C(cap_add), C(no_new_privileges), C(restart), C(stop_signal),
        C(stop_timeout) (seconds), C(log_max_size), C(log_max_file), C(running) and C(reads), the
        files whose change restarts it.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Reports what would change and changes nothing.
    support: full
  diff_mode:
    description: Each difference as before and after.
    support: full
requirements:
  - Docker SDK for Python on the node (the node's virtual environment carries it)
"""

EXAMPLES = r"""
- name: Run the gate
  memcloud.memmachine.node_services:
    platform: mc
    group: gate
    containers:
      - name: mc-gate
        role: gate
        image: memcloud/gate:1
        user: '30014:30014'
        network_mode: host
        memory: 96m
        pids: 64
"""

RETURN = r"""
drift:
  description: Each difference found, in words.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    Converger,
    image_ids,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    DEFAULT_HOST,
    Engine,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    NODE,
    Found,
    compare,
    observe,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    Desired,
    Directory,
    File,
    Network,
    container_from_dict,
    diff_of,
)

_OWNER = {
    "uid": {"type": "int", "default": 0},
    "gid": {"type": "int", "default": 0},
}


def desired_services(params: dict[str, Any]) -> Desired:
    """The node services as a desired state."""
    return Desired(
        platform=params["platform"],
        kind="node-" + params["group"],
        networks=tuple(Network(role="node", **network) for network in params["networks"]),
        directories=tuple(
            Directory(d["path"], int(d["mode"], 8), d["uid"], d["gid"])
            for d in params["directories"]
        ),
        files=tuple(
            File(f["path"], int(f["mode"], 8), f["uid"], f["gid"], f["content"])
            for f in params["files"]
        ),
        containers=tuple(container_from_dict(c) for c in params["containers"]),
    )


def work(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and converge unless in check mode."""
    desired = desired_services(module.params)
    engine = Engine(module.params["docker_host"])
    found = observe(engine, desired.platform, [NODE]).get(NODE, Found()).of_kind(desired.kind)
    images = image_ids(engine, [desired])
    if module.check_mode:
        drifts = compare(desired, found, images, {})
    else:
        drifts = Converger(engine, desired, {}, {}).apply(found, images)
    return {
        "changed": bool(drifts),
        "drift": [drift.words() for drift in drifts],
        "diff": diff_of(drifts),
    }


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "platform": {"type": "str", "required": True},
                "group": {"type": "str", "required": True},
                "docker_host": {"type": "str", "default": DEFAULT_HOST},
                "directories": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        **_OWNER,
                        "path": {"type": "path", "required": True},
                        "mode": {"type": "str", "default": "0755"},
                    },
                },
                "files": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        **_OWNER,
                        "path": {"type": "path", "required": True},
                        "mode": {"type": "str", "default": "0644"},
                        "content": {"type": "str", "required": True},
                    },
                },
                "networks": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "name": {"type": "str", "required": True},
                        "bridge": {"type": "str", "required": True},
                        "subnet": {"type": "str", "required": True},
                        "gateway": {"type": "str", "required": True},
                        "internal": {"type": "bool", "default": False},
                    },
                },
                "containers": {"type": "list", "elements": "dict", "default": []},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
