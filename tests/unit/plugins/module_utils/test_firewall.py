# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import re
import stat
import subprocess

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._firewall import (
    Firewall,
    FirewallError,
    Table,
    render,
    resolvers_of,
)

FIREWALL = Firewall(
    platform="mc",
    edge_ports=(80, 443),
    model_endpoints=("10.192.0.1:9083", "192.168.1.0/24:11434", "[fd00::5]:8000"),
    resolvers=("192.168.1.1", "fe80::1%eth0", "nonsense"),
)


def chain(rules, name):
    found = re.search(rf"chain {name} \{{\n(.*?)\n    \}}", rules, re.DOTALL)
    assert found, name
    return [line.strip() for line in found.group(1).splitlines()]


def elements(rules, name):
    found = re.search(rf"set {name} \{{(.*?)\n    \}}", rules, re.DOTALL)
    assert found, name
    listed = re.search(r"elements = \{ (.*) \}", found.group(1))
    return listed.group(1).split(", ") if listed else []


def test_table_is_replaced_in_one_step_and_no_other_is_touched():
    rules = render(FIREWALL)
    assert "table inet memcloud_mc\ndelete table inet memcloud_mc\n" in rules
    assert "flush ruleset" not in rules
    assert set(re.findall(r"table inet (\w+)", rules)) == {"memcloud_mc"}


@pytest.mark.parametrize("name", ["input", "forward", "output"])
def test_chains_come_before_others_and_leave_the_rest_to_them(name):
    hook, *_rules = chain(render(FIREWALL), name)
    assert hook == f"type filter hook {name} priority filter - 10; policy accept;"


def test_no_rule_accepts_for_other_tables():
    """Base chains hold drops and jumps only: what they do not drop is still judged by others."""
    rules = render(FIREWALL)
    for name in ("input", "forward", "output"):
        for rule in chain(rules, name)[1:]:
            assert rule.endswith("drop") or "jump" in rule


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("edge_ports", ["80", "443"]),
        ("model_endpoints", ["10.192.0.1 . 9083", "192.168.1.0/24 . 11434"]),
        ("model_endpoints6", ["fd00::5 . 8000"]),
        ("resolvers", ["192.168.1.1"]),
        ("resolvers6", ["fe80::1"]),
    ],
)
def test_what_is_open_comes_from_the_options(name, expected):
    assert sorted(elements(render(FIREWALL), name)) == sorted(expected)


def test_metadata_and_private_networks_are_closed():
    rules = render(FIREWALL)
    assert {"169.254.0.0/16", "168.63.129.16/32", "10.0.0.0/8", "192.168.0.0/16"} <= set(
        elements(rules, "closed")
    )
    assert {"fc00::/7", "fe80::/10"} <= set(elements(rules, "closed6"))


def test_bridges_are_matched_by_their_prefix():
    rules = render(dataclasses.replace(FIREWALL, platform="x1"))
    assert set(re.findall(r'[io]ifname "([^"]+)"', rules)) == {"x1-*", "x1-a*", "x1-d*"}


@pytest.mark.parametrize(
    "endpoint", ["10.0.0.1", "ollama.lan:11434", "10.0.0.1:0", "10.0.0.1:http", ":80", ""]
)
def test_endpoint_that_is_none_is_named(endpoint):
    with pytest.raises(FirewallError, match="platform_model_endpoints"):
        render(dataclasses.replace(FIREWALL, model_endpoints=(endpoint,)))


def test_same_options_give_the_same_rules():
    turned = tuple(reversed(FIREWALL.model_endpoints))
    assert render(dataclasses.replace(FIREWALL, model_endpoints=turned)) == render(FIREWALL)


def test_overlapping_endpoints_of_a_port_are_merged():
    """A set of addresses with ports knows no auto-merge: nft would refuse the whole table."""
    given = ("192.168.1.0/24:11434", "192.168.1.20:11434", "192.168.1.20:8000", "192.168.1.7/24:80")
    found = elements(
        render(dataclasses.replace(FIREWALL, model_endpoints=given)), "model_endpoints"
    )
    assert found == ["192.168.1.0/24 . 11434", "192.168.1.0/24 . 80", "192.168.1.20 . 8000"]


def test_resolvers_are_read_from_the_nodes_own_files(tmp_path):
    one = tmp_path / "resolv.conf"
    one.write_text("# comment\nnameserver 127.0.0.53\nsearch lan\nnameserver 10.0.0.2\n")
    assert resolvers_of([str(one), str(tmp_path / "missing")]) == ("10.0.0.2", "127.0.0.53")


NFT = """#!/bin/sh
# Keeps one table in a file, as the kernel would.
state={state}
case "$*" in
  "-s list table inet memcloud_mc") cat $state 2>/dev/null ;;
  "-c -f "*) if grep -q broken "$3"; then echo "syntax error" >&2; exit 1; fi ;;
  "-f "*) cp "$2" $state ;;
  "delete table inet memcloud_mc") rm $state ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def kernel(tmp_path):
    return tmp_path / "kernel"


@pytest.fixture
def table(tmp_path, kernel):
    script = tmp_path / "nft"
    script.write_text(NFT.format(state=kernel))
    script.chmod(0o755)
    return Table("mc", str(tmp_path / "firewall.nft"), nft=str(script))


def test_table_is_loaded_once(table):
    assert table.faults("rules\n") == ["there are no rules yet"]
    table.load("rules\n")
    assert table.faults("rules\n") == []
    assert table.rules() == "rules\n"


def test_changed_rules_are_seen(table):
    table.load("rules\n")
    assert table.faults("other\n") == ["the rules changed"]


def test_table_that_was_flushed_is_seen(table, kernel):
    table.load("rules\n")
    kernel.unlink()
    assert table.faults("rules\n") == ["the table inet memcloud_mc is not loaded"]


def test_table_that_was_changed_by_hand_is_seen(table, kernel):
    table.load("rules\n")
    kernel.write_text("less\n")
    assert table.faults("rules\n") == ["the table inet memcloud_mc was changed by hand"]


def test_broken_rules_change_nothing(table, kernel, tmp_path):
    table.load("rules\n")
    with pytest.raises(FirewallError, match="syntax error"):
        table.load("broken\n")
    assert table.faults("rules\n") == []
    assert not (tmp_path / "firewall.nft.new").exists()


def test_rules_are_for_root_alone(table, tmp_path):
    table.load("rules\n")
    assert stat.S_IMODE((tmp_path / "firewall.nft").stat().st_mode) == 0o600


def test_table_goes_with_its_files(table, kernel, tmp_path):
    table.load("rules\n")
    table.remove()
    assert not kernel.exists()
    assert not list(tmp_path.glob("firewall*"))
    table.remove()


def test_missing_nft_is_named(tmp_path):
    with pytest.raises(FirewallError, match="package nftables"):
        Table("mc", str(tmp_path / "f"), nft="/nowhere/nft").live()


def test_nft_that_hangs_is_named(table, monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("nft", 30)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(FirewallError, match="did not answer"):
        table.live()
