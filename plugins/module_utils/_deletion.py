# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a tenant off its node, in the reverse order of its creation, and proof that it is gone.

What was there is looked up before, and everything again afterwards: the engine by labels and by
names, the files below the platform's directory, the hosts file, what edge and gate have loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import Converger
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import desired_tenant
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import (
    ask,
    wait_for_gate,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    disk_usage,
    names_in,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import HOSTS
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import unique_name
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import DEPARTED
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import Found, observe
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import ROUTERS
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_TENANT,
    LABEL_UID,
    Drift,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant_facts import purge_after

# What a node keeps of every deletion, a line each.
LOG = "deletions.jsonl"
_BACKUPS = "backups"
# Where things are called after tenants. Elsewhere a tenant may be called as something of the
# platform's is, such as edge/acme and images.json.
_BY_NAME = ("tenants", "edge/dynamic", "gate/tenants", "gate/activity", "gate/wake")
_UNLOAD_SECONDS = 10.0
# What becomes of a tenant that is taken off a node which is not, or no longer, its own.
LIVES, PURGED = "lives", "purged"

Thing = dict[str, Any]


def delete(job: Job, purge: bool) -> tuple[list[Drift], dict[str, Any]]:
    """Take a tenant off its node; what was changed, and the report.

    :param purge: whether its data and its record go too.
    """
    found = look(job)
    drifts = _take_down(job)
    record_stays = True
    if purge:
        for name in volumes_of(job.tenant, job.engine.volumes(job.platform["name"])):
            job.engine.remove_volume(name)
            drifts.append(Drift("volume", name, "purge", "is to be purged", "present", "absent"))
        record_stays = not _remove_files(job)
        job.state.release_slot(job.tenant["uid"], job.node.owner)
    if record_stays and job.record.get("uid"):
        if job.params.get("elsewhere"):
            job.record.setdefault(DEPARTED, now())
        elif job.record.get("state") != "deleted":
            job.record.pop(DEPARTED, None)  # what is kept here is what it will come back with
        # By a clock that is behind, what is kept would be due to go at once.
        at = max(now(), str(job.node.run.get("at") or ""))
        job.record.update(state="deleted", deleted=job.record.get("deleted") or at)
        job.save()
    job.node.write_hosts_file()
    left = _look_until_unloaded(job)
    report = {
        **job.identity,
        "hostname": job.tenant["hostname"],
        "owner": job.tenant["owner"],
        "at": now(),
        "by": job.node.owner,
        "purged": purge,
        "found": found,
        "gone": [thing for thing in found if _key(thing) not in map(_key, left)],
        "left": left,
        "purge_after": None
        if purge
        else purge_after(job.record.get("deleted"), int(job.platform["keep_deleted_days"])),
    }
    _log(job, report)
    return drifts, report


def left_something(
    state: NodeState,
    platform: Mapping[str, Any],
    tenant: Mapping[str, Any],
    found: Found,
    elsewhere: str,
) -> bool:
    """Whether a tenant of another node has something of its own here.

    :param elsewhere: what becomes of the tenant there, :data:`LIVES` or :data:`PURGED`.
    :raises MemcloudError: when that cannot be told apart from another tenant of its name.
    """
    name, uid = str(tenant["tenant"]), str(tenant["uid"])
    recorded = state.tenant(name).get("uid")
    if recorded == uid:
        return True
    folders = _restore_point_folders(state, platform, unique_name(name, uid), elsewhere)
    things = [*volumes_of(tenant, found.volumes.values()), *filter(os.path.isdir, folders)]
    if things and recorded:
        raise MemcloudError(
            f"{name}: a node keeps {', '.join(things)} of it (uid {uid}), but also the record of "
            f"another tenant of that name (uid {recorded}): remove what is not wanted by hand"
        )
    slot = state.node()["slots"].get(uid) or {}
    return bool(things) or (not recorded and slot.get("tenant") == name)


def volumes_of(tenant: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those of this very identity: a name may have been used before, and a uid been copied."""
    mine = {LABEL_TENANT: tenant["tenant"], LABEL_UID: tenant["uid"]}
    return [
        str(volume["Name"])
        for volume in volumes
        if mine.items() <= (volume.get("Labels") or {}).items()
    ]


def look(job: Job) -> list[Thing]:
    """Everything on the node that is this tenant's: kind, name, and bytes where they count."""
    things = [*_objects(job), *_bridges(job), *_files(job), *_loaded(job)]
    return sorted(things, key=lambda thing: (str(thing["kind"]), str(thing["name"])))


def _key(thing: Mapping[str, Any]) -> tuple[str, str]:
    return str(thing["kind"]), str(thing["name"])


def _look_until_unloaded(job: Job) -> list[Thing]:
    """What is left, once edge and gate have had the time to take notice."""
    deadline = time.monotonic() + _UNLOAD_SECONDS
    while True:
        left = look(job)
        if not any(thing["kind"] in ("gate", "route") for thing in left):
            return left
        if time.monotonic() >= deadline:
            return left
        time.sleep(0.3)


# -- removing -------------------------------------------------------------------------------------


def _take_down(job: Job) -> list[Drift]:
    facts = job.node.facts(job.tenant, {}, 0)
    desired, _contents = desired_tenant(job.tenant, job.platform, facts)
    found = observe(job.engine, job.platform["name"], [job.name]).get(job.name, Found())
    drifts = Converger(job.engine, desired, {}, job.record["files"]).apply(found, {})
    wait_for_gate(job.platform["gate_port"], job.name, None)
    return drifts


def _remove_files(job: Job) -> bool:
    """Remove what is in files; whether its record is gone, too.

    It goes last: without it, nobody would look for restore points in the operator's folder.
    """
    folders = _restore_points(job)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    packed = [f"{folder}.tar" for folder in folders]  # by a killed move
    for path in (
        *packed,
        job.state.path("gate", "activity", f"{job.name}.json"),
        job.state.path("evidence", f"{job.unique_name}.jsonl"),
    ):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if not any(map(os.path.lexists, (*folders, *packed))):
        shutil.rmtree(job.paths.home, ignore_errors=True)
        return True
    for name in set(names_in(job.paths.home)) - {"state.json"}:
        remove_tree(os.path.join(job.paths.home, name))
    return False


def _restore_points(job: Job) -> list[str]:
    elsewhere = str(job.params.get("elsewhere") or "")
    return _restore_point_folders(job.state, job.platform, job.unique_name, elsewhere)


def _restore_point_folders(
    state: NodeState, platform: Mapping[str, Any], name: str, elsewhere: str
) -> list[str]:
    """The folders of its restore points on the node itself: the usual one, and the operator's.

    Several nodes may share the latter; that of a tenant that lives elsewhere is its node's.
    """
    folders = {state.path(_BACKUPS)}
    if platform["backup_folder"] and elsewhere != LIVES:
        folders.add(platform["backup_folder"])
    return [os.path.join(folder, name) for folder in sorted(folders)]


def _log(job: Job, report: Mapping[str, Any]) -> None:
    line = {key: report[key] for key in ("at", "by", "tenant", "uid", "purged", "purge_after")}
    line["gone"], line["left"] = len(report["gone"]), len(report["left"])
    handle = os.open(job.state.path(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


# -- looking --------------------------------------------------------------------------------------


def _objects(job: Job) -> Iterator[Thing]:
    """What the engine has under the tenant's label, or under a name that only it would have."""
    prefix, uid = f"{job.platform['name']}-{job.name}-", job.tenant["uid"]
    mine = re.compile(re.escape(prefix) + rf"({uid[:8]}-)?(postgres|neo4j|app|data)(-g\d+)?")

    def is_mine(name: str, labels: Mapping[str, str]) -> bool:
        if labels.get(LABEL_TENANT) == job.name or mine.fullmatch(name):
            return bool(labels.get(LABEL_UID, uid) == uid)
        return bool(labels.get(LABEL_UID) == uid)

    client = job.engine
    platform = job.platform["name"]
    for container in client.containers(platform):
        name = container["Name"].lstrip("/")
        if is_mine(name, container["Config"]["Labels"]):
            yield {"kind": "container", "name": name}
    for network in client.networks(platform):
        if is_mine(network["Name"], network.get("Labels") or {}):
            yield {"kind": "network", "name": network["Name"]}
    for volume in client.volumes(platform):
        if is_mine(volume["Name"], volume.get("Labels") or {}):
            size = disk_usage(volume["Mountpoint"]) if volume.get("Mountpoint") else 0
            yield {"kind": "volume", "name": volume["Name"], "bytes": size}


def _bridges(job: Job) -> Iterator[Thing]:
    slot = job.state.slot(job.tenant["uid"])
    if slot is None:
        return
    yield {"kind": "slot", "name": str(slot)}
    for kind in ("d", "a"):
        bridge = f"{job.platform['name']}-{kind}{slot}"
        if os.path.exists(os.path.join("/sys/class/net", bridge)):
            yield {"kind": "bridge", "name": bridge}


def _files(job: Job) -> Iterator[Thing]:
    """Files below the platform's directory whose path names the tenant, and its hosts line."""
    names = {job.name, *(f"{job.name}.{end}" for end in ("yml", "json"))}
    hostname, unique = job.tenant["hostname"], job.unique_name
    taken = job.node.serves_another(hostname, job.name)
    certificate = re.compile(re.escape(hostname) + r"\.pem(\.[0-9a-f]{8}\.new)?")
    root = os.path.normpath(job.state.data_dir)
    for folder in _restore_points(job):
        if folder.startswith(root + os.sep):
            continue
        if os.path.isdir(folder):
            yield {"kind": "files", "name": folder, "bytes": disk_usage(folder)}
        if os.path.isfile(f"{folder}.tar"):
            yield {"kind": "file", "name": f"{folder}.tar"}
    by_name = {os.path.join(root, folder) for folder in _BY_NAME}
    for path, directories, files in os.walk(root):
        for name in list(directories):
            if name == unique or (name == job.name and path in by_name):
                directories.remove(name)  # as a whole
                whole = os.path.join(path, name)
                yield {"kind": "files", "name": whole, "bytes": disk_usage(whole)}
            elif os.path.basename(path) in ("tenants", _BACKUPS):
                directories.remove(name)  # another tenant's
        for name in files:
            mine = (name in names and path in by_name) or name.startswith(unique + ".")
            mine = mine or (certificate.fullmatch(name) is not None and not taken)
            if mine or job.tenant["uid"] in name:
                yield {"kind": "file", "name": os.path.join(path, name)}
    if job.platform["manage_hosts_file"] and not taken:
        with contextlib.suppress(OSError), open(HOSTS, encoding="utf-8") as stream:
            if any(hostname in line.split()[1:] for line in stream):
                yield {"kind": "hosts file", "name": hostname}


def _loaded(job: Job) -> Iterator[Thing]:
    """What gate and Traefik work with at this moment."""
    status, answer = ask(job.platform["gate_port"], "/stats")
    if status == 200 and job.name in (answer.get("tenants") or {}):
        yield {"kind": "gate", "name": job.name}
    mine = {f"{job.name}-{router}@file" for router in ROUTERS}
    status, routers = ask(job.platform["edge_api_port"], "/api/http/routers?per_page=10000")
    for router in routers if status == 200 else ():
        if router["name"] in mine and job.tenant["hostname"] in router["rule"]:
            yield {"kind": "route", "name": router["name"]}
