# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports that a machine must have free before it becomes a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[3] / "roles" / "docker_node"


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        (
            {},
            [
                *("0.0.0.0:80", "0.0.0.0:443", "127.0.0.1:9080", "127.0.0.1:9081"),
                *("127.0.0.1:9082", "10.192.0.1:9083"),
            ],
        ),
        (
            {
                "platform_https_port": 8443,
                "platform_metrics_address": "10.0.0.5:9100",
                "platform_demo_model_port": 9200,
                "platform_subnet_pool": "10.200.0.0/16",
            },
            [
                *("0.0.0.0:80", "0.0.0.0:8443", "127.0.0.1:9080", "127.0.0.1:9081"),
                *("10.0.0.5:9100", "10.200.0.1:9200"),
            ],
        ),
    ],
)
def test_every_service_of_a_node_has_its_port(given: dict[str, Any], ports: list[str]) -> None:
    loader = DataLoader()
    variables = {**given}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables.update(loader.load_from_file(str(ROLE / name), trusted_as_template=True))
    template = trust_as_template("{{ docker_node_needed_ports }}")
    assert Templar(loader, variables).template(template) == ports
