# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node should carry, as plain data: containers, networks, volumes and files.

One vocabulary serves tenants and the node's own services. A :class:`Desired` is made by
``_desired.py`` (tenants) or by a role (edge, gate, demo model), compared with the node by
``_plan.py`` and brought about by ``_converge.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    parse_size as read_size,
)

LABEL_PLATFORM = "memcloud.platform"
LABEL_KIND = "memcloud.kind"
LABEL_TENANT = "memcloud.tenant"
LABEL_UID = "memcloud.uid"
LABEL_ROLE = "memcloud.role"
LABEL_SPEC = "memcloud.spec"
# Kind of what an operation needs for a while; whatever runs next on the tenant takes it away.
SCRATCH = "scratch"

# Fields that Docker changes on a living container; all others need a new container.
LIVE_FIELDS = ("memory", "cpus", "cpu_shares", "pids", "restart")


def parse_size(value: int | str) -> int:
    """Bytes meant by a size such as ``640m``, ``1g`` or ``16MB`` (units are powers of 1024)."""
    try:
        return read_size(value)
    except ValueError:
        raise MemcloudError(
            f"'{value}' is not a size: write a number and a unit, like 512m or 1g"
        ) from None


def sha256(content: str | bytes) -> str:
    """Hexadecimal SHA-256 of a text or of bytes."""
    raw = content.encode("utf-8") if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()


def canonical_json(value: Any) -> str:
    """One spelling for one value, so that equal values have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Mount:
    """A bind mount, a volume or a tmpfs of a container.

    ``options`` holds the tmpfs options of the Docker command line (``size=16m,mode=1777``).
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    options: str = ""


@dataclass(frozen=True)
class Attachment:
    """A container's place in a network; the address is fixed so that it survives restarts."""

    name: str
    address: str = ""


@dataclass(frozen=True)
class Container:
    """A container as it should be. Sizes are bytes, ``cpus`` is a number of cores."""

    name: str
    image: str
    role: str = ""
    user: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    network_mode: str = ""
    networks: tuple[Attachment, ...] = ()
    memory: int = 0
    cpus: float = 0.0
    cpu_shares: int = 0
    pids: int = 0
    read_only: bool = True
    cap_drop: tuple[str, ...] = ("ALL",)
    cap_add: tuple[str, ...] = ()
    no_new_privileges: bool = True
    restart: str = "unless-stopped"
    stop_signal: str = ""
    stop_timeout: int = 10
    log_max_size: str = "10m"
    log_max_file: int = 3
    shm_size: int = 0
    running: bool = True
    reads: tuple[str, ...] = ()

    def with_mount(self, mount: Mount) -> Container:
        """The same container with one mount more."""
        return replace(self, mounts=(*self.mounts, mount))

    def spec_hash(self) -> str:
        """Hash of everything that needs a new container when it changes."""
        fixed = {
            name: value
            for name, value in vars(self).items()
            if name not in LIVE_FIELDS and name not in ("running", "reads")
        }
        fixed["environment"] = dict(self.environment)
        fixed["mounts"] = [vars(mount) for mount in self.mounts]
        fixed["networks"] = [vars(network) for network in self.networks]
        return sha256(canonical_json(fixed))


@dataclass(frozen=True)
class Network:
    """A bridge network with a fixed subnet and bridge name. ``internal`` has no way out."""

    name: str
    bridge: str
    subnet: str
    gateway: str
    role: str = ""
    internal: bool = False


@dataclass(frozen=True)
class Volume:
    """A named volume. It is created when missing and never removed by converging."""

    name: str
    role: str = ""


@dataclass(frozen=True)
class File:
    """A file as it should be.

    Either ``content`` is given (nothing secret in it), or ``fingerprint`` stands for a content
    that holds secrets: it is compared with what was recorded when the file was last written.
    With a ``scratch_dir`` it is written there first, for whoever watches its own directory and
    would do work for each step.
    """

    path: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: str | None = None
    fingerprint: str = ""
    scratch_dir: str = ""

    @property
    def secret(self) -> bool:
        """Whether the content must not be shown."""
        return self.content is None


@dataclass(frozen=True)
class Directory:
    """A directory as it should be."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Desired:
    """Everything that one tenant, or the node's own services, should consist of.

    :param absent: paths that must not exist; directories go with what is in them.
    """

    platform: str
    kind: str
    tenant: str = ""
    uid: str = ""
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    absent: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()

    def labels(self, role: str, spec: str = "") -> dict[str, str]:
        """Labels that an object of this owner carries: identity, and a hash where there is one."""
        labels = {
            LABEL_PLATFORM: self.platform,
            LABEL_KIND: self.kind,
            LABEL_ROLE: role,
        }
        if self.tenant:
            labels[LABEL_TENANT] = self.tenant
            labels[LABEL_UID] = self.uid
        if spec:
            labels[LABEL_SPEC] = spec
        return labels


def container_from_dict(given: Mapping[str, Any]) -> Container:
    """A container from plain data (module options), with sizes and lists brought into form."""
    known = set(Container.__dataclass_fields__)
    unknown = sorted(set(given) - known)
    if unknown:
        raise MemcloudError(
            "container {}: unknown option {}".format(given.get("name", "?"), ", ".join(unknown))
        )
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    values["mounts"] = tuple(Mount(**mount) for mount in values.get("mounts") or ())
    values["networks"] = tuple(Attachment(**network) for network in values.get("networks") or ())
    for name in ("command", "entrypoint", "cap_drop", "cap_add", "reads"):
        if name in values:
            values[name] = tuple(str(item) for item in values[name])
    for name in ("memory", "shm_size"):
        if name in values:
            values[name] = parse_size(values[name])
    for name in ("cpu_shares", "pids", "stop_timeout", "log_max_file"):
        if name in values:
            values[name] = int(values[name])
    if "cpus" in values:
        values["cpus"] = float(values["cpus"])
    if "environment" in values:
        values["environment"] = {k: str(v) for k, v in values["environment"].items()}
    return Container(**values)


@dataclass(frozen=True)
class Drift:
    """One difference between what should be and what is.

    :param object: what it is about, like ``container mc-acme-app``.
    :param what: the difference in words.
    :param action: what converging does about it: create, recreate, update, restart, start, stop,
        write, remove, connect.
    :param before: value found, where one line says it.
    :param after: value wanted.
    """

    object: str
    name: str
    action: str
    what: str
    before: str = ""
    after: str = ""

    def words(self) -> str:
        """The line a person reads."""
        text = f"{self.object} {self.name}: {self.what}"
        if self.before or self.after:
            text += " ({} -> {})".format(self.before or "nothing", self.after or "nothing")
        return text


def diff_of(drifts: list[Drift]) -> dict[str, str]:
    """Ansible's before/after texts for a list of differences."""
    before = "".join(f"{d.object} {d.name} {d.what}: {d.before or '-'}\n" for d in drifts)
    after = "".join(f"{d.object} {d.name} {d.what}: {d.after or d.action}\n" for d in drifts)
    return {"before": before, "after": after}
