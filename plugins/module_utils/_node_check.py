# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node has and lacks, found out with nothing but Python's own library.

It runs before anything of ours is on the node, so neither Docker's SDK nor any command is taken for
granted.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    existing,
    names_in,
    read_text,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inspect import UnixConnection

CONFIGURATION = "/etc/memcloud"
# Engine 20.10, the oldest one that this collection is tested with.
OLDEST_API = "1.41"
# What an engine says of itself that cannot carry tenants. Their files belong to fixed users of the
# node, and its firewall has to see their networks.
_UNFIT = {
    "name=rootless": "runs without root (rootless mode)",
    "name=userns": "maps the users of containers to other ones (userns-remap)",
}
_SNAP = "/var/snap/"
_GIB = 1024**3
_TIMEOUT = 60.0
# Fixed uids of the edge, the gate and the demo model provider.
_SERVICE_UIDS = (30013, 30014, 30015)
_PORT_LOOKS = 3
_PORT_PAUSE = 1.0  # seconds

_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_PACKAGES = {
    "nft": "nftables",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "restic": "restic",
    "dockerd": "docker.io",
}


class NodeError(MemcloudError):
    """A node that cannot carry tenants as it is."""


@dataclass(frozen=True)
class EngineFacts:
    """What a Docker Engine says about itself."""

    version: str
    api_version: str
    min_api_version: str
    root_dir: str
    security_options: tuple[str, ...] = ()


# -- the engine ---------------------------------------------------------------------------------


def engine_call(docker_host: str, method: str, path: str) -> tuple[int, Any]:
    """Return status and answer of the engine, JSON where it is JSON; OSError when none answers."""
    if not docker_host.startswith("unix://"):
        raise NodeError(
            f"platform_docker_host is {docker_host!r}; the engine of a node is reached by a socket "
            "of its own, such as unix:///var/run/docker.sock"
        )
    connection = UnixConnection(docker_host[len("unix://") :], _TIMEOUT)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        try:
            return response.status, json.loads(body)
        except ValueError:
            return response.status, body
    finally:
        connection.close()


def engine_get(docker_host: str, path: str) -> Any:
    """Return the engine's JSON answer; None when nobody answers or the thing is not there."""
    try:
        status, answer = engine_call(docker_host, "GET", path)
    except (OSError, http.client.HTTPException):
        return None
    return answer if status == 200 else None


def engine_facts(docker_host: str) -> EngineFacts | None:
    """Return what the engine is, None when none answers."""
    version = engine_get(docker_host, "/version")
    if not version:
        return None
    info = engine_get(docker_host, "/info") or {}
    return EngineFacts(
        version=version.get("Version", ""),
        api_version=version.get("ApiVersion", ""),
        min_api_version=version.get("MinAPIVersion", ""),
        root_dir=info.get("DockerRootDir", ""),
        security_options=tuple(info.get("SecurityOptions") or ()),
    )


def check_engine(node: str, engine: EngineFacts) -> None:
    """Stop when the engine is too old, or cannot carry tenants as it is set up."""
    if _numbers(engine.api_version) < _numbers(OLDEST_API):
        raise NodeError(
            f"{node}: Docker Engine {engine.version} speaks API {engine.api_version}; this "
            f"collection needs {OLDEST_API} (Docker Engine 20.10) or newer: upgrade the engine"
        )
    names = {option.partition(",")[0] for option in engine.security_options}
    unfit = [words for name, words in _UNFIT.items() if name in names]
    if engine.root_dir.startswith(_SNAP):
        unfit.append("is a snap, which does not see the directories of tenants")
    if unfit:
        raise NodeError(
            f"{node}: its Docker Engine {' and '.join(unfit)}, and cannot carry tenants. Nothing "
            "was touched. Install Docker's or Debian's package of it, run by root with the users "
            "as they are, or name the socket of such an engine (platform_docker_host)"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


# -- disk, packages, virtual environment --------------------------------------------------------


def check_disk(node: str, paths: Iterable[str], least: int) -> int:
    """Return the free bytes of the fullest file system; stop when it is less than needed."""
    free, place = min((_free(path), path) for path in paths)
    if free < least:
        raise NodeError(
            f"{node}: {free / _GIB:.1f} GiB are free for {place}, {least / _GIB:.1f} GiB are "
            "needed (docker_node_min_free). Free some space there, or give the node a larger disk"
        )
    return free


def _free(path: str) -> int:
    return shutil.disk_usage(existing(path)).free


def missing_packages(*, engine: bool) -> list[str]:
    """Return the Debian packages that have to be installed.

    :param engine: whether an engine answers already.
    """
    wanted = {
        command: package
        for command, package in _PACKAGES.items()
        if not (command == "dockerd" and engine)
    }
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [
        package for command, package in wanted.items() if not shutil.which(command, path=path)
    ]
    if not all(importlib.util.find_spec(name) for name in ("ensurepip", "venv")):
        missing.append("python3-venv")
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        missing.append("ca-certificates")
    if "docker.io" in missing:
        # What the package only recommends: Docker drives iptables itself, and has AppArmor confine
        # containers where the kernel can.
        missing.append("iptables")
        if _kernel_has_apparmor() and not shutil.which("apparmor_parser", path=path):
            missing.append("apparmor")
    return missing


def _kernel_has_apparmor() -> bool:
    with contextlib.suppress(OSError), open(_APPARMOR, encoding="ascii") as file:
        return file.read().strip() == "Y"
    return False


def venv_is_current(venv: str, requirements: str) -> bool:
    """Whether the node's virtual environment was made from these requirements."""
    with contextlib.suppress(OSError), open(os.path.join(venv, ".requirements.sha256")) as file:
        digest = hashlib.sha256(requirements.encode()).hexdigest()
        return file.read().strip() == digest and os.access(f"{venv}/bin/python", os.X_OK)
    return False


def check_data_dir(node: str, platform: str, data_dir: str) -> None:
    """Stop when the platform of that name has its tenants' files in another directory here."""
    settings: Any = None
    with contextlib.suppress(ValueError):
        settings = json.loads(read_text(os.path.join(CONFIGURATION, f"{platform}.json")) or "{}")
    known = str(settings.get("data_dir") or "") if isinstance(settings, dict) else ""
    if not known or os.path.realpath(known) == os.path.realpath(data_dir):
        return
    tenants = names_in(os.path.join(known, "tenants"))
    if tenants:
        raise NodeError(
            f"{node}: platform {platform} has the files of {len(tenants)} tenants "
            f"({', '.join(sorted(tenants)[:10])}) in {known} here, and not in {data_dir}, from "
            "which none of them would be served. Nothing was touched. Set platform_data_dir back "
            "(a larger disk can be mounted there), or give a platform of another inventory another "
            "platform_name"
        )


# -- network ------------------------------------------------------------------------------------


def check_pool(node: str, pool: str, platform: str, routes: Sequence[dict[str, Any]]) -> None:
    """Stop when a network of the node overlaps with the pool, other than the platform's own."""
    wanted = ipaddress.IPv4Network(pool)
    for route in routes:
        device = str(route.get("dev", ""))
        if device.startswith(f"{platform}-"):
            continue
        with contextlib.suppress(ValueError):
            network = ipaddress.IPv4Network(route.get("dst", ""), strict=False)
            if network.prefixlen and network.overlaps(wanted):
                raise NodeError(
                    f"{node}: platform_subnet_pool {pool} overlaps with {network}, which this node "
                    f"reaches by {device or 'a route of its own'}. Choose another private network, "
                    "such as 10.96.0.0/14"
                )


def ipv4_routes() -> list[dict[str, Any]]:
    """Return the IPv4 routes of all tables, empty when the command is missing."""
    try:
        done = subprocess.run(
            ["ip", "-j", "-4", "route", "show", "table", "all"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
        )
        routes = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    return [route for route in routes if isinstance(route, dict)]


@dataclass(frozen=True)
class Listener:
    """A socket that waits for connections."""

    address: str
    port: int
    inode: str


def check_ports(node: str, wanted: Iterable[str], own_pids: Iterable[int]) -> None:
    """Stop when somebody else listens on an address that the node's services need.

    :param wanted: addresses with ports, such as ``0.0.0.0:443``.
    :param own_pids: first processes of the platform's containers.
    """
    own = set(own_pids)
    listeners = list(_listeners())
    for text in wanted:
        address, port = text.rsplit(":", 1)
        for listener in listeners:
            if listener.port != int(port) or not _collide(address.strip("[]"), listener.address):
                continue
            pid = _owner_of(listener.inode)
            if pid is not None and _descends_from(pid, own):
                continue
            who = f"{_name_of(pid)} (process {pid})" if pid else "a process that cannot be seen"
            raise NodeError(
                f"{node}: port {port} is taken: {who} listens on {listener.address}:{port}. "
                "Nothing was touched. Stop it, or give the edge another port "
                "(platform_http_port, platform_https_port, platform_edge_api_port, "
                "platform_gate_port, platform_metrics_address, platform_demo_model_port)"
            )


def _collide(one: str, other: str) -> bool:
    anywhere = {"0.0.0.0", "::", ""}
    return one == other or bool({one, other} & anywhere)


def _listeners() -> Iterator[Listener]:
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            for line in list(file)[1:]:
                words = line.split()
                if words[3] == "0A":
                    address, port = words[1].split(":")
                    yield Listener(_address(address, family), int(port, 16), words[9])


def _address(text: str, family: socket.AddressFamily) -> str:
    """Read an address as /proc shows it: 32-bit words in the machine's byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = socket.inet_ntop(family, b"".join(words))
    return address[7:] if address.startswith("::ffff:") else address


def _owner_of(inode: str) -> int | None:
    target = f"socket:[{inode}]"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{handle}") == target:
                        return int(pid)
    return None


def _descends_from(pid: int, ancestors: set[int]) -> bool:
    while pid > 1:
        if pid in ancestors:
            return True
        pid = _parent_of(pid)
    return False


def _parent_of(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0


def _name_of(pid: int | None) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()
    return "a process"


def own_pids(docker_host: str, platform: str) -> list[int]:
    """Return the first processes of the platform's own services on this node."""
    found = []
    for service in ("edge", "gate", "demo-model"):
        container = engine_get(docker_host, f"/containers/{platform}-{service}/json")
        labels = ((container or {}).get("Config") or {}).get("Labels") or {}
        if labels.get("memcloud.platform") == platform:
            found.append(int(container["State"]["Pid"]))
    return [pid for pid in found if pid]


def pids_without_an_engine() -> list[int]:
    """Return processes of node services that outlived their engine, known by their uids."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # Not the owner of the directory: a process with file capabilities shows root there.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
            uids = next((line.split() for line in file if line.startswith("Uid:")), [])
            if len(uids) > 1 and int(uids[1]) in _SERVICE_UIDS:
                found.append(int(pid))
    return found


def init_system() -> str:
    """Return what starts services at boot: ``systemd``, or ``none``."""
    return "systemd" if os.path.isdir("/run/systemd/system") else "none"


# -- limits of the kernel -----------------------------------------------------------------------


def low_limits(least: Mapping[str, int], kernel: str = "/proc/sys") -> dict[str, int]:
    """Return the limits of the kernel that are lower than these, with what they are.

    One that this machine does not have (a network namespace lacks some) is not too low.
    """
    found = {}
    for name, wanted in least.items():
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(kernel, name.replace(".", "/")), encoding="ascii") as file:
                value = int(file.read())
            if value < int(wanted):
                found[name] = value
    return found


# -- all of it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What a node is looked at for."""

    node: str
    platform: str
    docker_host: str
    data_dir: str
    venv: str
    requirements: str
    subnet_pool: str
    min_free: int
    ports: tuple[str, ...]
    engine_root: str | None = None


def _check_ports_patiently(wanted: Wanted) -> None:
    """Look more than once: a service of ours may just be starting again, or its engine."""
    for attempt in range(_PORT_LOOKS):
        answers = engine_get(wanted.docker_host, "/version") is not None
        own = own_pids(wanted.docker_host, wanted.platform) if answers else pids_without_an_engine()
        try:
            check_ports(wanted.node, wanted.ports, own)
            return
        except NodeError:
            if attempt + 1 == _PORT_LOOKS:
                raise
            time.sleep(_PORT_PAUSE)


def survey(wanted: Wanted) -> dict[str, Any]:
    """Stop where a node cannot carry tenants; else return what it has and lacks."""
    engine = engine_facts(wanted.docker_host)
    if engine:
        check_engine(wanted.node, engine)
    check_data_dir(wanted.node, wanted.platform, wanted.data_dir)
    check_pool(wanted.node, wanted.subnet_pool, wanted.platform, ipv4_routes())
    root = engine.root_dir if engine else wanted.engine_root
    free = check_disk(wanted.node, [wanted.data_dir, root or "/var/lib/docker"], wanted.min_free)
    _check_ports_patiently(wanted)
    return {
        "engine": engine.__dict__ if engine else None,
        "init": init_system(),
        "packages": missing_packages(engine=engine is not None),
        "venv": venv_is_current(wanted.venv, wanted.requirements),
        "free": free,
    }
