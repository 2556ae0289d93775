# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of a node comes to the controller in pieces. The node is this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.action import node_fetch
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from support import controller

# Two whole pieces and a rest that is no multiple of what base64 takes at once.
CONTENT = os.urandom(2 * node_fetch._PIECE_BYTES + 5)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a node has a file."""
    (tmp_path / "there is").mkdir()
    (tmp_path / "there is/it's.tar").write_bytes(CONTENT)
    return tmp_path


def fetch(place: Path, *more: str, **arguments: str) -> tuple[int, dict[str, Any], str]:
    """Return code, result and output of a run with the one task."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (place / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"acme": local, "node1": local}}})
    )
    given = {"src": str(place / "there is/it's.tar"), "dest": f"{place}/safe/here/", **arguments}
    task = {
        "memcloud.memmachine.node_fetch": given,
        "delegate_to": "node1",
        "register": "fetched",
    }
    told = {
        "ansible.builtin.copy": {"content": "{{ fetched | to_json }}", "dest": "{{ told }}"},
        "delegate_to": "node1",
        "check_mode": False,
    }
    play = {"hosts": "acme", "gather_facts": False, "tasks": [task, told]}
    (place / "fetch.yml").write_text(yaml.safe_dump([play]))
    result = place / "told.json"
    code, output = controller.play(
        "-i", "hosts.yml", "fetch.yml", "-e", json.dumps({"told": str(result)}), *more, cwd=place
    )
    return code, json.loads(result.read_text()) if code == 0 else {}, output


def test_it_arrives_whole_for_its_owner_alone_and_once(place: Path) -> None:
    target = place / "safe/here/it's.tar"
    code, result, output = fetch(place)
    assert code == 0, output
    assert result["changed"] is True
    assert (result["dest"], result["sha256"], result["size"]) == (
        str(target),
        SHA256,
        len(CONTENT),
    )
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(target.parent) == [target.name]

    before = target.stat()
    assert fetch(place, sha256=SHA256)[1]["changed"] is False
    assert target.stat().st_ino == before.st_ino

    target.chmod(0o644)
    assert fetch(place)[1]["changed"] is True
    assert target.stat().st_mode & 0o777 == 0o600


def test_check_mode_says_what_would_be_done(place: Path) -> None:
    assert fetch(place, "--check")[1]["changed"] is True
    assert not (place / "safe").exists()


def test_what_is_damaged_replaces_nothing(place: Path) -> None:
    target = place / "mine.tar"
    target.write_text("what was there")
    left = place / "mine.tar.part"  # by a killed run
    left.write_text("half of it")
    code, _result, output = fetch(place, dest=str(target), sha256="0" * 64)
    assert code != 0
    assert "acme: " in output and "has another SHA-256 than it should have" in output
    assert target.read_text() == "what was there"
    assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"src": "/no/such/file"}, "there is no file /no/such/file on the node"),
        ({"dest": "{place}"}, "{place} is a directory: write / at its end"),
        ({"dest": "{place}/hosts.yml/x"}, "cannot be written here"),
    ],
)
def test_what_cannot_be_done_is_said(place: Path, arguments: dict[str, str], words: str) -> None:
    given = {name: value.format(place=place) for name, value in arguments.items()}
    code, _result, output = fetch(place, **given)
    assert code != 0
    assert "acme: " in output and words.format(place=place) in output


class Chatty(node_fetch.ActionModule):
    """An action whose connection says more than it was asked for."""

    def __init__(self, sent: bytes) -> None:
        self._name = "acme"
        self.sent = base64.encodebytes(sent).decode().replace("\n", "\r\n")

    def _low_level_execute_command(self, cmd: str) -> dict[str, Any]:
        stdout = f"Welcome to node1\r\nmemcloud<\r\n{self.sent}>memcloud\r\nShared connection"
        return {"stdout": stdout, "stderr": "dd: it failed\n"}


def test_greetings_of_a_shell_are_no_part_of_a_file() -> None:
    assert Chatty(CONTENT[:100])._piece("/it", 0, 100) == CONTENT[:100]


def test_a_piece_that_is_cut_short_is_refused() -> None:
    with pytest.raises(MemcloudError, match="acme: /it of the node .* dd: it failed"):
        Chatty(CONTENT[:90])._piece("/it", 0, 100)
