# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a node to what it should carry: the one place that changes containers and files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    compare,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    Desired,
    Drift,
    sha256,
)

# Role of the container that uses the others of a tenant: it stops before them.
APP = "app"
# Actions that end with a new container.
_NEW = ("create", "recreate")


def make_directory(path: str, mode: int, uid: int, gid: int) -> None:
    """Create a directory, or give it its owner and mode. What is above it is only made."""
    above = os.path.dirname(path)
    if above and not os.path.exists(above):
        make_directory(above, 0o755, uid=os.geteuid(), gid=os.getegid())
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    os.chown(path, uid, gid)
    os.chmod(path, mode)


def image_ids(engine: Engine, desired: Iterable[Desired]) -> dict[str, str | None]:
    """Id of every image that the given states use, None where it is missing."""
    references = {container.image for state in desired for container in state.containers}
    return {reference: engine.image_id(reference) for reference in sorted(references)}


class Converger:
    """Applies the differences of one owner (a tenant, or the node's services).

    :param contents: text of each file whose desired state carries only a fingerprint.
    :param written: record of files with secrets; brought up to date while writing.
    :param before_start: called once all is in place and before containers start.
    :param before_app: called once the databases have been started and before the app is, also
        when nothing differs.
    """

    def __init__(
        self,
        engine: Engine,
        desired: Desired,
        contents: Mapping[str, str],
        written: dict[str, dict[str, str]],
        before_start: Callable[[], None] | None = None,
        before_app: Callable[[], None] | None = None,
    ) -> None:
        self._engine = engine
        self._desired = desired
        self._contents = contents
        self._written = written
        self._before_start = before_start
        self._before_app = before_app
        self._containers = {container.name: container for container in desired.containers}

    def apply(self, found: Found, images: Mapping[str, str | None]) -> list[Drift]:
        """Compare once more and bring about what differs; returns the differences."""
        drifts = compare(self._desired, found, images, self._written)
        if not drifts and self._before_app is None:
            return []
        todo = self._container_actions(drifts)
        missing = sorted({r for r, image in images.items() if image is None})
        if missing and any(action in ("create", "recreate") for action in todo.values()):
            raise MemcloudError(
                f"{self._desired.tenant or 'node'}: image {', '.join(missing)} is missing on the "
                "node: run setup_node for it"
            )
        self._remove_absent(os.path.isfile)  # the route first: nothing new arrives
        self._make_directories(drifts)
        # Who reads a file only when it starts is stopped before the file changes: whenever a run
        # ends, the next one finds the file or its reader not as it should be.
        read = {path for container in self._desired.containers for path in container.reads}
        changed = [drift.name for drift in drifts if drift.object == "file"]
        self._write_files(path for path in changed if path not in read)
        self._stop([n for n, a in todo.items() if a in ("remove", "recreate", "stop", "restart")])
        self._write_files(path for path in changed if path in read)
        self._parallel(
            self._engine.remove_container,
            [n for n, a in todo.items() if a in ("remove", "recreate")],
        )
        self._networks_and_volumes(drifts)
        self._remove_absent(os.path.lexists)
        self._parallel(
            lambda name: self._engine.create_container(self._desired, self._containers[name]),
            [n for n, a in todo.items() if a in ("create", "recreate")],
        )
        self._parallel(
            lambda name: self._engine.update_container(self._containers[name]),
            [d.name for d in drifts if d.action == "update" and todo.get(d.name) not in _NEW],
        )
        if self._before_start is not None:
            self._before_start()
        starting = [
            name
            for name, action in todo.items()
            if action in (*_NEW, "start", "restart") and self._containers[name].running
        ]
        if self._before_app is not None:
            self._parallel(self._engine.start, [n for n in starting if not self._is_app(n)])
            self._before_app()
            starting = [name for name in starting if self._is_app(name)]
        self._parallel(self._engine.start, starting)
        return drifts

    def _container_actions(self, drifts: list[Drift]) -> dict[str, str]:
        strength = (
            "recreate",
            "create",
            "remove",
            "stop",
            "restart",
            "start",
            "update",
        )
        actions: dict[str, str] = {}
        for drift in drifts:
            if drift.object != "container":
                continue
            current = actions.get(drift.name, "update")
            actions[drift.name] = min(current, drift.action, key=strength.index)
        return actions

    def _remove_absent(self, which: Callable[[str], bool]) -> None:
        for path in filter(which, self._desired.absent):
            remove_tree(path)
            for written in [w for w in self._written if w == path or w.startswith(path + "/")]:
                del self._written[written]

    def _make_directories(self, drifts: list[Drift]) -> None:
        for directory in self._desired.directories:
            if any(d.object == "directory" and d.name == directory.path for d in drifts):
                make_directory(directory.path, directory.mode, directory.uid, directory.gid)

    def _write_files(self, paths: Iterable[str]) -> None:
        files = {file.path: file for file in self._desired.files}
        for path in dict.fromkeys(paths):
            if path not in files:
                continue
            file = files[path]
            content = file.content if file.content is not None else self._contents[path]
            atomic_write(path, content, file.mode, file.uid, file.gid, file.scratch_dir)
            if file.secret:
                self._written[path] = {
                    "sha256": sha256(content),
                    "fingerprint": file.fingerprint,
                }

    def _is_app(self, name: str) -> bool:
        container = self._containers.get(name)
        return container.role == APP if container else name.endswith("-" + APP)

    def _stop(self, names: list[str]) -> None:
        def stop(name: str) -> None:
            container = self._containers.get(name)
            self._engine.stop(name, container.stop_timeout if container else 10)

        self._parallel(stop, [name for name in names if self._is_app(name)])
        self._parallel(stop, [name for name in names if not self._is_app(name)])

    def _networks_and_volumes(self, drifts: list[Drift]) -> None:
        for drift in drifts:
            if drift.object == "network" and drift.action in ("remove", "recreate"):
                self._engine.remove_network(drift.name)
        networks = {network.name: network for network in self._desired.networks}
        for name in dict.fromkeys(d.name for d in drifts if d.object == "network"):
            if name in networks:
                self._engine.create_network(self._desired, networks[name])
        for volume in self._desired.volumes:
            if any(d.object == "volume" and d.name == volume.name for d in drifts):
                self._engine.create_volume(self._desired, volume)

    @staticmethod
    def _parallel(function: Callable[[str], Any], names: list[str]) -> None:
        names = list(dict.fromkeys(names))
        if len(names) == 1:
            function(names[0])
        elif names:
            with ThreadPoolExecutor(len(names)) as pool:
                for future in [pool.submit(function, name) for name in names]:
                    future.result()
