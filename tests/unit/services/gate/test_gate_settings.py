# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, log lines, and the node's own addresses."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from memcloud_gate.log import JsonFormatter
from memcloud_gate.request import NodeAddresses
from memcloud_gate.settings import SettingsError, read_settings

GOOD = {"listen": "127.0.0.1:9081", "tenants_dir": "/t", "activity_dir": "/a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"listen": "9081"}, "listen"),
        ({"listen": "127.0.0.1:0"}, "listen"),
        ({"tenants_dir": "relative"}, "tenants_dir"),
        ({"activity_dir": None}, "activity_dir"),
        ({"scan_seconds": 5}, "scan_seconds"),
        ({"flush_seconds": "5"}, "flush_seconds"),
        ({"max_held": True}, "max_held"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({**GOOD, **change}), encoding="ascii")
    with pytest.raises(SettingsError, match=message):
        read_settings(path)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "gate.json"
    if content is not None:
        path.write_text(content, encoding="ascii")
    with pytest.raises(SettingsError, match="gate.json"):
        read_settings(path)


def test_settings_have_defaults(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({**GOOD, "listen": "[::1]:9081", "later": 1}), encoding="ascii")
    settings = read_settings(path)
    assert (settings.host, settings.port, settings.scan_seconds) == ("::1", 9081, 0.5)


def own_address() -> str:
    """Return an address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("address", "owned"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        (own_address(), True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("2001:db8::1", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1, 127.0.0.1", False),
        ("127.0.0.1:80", False),
    ],
)
def test_addresses_of_the_node(address: str, owned: bool) -> None:
    assert NodeAddresses().owns(address) is owned


def test_known_addresses_are_bounded_and_asked_again() -> None:
    now = [0.0]
    addresses = NodeAddresses(clock=lambda: now[0])
    for number in range(1000):
        addresses.owns(f"192.0.2.{number}")
    assert len(addresses._known) <= NodeAddresses.KEEP_ENTRIES
    addresses._known["192.0.2.9"] = (5.0, True)
    assert addresses.owns("192.0.2.9")
    now[0] = 6.0
    assert not addresses.owns("192.0.2.9")


def test_log_lines_are_json() -> None:
    record = logging.LogRecord("memcloud_gate", logging.INFO, "", 0, "tenant changed", None, None)
    record.fields = {"tenant": "acme"}
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"], line["tenant"]) == ("info", "tenant changed", "acme")
