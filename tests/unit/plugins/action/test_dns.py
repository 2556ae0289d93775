# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's hook for DNS records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.memcloud.memmachine.plugins.action import tenant_dns

sys.path.insert(0, str(Path(__file__).parent))
from controller_side import ROOT_KEY, Run, write_inventory

ENTRY = 'tenant_uid: "0123456789abcdef"\ntenant_node: node1\n'
POWERDNS = Path(__file__).parents[4] / "docs/dns-hooks/powerdns"
HOOK = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$(dirname "$0")/called"\necho done\n'


def inventory(
    tmp_path: Path,
    text: str,
    nodes: str = "ansible_host: 192.0.2.7",
    settings: str = "",
    **files: str,
) -> Path:
    hook = tmp_path / "hook"
    hook.write_text(text)
    hook.chmod(0o755)
    settings += f'platform_root_keys: {{1: "{ROOT_KEY}"}}\nplatform_domain: example.com\n'
    settings += f"platform_dns_hook: [{hook}, --zone, example.com]\nplatform_dns_ttl: 60\n"
    return write_inventory(
        tmp_path / "inventory",  # every file in it would be read
        group_vars__all_DOT_yml=settings,
        nodes_DOT_yml=f"nodes: {{hosts: {{node1: {{{nodes}}}}}}}\n",
        **{"host_vars__acme_DOT_yml": ENTRY, **files},
    )


def test_the_hook_is_called_with_what_is_to_be(tmp_path):
    run = Run(inventory(tmp_path, HOOK))
    result = run.act(tenant_dns, "acme")
    assert result["said"] == "done"
    run.act(tenant_dns, "acme", state="absent")
    called = (tmp_path / "called").read_text().splitlines()
    assert called == [
        "--zone example.com present acme acme.example.com 192.0.2.7 60",
        "--zone example.com absent acme acme.example.com",
    ]


@pytest.mark.parametrize(("writer", "files"), [("file", "host_vars__"), ("awx", "")])
@pytest.mark.parametrize(("state", "goes"), [("running", 0), ("paused", 0), ("deleted", 1)])
def test_a_record_that_is_another_tenants_by_now_stays(tmp_path, state, goes, writer, files):
    other = {
        "tenant_uid": "3" * 16,
        "tenant_node": "node1",
        "tenant_hostname": "ACME.example.com",
        "tenant_state": state,
    }
    hosts = {"tenants": {"hosts": {"acme2": other}}}
    # AWX gives its inventory by a script, and there is no file of a tenant.
    name = f"{files}acme2_DOT_yml" if files else "hosts_DOT_yml"
    text = {name: json.dumps(other if files else hosts)}
    place = inventory(
        tmp_path,
        HOOK,
        settings=f"platform_inventory_writer: {writer}\n",
        host_vars__acme_DOT_yml=f"{ENTRY}tenant_state: deleted\n",
        **text,
    )
    result = Run(place).act(tenant_dns, "acme", state="absent")
    assert len(result["command"]) == goes * 6
    assert (tmp_path / "called").exists() == bool(goes)


def test_the_public_address_of_the_node_wins(tmp_path):
    nodes = "ansible_host: 192.0.2.7, platform_public_address: 198.51.100.7"
    result = Run(inventory(tmp_path, HOOK, nodes)).act(tenant_dns, "acme")
    assert result["command"][-2:] == ["198.51.100.7", "60"]


def test_a_node_that_is_reached_by_its_name_has_it_for_an_address(tmp_path):
    result = Run(inventory(tmp_path, HOOK, "ansible_user: deploy")).act(tenant_dns, "acme")
    assert result["command"][-2:] == ["node1", "60"]


def test_a_node_without_an_address_is_an_error_that_names_the_variable(tmp_path):
    nodes = "ansible_connection: local"
    with pytest.raises(AnsibleActionFail, match="node1: platform_public_address: is missing"):
        Run(inventory(tmp_path, HOOK, nodes)).act(tenant_dns, "acme")
    assert not (tmp_path / "called").exists()


def test_a_hook_that_fails_fails_the_tenant_with_its_words(tmp_path):
    broken = '#!/bin/sh\necho "REFUSED by the server" >&2\nexit 3\n'
    with pytest.raises(AnsibleActionFail, match="ended with 3 and said: REFUSED by the server"):
        Run(inventory(tmp_path, broken)).act(tenant_dns, "acme")


def test_without_a_hook_nothing_is_called(tmp_path):
    run = Run(write_inventory(tmp_path, host_vars__acme_DOT_yml=ENTRY))
    assert run.act(tenant_dns, "acme")["command"] == []


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("present", "192.0.2.7"), ["DELETE AAAA", "DELETE CNAME", "REPLACE A 192.0.2.7"]),
        (("present", "2001:db8::7"), ["DELETE A", "DELETE CNAME", "REPLACE AAAA 2001:db8::7"]),
        (("present", "n.example"), ["DELETE A", "DELETE AAAA", "REPLACE CNAME n.example."]),
        (("absent",), ["DELETE A", "DELETE AAAA", "DELETE CNAME"]),
    ],
)
def test_the_hook_for_powerdns_first_removes_what_no_record_may_stand_beside(
    tmp_path, words, asked
):
    """PowerDNS looks with each record at what is there: an address beside a CNAME is refused."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\nwhile [ "$1" != --data ]; do shift; done\nprintf %s "$2"\n')
    curl.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "POWERDNS_URL": "http://127.0.0.1:8081",
        "POWERDNS_ZONE": "example.com",
        "POWERDNS_KEY_FILE": "/key",
    }
    state, *address = words
    command = [POWERDNS, state, "acme", "acme.example.com", *address, *(["60"] if address else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    sets = json.loads(done.stdout)["rrsets"]
    assert {entry["name"] for entry in sets} == {"acme.example.com."}
    assert [
        " ".join([e["changetype"], e["type"], *(r["content"] for r in e.get("records", []))])
        for e in sets
    ] == asked
    assert [entry["ttl"] for entry in sets if "ttl" in entry] == [60] * len(address)
