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

ROLES = Path(__file__).resolve().parents[3] / "roles"


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
    assert option("docker_node_needed_ports", given) == ports


@pytest.mark.parametrize("mode", ["off", False])
def test_what_ends_tls_on_the_node_itself_has_the_port_for_https(mode: str | bool) -> None:
    given = {"platform_tls_mode": mode, "edge_bind_address": "127.0.0.1"}
    needed = option("docker_node_needed_ports", given)
    assert [address for address in needed if address.endswith((":80", ":443"))] == ["127.0.0.1:80"]
    assert option("docker_node_edge_ports", given) == [80]


@pytest.mark.parametrize(("mode", "edge"), [(False, "off"), ("off", "off"), ("acme", "acme")])
def test_mode_off_needs_no_quotes(mode: str | bool, edge: str) -> None:
    assert option("edge_tls_mode", {"platform_tls_mode": mode}, "edge") == edge
    tenant = option("traefik_tenant_edge", {"platform_tls_mode": mode}, "traefik_tenant")
    assert tenant == ("http://127.0.0.1:80" if edge == "off" else "https://127.0.0.1:443")


def test_a_route_is_looked_for_where_the_node_of_its_tenant_has_the_edge() -> None:
    own = {
        "platform_edge_api_port": 9180,
        "platform_https_port": 8443,
        "platform_http_port": "8080",
    }
    given = {
        "platform_https_port": 443,
        "tenant_node": "node2",
        "inventory_hostname": "acme",
        "tenant_hostname": "",
        "hostvars": {"node2": own},
    }
    role = "traefik_tenant"
    assert option("traefik_tenant_api_port", given, role) == 9180
    assert option("traefik_tenant_edge", given, role) == "https://127.0.0.1:8443"
    assert option("traefik_tenant_hostname", given, role) == "acme.memcloud.localhost"
    own["platform_tls_mode"] = "off"
    assert option("traefik_tenant_edge", given, role) == "http://127.0.0.1:8080"
    given["hostvars"] = {"node2": {}}
    assert option("traefik_tenant_api_port", given, role) == 9080
    assert option("traefik_tenant_edge", given, role) == "https://127.0.0.1:443"


@pytest.mark.parametrize(
    ("role", "name", "python"),
    [
        ("docker_node", "docker_node_data_dir", "docker_node_venv"),
        ("postgres_pgvector", "postgres_pgvector_data_dir", "postgres_pgvector_python"),
        ("neo4j", "neo4j_data_dir", "neo4j_python"),
        ("memmachine_image", "memmachine_image_data_dir", "memmachine_image_python"),
        ("demo_model", "demo_model_data_dir", "demo_model_python"),
        ("edge", "edge_data_dir", "edge_python"),
    ],
)
def test_a_path_that_is_empty_is_not_given(role: str, name: str, python: str) -> None:
    """As tenants are told: one role must not keep its files elsewhere than the others."""
    given = {"platform_name": "ci", "platform_data_dir": "", "platform_node_venv": ""}
    assert option(name, given, role) == "/var/lib/memcloud/ci"
    assert option(python, given, role).startswith("/opt/memcloud/venv")


@pytest.mark.parametrize("given", ["0.4.0, 0.3.9,0.4.0", ["0.4.0", "0.3.9"]])
def test_server_versions_may_be_text_with_commas(given: Any) -> None:
    tasks = DataLoader().load_from_file(str(ROLES / "memmachine_image/tasks/main.yml"))
    templar = Templar(DataLoader(), {"memmachine_image_versions": given})
    assert list(templar.template(trust_as_template(tasks[0]["loop"]))) == ["0.4.0", "0.3.9"]


def option(name: str, given: dict[str, Any], role: str = "docker_node") -> Any:
    loader = DataLoader()
    variables = {**given}
    for file in (ROLES / role).glob("*/main.yml"):
        if file.parent.name in ("defaults", "vars"):
            variables.update(loader.load_from_file(str(file), trusted_as_template=True))
    return Templar(loader, variables).template(trust_as_template("{{ %s }}" % name))
