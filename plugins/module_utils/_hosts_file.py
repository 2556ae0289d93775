# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenants' hostnames in a node's /etc/hosts, for a try on one machine.

Browsers and curl know that every name below .localhost is this machine; Python asks the resolver,
which on many machines does not.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable

HOSTS = "/etc/hosts"


def ensure_hosts(
    platform: str,
    hostnames: Iterable[str],
    *,
    address: str = "127.0.0.1",
    path: str = HOSTS,
    check_mode: bool = False,
) -> bool:
    """Have exactly these hostnames in the platform's block; say whether that changes the file.

    Lines outside of the block are never touched; without hostnames the block is taken away.
    """
    # In place: /etc/hosts may be mounted, and is then not to be replaced by another file. Platforms
    # that share a machine share the file, so it is locked while it is read and written.
    with open(path, "r" if check_mode else "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH if check_mode else fcntl.LOCK_EX)
        before = file.read()
        after = with_block(before, platform, hostnames, address)
        if after != before and not check_mode:
            file.seek(0)
            file.write(after)
            file.truncate()
    return after != before


def with_block(text: str, platform: str, hostnames: Iterable[str], address: str) -> str:
    """Return the text of a hosts file with the platform's block as it should be."""
    begin = f"# BEGIN tenants of {platform} (memcloud)"
    end = f"# END tenants of {platform} (memcloud)"
    names = sorted(set(hostnames))
    block = [begin, *(f"{address} {name}" for name in names), end] if names else []
    lines, inside = [], False
    for line in text.splitlines():
        if line == begin:
            # Where it was: other platforms have blocks of their own before and behind it.
            lines += block
            inside, block = True, []
        if not inside:
            lines.append(line)
        inside = inside and line != end
    return "".join(line + "\n" for line in lines + block)
