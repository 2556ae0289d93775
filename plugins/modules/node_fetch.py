#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_fetch
short_description: Fetch a large file from a node
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Brings a file of a node to the controller, with or without another user's rights on the node, over any connection
    with a shell. It is read in pieces of 8 MiB, so its size is no matter to the memory of either side.
    M(ansible.builtin.fetch) holds all of it there where it needs another user's rights.
  - Nobody but the user who runs Ansible can read the file at any moment. It gets its name when it is whole.
  - An action plugin, delegated to the node. What takes long says each half minute how far it is.
options:
  src:
    description: The file on the node.
    type: path
    required: true
  dest:
    description: The file on the controller, or a directory with C(/) at its end. Directories above are made.
    type: path
    required: true
  sha256:
    description: SHA-256 that the file must have. Where it is empty, the one that it has on the node.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says whether the file would be fetched.
    support: full
  diff_mode:
    description: The content is never shown.
    support: none
"""

EXAMPLES = r"""
- name: Bring the archive here
  memcloud.memmachine.node_fetch:
    src: /var/lib/memcloud/mc/tenants/acme/exports/acme-20261101T120000Z.tar.gz
    dest: /safe/
  delegate_to: "{{ tenant_node }}"
"""

RETURN = r"""
dest:
  description: The file on the controller.
  type: str
  returned: success
sha256:
  description: Its SHA-256.
  type: str
  returned: success
size:
  description: Its bytes.
  type: int
  returned: success
"""
