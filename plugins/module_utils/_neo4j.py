# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a tenant's Neo4j: its settings, its JVM's arguments, its first password."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)

# Figures of the tier that the container engine enforces, not the server.
CONTAINER_KEYS = frozenset({"memory", "cpus", "cpu_shares", "pids"})
DEFAULTS = {
    "heap": "96m",
    "pagecache": "16m",
    "code_cache": "64m",
    "compiler": "c1",
    "collector": "serial",
    "tx_log_size": "16m",
    "tx_log_retention": "32m",
}
SIZE = re.compile(r"\d+[kmg]")
CHOICES = {"compiler": ("c1", "full"), "collector": ("serial", "g1")}
COLLECTORS = {"serial": "-XX:+UseSerialGC", "g1": "-XX:+UseG1GC"}
FEWEST_BOLT_THREADS = 16
MOST_BOLT_THREADS = 400
# The container's hostname is its role.
HOSTNAME = "neo4j"
HASH_ROUNDS = 1024
SALT_BYTES = 32


def auth_ini(password: str, salt: bytes) -> str:
    """Return the line of auth.ini that gives the user neo4j its first password.

    It is what C(neo4j-admin dbms set-initial-password) writes, which wants the password on its
    command line.
    """
    if len(salt) != SALT_BYTES:
        raise MemcloudError(f"The salt of auth.ini has {len(salt)} bytes, not {SALT_BYTES}.")
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _round in range(HASH_ROUNDS - 1):
        digest = hashlib.sha256(digest).digest()
    return f"neo4j:SHA-256,{digest.hex()},{salt.hex()},{HASH_ROUNDS}:\n"


def neo4j_conf(sizes: Mapping[str, Any]) -> str:
    """Return neo4j.conf for the mapping C(neo4j) of a tier."""
    figures = _figures(sizes)
    settings = {
        # A name, because Neo4j asks the DNS for the name of an address while it starts. Without a
        # way out that takes ten seconds, in which Bolt answers already and a stop leaves a store
        # that has to be recovered.
        "server.default_listen_address": HOSTNAME,
        "server.bolt.listen_address": f"{HOSTNAME}:7687",
        "server.http.enabled": "false",
        "server.https.enabled": "false",
        "server.directories.data": "/data/neo4j",
        "server.directories.logs": "/tmp/logs",
        "server.directories.run": "/tmp/run",
        "server.directories.plugins": "/opt/neo4j/plugins",
        "server.directories.import": "/opt/neo4j/import",
        "server.logs.config": "/opt/neo4j/conf/server-logs.xml",
        "server.logs.user.config": "/opt/neo4j/conf/user-logs.xml",
        "server.logs.gc.enabled": "false",
        "db.logs.query.enabled": "OFF",
        "dbms.usage_report.enabled": "false",
        # A report about the machine at every start, and a thread that watches for pauses.
        "internal.dbms.dump_diagnostics": "false",
        "internal.vm_pause_monitor.enabled": "false",
        # Two seconds of silence, several times over, that a stop would wait for otherwise.
        "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
        # Each busy connection has a thread; the rest of the container's processes are the JVM's.
        "server.bolt.thread_pool_min_size": "2",
        "server.bolt.thread_pool_max_size": str(_bolt_threads(sizes)),
        "server.memory.pagecache.size": figures["pagecache"],
        "db.tx_log.preallocate": "false",
        "db.tx_log.rotation.size": figures["tx_log_size"],
        "db.tx_log.rotation.retention_policy": f"{figures['tx_log_retention']} size",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def jvm_args(sizes: Mapping[str, Any]) -> str:
    """Return the JVM's argument file for the mapping C(neo4j) of a tier."""
    figures = _figures(sizes)
    arguments = [
        f"-Xms{figures['heap']}",
        f"-Xmx{figures['heap']}",
        "-Xss512k",
        f"-XX:ReservedCodeCacheSize={figures['code_cache']}",
        COLLECTORS[figures["collector"]],
    ]
    if figures["compiler"] == "c1":
        arguments.append("-XX:TieredStopAtLevel=1")
    return "".join(f"{argument}\n" for argument in arguments)


def _bolt_threads(sizes: Mapping[str, Any]) -> int:
    return max(FEWEST_BOLT_THREADS, min(MOST_BOLT_THREADS, int(sizes.get("pids", 256)) // 2))


def _figures(sizes: Mapping[str, Any]) -> dict[str, str]:
    unknown = sorted(set(sizes) - CONTAINER_KEYS - set(DEFAULTS))
    if unknown:
        raise _bad(unknown[0], "is not a figure of Neo4j here: take it out of the tier")
    figures = {name: str(sizes.get(name, default)) for name, default in DEFAULTS.items()}
    for name, value in figures.items():
        choices = CHOICES.get(name)
        if choices and value not in choices:
            raise _bad(name, f"{value!r} is not one of {', '.join(choices)}")
        if not choices and not SIZE.fullmatch(value):
            raise _bad(name, f"{value!r} is no number with k, m or g, such as 96m")
    return figures


def _bad(name: str, message: str) -> VariableError:
    return VariableError("platform", "platform_tiers", f"neo4j.{name}: {message}")
