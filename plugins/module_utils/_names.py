# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant and a hostname can be called."""

from __future__ import annotations

import re
from collections.abc import Collection

# A tenant's name is a label of its hostname and part of the names of files and containers.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_GROUP = "is the name of a group of hosts"
# Names of something else, and what would happen.
RESERVED = {
    **dict.fromkeys(("all", "ungrouped", "nodes", "tenants"), _GROUP),
    "localhost": "is the name of the controller",
    "node": "is the name of the edge's own file (node.yml), which the tenant's route would replace",
}
# Files beside the certificates of tenants, which are called after their hostnames.
_OWN_CERTIFICATES = re.compile(r"(platform-[0-9]+|acme-server-ca)\Z")


def is_hostname(text: str) -> bool:
    """Whether a text is a hostname in lower case, and no address."""
    labels = text.split(".")
    return len(text) <= 253 and all(map(LABEL.match, labels)) and not labels[-1].isdigit()


def taken(name: str, groups: Collection[str] = ()) -> str:
    """Why no tenant can have a name, although it is a label; empty where one can.

    :param groups: names of the inventory's groups.
    """
    if name in RESERVED:
        return RESERVED[name]
    if name in groups:
        return _GROUP
    return ""


def unique_name(tenant: str, uid: str) -> str:
    """What is called after this very tenant: its name may be used again by another one."""
    return f"{tenant}-{uid[:8]}"


def is_own_certificate(hostname: str) -> bool:
    """Whether the certificate of a hostname would have the name of one of the platform's files."""
    return _OWN_CERTIFICATES.match(hostname) is not None
