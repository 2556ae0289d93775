# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a tenant is idle: a decision on signs that somebody else has read."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import moment_of

# State of an open connection in /proc/net/tcp.
_ESTABLISHED = "01"


@dataclass(frozen=True)
class Signs:
    """What is known of a tenant that may be idle.

    :param state: the state that is in force.
    :param wake: whether a request could start it again.
    :param last_request: when the gate saw the last request with a valid key; None for never.
    :param since: when it began to run: created, resumed or woken.
    :param connections: open connections to its app.
    :param backlog: messages whose semantic memories are not extracted yet.
    """

    state: str
    wake: bool
    last_request: str | None
    since: str | None
    connections: int = 0
    backlog: int = 0


def idle_since(signs: Signs) -> str | None:
    """From when on nothing has happened: the last request, or the beginning."""
    moments = [moment for moment in (signs.last_request, signs.since) if moment]
    return max(moments, key=moment_of) if moments else None


def why_awake(signs: Signs, idle_hours: float | None, now: datetime.datetime) -> str:
    """Why a tenant is not put to sleep, in words; empty when it is idle."""
    if signs.state != "running":
        return f"is {signs.state}"
    if idle_hours is None:
        return "never sleeps: its tier has no idle_hours"
    if not signs.wake:
        return "never sleeps: nothing could wake it"
    since = idle_since(signs)
    if since is None:
        return "has no record of when it began to run"
    if now - moment_of(since) < datetime.timedelta(hours=idle_hours):
        return f"was used at {since}, less than {idle_hours:g} hours ago"
    if signs.connections:
        return f"has {signs.connections} open connections"
    if signs.backlog:
        return f"has {signs.backlog} messages that are not ingested yet"
    return ""


def connections_to(tables: Iterable[str], address: str, port: int) -> int:
    """How many open connections this machine has to an IPv4 address and port.

    :param tables: the text of /proc/net/tcp and /proc/net/tcp6.
    """
    number = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    wanted = {f"{prefix}{number}:{port:04X}" for prefix in ("", "0000000000000000FFFF0000")}
    count = 0
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            count += len(fields) > 3 and fields[2] in wanted and fields[3] == _ESTABLISHED
    return count
