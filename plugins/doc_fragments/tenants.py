# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """What is said of them in the documentation of each."""

    # Of modules that run on a node, for tenants of it.
    DOCUMENTATION = r"""
options:
  platform:
    description: The platform's settings that all tenants of the node share, as JSON.
    type: str
    required: true
  tenants:
    description: The tenants of this node, without a secret, as JSON.
    type: str
    required: true
requirements:
  - Docker SDK for Python on the node (the node's virtual environment carries it)
"""

    # Of modules that compare tenants with what they should be, and of those that call them.
    COMPARISON = r"""
options:
  purge:
    description: Whether deleted tenants lose their volumes and records too.
    type: bool
    default: false
  settle:
    description:
      - Whether what the node decided since counts no longer, that is, that it put a tenant to sleep
        or that a request woke it. What the entry says is brought about.
    type: bool
    default: false
  elsewhere:
    description:
      - What becomes of the tenants on the node that they are on, when this is another one. Only
        what they left here counts then, and tenants that left nothing are passed over.
      - C(lives) spares restore points in a folder that several nodes may share, C(purged) does not.
    type: str
    choices: ["", lives, purged]
    default: ""
"""
