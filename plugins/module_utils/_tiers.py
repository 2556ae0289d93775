# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiers: what a tenant may use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import (
    load_defaults,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import LABEL
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    PLATFORM,
    Reader,
    kind_of,
    known_words,
    parse_size,
    suggestion,
    whole_number,
)

_KIB, _MIB, _GIB, _TIB = (1024**power for power in (1, 2, 3, 4))
_LARGEST_MEMORY = 8 * _TIB


@dataclass(frozen=True)
class Size:
    """A figure in bytes."""

    least: int
    most: int = _LARGEST_MEMORY


@dataclass(frozen=True)
class Count:
    """A figure that is a whole number."""

    least: int
    most: int


_PROCESSORS = "processors"
_MOST_PROCESSORS = 1024
# Far above what the edge can do, and below what Traefik cannot read.
_PER_SECOND = Count(1, 1000000)
_KEPT = Count(0, 10000)
_HOURS = Count(1, 87600)
_WORKERS = 1024
# PostgreSQL wants two segments of its log at least; prepare-cluster makes them of 4 MB.
_LEAST_LOG = 8 * _MIB
_CONTAINER_KEYS: Mapping[str, Any] = {
    "memory": Size(16 * _MIB),
    "cpus": _PROCESSORS,
    # What the kernel takes.
    "cpu_shares": Count(2, 262144),
    "pids": Count(1, 4194304),
}
# Kind of each figure of a tier, with what its server or the kernel takes at least and at most; a
# tuple lists the words allowed.
TIER_KEYS: Mapping[str, Mapping[str, Any]] = {
    "app": _CONTAINER_KEYS,
    "postgres": {
        **_CONTAINER_KEYS,
        "shared_buffers": Size(128 * _KIB),
        "work_mem": Size(64 * _KIB),
        "maintenance_work_mem": Size(64 * _KIB),
        "effective_cache_size": Size(8 * _KIB),
        "max_connections": Count(4, 10000),
        "max_wal_size": Size(_LEAST_LOG),
        "min_wal_size": Size(_LEAST_LOG),
        "max_worker_processes": Count(1, _WORKERS),
        "max_parallel_workers": Count(0, _WORKERS),
        "autovacuum_max_workers": Count(1, _WORKERS),
    },
    "neo4j": {
        **_CONTAINER_KEYS,
        "heap": Size(32 * _MIB),
        "pagecache": Size(_MIB),
        "code_cache": Size(4 * _MIB, 2 * _GIB),
        "compiler": ("c1", "full"),
        "collector": ("serial", "g1"),
        "tx_log_size": Size(128 * _KIB),
        "tx_log_retention": Size(128 * _KIB),
    },
    "backup": {
        "every_hours": _HOURS,
        "hourly": _KEPT,
        "daily": _KEPT,
        "weekly": _KEPT,
        "monthly": _KEPT,
    },
    "edge": {
        "requests_per_second": _PER_SECOND,
        "burst": _PER_SECOND,
        "in_flight": _PER_SECOND,
        "mcp_in_flight": _PER_SECOND,
        "body_bytes": Size(1, _GIB),
    },
}
# Parts of a tier that are no mapping; the last two may be left out.
_SINGLE_KEYS = ("storage", "wake", "idle_hours")
_STORAGE = Size(_MIB, 1024 * _TIB)
# Units in which the servers read sizes.
_POSTGRES_UNITS = ("kB", "MB", "GB")
_NEO4J_UNITS = ("k", "m", "g")
# What a Java process takes besides heap, page cache and compiled code.
_JVM_OVERHEAD = 96 * _MIB


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
    """`postgres_sizes` and `neo4j_sizes` have sizes as their servers read them."""

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
        if "from" in own and not (isinstance(base, str) and base in shipped):
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
            "of memory" % (_JVM_OVERHEAD // _MIB),
        )
    _check_postgres(reader, name + ".postgres", parts["postgres"])
    return Tier(
        name=name,
        app=_resources(parts["app"]),
        postgres=_resources(parts["postgres"]),
        neo4j=_resources(neo4j),
        postgres_sizes=_written(parts, figures, "postgres", _POSTGRES_UNITS),
        neo4j_sizes=_written(parts, figures, "neo4j", _NEO4J_UNITS),
        edge=EdgeLimits(**parts["edge"]),
        backup=parts["backup"],
        storage=_figure(reader, name + ".storage", _STORAGE, figures.get("storage")),
        wake=_wake(reader, name, figures.get("wake", False)),
        idle_hours=_idle_hours(reader, name, figures.get("idle_hours")),
    )


def _check_postgres(reader: Reader, where: str, figures: Mapping[str, int]) -> None:
    if figures["shared_buffers"] * 2 > figures["memory"]:
        raise _bad_figure(reader, where + ".shared_buffers", "is more than half of its memory")
    for key in ("work_mem", "maintenance_work_mem"):
        if figures[key] > figures["memory"]:
            raise _bad_figure(reader, "%s.%s" % (where, key), "is more than its memory")
    if figures["max_wal_size"] < figures["min_wal_size"]:
        raise _bad_figure(reader, where + ".max_wal_size", "is less than min_wal_size")


def _written(
    parts: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Mapping[str, Any]],
    part: str,
    units: Sequence[str],
) -> dict[str, Any]:
    """A server's figures with one spelling for each size; the container's stay as they are."""
    return {
        key: _size_text(parts[part][key], units)
        if isinstance(kind, Size) and key not in _CONTAINER_KEYS
        else figures[part][key]
        for key, kind in TIER_KEYS[part].items()
    }


def _size_text(size: int, units: Sequence[str]) -> str:
    """A size in the largest unit that divides it, in whole units of the smallest one."""
    number, power = size // _KIB, 0
    while number % 1024 == 0 and power + 1 < len(units):
        number, power = number // 1024, power + 1
    return "%d%s" % (number, units[power])


def _wake(reader: Reader, tier: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad_figure(reader, tier + ".wake", "must be true or false, not %s" % kind_of(value))
    return value


def _idle_hours(reader: Reader, tier: str, value: Any) -> int | None:
    return None if value is None else int(_figure(reader, tier + ".idle_hours", _HOURS, value))


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
    if isinstance(kind, Size):
        return _size_figure(reader, where, kind, value)
    if kind == _PROCESSORS:
        # In this order: no comparison with .nan is true.
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and 0.01 <= value <= _MOST_PROCESSORS):
            raise _bad_figure(
                reader,
                where,
                "is %r; it must be a number of processors, 0.01 to %d" % (value, _MOST_PROCESSORS),
            )
        return float(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < kind.least:
        raise _bad_figure(
            reader, where, "is %r; it must be a whole number of at least %d" % (value, kind.least)
        )
    if value > kind.most:
        raise _bad_figure(reader, where, "is %d; it must be at most %d" % (value, kind.most))
    return int(value)


def _size_figure(reader: Reader, where: str, kind: Size, value: Any) -> int:
    try:
        size = parse_size(value)
    except ValueError:
        raise _bad_figure(reader, where, "is %r; write a size as 640m or 1g" % (value,)) from None
    if size < kind.least:
        raise _bad_figure(
            reader, where, "is %r, too small: it must be at least %s" % (value, _human(kind.least))
        )
    if size > kind.most:
        raise _bad_figure(
            reader, where, "is %r, too large: it must be at most %s" % (value, _human(kind.most))
        )
    return size


def _human(size: int) -> str:
    return "%d" % size if size < _KIB else _size_text(size, ("k", "m", "g", "t"))


def _bad_figure(reader: Reader, where: str, message: str) -> VariableError:
    return reader.bad("platform_tiers", "%s %s" % (where, message))


def edge_limits(reader: Reader, edge: EdgeLimits) -> EdgeLimits:
    kinds = TIER_KEYS["edge"]
    changes: dict[str, int] = {}
    for key, value in reader.mapping("tenant_limits").items():
        if key not in kinds:
            raise reader.bad("tenant_limits", "has %r%s" % (key, known_words(str(key), kinds)))
        kind = kinds[key]
        number = _limit(kind, value)
        if number is None or not kind.least <= number <= kind.most:
            most = _human(kind.most) if isinstance(kind, Size) else "%d" % kind.most
            raise reader.bad(
                "tenant_limits",
                "%s is %r; it must be at least %d and at most %s" % (key, value, kind.least, most),
            )
        changes[key] = number
    return dataclasses.replace(edge, **changes) if changes else edge


def _limit(kind: Any, value: Any) -> int | None:
    if not isinstance(kind, Size):
        return whole_number(value)
    try:
        return parse_size(value)
    except ValueError:
        return None
