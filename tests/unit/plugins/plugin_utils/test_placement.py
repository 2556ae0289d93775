# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node carries a new tenant, as a table."""

from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._placement import (
    Need,
    choose_node,
)

GIB = 1024**3
NEED = Need(memory=GIB, storage=GIB)


def room(memory=8, disk=100, slots=10, tenants=()):
    return {"memory": memory * GIB, "disk": disk * GIB, "slots": slots, "tenants": list(tenants)}


@pytest.mark.parametrize(
    ("carried", "rooms", "chosen"),
    [
        pytest.param({}, {"a": room(4), "b": room(8)}, "b", id="the one with more memory"),
        pytest.param({"a": ["x"]}, {}, "b", id="nobody was asked: fewest tenants"),
        pytest.param({}, {}, "a", id="nobody was asked, all equal: the first"),
        pytest.param({}, {"a": room(8, slots=0), "b": room(2)}, "b", id="no network left"),
        pytest.param({}, {"a": room(8, disk=0), "b": room(2)}, "b", id="no disk left"),
        pytest.param({}, {"a": {"msg": "no images.json"}, "b": room(2)}, "b", id="not set up"),
        pytest.param({}, {"b": room(2)}, "b", id="one does not answer"),
        pytest.param(
            {"a": ["x"]}, {"a": room(8, tenants=["x"]), "b": room(8)}, "b", id="equal: fewest"
        ),
        pytest.param(
            {"a": ["new1", "new2"]}, {"a": room(8), "b": room(7)}, "b", id="not deployed yet"
        ),
        pytest.param(
            {"a": ["old1", "old2"]},
            {"a": room(8, tenants=["old1", "old2"]), "b": room(7)},
            "a",
            id="deployed ones are in what is available",
        ),
    ],
)
def test_the_node_with_room_is_chosen(carried, rooms, chosen):
    assert choose_node("acme", ["a", "b"], carried, rooms, NEED) == chosen


def test_where_no_node_has_room_each_says_why():
    rooms = {"a": room(0.5), "b": room(8, slots=1), "c": {"msg": "not set up"}}
    with pytest.raises(MemcloudError) as raised:
        choose_node("acme", ["a", "b", "c", "d"], {"b": ["new"]}, rooms, NEED)
    told = str(raised.value)
    assert "a: 512M of memory are available, 1.0G are needed" in told
    assert "b: its platform_subnet_pool has no network left" in told
    assert "c: not set up" in told and "d: it does not answer" in told
    # deploy_tenant, which chooses for entries made by hand, takes no node.
    assert "create_tenant -e tenant=acme -e node=<name>, or tenant_node in an entry" in told
