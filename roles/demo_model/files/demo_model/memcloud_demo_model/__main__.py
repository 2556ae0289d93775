# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m memcloud_demo_model SETTINGS.json`: run the provider until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from types import FrameType

from uvicorn.config import Config
from uvicorn.server import Server

from memcloud_demo_model import __version__
from memcloud_demo_model.app import DemoModel
from memcloud_demo_model.settings import SettingsError, read_settings

KEEP_ALIVE_SECONDS = 75
STOP_SECONDS = 2
MAX_CONNECTIONS = 1024


def main(arguments: list[str]) -> int:
    """Read the settings and serve; 2 when they cannot be used."""
    if len(arguments) != 1:
        print("usage: python -m memcloud_demo_model SETTINGS.json", file=sys.stderr)
        return 2
    try:
        settings = read_settings(Path(arguments[0]))
    except SettingsError as error:
        print(f"memcloud_demo_model: {error}", file=sys.stderr)
        return 2
    config = Config(
        DemoModel(settings.api_key),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    gc.freeze()
    print(
        f"memcloud DEMO model provider {__version__} on {settings.host}:{settings.port}: "
        "word statistics, no real model",
        flush=True,
    )
    server = Server(config)
    # Uvicorn raises the signal that ended it once more when it is done: that is no failure.
    signal.signal(signal.SIGTERM, _nothing)
    signal.signal(signal.SIGINT, _nothing)
    server.run()
    return 0 if server.started else 1


def _nothing(sig: int, frame: FrameType | None) -> None:
    """Take a signal without doing anything."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
