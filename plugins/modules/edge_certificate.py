#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_certificate
short_description: Keep a node's own certificate authority and the certificates it signs
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Makes the certificate authority of a node once, and a certificate for each hostname.
  - A certificate is renewed 60 days before its end, and when it is not this authority's, not this
    hostname's, or cannot be read.
  - Certificate and key of a hostname stand in one file, C(<hostname>.pem), which is replaced whole.
options:
  ca_dir:
    description: Directory of the authority on the node, for root alone.
    type: path
    required: true
  certs_dir:
    description: Directory of the certificates on the node.
    type: path
    required: true
  ca_name:
    description: Common name of a new authority.
    type: str
    default: memcloud local CA
  ca_copy:
    description:
      - Where the authority's certificate (never its key) is put for everybody to read.
    type: path
  hostnames:
    description: Hostnames that need a certificate.
    type: list
    elements: str
    default: []
  gid:
    description: Numeric group that may read the certificates.
    type: int
    default: 30013
attributes:
  check_mode:
    description: Says what would be made or renewed, and changes nothing.
    support: full
  diff_mode:
    description: Names what is made or renewed, and why. Keys are never shown.
    support: full
requirements:
  - cryptography on the node (the node's virtual environment carries it)
"""

EXAMPLES = r"""
- name: Certificate for hostnames that nobody has
  memcloud.memmachine.edge_certificate:
    ca_dir: /var/lib/memcloud/mc/edge/ca
    certs_dir: /var/lib/memcloud/mc/edge/certs
    ca_copy: /var/lib/memcloud/mc/edge/ca.crt
    hostnames: [memcloud.localhost]
"""

RETURN = r"""
ca:
  description: The authority's certificate in PEM; empty in check mode when there is none yet.
  type: str
  returned: always
certificates:
  description: File and end of the certificate of each hostname.
  type: dict
  returned: always
  sample:
    acme.example.com:
      path: /var/lib/memcloud/mc/edge/certs/acme.example.com.pem
      expires: '2027-12-23T01:00:00Z'
renewed:
  description: What was made or renewed (would be, in check mode), and why.
  type: list
  elements: str
  returned: always
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_ca,
    ensure_ca_copy,
    ensure_leaf,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run


def work(module: AnsibleModule) -> dict[str, Any]:
    """Ensure the authority, its public copy and a certificate for each hostname."""
    params = module.params
    ca = ensure_ca(params["ca_dir"], params["ca_name"], check_mode=module.check_mode)
    ensured = [ca]
    if params["ca_copy"]:
        ensured.append(ensure_ca_copy(ca.path, params["ca_copy"], check_mode=module.check_mode))
    leaves = {
        hostname: ensure_leaf(
            params["ca_dir"],
            params["certs_dir"],
            hostname,
            gid=params["gid"],
            check_mode=module.check_mode,
        )
        for hostname in params["hostnames"]
    }
    ensured.extend(leaves.values())
    renewed = [f"{item.path}: {item.reason}" for item in ensured if item.changed]
    return {
        "changed": bool(renewed),
        "ca": _text(ca.path),
        "certificates": {
            hostname: {"path": leaf.path, "expires": leaf.expires}
            for hostname, leaf in leaves.items()
        },
        "renewed": renewed,
        "diff": {"before": "", "after": "".join(line + "\n" for line in renewed)},
    }


def _text(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="ascii") as file:
        return file.read()


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "ca_dir": {"type": "path", "required": True},
                "certs_dir": {"type": "path", "required": True},
                "ca_name": {"type": "str", "default": "memcloud local CA"},
                "ca_copy": {"type": "path"},
                "hostnames": {"type": "list", "elements": "str", "default": []},
                "gid": {"type": "int", "default": 30013},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
