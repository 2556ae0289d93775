# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a tenant has stored fits into the sizes that it is to get.

Measured only when a size gets smaller than that with which the tenant was last deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import parse_size

# Of so many bytes of data at least one should have its place in memory. Every shipped tier gives
# more than that at the end of its storage; a database far below it reads from the disk all day.
MOST_STORED_PER_CACHED = 64
# Logs of the databases, which follow their settings: they are not what a customer has stored.
_LOGS = frozenset({"pg_wal", "transactions"})
_CACHES = {
    "postgres": ("PostgreSQL", "shared_buffers"),
    "neo4j": ("Neo4j", "pagecache"),
}


def figures_of(tenant: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that data must fit into, in bytes: the storage, and each database's cache."""
    figures = {"storage": int(tenant["storage"])}
    for role, (_name, key) in _CACHES.items():
        size = tenant[role]["sizes"].get(key)
        if size is not None:
            figures[role] = parse_size(size)
    return figures


def shrinks(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a size gets smaller than it was when the tenant was last deployed."""
    if "proved" not in record:
        return False
    before = record.get("figures")
    if before is None:
        return bool(record.get("tier") != tenant["tier"])
    return any(size < before.get(name, 0) for name, size in figures_of(tenant).items())


def check_fits(
    tenant: Mapping[str, Any], record: Mapping[str, Any], measure: Callable[[str], int]
) -> None:
    """Raise when the tenant's data does not fit into smaller sizes.

    :param measure: bytes that a database of the tenant has stored.
    """
    if not shrinks(tenant, record):
        return
    wanted = figures_of(tenant)
    stored = {role: measure(role) for role in _CACHES}
    total = sum(stored.values())
    if total > wanted["storage"]:
        shares = ", ".join(f"{_CACHES[r][0]} {human(size)}" for r, size in stored.items())
        raise _too_small(
            tenant,
            f"has {human(wanted['storage'])} of storage, but {human(total)} are stored ({shares})",
            "delete memories first, or choose a tier with more storage",
        )
    for role, (name, key) in _CACHES.items():
        least = stored[role] // MOST_STORED_PER_CACHED
        if least > wanted.get(role, least):
            raise _too_small(
                tenant,
                f"gives {name} {human(wanted[role])} of memory for its data ({key}), but the "
                f"{human(stored[role])} that it holds need at least {human(least)}",
                "choose a tier with more memory",
            )


def stored_bytes(directory: str) -> int:
    """Bytes of a database's volume without its logs."""
    return disk_usage(directory, without=_LOGS)


def human(size: int) -> str:
    """A size as people write it."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size} bytes"


def _too_small(tenant: Mapping[str, Any], what: str, advice: str) -> VariableError:
    return VariableError(
        tenant["tenant"], "tenant_tier", f"{tenant['tier']} {what}: {advice}. Nothing was touched"
    )
