"""Passwords of Neo4j: the one that it has is found out, and the new one is set."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _rotation
from ansible_collections.memcloud.memmachine.plugins.module_utils._bolt import (
    Bolt,
    BoltError,
    Unpacker,
    pack,
)

WRONG = "Neo.ClientError.Security.Unauthorized"
VALUES = [
    None,
    True,
    0,
    -16,
    127,
    128,
    -17,
    2**40,
    1.5,
    "",
    "ä" * 20,
    "x" * 300,
    "x" * 70000,
    [],
    list(range(20)),
    {"a": {"b": [1, None]}},
    {str(number): number for number in range(300)},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_what_is_packed_is_read_again(value):
    assert Unpacker(pack(value)).value() == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\xc8\x80", -128),
        (b"\xc9\x01\x00", 256),
        (b"\xca\xff\xff\xff\xff", -1),
        (b"\xcc\x02ab", b"ab"),
        (b"\xb2\x4e\x01\x81a", [1, "a"]),
        (b"\xf0", -16),
    ],
)
def test_other_forms_that_a_server_may_choose_are_read(raw, value):
    assert Unpacker(raw).value() == value


class Server:
    """A Neo4j that knows one password, over a real socket."""

    def __init__(self, password):
        self.password = password
        self.tried = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.close()

    def connect(self, host, password):
        return Bolt("127.0.0.1", password, port=self.port, timeout=5)

    def _serve(self):
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                assert stream.read(20).startswith(b"\x60\x60\xb0\x17")
                stream.write(b"\0\0\x04\x05")
                stream.flush()
                with contextlib.suppress(OSError):  # the client went away in between
                    while self._answer(stream):
                        pass

    def _answer(self, stream):
        body = b""
        while True:
            header = stream.read(2)
            if len(header) < 2:
                return False
            (size,) = struct.unpack(">H", header)
            if not size:
                break
            body += stream.read(size)
        fields = Unpacker(body, 2).values(body[0] & 15)
        reply = (0x70, {})
        if body[1] == 0x6A:
            self.tried.append(fields[0]["credentials"])
            if self.tried[-1] != self.password:
                reply = (0x7F, {"code": WRONG, "message": "wrong"})
        elif body[1] == 0x10 and fields[0].startswith("ALTER USER"):
            assert fields[2] == {"db": "system"}
            self.password = fields[1]["password"]
        elif body[1] == 0x10 and fields[0] == "FAIL":
            reply = (0x7F, {"code": "Neo.Bad", "message": "it is bad"})
        message = bytes((0xB1, reply[0])) + pack(reply[1])
        if body[1] == 0x3F:  # records first; a large one comes in two parts
            record = b"\xb1\x71" + pack([1, "y" * 20])
            stream.write(struct.pack(">H", 3) + record[:3])
            stream.write(struct.pack(">H", len(record) - 3) + record[3:] + b"\0\0\0\0")
        stream.write(struct.pack(">H", len(message)) + message + b"\0\0")
        stream.flush()
        return True


@pytest.fixture
def server():
    made = Server("old")
    yield made
    made.close()


def test_a_query_gives_rows_and_a_refusal_its_reason(server):
    with server.connect("", "old") as bolt:
        assert bolt.run("RETURN 1, 'y'") == [[1, "y" * 20]]
        with pytest.raises(BoltError, match="it is bad") as failure:
            bolt.run("FAIL")
        assert failure.value.code == "Neo.Bad"
    with pytest.raises(BoltError) as failure:
        server.connect("", "other")
    assert failure.value.is_wrong_password


# What Neo4j has, what it may have had, and the passwords that are tried for it.
CASES = [
    ("old", ["old"], ["old"], True),
    ("new", ["old"], ["old", "new"], True),  # killed after the change
    ("older", ["old", "older"], ["old", "older"], True),
    ("new", [], ["new"], True),
    ("strange", ["old"], ["old", "new"], False),
]


@pytest.mark.parametrize(("present", "candidates", "tried", "known"), CASES)
def test_the_password_that_it_has_is_found_and_replaced(present, candidates, tried, known):
    server = Server(present)
    try:
        found = _rotation.set_neo4j_password("x", "new", candidates, server.connect, 5)
    finally:
        server.close()
    assert (found, server.tried) == (known, tried)
    assert server.password == ("new" if known else present)


def test_a_server_that_starts_is_waited_for_and_a_dead_one_is_an_error(server, monkeypatch):
    monkeypatch.setattr(_rotation, "_POLL_SECONDS", 0)
    failures = [BoltError("no answer"), BoltError("slow down", "Neo.AuthenticationRateLimit")]

    def connect(host, password):
        if failures:
            raise failures.pop()
        return server.connect(host, password)

    assert _rotation.set_neo4j_password("x", "new", ["old"], connect, 5)
    with pytest.raises(BoltError, match="does not answer"):
        _rotation.set_neo4j_password("127.0.0.1", "newer", ["new"], dead, 0)


def dead(host, password):
    with socket.create_server((host, 0)) as unused:
        port = unused.getsockname()[1]
    return Bolt(host, password, port=port, timeout=1)


TENANT = {"root_key": {"version": 2, "check": ""}, "secret_epoch": 3}
DUE = [
    ({}, False, "none"),
    ({"files": {"a": {}}}, True, "epoch 1 of root key 1"),
    ({"passwords": {"root_key": 2, "epoch": 3}}, False, "epoch 3 of root key 2"),
    ({"passwords": {"root_key": 1, "epoch": 3}}, True, "epoch 3 of root key 1"),
    ({"passwords": {"root_key": 2, "epoch": 2}}, True, "epoch 2 of root key 2"),
    # By a run that was killed, and on volumes that were tried and not taken.
    ({"passwords": {}, "files": {"a": {}}}, True, "not known"),
    ({"passwords": {"root_key": 2, "epoch": 3, "generation": 2}}, True, "not known"),
    (
        {"passwords": {"root_key": 2, "epoch": 3, "generation": 2}, "generation": 2},
        False,
        "epoch 3 of root key 2",
    ),
]


@pytest.mark.parametrize(("record", "due", "words"), DUE)
def test_a_change_is_due_when_the_record_says_other_passwords(record, due, words):
    assert _rotation.is_due(TENANT, record) is due
    assert _rotation.words_of(_rotation.present_version(record)) == words


@pytest.mark.parametrize(("changed", "due"), [(None, False), (1, False), (2, True), (3, False)])
def test_volumes_that_are_tried_have_the_password_of_the_present_ones(changed, due):
    passwords = {"root_key": 2, "epoch": 3, **({"generation": changed} if changed else {})}
    assert _rotation.is_due(TENANT, {"passwords": passwords}, generation=3) is due


def test_users_are_forgotten_and_memories_are_not(tmp_path):
    for path in ("dbms", "databases/system", "databases/neo4j", "transactions/system"):
        (tmp_path / "neo4j" / path).mkdir(parents=True)
    (tmp_path / "auth.ini").write_text("neo4j:hash")
    _rotation.forget_neo4j_users(str(tmp_path), str(tmp_path / "auth.ini"))
    left = {str(path.relative_to(tmp_path / "neo4j")) for path in tmp_path.glob("neo4j/*/*")}
    assert left == {"dbms/auth.ini", "databases/neo4j"}
    assert (tmp_path / "neo4j/dbms/auth.ini").stat().st_mode & 0o777 == 0o600
