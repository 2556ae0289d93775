# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m memcloud_keeper PLATFORM MEASURE_SECONDS`: run until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from memcloud_keeper import __version__
from memcloud_keeper.engine import Engine, EngineError
from memcloud_keeper.node import Node
from memcloud_keeper.storage import Measurer
from memcloud_keeper.wake import Waker, say

ROOT = Path("/run/memcloud")
LOOK_SECONDS = 0.1
# Starting is what costs a node most: more at once would make all of them late.
AT_ONCE = 4
WATCH_SECONDS = 15
AGAIN_SECONDS = 20.0


def main(arguments: list[str]) -> int:
    """Follow the signals; 1 when the engine is gone, and the engine starts this again."""
    if len(arguments) != 2:
        print("usage: python -m memcloud_keeper PLATFORM MEASURE_SECONDS", file=sys.stderr)
        return 2
    platform, every = arguments[0], float(arguments[1])
    # Whatever is cut here is done again: signals stay until their tenants run.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    node, engine = Node(ROOT), Engine(str(ROOT / "engine.sock"))
    try:
        engine.ping()
    except EngineError as error:
        say("the engine does not answer", reason=str(error))
        return 1
    measurer = Measurer(node, engine, platform)
    for task in (lambda: _measure(measurer, every), lambda: _watch(node, engine)):
        threading.Thread(target=task, daemon=True).start()
    say("keeper started", version=__version__, platform=platform)
    _follow(node, Waker(node, engine, platform))
    return 0


def _follow(node: Node, waker: Waker) -> None:
    waking: set[str] = set()

    def wake(tenant: str) -> None:
        try:
            waker.wake(tenant)
        finally:
            waking.discard(tenant)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while True:
            for tenant in node.signals():
                if tenant not in waking:
                    waking.add(tenant)
                    pool.submit(wake, tenant)
            time.sleep(LOOK_SECONDS)


def _measure(measurer: Measurer, every: float) -> None:
    wait = every
    while True:
        time.sleep(wait)
        wait = every
        try:
            measurer.measure()
        except (EngineError, OSError, ValueError) as error:
            # Such as: the engine adds sizes up for somebody else now.
            wait = min(every, AGAIN_SECONDS)
            say("storage not measured", reason=str(error))


def _watch(node: Node, engine: Engine) -> None:
    """Sweep, and end with the engine: a socket made anew is seen by a container started anew."""
    while True:
        time.sleep(WATCH_SECONDS)
        node.sweep()
        try:
            engine.ping()
        except EngineError as error:
            say("the engine does not answer", reason=str(error))
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
