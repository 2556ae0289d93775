# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start MemMachine's own server the way a container needs it.

The server's C(main) runs unchanged. What differs from starting it directly: it can be stopped at
any moment and within a bound: requests are answered, MCP streams, which have no end, are cut; it
believes the edge about the scheme of a request, so that its redirects keep https; it waits for a
PostgreSQL that is still starting, without which it would end and be started once more; the garbage
collector rests until the server is up; MCP clients that name no project find theirs again wherever
the server runs.

C(check FILE) loads a configuration with the server's own loader instead, and says what is wrong.
"""

from __future__ import annotations

import gc

gc.disable()

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import os
import signal
import struct
import sys
import urllib.parse
import uuid

HOME = os.path.dirname(os.path.abspath(__file__))
# The build puts it here where the lean way would not be the same.
NOT_LEAN = os.path.join(HOME, "lean.off")
STOPPED = 0
# How long requests that the server has may take to end once it is told to stop.
GRACE_SECONDS = 10
# How long the server waits for its PostgreSQL, and how long it takes one answer to come.
DATABASE_SECONDS = 20.0
ANSWER_SECONDS = 2.0
# What PostgreSQL says while it is starting: cannot_connect_now.
STARTING = b"57P03"
# The server names the project of MCP clients that name none by the address of its network card,
# mcp-user-0x…: a container has another one wherever it is moved. The same for all, instead.
MCP_NODE = 0x6D656D636C64
LOG_FILE = "/tmp/memmachine.log"
SERVER_PACKAGES = ("memmachine_server", "memmachine")
SETTINGS = {
    "timeout_graceful_shutdown": GRACE_SECONDS,
    "proxy_headers": True,
    "forwarded_allow_ips": "*",
    "server_header": False,
    # The server logs each request itself.
    "access_log": False,
    "ws": "none",
}


def server_package() -> str:
    """Return the name under which this image holds the server."""
    for name in SERVER_PACKAGES:
        if importlib.util.find_spec(name):
            return name
    sys.exit("No MemMachine server is installed for " + sys.executable)


def load_lean() -> None:
    """Leave out of the start what the server does not need yet."""
    if not os.path.exists(NOT_LEAN):
        import lean

        lean.apply()
    # Only the server's own packages from here on.
    sys.path[:] = [path for path in sys.path if path != HOME]


def log_to_stderr_only() -> None:
    """Give the server the log file that it insists on, and keep nothing in it."""
    if not os.path.lexists(LOG_FILE):
        os.symlink(os.devnull, LOG_FILE)


def adapt_uvicorn() -> None:
    """Settle how the server listens and stops, whichever way it starts uvicorn."""
    import uvicorn

    configure = uvicorn.Config.__init__
    startup = uvicorn.Server.startup
    handle_exit = uvicorn.Server.handle_exit
    wait_for_tasks = uvicorn.Server._wait_tasks_to_complete

    @functools.wraps(configure)
    def configure_for_container(self, *args, **kwargs):
        configure(self, *args, **dict(kwargs, **SETTINGS))

    @functools.wraps(startup)
    async def startup_then_collect(self, *args, **kwargs):
        # Whatever is wrong here, the server itself says it better.
        with contextlib.suppress(Exception):
            await wait_for_databases()
        await startup(self, *args, **kwargs)
        gc.freeze()
        gc.enable()

    @functools.wraps(handle_exit)
    def exit_at_any_moment(self, *args):
        if not self.started:
            os._exit(STOPPED)
        handle_exit(self, *args)

    @functools.wraps(wait_for_tasks)
    async def wait_for_requests(self):
        connections = self.server_state.connections
        while not self.force_exit and not all(map(is_stream, connections)):
            await asyncio.sleep(0.05)
        if connections:
            # As if the time for a graceful stop were over: what is left is cancelled.
            raise asyncio.TimeoutError
        await wait_for_tasks(self)

    uvicorn.Server._wait_tasks_to_complete = wait_for_requests
    uvicorn.Config.__init__ = configure_for_container
    uvicorn.Server.startup = startup_then_collect
    uvicorn.Server.handle_exit = exit_at_any_moment


async def wait_for_databases() -> None:
    """Wait until each PostgreSQL of the configuration lets clients in, or for so long."""
    import yaml

    with open(os.environ["MEMORY_CONFIG"], encoding="utf-8") as stream:
        found = set(postgres_of(yaml.safe_load(stream)))
    async with asyncio.timeout(DATABASE_SECONDS):
        for host, port in found:
            while not await lets_in(host, port):
                await asyncio.sleep(0.02)


def postgres_of(node):
    """Yield host and port of each PostgreSQL in a configuration, of either format."""
    if isinstance(node, str) and node.startswith("postgresql"):
        url = urllib.parse.urlsplit(node)
        yield url.hostname, url.port or 5432
    elif isinstance(node, dict) and node.get("provider") == "postgres":
        yield node["config"]["host"], int(node["config"].get("port", 5432))
    elif isinstance(node, (dict, list)):
        for part in node.values() if isinstance(node, dict) else node:
            yield from postgres_of(part)


async def lets_in(host: str, port: int) -> bool:
    """Ask a PostgreSQL as pg_isready does: an answer of any kind but that it is starting."""
    hello = struct.pack("!i", 196608) + b"user\0memmachine\0database\0memmachine\0\0"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(struct.pack("!i", len(hello) + 4) + hello)
                answer = await reader.read(1024)
            finally:
                writer.close()
    except OSError:
        return False
    return bool(answer) and STARTING not in answer


def is_stream(connection) -> bool:
    """Whether a connection carries an MCP client's stream of events, which never ends."""
    scope = getattr(getattr(connection, "cycle", None), "scope", None) or {}
    return scope.get("method") == "GET" and scope.get("path", "").startswith("/mcp")


def serve() -> None:
    """Run the server until it is told to stop."""
    os.environ.setdefault("HOST", "0.0.0.0")
    os.environ.setdefault("PORT", "8080")
    uuid._node = MCP_NODE
    adapt_uvicorn()
    application = importlib.import_module(server_package() + ".server.app")
    application.main()


def check(path: str) -> None:
    """Load a configuration with the server's own loader; say on stdout what is wrong."""
    problems = problems_of(path)
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


def problems_of(path: str) -> list[str]:
    """Return what the server does not take, or takes by switching a memory off."""
    package = server_package()
    try:
        configuration = importlib.import_module(package + ".common.configuration")
        load = configuration.Configuration.load_yml_file
    except (ImportError, AttributeError):
        return ["This server is older than 0.2: it has no loader that only checks."]
    try:
        loaded = load(path)
    except Exception as error:
        return reasons(error)
    episodic = loaded.episodic_memory
    memories = {
        "semantic_memory": getattr(loaded.semantic_memory, "enabled", True),
        "episodic_memory": getattr(episodic, "enabled", True),
        "episodic_memory.long_term_memory": getattr(episodic, "long_term_memory_enabled", True),
        "episodic_memory.short_term_memory": getattr(episodic, "short_term_memory_enabled", True),
    }
    return [f"{name} would be switched off" for name, on in memories.items() if on is False]


def reasons(error: Exception) -> list[str]:
    """Return an error of the loader in lines, without the values that it was about."""
    try:
        entries = error.errors(include_input=False, include_url=False)
    except AttributeError:
        return [f"{type(error).__name__}: {error}"]
    return [".".join(map(str, entry["loc"])) + ": " + entry["msg"] for entry in entries]


def main() -> None:
    """Do what the command line says."""
    # The first process of a container ignores signals that nobody handles.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))
    log_to_stderr_only()
    load_lean()
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
    else:
        serve()
