# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall table of a node: what tenants' containers must not reach, and who not them.

The table only ever drops: whatever it lets through, the firewall of the host and Docker's own
still judge. It is ours alone and matches bridges by their prefix, so it needs no rule a tenant and
outlives reloads of Docker, firewalld and ufw.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

# Where no tenant has any business: private and shared networks, loopback, link-local with the
# metadata service of most clouds, Azure's, and what is no destination at all.
_CLOSED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
)
# fc00::/7 holds fd00:ec2::254, the metadata service of AWS.
_CLOSED6 = ("::/127", "::ffff:0:0/96", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8")
# Name servers of a private network; link-local ones only where the node itself asks them.
_LAN = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")

_TIMEOUT = 30


class FirewallError(MemcloudError):
    """The firewall table cannot be made or loaded."""


@dataclass(frozen=True)
class Firewall:
    """What the table depends on.

    :param edge_ports: public ports of the edge on this node.
    :param model_endpoints: addresses (or networks) with ports that tenants may reach although
        they are on the node or in a private network, such as ``192.168.1.20:11434``.
    :param resolvers: name servers of the node.
    :param host_uids: users of the host that may reach the tenants' apps: root, edge, gate.
    """

    platform: str
    edge_ports: tuple[int, ...]
    model_endpoints: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    host_uids: tuple[int, ...] = (0, 30013, 30014)

    @property
    def table(self) -> str:
        """Family and name of the table."""
        return f"inet memcloud_{self.platform}"


def render(firewall: Firewall) -> str:
    """Return the file for ``nft -f``: it replaces our table in one step, and no other."""
    platform = firewall.platform
    uids = ", ".join(map(str, firewall.host_uids))
    endpoints, endpoints6 = _by_family(_without_overlaps(map(_endpoint, firewall.model_endpoints)))
    resolvers, resolvers6 = _by_family(
        (address, "") for address in map(_address, firewall.resolvers) if address
    )
    sets = "".join(
        (
            _set("edge_ports", "inet_service", map(str, firewall.edge_ports), interval=False),
            _set("model_endpoints", "ipv4_addr . inet_service", endpoints),
            _set("model_endpoints6", "ipv6_addr . inet_service", endpoints6),
            _set("resolvers", "ipv4_addr", resolvers),
            _set("resolvers6", "ipv6_addr", resolvers6),
            _set("lan", "ipv4_addr", _LAN),
            _set("closed", "ipv4_addr", _CLOSED),
            _set("closed6", "ipv6_addr", _CLOSED6),
        )
    )
    return f"""\
# Made by the collection memcloud.memmachine for the platform {platform}; changes are overwritten.
table {firewall.table}
delete table {firewall.table}
table {firewall.table} {{
{sets}
    # From tenants to the node itself: name service, the edge, model servers. The data bridges
    # only answer.
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname "{platform}-d*" ct state != {{ established, related }} counter drop
        iifname "{platform}-a*" jump from_app_to_node
    }}
    chain from_app_to_node {{
        ct state {{ established, related }} accept
        meta l4proto {{ tcp, udp }} th dport 53 accept
        tcp dport @edge_ports accept
        ip daddr . tcp dport @model_endpoints accept
        ip6 daddr . tcp dport @model_endpoints6 accept
        counter drop
    }}

    # Between tenants, and from tenants to the world. br_netfilter shows frames within one bridge
    # here too: those, and only those, have a route through the bridge they came from.
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname "{platform}-*" oifname "{platform}-*" jump within_bridge
        iifname "{platform}-d*" counter drop
        iifname "{platform}-a*" jump from_app_to_world
        oifname "{platform}-*" ct state != {{ established, related }} counter drop
    }}
    chain within_bridge {{
        fib daddr . iif oif missing counter drop
        accept
    }}
    chain from_app_to_world {{
        ct state {{ established, related }} accept
        ip daddr . tcp dport @model_endpoints accept
        ip6 daddr . tcp dport @model_endpoints6 accept
        ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
        ip6 daddr @resolvers6 meta l4proto {{ tcp, udp }} th dport 53 accept
        ip daddr @lan meta l4proto {{ tcp, udp }} th dport 53 accept
        ip daddr @closed counter drop
        ip6 daddr @closed6 counter drop
    }}

    # From users of the node: databases for root alone, apps for root, edge and gate.
    chain output {{
        type filter hook output priority filter - 10; policy accept;
        oifname "{platform}-d*" ct state new meta skuid != 0 counter drop
        oifname "{platform}-a*" ct state new meta skuid != {{ {uids} }} counter drop
    }}
}}
"""


def _set(name: str, kind: str, elements: Iterable[str], *, interval: bool = True) -> str:
    lines = [f"    set {name} {{", f"        type {kind}"]
    if interval:
        lines.append("        flags interval")
    # Of two overlapping networks nft wants one.
    distinct = sorted(set(elements))
    if distinct:
        lines += ["        auto-merge"] if interval and "." not in kind else []
        lines.append(f"        elements = {{ {', '.join(distinct)} }}")
    return "\n".join([*lines, "    }", ""])


def _endpoint(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]:
    host, colon, port = text.rpartition(":")
    try:
        network = ipaddress.ip_network(host.strip("[]"), strict=False)
        if not colon or not 0 < int(port) < 65536:
            raise ValueError("no port")
    except ValueError as error:
        raise FirewallError(
            f"platform_model_endpoints: {text!r} is not an address with a port; write it as "
            "192.168.1.20:11434 or 192.168.1.0/24:11434"
        ) from error
    return network, f" . {port}"


def _without_overlaps(
    entries: Iterable[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]],
) -> Iterator[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]:
    """Yield the entries with networks that lie in others of their port merged."""
    ports: dict[tuple[int, str], list[Any]] = {}
    for network, port in entries:
        ports.setdefault((network.version, port), []).append(network)
    for (_version, port), networks in ports.items():
        for network in ipaddress.collapse_addresses(networks):
            yield network, port


def _address(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.partition("%")[0])
    except ValueError:
        return None


def _by_family(
    entries: Iterable[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]],
) -> tuple[list[str], list[str]]:
    families: tuple[list[str], list[str]] = ([], [])
    for network, rest in entries:
        single = network.prefixlen == network.max_prefixlen
        address = str(network.network_address) if single else str(network)
        families[network.version == 6].append(address + rest)
    return families


_RESOLVER_FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def resolvers_of(paths: Sequence[str] = _RESOLVER_FILES) -> tuple[str, ...]:
    """Return the name servers that the node itself asks."""
    found: set[str] = set()
    for path in paths:
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            words = [line.split() for line in file]
            found.update(word[1] for word in words if len(word) > 1 and word[0] == "nameserver")
    return tuple(sorted(found))


class Table:
    """Our table on this node, and the files that say what it should be.

    :param path: file of rules, loaded again at boot. Beside it, ``<path>.loaded`` keeps how the
        kernel shows the table after it was loaded: a difference means that somebody changed it.
    """

    def __init__(self, platform: str, path: str, nft: str = "nft") -> None:
        self.name = f"inet memcloud_{platform}"
        self.path = path
        self._record = path + ".loaded"
        self._nft = nft

    def rules(self) -> str:
        """Return the rules that were written last; empty when there are none."""
        return _read(self.path)

    def faults(self, rules: str) -> list[str]:
        """Return what is not as it should be, in words."""
        if _read(self.path) != rules:
            exists = os.path.exists(self.path)
            return ["the rules changed" if exists else "there are no rules yet"]
        live = self.live()
        if not live:
            return [f"the table {self.name} is not loaded"]
        if live != _read(self._record):
            return [f"the table {self.name} was changed by hand"]
        return []

    def live(self) -> str:
        """Return the table as the kernel has it, without counters; empty when there is none."""
        done = self._run("-s", "list", "table", *self.name.split())
        return done.stdout if done.returncode == 0 else ""

    def load(self, rules: str) -> None:
        """Check the rules, write them and load them in one step."""
        scratch = self.path + ".new"
        _write(scratch, rules)
        try:
            for options in (("-c", "-f", scratch), ("-f", scratch)):
                done = self._run(*options)
                if done.returncode != 0:
                    raise FirewallError(
                        f"nft {' '.join(options[:-1])} refuses the firewall table of this node: "
                        f"{done.stderr.strip()[:1000]}"
                    )
            os.replace(scratch, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
        _write(self._record, self.live())

    def remove(self) -> None:
        """Take the table and its files away."""
        if self.live():
            self._run("delete", "table", *self.name.split())
        for path in (self.path, self._record):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self._nft, *arguments],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise FirewallError(
                "the command nft is missing on this node: install the package nftables"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise FirewallError(f"nft did not answer within {_TIMEOUT} s") from error


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, content: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
