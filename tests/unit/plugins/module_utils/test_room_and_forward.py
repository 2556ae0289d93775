# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room of a node, and requests of tenants that moved away."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import (
    ended_forwards,
    forward_path,
    forward_text,
    remove_ended,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._room import room_of


def test_room_is_what_slots_memory_and_disk_leave(tmp_path):
    (tmp_path / "images.json").write_text("{}")
    slots = {"0123456789abcdef": {"slot": 1, "tenant": "acme"}}
    (tmp_path / "node.json").write_text(json.dumps({"slots": slots}))
    (tmp_path / "tenants/acme").mkdir(parents=True)
    (tmp_path / "tenants/acme/state.json").write_text("{}")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  4 kB\n")
    room = room_of(str(tmp_path), "10.192.0.0/25", str(tmp_path / "meminfo"))
    # Four /27, of which one is the node's and one acme's.
    assert (room["slots"], room["memory"], room["tenants"]) == (2, 4096, ["acme"])
    assert room["disk"] > 0


def test_a_machine_that_is_no_node_has_no_room(tmp_path):
    with pytest.raises(MemcloudError, match="not set up"):
        room_of(str(tmp_path), "10.192.0.0/14")


def test_tls_is_passed_through_by_hostname():
    text = forward_text("acme", "acme.example.com", "192.0.2.7", 443, True, 1_800_000_000)
    document = json.loads(text)
    (router,) = document["tcp"]["routers"].values()
    assert router["rule"] == "HostSNI(`acme.example.com`)"
    assert router["tls"] == {"passthrough": True}
    (service,) = document["tcp"]["services"].values()
    assert service["loadBalancer"]["servers"] == [{"address": "192.0.2.7:443"}]


def test_connections_from_before_are_told_to_come_again():
    text = forward_text("acme", "acme.example.com", "192.0.2.7", 443, True, 1_800_000_000)
    http = json.loads(text)["http"]
    (router,) = http["routers"].values()
    assert router["rule"] == r"HostRegexp(`^acme\.example\.com$`)"
    assert router["tls"] == {}
    assert http["services"][router["service"]]["loadBalancer"]["servers"] == []
    (middleware,) = (http["middlewares"][name] for name in router["middlewares"])
    assert middleware["headers"]["customResponseHeaders"] == {
        "Connection": "close",
        "Retry-After": "1",
    }


def test_plain_requests_are_passed_on_by_host_header():
    text = forward_text("acme", "acme.example.com", "2001:db8::7", 80, False, 1_800_000_000)
    (service,) = json.loads(text)["http"]["services"].values()
    assert service["loadBalancer"]["servers"] == [{"url": "http://[2001:db8::7]:80"}]


@pytest.mark.parametrize("address", ["a`b", "{{x}}", "a b"])
def test_an_address_with_marks_of_traefik_is_refused(address):
    with pytest.raises(MemcloudError, match="cannot be passed on"):
        forward_text("acme", "acme.example.com", address, 443, True, 0)


def test_a_route_ends_with_the_lifetime_of_the_record(tmp_path):
    data_dir = str(tmp_path)
    assert ended_forwards(data_dir) == []
    os.makedirs(tmp_path / "edge/dynamic")
    (tmp_path / "edge/dynamic/acme.yml").write_text("{}")
    for tenant, until in (("old", 1000), ("new", 3000)):
        with open(forward_path(data_dir, tenant), "w", encoding="utf-8") as handle:
            handle.write(
                forward_text(tenant, f"{tenant}.example.com", "192.0.2.7", 443, True, until)
            )
    with open(forward_path(data_dir, "broken"), "w", encoding="utf-8") as handle:
        handle.write("{")
    wanted = [forward_path(data_dir, "broken"), forward_path(data_dir, "old")]
    assert ended_forwards(data_dir, now=2000) == wanted
    assert len(remove_ended(data_dir)) == 3  # today, both are over
    assert os.listdir(tmp_path / "edge/dynamic") == ["acme.yml"]
