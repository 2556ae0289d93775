# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a platform off a node: all that is labelled or named as its own, and nothing else.

It uses nothing but Python's own library, so that it works on a node whose virtual environment, or
whose engine, is gone already.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    names_in,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._firewall import Table
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import ensure_hosts
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_check import (
    CONFIGURATION,
    engine_call,
    engine_get,
    init_system,
)

INSTALLED_MARK = os.path.join(CONFIGURATION, ".engine-installed")
SCRIPT = "/usr/local/sbin/memcloud-node"
RAISED_LIMITS = "/run/memcloud-limits.json"
_REPOSITORY = "memcloud/"
_STOP_SECONDS = 60


class RemovalError(MemcloudError):
    """Something that must not, or cannot, be taken away."""


@dataclass(frozen=True)
class Removal:
    """What to take away.

    :param data: whether volumes, which hold the tenants' memories, may go.
    :param images: whether images go that no other platform of the node uses.
    :param engine: whether the engine goes, when this collection brought it and nobody uses it.
    """

    node: str
    platform: str
    docker_host: str
    data_dir: str
    venv: str
    data: bool
    images: bool
    engine: bool


@dataclass(frozen=True)
class Step:
    """One thing to take away: what it is, in words, and how it goes."""

    words: str
    act: Callable[[], object]


def plan(removal: Removal) -> list[Step]:
    """Return all steps, in order; stop when memories would be lost that nobody gave up."""
    volumes = list(_volumes(removal))
    if not removal.data:
        _refuse_data(removal, volumes)
    steps = [*_containers(removal), *_networks(removal)]
    steps += [
        _engine_step(removal, f"volume {v['Name']}", f"/volumes/{v['Name']}") for v in volumes
    ]
    if removal.images:
        steps += _images(removal)
    if removal.engine:
        steps += _engine(removal)
    return [*steps, *_node(removal)]


def _refuse_data(removal: Removal, volumes: list[dict[str, Any]]) -> None:
    """Stop where the node holds memories, and where nobody can say whether it does."""
    held, first = [], ""
    if volumes:
        labelled = {(v.get("Labels") or {}).get("memcloud.tenant", "?") for v in volumes}
        held.append(f"{len(volumes)} volumes hold the memories of {_listed(labelled)}")
    elif engine_get(removal.docker_host, "/volumes") is None:
        tenants = names_in(os.path.join(removal.data_dir, "tenants"))
        if tenants:
            held.append(
                f"the engine at {removal.docker_host} does not answer, and it may hold the "
                f"memories of {_listed(tenants)}"
            )
            first = "Start the engine and run again. "
    folder = os.path.join(removal.data_dir, "backups")
    points = names_in(folder)
    if points:
        held.append(f"{folder} holds the restore points of {_listed(points)}")
    if held:
        raise RemovalError(
            f"{removal.node}: {'; '.join(held)}. Nothing was touched. {first}To delete them for "
            "good, run again with -e remove_data=true"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# -- what the engine has --------------------------------------------------------------------------


def _labelled(removal: Removal, path: str, **options: Any) -> Any:
    label = {"label": [f"memcloud.platform={removal.platform}"]}
    query = urllib.parse.urlencode({**options, "filters": json.dumps(label)})
    return engine_get(removal.docker_host, f"{path}?{query}") or []


def _engine_step(removal: Removal, words: str, path: str) -> Step:
    def act() -> None:
        status, answer = engine_call(removal.docker_host, "DELETE", path)
        if status not in (200, 204, 404):
            raise RemovalError(f"{removal.node}: {words} cannot be removed: {answer}")

    return Step(words, act)


def _containers(removal: Removal) -> Iterator[Step]:
    for container in _labelled(removal, "/containers/json", all=1):
        name = container["Names"][0].lstrip("/")
        yield _engine_step(
            removal, f"container {name}", f"/containers/{container['Id']}?force=1&v=1"
        )


def _networks(removal: Removal) -> Iterator[Step]:
    for network in _labelled(removal, "/networks"):
        yield _engine_step(removal, f"network {network['Name']}", f"/networks/{network['Id']}")


def _volumes(removal: Removal) -> Iterator[dict[str, Any]]:
    found = _labelled(removal, "/volumes") or {}
    yield from found.get("Volumes") or []


def _images(removal: Removal) -> Iterator[Step]:
    kept = set()
    for path in glob.glob(os.path.join(CONFIGURATION, "*.json")):
        settings = _json(path)
        if settings.get("platform") != removal.platform:
            text = json.dumps(_json(os.path.join(settings.get("data_dir", ""), "images.json")))
            kept.add(text)
    if kept:
        # Base images stand in no images.json; another platform may build on them again.
        kept.add(_REPOSITORY + "base:")
    for image in engine_get(removal.docker_host, "/images/json") or []:
        for tag in image.get("RepoTags") or []:
            if tag.startswith(_REPOSITORY) and not any(
                tag in text or (text.endswith(":") and tag.startswith(text)) for text in kept
            ):
                yield _image_step(removal, tag)


def _image_step(removal: Removal, tag: str) -> Step:
    def act() -> None:
        # One that a container of somebody else uses is refused by the engine, and stays.
        engine_call(removal.docker_host, "DELETE", f"/images/{urllib.parse.quote(tag)}")

    return Step(f"image {tag}", act)


# -- the engine itself ----------------------------------------------------------------------------


def _engine(removal: Removal) -> Iterator[Step]:
    settings = _json(os.path.join(CONFIGURATION, f"{removal.platform}.json"))
    daemon = settings.get("daemon") or []
    options = dict(zip(daemon, daemon[1:]))
    if _used_by_others(removal):
        return
    if "--data-root" in options:
        pid_file = options.get("--pidfile", "/var/run/docker.pid")
        yield Step("the engine of the platform", partial(_stop_engine, removal, settings, pid_file))
        for option in ("--exec-root", "--data-root"):
            if option in options:
                path = options[option]
                yield Step(f"directory {path}", partial(_remove, path))
    elif os.path.exists(INSTALLED_MARK):
        pid_file = "/var/run/docker.pid"
        yield Step("the Docker Engine", partial(_stop_engine, removal, settings, pid_file))
        yield Step("package docker.io", partial(_purge, removal))
        yield Step("directory /var/lib/docker", partial(_remove, "/var/lib/docker"))


def _used_by_others(removal: Removal) -> bool:
    """Whether the engine holds a container, a volume or an image that is not ours: it stays."""
    host = removal.docker_host
    containers = engine_get(host, "/containers/json?all=1") or []
    volumes = (engine_get(host, "/volumes") or {}).get("Volumes") or []
    images = engine_get(host, "/images/json") or []
    tags = [tag for image in images for tag in image.get("RepoTags") or []]
    return (
        len(containers) > len(_labelled(removal, "/containers/json", all=1))
        or len(volumes) > len(list(_volumes(removal)))
        or any(not tag.startswith((_REPOSITORY, "<none>")) for tag in tags)
    )


def _stop_engine(removal: Removal, settings: dict[str, Any], pid_file: str) -> None:
    if init_system() == "systemd":
        subprocess.run(
            ["systemctl", "disable", "--now", settings.get("service", "docker")],
            check=False,
            timeout=_STOP_SECONDS,
        )
        return
    with contextlib.suppress(OSError, ValueError):
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.2)
        raise RemovalError(
            f"{removal.node}: the engine (process {pid}) did not end in {_STOP_SECONDS} s"
        )


def _purge(removal: Removal) -> None:
    done = subprocess.run(
        ["apt-get", "purge", "--yes", "docker.io"],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        raise RemovalError(f"{removal.node}: apt-get purge docker.io: {done.stderr.strip()}")


# -- the rest of the node -------------------------------------------------------------------------


def _node(removal: Removal) -> Iterator[Step]:
    platform = removal.platform
    table = Table(platform, os.path.join(removal.data_dir, "node", "firewall.nft"))
    if shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") and table.live():
        yield Step(f"firewall table {table.name}", table.remove)
    for unit in sorted(glob.glob(f"/etc/systemd/system/memcloud-{platform}-*.service")):
        yield Step(f"unit {unit}", partial(_remove_unit, unit))
    if ensure_hosts(platform, [], check_mode=True):
        yield Step("hostnames in /etc/hosts", partial(ensure_hosts, platform, []))
    own = [
        removal.data_dir,
        os.path.join(CONFIGURATION, f"{platform}.json"),
        *glob.glob(f"/var/log/memcloud-{platform}-engine.log*"),
    ]
    others = [p for p in glob.glob(os.path.join(CONFIGURATION, "*.json")) if p not in own]
    if not others:
        if os.path.exists(RAISED_LIMITS) and os.path.exists(SCRIPT):
            yield Step("raised limits of the kernel", _undo_limits)
        made = ("", ".requirements.txt", ".lock")
        own += [SCRIPT, *(removal.venv + suffix for suffix in made), CONFIGURATION]
    for path in own:
        if os.path.lexists(path) and not _is_bare(path):
            kind = "directory" if os.path.isdir(path) else "file"
            yield Step(f"{kind} {path}", partial(_remove, path))
    # The directories that all platforms share go with the last one.
    for parent in sorted({os.path.dirname(removal.data_dir), os.path.dirname(removal.venv)}):
        if parent.endswith("/memcloud") and _only(parent, own):
            yield Step(f"directory {parent}", partial(_remove_empty, parent))


def _undo_limits() -> None:
    done = subprocess.run(
        [SCRIPT, "limits", "--undo"], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode != 0:
        raise RemovalError(f"{SCRIPT} limits --undo: {done.stderr.strip()}")


def _only(directory: str, paths: list[str]) -> bool:
    with contextlib.suppress(OSError):
        return all(os.path.join(directory, name) in paths for name in os.listdir(directory))
    return False


def _remove(path: str) -> None:
    """Remove what is there. Where a disk is mounted, its content goes and the directory stays."""
    if not os.path.isdir(path) or os.path.islink(path):
        remove_tree(path)
        return

    def kept(_function: object, at: str, caught: tuple[Any, BaseException, Any]) -> None:
        if not _is_bare(at):
            raise caught[1]

    shutil.rmtree(path, onerror=kept)


def _is_bare(path: str) -> bool:
    """Whether nothing is left of a directory but where disks are mounted."""
    names = names_in(path)
    if names:
        return all(_is_bare(os.path.join(path, name)) for name in names)
    return path in _mounted()


def _mounted() -> set[str]:
    """Every directory, or file, on which something is mounted."""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as file:
        return {line.split()[4] for line in file}
    return set()


def _remove_unit(path: str) -> None:
    name = os.path.basename(path)
    if init_system() == "systemd":
        subprocess.run(["systemctl", "disable", "--now", name], check=False, timeout=120)
    remove_tree(path)
    if init_system() == "systemd":
        subprocess.run(["systemctl", "daemon-reload"], check=False, timeout=60)


def _remove_empty(path: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _json(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        found = json.load(file)
        return found if isinstance(found, dict) else {}
    return {}
