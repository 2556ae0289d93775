# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests for a tenant that moved away, passed on until no resolver remembers this node.

TLS is passed through by the hostname that the client names in clear (SNI): the new node shows its
own certificate and decides with its own gate, and this node reads nothing. Connections that
clients keep open from before end at this node: they are told to come again, on a new one. Without
TLS the plain requests are passed on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import time
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_SUFFIX = ".moved.yml"
_RETRY_SECONDS = 1


def forward_path(data_dir: str, tenant: str) -> str:
    """The file by which the edge of the old node knows where a tenant went."""
    return os.path.join(data_dir, "edge", "dynamic", f"{tenant}{_SUFFIX}")


def forward_text(
    tenant: str, hostname: str, address: str, port: int, tls: bool, until: float
) -> str:
    """The file's text for Traefik. Its routers are named after the moment of their end.

    :param address: name or address of the new node.
    :param port: of the new node's edge.
    :param until: seconds since 1970.
    """
    if not tenant or any(mark in tenant + hostname + address for mark in "`{}\"' "):
        raise MemcloudError(f"{tenant}: {hostname} cannot be passed on to {address!r}")
    name = f"{tenant}-moved-until-{int(until)}"
    server = f"{_bracketed(address)}:{port}"
    http: dict[str, Any] = {"rule": f"Host(`{hostname}`)", "service": name}
    servers: list[dict[str, str]] = []
    document: dict[str, Any] = {}
    if tls:
        passed: dict[str, Any] = {
            "entryPoints": ["websecure"],
            "rule": f"HostSNI(`{hostname}`)",
            "service": name,
            "tls": {"passthrough": True},
        }
        service = {"loadBalancer": {"servers": [{"address": server}]}}
        document["tcp"] = {"routers": {name: passed}, "services": {name: service}}
        # Only what comes on a connection from before gets here, and a service without a server
        # answers 503. Host() would take new connections, too, from the route above.
        http["rule"] = "HostRegexp(`^{}$`)".format(hostname.replace(".", r"\."))
        http |= {"entryPoints": ["websecure"], "tls": {}, "middlewares": [name]}
        answer = {"Connection": "close", "Retry-After": str(_RETRY_SECONDS)}
        middlewares = {name: {"headers": {"customResponseHeaders": answer}}}
        document["http"] = {"middlewares": middlewares}
    else:
        http |= {"entryPoints": ["web"]}
        servers = [{"url": f"http://{server}"}]
    document.setdefault("http", {}).update(
        routers={name: http}, services={name: {"loadBalancer": {"servers": servers}}}
    )
    return json.dumps(document, indent=2) + "\n"


def _bracketed(address: str) -> str:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]"
    return address


def ended_forwards(data_dir: str, now: float | None = None) -> list[str]:
    """Files whose time is over."""
    moment = time.time() if now is None else now
    directory = os.path.join(data_dir, "edge", "dynamic")
    ended = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        path = os.path.join(directory, name)
        if name.endswith(_SUFFIX) and _until(path) <= moment:
            ended.append(path)
    return ended


def _until(path: str) -> float:
    """The moment of a file's end; a file that cannot be read has ended."""
    try:
        with open(path, encoding="utf-8") as handle:
            document = json.load(handle)
        (name,) = document["http"]["routers"]
        return float(name.rpartition("-")[2])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def remove_ended(data_dir: str) -> list[str]:
    """Take away what is no longer needed; the paths."""
    ended = ended_forwards(data_dir)
    for path in ended:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return ended
