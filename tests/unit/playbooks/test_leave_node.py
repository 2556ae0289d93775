# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a node passes on the requests of a tenant that has left it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from support import controller

TASKS = controller.TOP / "playbooks/support/leave_node.yml"


def value(name: str, new: dict[str, Any]) -> Any:
    task = DataLoader().load_from_file(str(TASKS), trusted_as_template=True)[0]
    node = "node2.example.com"
    variables = {**task["vars"], "node": node, "hostvars": {node: new}}
    return Templar(DataLoader(), variables).template(trust_as_template("{{ %s }}" % name))


@pytest.mark.parametrize(
    ("new", "address"),
    [
        ({}, "node2.example.com"),
        ({"ansible_connection": "ssh", "platform_public_address": ""}, "node2.example.com"),
        ({"ansible_host": "192.0.2.7"}, "192.0.2.7"),
        ({"ansible_host": "192.0.2.7", "platform_public_address": "198.51.100.7"}, "198.51.100.7"),
        ({"ansible_connection": "local"}, ""),
        (
            {"ansible_connection": "local", "platform_public_address": "198.51.100.7"},
            "198.51.100.7",
        ),
    ],
)
def test_requests_go_to_where_clients_find_the_new_node(new: dict[str, Any], address: str) -> None:
    assert value("_leave_address", new) == address


@pytest.mark.parametrize(
    ("written", "tls"), [("off", False), ('"off"', False), ("local_ca", True), ("acme", True)]
)
def test_they_are_passed_on_as_the_new_node_takes_them(written: str, tls: bool) -> None:
    assert value("_leave_tls", {"platform_tls_mode": yaml.safe_load(written)}) is tls
