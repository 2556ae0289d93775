# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request asks of the gate, taken from the headers that Traefik's ForwardAuth sends."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote_plus

Headers = Iterable[tuple[bytes, bytes]]

MAX_TOKEN_BYTES = 512
# In a URL a key ends in logs, histories and referrers, so a request that carries one is refused
# whether or not it has the header as well.
KEY_PARAMETERS = frozenset(
    (
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "key",
        "token",
        "x-api-key",
    )
)
KEY_SHAPE = re.compile(r"(?i:bearer\s+)?mb_[A-Za-z0-9_-]{20,}")
# What monitors ask, with a key or without: it keeps nobody awake.
HEALTH_PATH = "/api/v2/health"
# MemMachine reads, lists and deletes by POST as well: only the last word of the path tells.
HARMLESS_POSTS = frozenset(("search", "list", "get", "delete", "disable"))


@dataclass(frozen=True)
class Ask:
    """One request, as far as the decision needs it."""

    token: bytes | None
    key_in_query: bool
    method: str
    path: str
    source: str

    @property
    def is_health_check(self) -> bool:
        """Whether it only asks how the server is."""
        return self.method in ("GET", "HEAD") and self.path.rstrip("/") == HEALTH_PATH

    @property
    def adds_data(self) -> bool:
        """Whether the request may make the tenant's databases grow.

        The gate sees no body, and every MCP tool is a POST to one path, so all of them count.
        """
        if self.method not in ("POST", "PUT", "PATCH"):
            return False
        return self.path.rstrip("/").rpartition("/")[2] not in HARMLESS_POSTS


def read_ask(headers: Headers, peer: str) -> Ask:
    """Collect what matters from the headers; `peer` is the address of a direct caller."""
    authorization: bytes | None = None
    repeated = False
    uri = b"/"
    method = b"GET"
    source: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            repeated = authorization is not None
            authorization = value
        elif name == b"x-forwarded-uri":
            uri = value
        elif name == b"x-forwarded-method":
            method = value
        elif name == b"x-forwarded-for":
            source = value if source is None else source + b"," + value
    path, mark, query = uri.partition(b"?")
    return Ask(
        token=None if repeated or authorization is None else bearer_token(authorization),
        key_in_query=bool(query) and carries_key(query),
        method=method.decode("latin-1"),
        path=path.decode("latin-1"),
        source=peer if source is None else source.decode("latin-1"),
    )


def bearer_token(authorization: bytes) -> bytes | None:
    """Return the key of an `Authorization: Bearer <key>` header, if it is one."""
    scheme, blank, token = authorization.strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > MAX_TOKEN_BYTES or b" " in token:
        return None
    return token


def carries_key(query: bytes) -> bool:
    """Tell whether a query string holds something that is, or is named like, a key."""
    for part in query.decode("latin-1").replace(";", "&").split("&"):
        name, equals, value = part.partition("=")
        if unquote_plus(name).lower() in KEY_PARAMETERS or KEY_SHAPE.match(unquote_plus(value)):
            return True
    return False


class NodeAddresses:
    """Knows whether an address belongs to this node.

    The kernel is asked: towards an address of its own it would send from that very address.
    Answers are kept for a few seconds, since addresses of a node change while it runs.
    """

    KEEP_SECONDS = 5.0
    KEEP_ENTRIES = 256

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}

    def owns(self, text: str) -> bool:
        """Return True for exactly one address that is loopback or an address of the node."""
        now = self._clock()
        known = self._known.get(text)
        if known is not None and now < known[0]:
            return known[1]
        answer = _is_local(text)
        if len(self._known) >= self.KEEP_ENTRIES:
            self._known.clear()
        self._known[text] = (now + self.KEEP_SECONDS, answer)
        return answer


def _is_local(text: str) -> bool:
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return True
    if address.is_unspecified or address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(str(probe.getsockname()[0])) == address
    except (OSError, ValueError):
        return False
