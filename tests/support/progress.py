"""How far an operation is, by what can be seen of it, whichever it is."""

from __future__ import annotations

import threading
from pathlib import Path

from .platform import Tenant

# Early, in the middle, and late.
PARTS = (0.2, 0.5, 0.8)
# What an operation writes: in the inventory of the controller, and below the node's data.
_OF_CONTROLLER = ("host_vars/{}.yml", ".secrets/{}.*", ".secrets/keys/{}.*")
_ON_NODE = (
    "tenants/{}/*",
    "tenants/{}/*/*",
    "locks/tenant-{}.json",
    "gate/tenants/{}.json",
    "edge/dynamic/{}.yml",
    "backups/{}-*/snapshots/*",
    "backups/{}-*/index/*",
)


class Progress:
    """Counts what the engine tells of a tenant's things, and files that come, change and go.

    A whole run is counted once; another one is then killed when it has come as far as wanted.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._prefix = f"{tenant.platform.name}-{tenant.name}-"
        self._told = self._seen = 0
        self._events = tenant.platform.docker().api.events(decode=True)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._listen, self._look)]

    def __enter__(self) -> Progress:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopping.set()
        self._events.close()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return self._told + self._seen

    def _listen(self) -> None:
        for event in self._events:
            actor = event.get("Actor") or {}
            name = (actor.get("Attributes") or {}).get("name") or actor.get("ID") or ""
            # Commands in containers are the keeper's, too.
            if name.startswith(self._prefix) and not event["Action"].startswith("exec_"):
                self._told += 1

    def _look(self) -> None:
        before = self._files()
        while not self._stopping.wait(0.01):
            now = self._files()
            self._seen += len(dict(before.items() ^ now.items()))
            before = now

    def _files(self) -> dict[Path, int]:
        """When each file was written last; of a directory only that it is there."""
        platform, name = self._tenant.platform, self._tenant.name
        paths = [p for glob in _OF_CONTROLLER for p in platform.inventory.glob(glob.format(name))]
        paths += [p for glob in _ON_NODE for p in platform.data_dir.glob(glob.format(name))]
        found = {}
        for path in paths:
            try:
                found[path] = 0 if path.is_dir() else path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # gone meanwhile
        return found
