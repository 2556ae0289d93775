"""A tenant's plain containers, started without one of the ideas that make its start fast.

    ideas.py INVENTORY TENANT IDEA

As plain.py starts them, but for what the idea brought, which is undone in the containers and files
of this one start: the images stay as they are. ``none`` leaves all of them in. Printed as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import fleet
import plain
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import Mount
from containers import processor_of
from measure import TOP

_NEO4J = "roles/neo4j/files/image"
_POSTGRES = "roles/postgres_pgvector/files/image"
_ARCHIVE = '[ ! -e "$archive" ] || set -- "-XX:SharedArchiveFile=$archive"\n'
_RELOCATION = "-XX:+UnlockDiagnosticVMOptions\n-XX:ArchiveRelocationMode=0\n"
_C1 = "-XX:TieredStopAtLevel=1\n"
# What prepare-cluster does while the image is built, with a password that is replaced right after.
_INITDB = r"""initdb --pgdata="$scratch" --username=postgres --auth=scram-sha-256 \
        --pwfile="$secrets/admin_password" --encoding=UTF8 --locale=C.UTF-8 \
        --locale-provider=builtin --builtin-locale=C.UTF-8 --wal-segsize=4 --data-checksums \
        --no-sync > /dev/null
    printf '%s\n\n' 'CREATE ROLE memmachine LOGIN;' 'CREATE DATABASE memmachine OWNER memmachine;' |
        postgres --single -j -F -D "$scratch" -c exit_on_error=on postgres > /dev/null
    printf '%s\n\n' 'CREATE EXTENSION vector;' |
        postgres --single -j -F -D "$scratch" -c exit_on_error=on memmachine > /dev/null
"""
_COLLECTING = """#!/app/.venv/bin/python
import launch, gc

gc.enable()
launch.main()
"""


@dataclass(frozen=True)
class Idea:
    """What makes a start faster, and how it is undone for one start.

    :param words: the idea, for people.
    :param containers: changes of containers, by role.
    :param changed: a file of the tenant's directory, what goes from it.
    :param in_turn: whether the app is started only when its databases listen.
    :param asked_early: whether the app is asked from the beginning, not when servers listen.
    """

    words: str
    containers: Mapping[str, Callable[[Any, str], Any]] | None = None
    changed: tuple[str, str] | None = None
    in_turn: bool = False
    asked_early: bool = False


def _with_file(target: str, content: str, mode: int = 0o755) -> Callable[[Any, str], Any]:
    """A file of the image replaced."""

    def change(container: Any, directory: str) -> Any:
        path = os.path.join(directory, "undone-" + os.path.basename(target))
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(content)
        os.chmod(path, mode)
        return container.with_mount(Mount("bind", target, path, read_only=True))

    return change


def _edited(source: str, target: str, old: str, new: str) -> Callable[[Any, str], Any]:
    """A file of the image with something else in one place."""
    with open(os.path.join(TOP, source), encoding="utf-8") as handle:
        text = handle.read()
    if old not in text:
        raise RuntimeError(f"{source} has changed: this idea has to be undone in another way")
    return _with_file(target, text.replace(old, new))


def _uncompiled(container: Any, _directory: str) -> Any:
    nowhere = {"PYTHONPYCACHEPREFIX": "/tmp/nowhere"}
    return replace(container, environment={**container.environment, **nowhere})


def ideas() -> dict[str, Idea]:
    """All of them, by name; each change is made on what the images' own files hold today."""
    neo4j = (f"{_NEO4J}/memcloud-neo4j", "/usr/local/bin/memcloud-neo4j")
    postgres = (f"{_POSTGRES}/memcloud-postgres", "/usr/local/bin/memcloud-postgres")
    arguments = (f"{_NEO4J}/image.args", "/opt/neo4j/image.args")
    store = ('cp -a /usr/share/memcloud/neo4j-data "$scratch"', 'mkdir -p "$scratch/dbms"')
    cluster = ('cp -a "$template" "$scratch"\n', _INITDB)
    return {
        "none": Idea("all of them"),
        "archive": Idea(
            "Neo4j's classes from an archive that the image's build recorded",
            {"neo4j": _edited(*neo4j, _ARCHIVE, "")},
        ),
        "address": Idea(
            "the archive at the same address in each server",
            {"neo4j": _edited(*arguments, _RELOCATION, "")},
        ),
        "compiler": Idea(
            "Neo4j compiled by the quick compiler alone", changed=("neo4j/jvm.args", _C1)
        ),
        "store": Idea(
            "Neo4j's data directory prepared by the image's build",
            {"neo4j": _edited(*neo4j, *store)},
        ),
        "cluster": Idea(
            "PostgreSQL's cluster prepared by the image's build",
            {"postgres": _edited(*postgres, *cluster)},
        ),
        "lean": Idea(
            "the server's imports that can wait, wait",
            {"app": _with_file("/opt/memcloud/lean.off", "", 0o644)},
        ),
        "collector": Idea(
            "Python's garbage collector rests until the server is up",
            {"app": _with_file("/opt/memcloud/start", _COLLECTING)},
        ),
        "bytecode": Idea(
            "Python's bytecode made by the image's build, and not checked", {"app": _uncompiled}
        ),
        "together": Idea("the three containers start at the same time", in_turn=True),
        "listen": Idea("nobody asks before both servers listen", asked_early=True),
    }


def undo(idea: Idea, prepared: plain.Prepared) -> plain.Prepared:
    """The tenant without the idea."""
    if idea.changed:
        name, gone = idea.changed
        path = os.path.join(prepared.directory, name)
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
        if gone not in text:
            raise RuntimeError(f"{name} has changed: this idea has to be undone in another way")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text.replace(gone, ""))
    changes = idea.containers or {}
    containers = tuple(
        changes[container.role](container, prepared.directory)
        if container.role in changes
        else container
        for container in prepared.desired.containers
    )
    return replace(prepared, desired=replace(prepared.desired, containers=containers))


def start(engine: Engine, prepared: plain.Prepared, idea: Idea) -> None:
    """Start the tenant and prove it, as the idea has left it."""
    addresses = prepared.addresses
    later = [one for one in prepared.desired.containers if idea.in_turn and one.role == "app"]
    plain.start_together(
        engine, prepared, [one for one in prepared.desired.containers if one not in later]
    )
    if later:
        for server in ((addresses.postgres, 5432), (addresses.neo4j, 7687)):
            _wait_for(server)
        plain.start_together(engine, prepared, later)
    plain.prove(plain.direct_probe(prepared.name, addresses, idea.asked_early))


def _wait_for(server: tuple[str, int]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(server, 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens at {server}")


def main() -> None:
    """Start, time, print, remove."""
    inventory, name, chosen = sys.argv[1:]
    idea = ideas()[chosen]
    engine = Engine()
    platform, tenant, secrets = fleet.load(inventory, name)
    prepared = plain.prepare(engine, platform, tenant, secrets, 0)
    try:
        prepared = undo(idea, prepared)
        began = time.monotonic()
        start(engine, prepared, idea)
        seconds = time.monotonic() - began
        print(json.dumps({"seconds": seconds, "processor": processor_of(platform["name"], [name])}))
    finally:
        plain.remove(engine, prepared)


if __name__ == "__main__":
    main()
