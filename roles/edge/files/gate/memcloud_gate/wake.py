# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that somebody waits for a sleeping tenant: empty files, which the keeper looks for.

The gate faces the network, so it cannot start anything: all it may say is a tenant's name, and the
keeper checks it against the node's own records.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from memcloud_gate.log import Log

# A signal that the keeper took away without a tenant that runs is given again after this.
AGAIN_SECONDS = 1.0
WRITE_SECONDS = 1.0


class WakeSignals:
    """Leaves signals, at most one file a tenant and one write a second for each."""

    def __init__(self, directory: Path | None, log: Log) -> None:
        self._directory = directory
        self._log = log
        self._given: dict[str, float] = {}

    async def give(self, tenant: str) -> None:
        """Leave the tenant's signal; what goes wrong is logged, and the request waits all the same.

        The name comes from the tenants' files, never from a request.
        """
        now = time.monotonic()
        if self._directory is None or now < self._given.get(tenant, 0.0) + AGAIN_SECONDS:
            return
        self._given[tenant] = now
        try:
            leave = asyncio.to_thread(_leave, self._directory / tenant)
            await asyncio.wait_for(leave, WRITE_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:
            self._log.error("wake signal not left", tenant=tenant, reason=str(error))


def _leave(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    except FileExistsError:
        return
