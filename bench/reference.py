"""The way that most people would take: a playbook with a task for each part of a tenant.

Containers, networks and volumes are kept by community.docker, files and directories by
ansible.builtin, all from a data file a tenant that is made of the same desired state as ours, so
that nothing is templated but the loop variables. The collection comes out of the wheel of the
package "ansible", which is unpacked below .cache and not installed.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    Facts,
    desired_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from crowd import SOCKET, Crowd
from measure import HERE, TOP, WORK, run, say, timed_process

PACKAGE = "ansible==12.3.0"
COLLECTIONS = os.path.join(WORK, "collections")
DIRECTORY = os.path.join(WORK, "reference")
_NEEDED = ("ansible_collections/community/docker/", "ansible_collections/community/library_inv")


@contextlib.contextmanager
def playbook(many: Crowd, count: int) -> Iterator[Callable[[int], float]]:
    """A function that runs the reference over the first tenants and gives the seconds."""
    _collection()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(os.path.join(DIRECTORY, "host_vars"))
    names = [many.name(number) for number in range(1, count + 1)]
    for tenant in many.inputs(names)[1]:
        _write_variables(many, tenant)
    with open(os.path.join(DIRECTORY, "hosts.yml"), "w", encoding="utf-8") as handle:
        hosts = {"hosts": dict.fromkeys(names), "vars": _connection()}
        json.dump({"tenants": hosts}, handle)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{TOP}/.ansible/collections",
    }
    command = ["ansible-playbook", "-i", os.path.join(DIRECTORY, "hosts.yml")]
    command.append(os.path.join(HERE, "reference.yml"))

    def once(size: int) -> float:
        done = timed_process(*command, "-l", ",".join(names[:size]), env=environment)
        if done.output.count("changed=0") != size:
            raise RuntimeError(f"the reference changed something:\n{done.output[-4000:]}")
        return done.seconds

    subprocess.run(
        [*command, "-l", ",".join(names)], env=environment, cwd=TOP, stdout=subprocess.DEVNULL
    )
    yield once


def _connection() -> dict[str, Any]:
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "docker_host": SOCKET,
    }


def _collection() -> None:
    if os.path.isdir(os.path.join(COLLECTIONS, _NEEDED[0])):
        return
    say(f"fetching community.docker out of {PACKAGE}")
    download = os.path.join(WORK, "download")
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--dest", download, PACKAGE,
    )  # fmt: skip
    with zipfile.ZipFile(glob.glob(os.path.join(download, "ansible-*.whl"))[0]) as wheel:
        for name in wheel.namelist():
            if name.startswith(_NEEDED):
                wheel.extract(name, COLLECTIONS)
    shutil.rmtree(download)


def _write_variables(many: Crowd, tenant: dict[str, Any]) -> None:
    """Everything about a tenant as plain data, for the tasks of the reference."""
    platform, _tenants, secrets = many.inputs([tenant["tenant"]])
    state = NodeState(platform["data_dir"])
    images = state.images()
    slot = state.slot(tenant["uid"])
    ids = {kind: images[kind]["id"] for kind in ("postgres", "neo4j")}
    ids["memmachine"] = images["memmachine"][tenant["version"]]["id"]
    facts = Facts(int(slot or 0), ids, os.cpu_count() or 1)
    desired, contents = desired_tenant(tenant, platform, facts, secrets[tenant["tenant"]])
    variables = {
        "tenant_directories": [vars(directory) for directory in desired.directories],
        "tenant_files": [
            {
                "path": file.path,
                "mode": f"{file.mode:04o}",
                "uid": file.uid,
                "gid": file.gid,
                "content": contents[file.path] if file.content is None else file.content,
            }
            for file in desired.files
        ],
        "tenant_networks": [
            {**vars(network), "labels": desired.labels(network.role)}
            for network in desired.networks
        ],
        "tenant_volumes": [
            {"name": volume.name, "labels": desired.labels(volume.role)}
            for volume in desired.volumes
        ],
        "tenant_containers": [_container(desired, container) for container in desired.containers],
    }
    path = os.path.join(DIRECTORY, "host_vars", f"{tenant['tenant']}.json")
    with open(path, "w", encoding="utf-8") as handle:
        json.dump(variables, handle)


def _container(desired: Any, container: Any) -> dict[str, Any]:
    return {
        "name": container.name,
        "image": container.image,
        "user": container.user,
        "command": list(container.command),
        "labels": desired.labels(container.role, container.spec_hash()),
        "state": "started" if container.running else "present",
        "memory": str(container.memory),
        "cpus": container.cpus,
        "networks": [
            {"name": network.name, "ipv4_address": network.address}
            for network in container.networks
        ],
        "mounts": [
            {
                "type": mount.type,
                "source": mount.source,
                "target": mount.target,
                "read_only": mount.read_only,
            }
            for mount in container.mounts
            if mount.type != "tmpfs"
        ],
    }
