# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a tenant's PostgreSQL, sized to its tier."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError

# Figures of the tier that the container engine enforces, not the server.
CONTAINER_KEYS = frozenset({"memory", "cpus", "cpu_shares", "pids"})
SETTINGS = (
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "effective_cache_size",
    "max_connections",
    "max_wal_size",
    "min_wal_size",
    "max_worker_processes",
    "max_parallel_workers",
    "autovacuum_max_workers",
)
VALUE = re.compile(r"\d+(kB|MB|GB)?")
# The same in every tier. Nothing replicates from a tenant: restore points are dumps. Shared
# memory of parallel workers is System V's, because an engine's /dev/shm holds 64 MB only.
FIXED = {
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "dynamic_shared_memory_type": "sysv",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",
    "tcp_keepalives_idle": "60",
}


def server_arguments(sizes: Mapping[str, Any]) -> list[str]:
    """Return the server's arguments for the mapping C(postgres) of a tier."""
    unknown = sorted(set(sizes) - CONTAINER_KEYS - set(SETTINGS))
    if unknown:
        raise _bad("is not a figure of PostgreSQL here: take it out of the tier", unknown[0])
    settings = dict(FIXED)
    for name in SETTINGS:
        if name in sizes:
            settings[name] = _value(name, sizes[name])
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _value(name: str, given: Any) -> str:
    text = str(given)
    if not VALUE.fullmatch(text):
        raise _bad(f"{text!r} is no number with kB, MB or GB, such as 64MB", name)
    return text


def _bad(message: str, name: str) -> VariableError:
    return VariableError("platform", "platform_tiers", f"postgres.{name}: {message}")


def cluster_major(volume: str) -> int | None:
    """Major version of the cluster in a volume, None where there is none yet.

    :param volume: where the volume is on the node's disk.
    """
    found = []
    for mark in glob.glob(os.path.join(volume, "*", "PG_VERSION")):
        with open(mark, encoding="ascii") as stream:
            found.append(int(stream.read().split(".")[0]))
    return max(found, default=None)
