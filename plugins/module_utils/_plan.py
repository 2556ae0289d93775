# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing a node with what it should carry.

Pure but for :func:`observe`, which reads the node once. What is compared on a container is what
the engine reports of it, so that a limit changed by hand is seen; the hash label stands for the
rest.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    Engine,
    host_config,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_KIND,
    LABEL_ROLE,
    LABEL_SPEC,
    LABEL_TENANT,
    LABEL_UID,
    Container,
    Desired,
    Directory,
    Drift,
    File,
    Network,
    sha256,
)

# Name of the owner of the node's own services in the maps below.
NODE = ""


@dataclass
class Found:
    """What the engine holds of one owner (a tenant, or the node's services)."""

    containers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    volumes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Found:
        """The part whose kind label says so."""
        return Found(
            {n: c for n, c in self.containers.items() if c["Config"]["Labels"][LABEL_KIND] == kind},
            {n: e for n, e in self.networks.items() if e["Labels"][LABEL_KIND] == kind},
            {n: v for n, v in self.volumes.items() if v["Labels"][LABEL_KIND] == kind},
        )


def observe(engine: Engine, platform: str, owners: Iterable[str] | None = None) -> dict[str, Found]:
    """Everything of a platform on the engine, by owner, read with one call a kind.

    :param owners: tenants that matter (``""`` for the node's own); all when None.
    """
    wanted = None if owners is None else set(owners)
    found: dict[str, Found] = {}

    def owner_of(labels: Mapping[str, str] | None) -> Found | None:
        labels = labels or {}
        owner = labels.get(LABEL_TENANT, NODE)
        if wanted is not None and owner not in wanted:
            return None
        return found.setdefault(owner, Found())

    for container in engine.containers(platform, wanted):
        owner = owner_of(container["Config"]["Labels"])
        if owner is not None:
            owner.containers[container["Name"].lstrip("/")] = container
    for network in engine.networks(platform, wanted):
        owner = owner_of(network["Labels"])
        if owner is not None:
            owner.networks[network["Name"]] = network
    for volume in engine.volumes(platform, wanted):
        owner = owner_of(volume["Labels"])
        if owner is not None:
            owner.volumes[volume["Name"]] = volume
    return found


def compare(
    desired: Desired,
    found: Found,
    images: Mapping[str, str | None],
    written: Mapping[str, Mapping[str, str]],
) -> list[Drift]:
    """Every difference between the desired state of one owner and the node.

    :param images: id of each image reference in use, None where it is missing.
    :param written: what was recorded of files with secrets: path to ``{sha256, fingerprint}``.
    """
    drifts: list[Drift] = []
    for directory in desired.directories:
        drifts += _compare_directory(directory)
    rewritten = set()
    for file in desired.files:
        differences = compare_file(file, written)
        drifts += differences
        if any(drift.action == "write" for drift in differences):
            rewritten.add(file.path)
    drifts += [
        Drift("file", path, "remove", "should not exist", "present", "absent")
        for path in desired.absent
        if os.path.lexists(path)
    ]
    broken = set()
    for network in desired.networks:
        differences = _compare_network(desired, network, found.networks.get(network.name))
        drifts += differences
        if differences:
            broken.add(network.name)
    for volume in desired.volumes:
        existing = found.volumes.get(volume.name)
        if existing is None:
            drifts.append(Drift("volume", volume.name, "create", "is missing", "", "created"))
        elif desired.uid and (existing.get("Labels") or {}).get(LABEL_UID) != desired.uid:
            raise MemcloudError(
                f"{desired.tenant}: volume {volume.name} belongs to another identity: its "
                f"uid label is not {desired.uid}. Nothing was touched; look at who made it"
            )
    for container in desired.containers:
        existing = found.containers.get(container.name)
        drifts += compare_container(
            desired, container, existing, images.get(container.image), rewritten, broken
        )
    wanted_containers = {container.name for container in desired.containers}
    for name in sorted(set(found.containers) - wanted_containers):
        drifts.append(Drift("container", name, "remove", "should not exist", "present", "absent"))
    wanted_networks = {network.name for network in desired.networks}
    for name in sorted(set(found.networks) - wanted_networks):
        drifts.append(Drift("network", name, "remove", "should not exist", "present", "absent"))
    return drifts


def _compare_directory(directory: Directory) -> list[Drift]:
    try:
        status = os.stat(directory.path)  # a link may lead to another disk
    except FileNotFoundError:
        return [Drift("directory", directory.path, "write", "is missing", "", "created")]
    before = f"{stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid}"
    after = f"{directory.mode:04o} {directory.uid}:{directory.gid}"
    if before != after:
        return [
            Drift(
                "directory",
                directory.path,
                "write",
                "owner or mode differs",
                before,
                after,
            )
        ]
    return []


def compare_file(file: File, written: Mapping[str, Mapping[str, str]]) -> list[Drift]:
    """Differences of one file: missing, content, or owner and mode."""
    try:
        status = os.lstat(file.path)
        with open(file.path, "rb") as handle:
            content = handle.read()
    except FileNotFoundError:
        return [Drift("file", file.path, "write", "is missing", "", "written")]
    digest = sha256(content)
    if file.content is not None:
        same, why = digest == sha256(file.content), "content differs"
        changed_by_hand = False
    else:
        record = written.get(file.path) or {}
        changed_by_hand = bool(record) and record.get("sha256") != digest
        same = not changed_by_hand and record.get("fingerprint") == file.fingerprint
        why = "was changed by hand" if changed_by_hand else "content is out of date"
    drifts = []
    if not same:
        after = sha256(file.content)[:12] if file.content is not None else "as generated"
        drifts.append(Drift("file", file.path, "write", why, f"sha256 {digest[:12]}", after))
    before = f"{stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid}"
    wanted = f"{file.mode:04o} {file.uid}:{file.gid}"
    if before != wanted:
        drifts.append(Drift("file", file.path, "chmod", "owner or mode differs", before, wanted))
    return drifts


def _compare_network(
    desired: Desired, network: Network, existing: Mapping[str, Any] | None
) -> list[Drift]:
    if existing is None:
        return [Drift("network", network.name, "create", "is missing", "", network.subnet)]
    pools = (existing.get("IPAM") or {}).get("Config") or [{}]
    options = existing.get("Options") or {}
    before = {
        "subnet": pools[0].get("Subnet", ""),
        "bridge": options.get("com.docker.network.bridge.name", ""),
        "internal": str(bool(existing.get("Internal"))).lower(),
        "uid": (existing.get("Labels") or {}).get(LABEL_UID, ""),
    }
    after = {
        "subnet": network.subnet,
        "bridge": network.bridge,
        "internal": str(network.internal).lower(),
        "uid": desired.uid,
    }
    return [
        Drift(
            "network",
            network.name,
            "recreate",
            f"{key} differs",
            before[key],
            after[key],
        )
        for key in after
        if before[key] != after[key]
    ]


def compare_container(
    desired: Desired,
    container: Container,
    existing: Mapping[str, Any] | None,
    image_id: str | None,
    rewritten: Iterable[str] = (),
    broken_networks: Iterable[str] = (),
) -> list[Drift]:
    """Differences of one container, each with what converging does about it."""
    if image_id is None:
        message = "its image is missing on the node: " + container.image
        return [Drift("container", container.name, "create", message, "", container.image)]
    if existing is None:
        state = "running" if container.running else "stopped"
        return [Drift("container", container.name, "create", "is missing", "", state)]
    drifts = _compare_fixed(desired, container, existing, image_id)
    if not drifts:
        drifts = _compare_networks(container, existing, set(broken_networks))
    drifts += _compare_limits(container, existing)
    return drifts + _compare_run(container, existing.get("State") or {}, set(rewritten))


def _compare_run(
    container: Container, state: Mapping[str, Any], rewritten: set[str]
) -> list[Drift]:
    """Whether it runs, or stands still, as it should."""
    status = str(state.get("Status", "unknown"))
    running = bool(state.get("Running")) and not state.get("Paused")
    if running != container.running:
        before = status + (f" ({state.get('ExitCode')})" if status == "exited" else "")
        action, after = ("start", "running") if container.running else ("stop", "stopped")
        return [Drift("container", container.name, action, f"is not {after}", before, after)]
    if running and state.get("Restarting"):
        what = f"ends again and again (exit code {state.get('ExitCode')})"
        return [Drift("container", container.name, "restart", what, status, "running")]
    for path in sorted(set(container.reads) & rewritten) if running else ():
        what = f"must read {os.path.basename(path)} again"
        return [Drift("container", container.name, "restart", what, "", "restarted")]
    return []


def _compare_fixed(
    desired: Desired, container: Container, existing: Mapping[str, Any], image_id: str
) -> list[Drift]:
    config = existing.get("Config") or {}
    labels = config.get("Labels") or {}
    name = container.name
    before = {
        "image": str(existing.get("Image", ""))[7:19],
        "identity": labels.get(LABEL_UID, ""),
        "role": labels.get(LABEL_ROLE, ""),
        "kind": labels.get(LABEL_KIND, ""),
        "specification": labels.get(LABEL_SPEC, "")[:12],
    }
    after = {
        "image": image_id[7:19],
        "identity": desired.uid,
        "role": container.role,
        "kind": desired.kind,
        "specification": container.spec_hash()[:12],
    }
    if before["image"] != after["image"]:
        before.pop("specification")  # follows from the image
        after.pop("specification")
    return [
        Drift("container", name, "recreate", f"{key} differs", before[key], after[key])
        for key in after
        if before[key] != after[key]
    ]


def _compare_limits(container: Container, existing: Mapping[str, Any]) -> list[Drift]:
    host = existing.get("HostConfig") or {}
    wanted = host_config(container)
    pairs = (
        ("memory limit", "Memory", _bytes),
        ("CPU limit", "NanoCpus", _cores),
        ("CPU shares", "CpuShares", str),
        ("process limit", "PidsLimit", str),
    )
    drifts = []
    for words, key, show in pairs:
        before, after = host.get(key) or 0, wanted[key] or 0
        if key == "PidsLimit" and before == -1:
            before = 0
        if before != after:
            what = f"{words} differs"
            drifts.append(
                Drift(
                    "container",
                    container.name,
                    "update",
                    what,
                    show(before),
                    show(after),
                )
            )
    before_policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    if before_policy != container.restart:
        drifts.append(
            Drift(
                "container",
                container.name,
                "update",
                "restart policy differs",
                before_policy,
                container.restart,
            )
        )
    return drifts


def _compare_networks(
    container: Container, existing: Mapping[str, Any], broken: set[str]
) -> list[Drift]:
    if container.network_mode:
        return []
    attached = (existing.get("NetworkSettings") or {}).get("Networks") or {}
    drifts = []
    for attachment in container.networks:
        if attachment.name in broken:
            what = f"must be attached to network {attachment.name} again"
            drifts.append(
                Drift(
                    "container",
                    container.name,
                    "recreate",
                    what,
                    "",
                    attachment.address,
                )
            )
            continue
        endpoint = attached.get(attachment.name)
        if endpoint is None:
            before = "detached"
        else:
            before = (endpoint.get("IPAMConfig") or {}).get("IPv4Address") or ""
        if before != attachment.address:
            what = f"address in network {attachment.name} differs"
            drifts.append(
                Drift(
                    "container",
                    container.name,
                    "recreate",
                    what,
                    before,
                    attachment.address,
                )
            )
    extra = sorted(set(attached) - {attachment.name for attachment in container.networks})
    for name in extra:
        what = f"is attached to network {name}"
        drifts.append(Drift("container", container.name, "recreate", what, name, "detached"))
    return drifts


def _bytes(value: int) -> str:
    if value and value % 1024**2 == 0:
        return f"{value // 1024**2}m"
    return str(value) if value else "none"


def _cores(value: int) -> str:
    return f"{value / 1_000_000_000:g}" if value else "none"


def read_json(path: str) -> dict[str, Any] | None:
    """A JSON file's object, None where there is no such file.

    :raises MemcloudError: when the file holds none: it was damaged, and guessing would be worse.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return found
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MemcloudError(
            f"{path} is not valid JSON ({error}): restore it from a backup or, when it is a "
            "tenant's state file, move it aside and run deploy_tenant again"
        ) from error
