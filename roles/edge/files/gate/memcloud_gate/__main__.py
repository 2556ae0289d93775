# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m memcloud_gate SETTINGS.json`: run the gate until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from pathlib import Path
from types import FrameType

from uvicorn.config import Config
from uvicorn.server import Server

from memcloud_gate.app import Gate
from memcloud_gate.log import start_logging
from memcloud_gate.settings import SettingsError, read_settings

# Traefik keeps idle connections for 90 s; whoever closes first must not be the gate, or a request
# could meet a closing connection.
KEEP_ALIVE_SECONDS = 120
STOP_SECONDS = 2


class GateServer(Server):
    """Uvicorn's server; a signal also lets held requests go."""

    def __init__(self, config: Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        super().handle_exit(sig, frame)
        self._gate.stop_holding()


def main(arguments: list[str]) -> int:
    """Read the settings and serve; 2 when they cannot be used."""
    if len(arguments) != 1:
        print("usage: python -m memcloud_gate SETTINGS.json", file=sys.stderr)
        return 2
    try:
        settings = read_settings(Path(arguments[0]))
    except SettingsError as error:
        print(f"memcloud_gate: {error}", file=sys.stderr)
        return 2
    # Newer engines start a process with room for 1024 connections, and let it take more.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = start_logging()
    gate = Gate(settings)
    config = Config(
        gate,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    gc.freeze()
    server = GateServer(config, gate)
    # Uvicorn raises the signal that ended it once more when it is done: that is no failure.
    signal.signal(signal.SIGTERM, _nothing)
    signal.signal(signal.SIGINT, _nothing)
    try:
        server.run()
    finally:
        listener.stop()
    return 0 if server.started else 1


def _nothing(sig: int, frame: FrameType | None) -> None:
    """Take a signal without doing anything."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
