# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor looks at on a node: engine, disk, clock, authority, images, leftovers …"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._capacity import human
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    authority_ends,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor import (
    ERROR,
    WARNING,
    Check,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import ask
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    names_in,
    stale_files,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import UPLOADED
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import holder
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_check import (
    CONFIGURATION,
    low_limits,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import read_json
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import moment_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_KIND,
    LABEL_TENANT,
    LABEL_UID,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._transfer import (
    EXPORTS,
    half_archive,
)

Found = Iterator[tuple[str, str, str]]

_LEAST_FREE = 2 * 1024**3
_LITTLE_FREE = 0.1
_CLOCK_SECONDS = 30.0
_OLD_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
# Clients have to be given the next one.
_AUTHORITY_DAYS = 90
_SETUP = "run setup_node for this node"


class NodeDoctor:
    """The checks of one node.

    :param known: the inventory's tenants of this node by name (their inputs).
    :param complete: whether these are all of them, so that what is not among them is nobody's.
    :param controller_time: seconds since the epoch at the controller, when it asked.
    :param elsewhere: by uid the nodes of the inventory's other tenants.
    """

    def __init__(
        self,
        node: Node,
        known: Mapping[str, Mapping[str, Any]],
        complete: bool,
        controller_time: float,
        elsewhere: Mapping[str, str],
    ) -> None:
        self._node = node
        self._known = known
        self._complete = complete
        self._elsewhere = elsewhere
        self._away = time.time() - controller_time if controller_time else 0.0
        self._platform = node.platform
        self._root = str(node.platform["data_dir"])

    def checks(self) -> list[Check]:
        """Everything to look at."""
        looks = [
            ("engine", self._engine, "answers"),
            ("disk", self._disk, "has room"),
            ("clock", self._clock, "agrees with the controller's"),
            ("kernel", self._kernel, "has room for many containers"),
            ("firewall", self._firewall, "its table is loaded"),
            ("edge", self._edge, "Traefik has loaded what is on disk"),
            ("authority", self._authority, "its certificates are good for long"),
            ("gate", self._gate, "has loaded what is on disk"),
            ("services", self._services, "run"),
            ("images", self._images, "are there"),
            ("locks", self._locks, "are held by living runs only"),
            ("leftovers", self._leftovers, "none"),
            ("registry", self._registry, "inventory and node name the same tenants"),
        ]
        return [Check("", name, look, fine) for name, look, fine in looks]

    def _engine(self) -> Found:
        info = self._node.engine.client.info()
        for warning in info.get("Warnings") or ():
            if "bridge-nf-call" not in warning:
                yield WARNING, str(warning), "see the documentation of the engine"

    def _disk(self) -> Found:
        places = {self._root: "the platform's files"}
        with contextlib.suppress(MemcloudError, OSError):  # a full disk may be why it is down
            root = self._node.engine.client.info()["DockerRootDir"]
            places.setdefault(str(root), "the engine")
        seen = set()
        for path, whose in places.items():
            device = os.stat(path).st_dev
            if device in seen:
                continue
            seen.add(device)
            usage = shutil.disk_usage(path)
            inodes = os.statvfs(path)
            left = f"{human(usage.free)} of {human(usage.total)} are free for {whose} ({path})"
            advice = "make room: delete tenants' old data, images, logs; or a larger disk"
            if usage.free < _LEAST_FREE:
                yield ERROR, left, advice + ". Below 2 GiB nothing is deployed here"
            elif usage.free < usage.total * _LITTLE_FREE:
                yield WARNING, left, advice
            if inodes.f_files and inodes.f_favail < inodes.f_files * 0.05:
                yield WARNING, f"few inodes are left in {path}", "remove small files"

    def _clock(self) -> Found:
        if abs(self._away) > _CLOCK_SECONDS:
            yield (
                ERROR,
                f"is {abs(self._away):.0f} s {'ahead of' if self._away > 0 else 'behind'} the "
                "controller's",
                "have a time service on both (chrony, systemd-timesyncd): keys and certificates "
                "end by this clock",
            )

    def _kernel(self) -> Found:
        settings = read_json(os.path.join(CONFIGURATION, f"{self._platform['name']}.json")) or {}
        least = settings.get("kernel_limits") or {}
        for name, value in low_limits(least).items():
            yield (
                WARNING,
                f"{name} is {value}, less than {least[name]}",
                f"{_SETUP}; where the machine shares its kernel with others, ask who runs it",
            )

    def _firewall(self) -> Found:
        table = f"memcloud_{self._platform['name']}"
        command = ["nft", "list", "table", "inet", table]
        try:
            done = subprocess.run(command, capture_output=True, timeout=10, check=False)
        except FileNotFoundError:
            yield ERROR, "nft is missing", _SETUP
            return
        if done.returncode != 0:
            yield ERROR, f"table {table} is not loaded: tenants can reach each other", _SETUP

    def _edge(self) -> Found:
        status, overview = ask(self._platform["edge_api_port"], "/api/overview")
        if status != 200:
            yield ERROR, f"Traefik does not answer ({overview or status})", _SETUP
            return
        for kind, counts in (overview.get("http") or {}).items():
            if counts.get("errors"):
                what = f"Traefik has errors in {counts['errors']} {kind}"
                yield ERROR, what, f"docker logs {self._platform['name']}-edge; deploy_tenant"

    def _authority(self) -> Found:
        """Whether the node's own authority, which is never replaced by itself, ends soon."""
        directory = self._node.state.path("edge", "ca")
        if self._platform["tls_mode"] != "local_ca" or not os.path.isdir(directory):
            return
        ends = authority_ends(directory)
        left = ends.timestamp() - time.time()
        if left < _AUTHORITY_DAYS * _DAY_SECONDS:
            what = f"the node's own one {'ends' if left > 0 else 'ended'} on {ends:%Y-%m-%d}"
            advice = f"remove {directory}, run setup_node and deploy_tenant, and give your clients"
            yield WARNING if left > 0 else ERROR, what, f"{advice} the new edge/ca.crt"

    def _gate(self) -> Found:
        status, ready = ask(self._platform["gate_port"], "/ready")
        if status != 200:
            yield ERROR, f"does not answer ({ready or status})", _SETUP
            return
        for name in ready.get("broken") or ():
            what = f"cannot use the file of tenant {name}: nobody passes there"
            yield ERROR, what, f"deploy_tenant -l {name}"

    def _services(self) -> Found:
        for container in self._node.engine.containers(self._platform["name"], [""]):
            name, state = container["Name"].lstrip("/"), container["State"]
            if container["Config"]["Labels"].get(LABEL_KIND, "").startswith("node"):
                if not state.get("Running") or state.get("Restarting"):
                    yield ERROR, f"{name} is {state.get('Status')}", f"docker logs {name}; {_SETUP}"
                elif int(container.get("RestartCount") or 0) > 3:
                    what = f"{name} ended {container['RestartCount']} times"
                    yield WARNING, what, f"docker logs {name}"

    def _images(self) -> Found:
        wanted: dict[str, str] = {}
        for kind, entry in self._node.images.items():
            if kind != "memmachine":
                wanted[str(entry["id"])] = kind
        needed = self._needed_versions()
        servers = self._node.images.get("memmachine") or {}
        for version, image in servers.items():
            if version in needed:
                wanted[str(image["id"])] = f"memmachine {version}"
        for image, name in wanted.items():
            if self._node.engine.image_id(image) is None:
                yield ERROR, f"image of {name} is recorded and missing ({image[7:19]})", _SETUP
        if not wanted:
            yield ERROR, "none is recorded", _SETUP

    def _needed_versions(self) -> set[str]:
        """Server versions that tenants have, shall have or had, and that of new ones."""
        needed = {str(self._platform["memmachine_version"])}
        needed |= {str(t["version"]) for t in self._known.values() if t["state"] != "deleted"}
        for name in self._node.state.tenants():
            with contextlib.suppress(MemcloudError):  # the look at the registry says so
                record = self._node.state.tenant(name)
                if record.get("state") != "deleted":
                    previous = record.get("previous") or {}
                    needed |= {str(of["version"]) for of in (record, previous) if of.get("version")}
        return needed

    def _locks(self) -> Found:
        directory = self._node.state.locks
        for name in sorted(names_in(directory)):
            stem, end = os.path.splitext(name)
            if end != ".json":
                continue
            who = holder(directory, stem)
            lease: Mapping[str, Any] = {}
            with contextlib.suppress(MemcloudError):  # it is just being written, or never was
                lease = read_json(os.path.join(directory, name)) or {}
            if who is None and os.path.exists(os.path.join(directory, name)):
                what = f"{stem} was left by {lease.get('owner', 'a run')} that was killed"
                yield WARNING, what, "the next run that needs it takes it over; deploy_tenant does"
            elif who and _age(str(lease.get("since", ""))) > _OLD_SECONDS:
                what = f"{stem} is held by {who}"
                yield WARNING, what, "see whether that run still works; the lock ends with it"

    def _leftovers(self) -> Found:
        limit = time.time() - _OLD_SECONDS
        for path, directories, files in os.walk(self._root):
            directories[:] = [name for name in directories if name != "backups"]
            for name in files:
                whole = os.path.join(path, name)
                if name.endswith(".new") and _changed(whole) < limit:
                    yield WARNING, f"{whole} was left by a killed run", "remove it"
        yield from self._with_secrets()
        for name in self._node.state.tenants():
            work = os.path.join(self._node.state.tenant_dir(name), "work")
            if os.path.isdir(work) and _changed(work) < limit:
                yield WARNING, f"{work} was left by a killed operation", f"deploy_tenant -l {name}"
        for container in self._node.engine.containers(self._platform["name"]):
            if container["Config"]["Labels"].get(LABEL_KIND) in ("scratch", "check"):
                created = str(container.get("Created", ""))
                if _age(created[:19] + "Z") > _OLD_SECONDS:
                    name = container["Name"].lstrip("/")
                    yield WARNING, f"{name} was left by a killed run", f"docker rm -fv {name}"

    def _with_secrets(self) -> Found:
        """What killed runs, and clients that went away, left of requests, archives and answers."""
        limit = time.time() - _OLD_SECONDS
        checked = self._node.state.path("checked")
        for name in sorted(names_in(checked)):
            whole = os.path.join(checked, name)
            if os.path.isdir(whole) and _changed(whole) < limit:
                what = f"{whole} was left by a killed run, with the key of a model provider"
                yield WARNING, what, "remove it; the next deploy_tenant with something to do does"
        for name in self._node.state.tenants():
            exports = os.path.join(self._node.state.tenant_dir(name), EXPORTS)
            for whole in stale_files(exports, half_archive(name), _DAY_SECONDS):
                what = f"{whole} was left by a killed export, with memories"
                yield WARNING, what, f"remove it; export_tenant -e tenant={name} does"
            home = self._node.state.tenant_dir(name)
            for whole in stale_files(home, re.escape(UPLOADED), _DAY_SECONDS):
                what = f"{whole} was left by a killed import, with memories"
                yield WARNING, what, "remove it; its next operation (backup_tenant, …) does"
        spool = self._node.state.path("edge", "spool")
        left = stale_files(spool, "temp-multibuf-.+", _OLD_SECONDS)
        if left:
            keeper = f"{self._platform['name']}-keeper"
            what = f"{len(left)} files in {spool} hold answers whose client went away"
            yield WARNING, what, f"{keeper} removes them: see docker logs {keeper}; run setup_node"

    def _registry(self) -> Found:
        yield from self._strays()
        for name, tenant in self._known.items():
            if tenant["state"] != "deleted" and not self._node.state.tenant(name).get("uid"):
                what = f"tenant {name} has an entry and nothing here"
                yield ERROR, what, f"deploy_tenant -l {name}; or correct its tenant_node"

    def _strays(self) -> Found:
        """What carries our labels, or has a record, and is of no tenant of this node."""
        uids = {str(tenant["uid"]) for tenant in self._known.values()}
        strays: dict[tuple[str, str], list[str]] = {}
        engine, platform = self._node.engine, self._platform["name"]
        objects: list[tuple[str, str, Mapping[str, str]]] = [
            ("container", c["Name"].lstrip("/"), c["Config"]["Labels"])
            for c in engine.containers(platform)
        ]
        objects += _labelled("network", engine.networks(platform))
        objects += _labelled("volume", engine.volumes(platform))
        for kind, name, labels in objects:
            whose = labels.get(LABEL_TENANT, ""), labels.get(LABEL_UID, "")
            if whose[0] and whose[1] not in uids:
                strays.setdefault(whose, []).append(f"{kind} {name}")
        for name in self._node.state.tenants():
            try:
                record = self._node.state.tenant(name)
            except MemcloudError as error:
                yield ERROR, str(error), f"deploy_tenant -l {name} says what can be done"
                continue
            uid = str(record.get("uid") or "")
            if uid not in uids:
                strays.setdefault((name, uid), []).append(f"record of uid {uid or 'none'}")
        for (name, uid), things in sorted(strays.items()):
            there = ", ".join(sorted(things))
            node = self._elsewhere.get(uid)
            if node:
                yield (
                    WARNING,
                    f"tenant {name} lives on {node}, but there is {there}",
                    f"what its move left here goes with move_tenant -e tenant={name} "
                    f"-e node={node} -e confirm=true",
                )
            elif self._complete:
                yield (
                    WARNING,
                    f"no entry names tenant {name} of uid {uid or 'none'}, but there is {there}",
                    f"write its entry again, with tenant_uid {uid or 'as before'}, and run "
                    "deploy_tenant; or, when nobody needs it any more, remove these things by hand",
                )


def _labelled(
    kind: str, entries: Iterable[Mapping[str, Any]]
) -> list[tuple[str, str, Mapping[str, str]]]:
    return [(kind, str(entry["Name"]), entry.get("Labels") or {}) for entry in entries]


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return time.time()


def _age(moment: str) -> float:
    """Seconds since a moment; 0 when it is none."""
    try:
        return time.time() - moment_of(moment).timestamp()
    except ValueError:
        return 0.0
