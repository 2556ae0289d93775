# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few words of Bolt that it takes to ask a tenant's Neo4j something from its node.

A node has no driver, and a driver within a container would need that container to run. A password
goes over the socket alone: never on a command line, in an environment or in a file.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

PORT = 7687
_MAGIC = b"\x60\x60\xb0\x17"
# Bolt 5.4, and three minor versions back: what every Neo4j 5 speaks.
_VERSIONS = b"\x00\x03\x04\x05" + bytes(12)
_HELLO, _LOGON, _RUN, _PULL = 0x01, 0x6A, 0x10, 0x3F
_SUCCESS, _RECORD = 0x70, 0x71
_LARGEST_CHUNK = 0xFFFF
_AGENT = {"user_agent": "memcloud/1.0", "bolt_agent": {"product": "memcloud/1.0"}}


class BoltError(MemcloudError):
    """Neo4j cannot be reached, or refused something.

    :param code: Neo4j's own word for it, empty when the connection failed.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_wrong_password(self) -> bool:
        """Whether user and password were looked at and found wrong."""
        return self.code == "Neo.ClientError.Security.Unauthorized"


class Bolt:
    """A connection to a Neo4j, logged on; close it by leaving its ``with``.

    :raises BoltError: also when the password is wrong.
    """

    def __init__(
        self, host: str, password: str, user: str = "neo4j", port: int = PORT, timeout: float = 10.0
    ) -> None:
        self._where = f"Neo4j at {host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except OSError as error:
            raise BoltError(f"{self._where} does not answer: {error}") from error
        try:
            self._greet()
            self._ask(_HELLO, _AGENT)
            self._ask(_LOGON, {"scheme": "basic", "principal": user, "credentials": password})
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Bolt:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def run(
        self, query: str, parameters: Mapping[str, Any] | None = None, database: str = "neo4j"
    ) -> list[list[Any]]:
        """The rows that a query gives, in a transaction of its own."""
        self._ask(_RUN, query, dict(parameters or {}), {"db": database})
        return self._ask(_PULL, {"n": -1})

    def _greet(self) -> None:
        try:
            self._socket.sendall(_MAGIC + _VERSIONS)
            answer = self._exactly(4)
        except OSError as error:
            raise BoltError(f"{self._where} broke off: {error}") from error
        if answer[3] != 5:
            raise BoltError(f"{self._where} does not speak Bolt 5.1 to 5.4")

    def _ask(self, tag: int, *fields: Any) -> list[list[Any]]:
        """Send a message and read up to its success; the records in between."""
        body = bytes((0xB0 + len(fields), tag)) + b"".join(map(pack, fields))
        records: list[list[Any]] = []
        try:
            self._send(body)
            while True:
                kind, content = self._receive()
                if kind == _RECORD:
                    records.append(content[0])
                elif kind == _SUCCESS:
                    return records
                else:
                    told = content[0] if content else {}
                    raise BoltError(
                        f"{self._where} says: {told.get('message', 'nothing')}",
                        str(told.get("code", "")),
                    )
        except (OSError, struct.error) as error:
            raise BoltError(f"{self._where} broke off: {error}") from error

    def _send(self, body: bytes) -> None:
        parts = []
        for start in range(0, len(body), _LARGEST_CHUNK):
            chunk = body[start : start + _LARGEST_CHUNK]
            parts.append(struct.pack(">H", len(chunk)) + chunk)
        self._socket.sendall(b"".join(parts) + b"\0\0")

    def _receive(self) -> tuple[int, list[Any]]:
        body = b""
        while True:
            (size,) = struct.unpack(">H", self._exactly(2))
            if size:
                body += self._exactly(size)
            elif body:
                break  # an empty chunk between messages keeps the connection alive
        return body[1], Unpacker(body, 2).values(body[0] & 0x0F)

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self._socket.recv(size - len(found))
            if not part:
                raise OSError("the connection was closed")
            found += part
        return found


def pack(value: Any) -> bytes:
    """A value in PackStream: None, booleans, numbers, texts, lists and mappings."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return (
            struct.pack(">b", value) if -16 <= value < 128 else b"\xcb" + struct.pack(">q", value)
        )
    if isinstance(value, float):
        return b"\xc1" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return _header(len(raw), 0x80, 0xD0) + raw
    if isinstance(value, Mapping):
        items = b"".join(pack(str(key)) + pack(item) for key, item in value.items())
        return _header(len(value), 0xA0, 0xD8) + items
    return _header(len(value), 0x90, 0xD4) + b"".join(map(pack, value))


def _header(size: int, tiny: int, marker: int) -> bytes:
    if size < 16:
        return bytes((tiny + size,))
    if size < 1 << 8:
        return struct.pack(">BB", marker, size)
    if size < 1 << 16:
        return struct.pack(">BH", marker + 1, size)
    return struct.pack(">BI", marker + 2, size)


class Unpacker:
    """Values read from PackStream; a structure (a node, a date) comes as the list of its fields."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._at = position

    def values(self, count: int) -> list[Any]:
        """The next values."""
        return [self.value() for _index in range(count)]

    def value(self) -> Any:
        """The next value."""
        marker = self._number("B")
        high, low = marker & 0xF0, marker & 0x0F
        if marker < 0x80:
            return marker
        if marker >= 0xF0:
            return marker - 0x100
        if marker in _FIXED:
            return _FIXED[marker]
        if marker in _NUMBERS:
            return self._number(_NUMBERS[marker])
        if high == 0xB0:
            self._at += 1
            return self.values(low)
        if marker in _SIZES:
            kind, form = _SIZES[marker]
            return self._container(kind, int(self._number(form)))
        return self._container(high, low)

    def _container(self, kind: int, size: int) -> Any:
        if kind == 0xA0:
            return {self.value(): self.value() for _index in range(size)}
        if kind == 0x90:
            return self.values(size)
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw.decode() if kind == 0x80 else raw

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(">" + form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value


_BYTES = 0xCC
_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xC1: "d", 0xC8: "b", 0xC9: "h", 0xCA: "i", 0xCB: "q"}
# Marker to the kind of value (by its tiny marker) and the form of its size.
_SIZES = {
    marker + step: (kind, form)
    for kind, marker in ((_BYTES, 0xCC), (0x80, 0xD0), (0x90, 0xD4), (0xA0, 0xD8))
    for step, form in enumerate("BHI")
}
