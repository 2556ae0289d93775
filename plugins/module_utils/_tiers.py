# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiers: what a tenant may use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import (
    load_defaults,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    LABEL,
    PLATFORM,
    Reader,
    kind_of,
    known_words,
    parse_size,
    suggestion,
)

_SIZE = "size"
_COUNT = "count"
_NONE_OR_MORE = "count or 0"
_SHARES = "shares"
_PROCESSORS = "processors"
_CONTAINER_KEYS: Mapping[str, Any] = {
    "memory": _SIZE,
    "cpus": _PROCESSORS,
    "cpu_shares": _SHARES,
    "pids": _COUNT,
}
# Kind of each figure of a tier; a tuple lists the words allowed.
TIER_KEYS: Mapping[str, Mapping[str, Any]] = {
    "app": _CONTAINER_KEYS,
    "postgres": {
        **_CONTAINER_KEYS,
        "shared_buffers": _SIZE,
        "work_mem": _SIZE,
        "maintenance_work_mem": _SIZE,
        "effective_cache_size": _SIZE,
        "max_connections": _COUNT,
        "max_wal_size": _SIZE,
        "min_wal_size": _SIZE,
        "max_worker_processes": _COUNT,
        "max_parallel_workers": _NONE_OR_MORE,
        "autovacuum_max_workers": _COUNT,
    },
    "neo4j": {
        **_CONTAINER_KEYS,
        "heap": _SIZE,
        "pagecache": _SIZE,
        "code_cache": _SIZE,
        "compiler": ("c1", "full"),
        "collector": ("serial", "g1"),
        "tx_log_size": _SIZE,
        "tx_log_retention": _SIZE,
    },
    "backup": {
        "every_hours": _COUNT,
        "hourly": _NONE_OR_MORE,
        "daily": _NONE_OR_MORE,
        "weekly": _NONE_OR_MORE,
        "monthly": _NONE_OR_MORE,
    },
    "edge": {
        "requests_per_second": _COUNT,
        "burst": _COUNT,
        "in_flight": _COUNT,
        "mcp_in_flight": _COUNT,
        "body_bytes": _SIZE,
    },
}
# Parts of a tier that are no mapping; the last two may be left out.
_SINGLE_KEYS = ("storage", "wake", "idle_hours")
_SMALLEST_MEMORY = 16 * 1024**2
# What a Java process takes besides heap, page cache and compiled code.
_JVM_OVERHEAD = 96 * 1024**2


@dataclass(frozen=True)
class Resources:
    """Limits of one container."""

    memory: int
    cpus: float
    cpu_shares: int
    pids: int


@dataclass(frozen=True)
class EdgeLimits:
    requests_per_second: int
    burst: int
    in_flight: int
    mcp_in_flight: int
    body_bytes: int


@dataclass(frozen=True)
class Tier:
    """`postgres_sizes` and `neo4j_sizes` are the mappings of the tier file, as written."""

    name: str
    app: Resources
    postgres: Resources
    neo4j: Resources
    postgres_sizes: Mapping[str, Any]
    neo4j_sizes: Mapping[str, Any]
    edge: EdgeLimits
    backup: Mapping[str, int]
    storage: int
    wake: bool
    idle_hours: int | None


def parse_tiers(reader: Reader) -> dict[str, Tier]:
    given = reader.mapping("platform_tiers")
    shipped = load_defaults()["platform_tiers"]
    tiers: dict[str, Tier] = {}
    for name in {**shipped, **given}:
        own = given.get(name, shipped.get(name))
        if own is None:
            continue  # a shipped tier that this fleet does not offer
        if own is shipped.get(name) or own == shipped.get(name):
            tiers[name] = _shipped_tier(name)
            continue
        if not isinstance(name, str) or not LABEL.match(name.replace("_", "-")):
            raise reader.bad("platform_tiers", "has the name %r; use a-z, 0-9 and '_'" % (name,))
        if not isinstance(own, Mapping):
            raise _bad_figure(reader, name, "must be a mapping, not %s" % kind_of(own))
        base = own.get("from", name)
        if "from" in own and base not in shipped:
            raise _bad_figure(
                reader, name + ".from", "is %r%s" % (base, known_words(base, shipped))
            )
        figures = {key: value for key, value in own.items() if key != "from"}
        tiers[name] = _tier(reader, name, _merged(shipped.get(base, {}), figures))
    if not tiers:
        raise reader.bad("platform_tiers", "leaves no tier")
    return tiers


@functools.cache
def _shipped_tier(name: str) -> Tier:
    return _tier(Reader(PLATFORM, {}), name, load_defaults()["platform_tiers"][name])


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _tier(reader: Reader, name: str, figures: Mapping[str, Any]) -> Tier:
    for key in figures:
        if key not in TIER_KEYS and key not in _SINGLE_KEYS:
            raise _bad_figure(reader, "%s.%s" % (name, key), "is no part of a tier%s"
                              % suggestion(str(key), [*TIER_KEYS, *_SINGLE_KEYS]))  # fmt: skip
    parts = {part: _figures(reader, name, part, figures.get(part)) for part in TIER_KEYS}
    neo4j = parts["neo4j"]
    if neo4j["heap"] + neo4j["pagecache"] + neo4j["code_cache"] + _JVM_OVERHEAD > neo4j["memory"]:
        raise _bad_figure(
            reader,
            name + ".neo4j",
            "needs more memory than it has: heap, pagecache and code_cache must leave %d MiB "
            "of memory" % (_JVM_OVERHEAD // 1024**2),
        )
    if parts["postgres"]["shared_buffers"] * 2 > parts["postgres"]["memory"]:
        raise _bad_figure(
            reader, name + ".postgres.shared_buffers", "is more than half of its memory"
        )
    return Tier(
        name=name,
        app=_resources(parts["app"]),
        postgres=_resources(parts["postgres"]),
        neo4j=_resources(neo4j),
        postgres_sizes=figures["postgres"],
        neo4j_sizes=figures["neo4j"],
        edge=EdgeLimits(**parts["edge"]),
        backup=parts["backup"],
        storage=_figure(reader, name + ".storage", _SIZE, figures.get("storage")),
        wake=_wake(reader, name, figures.get("wake", False)),
        idle_hours=_idle_hours(reader, name, figures.get("idle_hours")),
    )


def _wake(reader: Reader, tier: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad_figure(reader, tier + ".wake", "must be true or false, not %s" % kind_of(value))
    return value


def _idle_hours(reader: Reader, tier: str, value: Any) -> int | None:
    return None if value is None else int(_figure(reader, tier + ".idle_hours", _COUNT, value))


def _resources(figures: Mapping[str, Any]) -> Resources:
    return Resources(**{key: figures[key] for key in _CONTAINER_KEYS})


def _figures(reader: Reader, tier: str, part: str, given: Any) -> dict[str, Any]:
    where = "%s.%s" % (tier, part)
    if not isinstance(given, Mapping):
        raise _bad_figure(
            reader,
            where,
            "is missing; a tier of your own needs every figure, or `from: pro`"
            if given is None
            else "must be a mapping, not %s" % kind_of(given),
        )
    kinds = TIER_KEYS[part]
    for key in given:
        if key not in kinds:
            raise _bad_figure(
                reader, "%s.%s" % (where, key), "is no figure of a tier%s"
                % suggestion(str(key), kinds)
            )  # fmt: skip
    return {
        key: _figure(reader, "%s.%s" % (where, key), kind, given.get(key))
        for key, kind in kinds.items()
    }


def _figure(reader: Reader, where: str, kind: Any, value: Any) -> Any:
    if value is None:
        raise _bad_figure(reader, where, "is missing")
    if isinstance(kind, tuple):
        if value not in kind:
            raise _bad_figure(reader, where, "is %r; it must be %s" % (value, " or ".join(kind)))
        return value
    if kind == _SIZE:
        return _size_figure(reader, where, value)
    if kind == _PROCESSORS:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0.01:
            raise _bad_figure(reader, where, "is %r; it must be a number of processors" % (value,))
        return float(value)
    least = {_SHARES: 2, _COUNT: 1}.get(kind, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _bad_figure(
            reader, where, "is %r; it must be a whole number of at least %d" % (value, least)
        )
    return int(value)


def _size_figure(reader: Reader, where: str, value: Any) -> int:
    try:
        size = parse_size(value)
    except ValueError:
        raise _bad_figure(reader, where, "is %r; write a size as 640m or 1g" % (value,)) from None
    least = _SMALLEST_MEMORY if where.endswith(".memory") else 1
    if size < least:
        raise _bad_figure(reader, where, "is %r, too small" % (value,))
    return size


def _bad_figure(reader: Reader, where: str, message: str) -> VariableError:
    return reader.bad("platform_tiers", "%s %s" % (where, message))


def edge_limits(reader: Reader, edge: EdgeLimits) -> EdgeLimits:
    kinds = TIER_KEYS["edge"]
    changes: dict[str, int] = {}
    for key, value in reader.mapping("tenant_limits").items():
        if key not in kinds:
            raise reader.bad("tenant_limits", "has %r%s" % (key, known_words(str(key), kinds)))
        try:
            number = parse_size(value) if kinds[key] == _SIZE else int(value)
        except (TypeError, ValueError):
            number = 0
        if number < 1 or isinstance(value, (bool, float)):
            raise reader.bad("tenant_limits", "%s is %r; it must be at least 1" % (key, value))
        changes[key] = number
    return dataclasses.replace(edge, **changes)
