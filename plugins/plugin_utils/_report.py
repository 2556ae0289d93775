# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants for people: a table of many, a page about one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COLUMNS = ("TENANT", "STATE", "TIER", "VERSION", "NODE", "HEALTH", "MEMORY", "DISK", "DRIFT")
# As much of a journal row's words as a terminal shows well; JSON has all of them.
_WORDS = 100
# From this share of the storage on a person should know.
_SOFT = 0.8
_ROLES = ("postgres", "neo4j", "app")


def stated(tenant: Mapping[str, Any], node: str) -> dict[str, Any]:
    """What the inventory says, as far as it is told to everybody."""
    told = {
        name: tenant[name]
        for name in ("tenant", "uid", "owner", "tier", "version", "hostname", "endpoint")
    }
    return {
        **told,
        "node": node,
        "wanted": tenant["state"],
        "storage_bytes": tenant["storage"],
        "keys": [{"name": key["name"], "expires": key["expires"]} for key in tenant["keys"]],
    }


def table(tenants: Iterable[Mapping[str, Any]]) -> str:
    """One line a tenant, with its endpoint last since it is the longest."""
    rows = [(*_COLUMNS, "ENDPOINT"), *(_row(tenant) for tenant in tenants)]
    if len(rows) == 1:
        return "There is no tenant."
    return "\n".join(aligned(rows))


def page(tenant: Mapping[str, Any]) -> str:
    """Everything that is known about one tenant."""
    lines = [(name, value) for name, value in _lines(tenant) if value not in (None, "", "-")]
    text = [str(tenant["tenant"]), *("  " + line for line in aligned(lines))]
    for role in _ROLES:
        container = (tenant.get("containers") or {}).get(role)
        if container:
            text.append("  " + _container_line(role, container))
    if tenant.get("outdated"):
        servers = ", ".join(tenant["outdated"])
        text.append(f"  update: its node has other images now for {servers}; see update_tenant")
    text += [f"  drift: {words}" for words in tenant.get("drift") or ()]
    if tenant.get("error"):
        text.append(f"  error: {tenant['error']}")
    return "\n".join(text)


def journal_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """What happened, one line each, the newest last."""
    lines = [("TIME", "TENANT", "OPERATION", "RESULT", "SECONDS", "WHO", "PLAYBOOK", "WHAT")]
    for row in rows:
        who = f"{row['who']}, job {row['job']}" if row.get("job") else row["who"]
        words = str(row["error"] or row["change"] or "-").replace("\n", " ")
        short = words if len(words) <= _WORDS else words[: _WORDS - 1] + "…"
        seconds = f"{row['seconds']:.1f}"
        lines.append(
            (
                row["at"],
                row["tenant"],
                row["operation"],
                row["result"],
                seconds,
                who,
                row["playbook"] or "-",
                short,
            )
        )
    return "\n".join(aligned(lines)) if len(lines) > 1 else "Nothing happened."


def stats_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """What tenants were used for, one line each."""
    head = ("TENANT", "REQUESTS", "4XX", "5XX", *(f"P{n}" for n in (50, 95, 99)))
    lines = [(*head, "MEMORIES", "SEMANTIC", "POSTGRES", "NEO4J", "HOURS", "LAST ACTIVITY")]
    for row in rows:
        edge, used = row["edge"], row["storage_bytes"]
        latency = [edge["latency_seconds"].get(f"p{n}") for n in (50, 95, 99)]
        lines.append(
            (
                row["tenant"],
                str(edge["requests"]),
                str(edge["client_errors"]),
                str(edge["server_errors"]),
                *("-" if value is None else f"{value:.2f}s" for value in latency),
                "-" if row["episodes"] is None else str(row["episodes"]),
                "-" if row["semantic_memories"] is None else str(row["semantic_memories"]),
                size(used["postgres"]),
                size(used["neo4j"]),
                f"{row['running_hours']:.1f}",
                row["last_activity"] or "-",
            )
        )
    return "\n".join(aligned(lines)) if len(lines) > 1 else "There is no tenant."


def size(value: float) -> str:
    """A size in the unit in which it is read best."""
    for unit in ("B", "K", "M", "G"):
        if value < 1024 or unit == "G":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{unit}"


def aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows as lines, with columns as wide as their longest cell."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*texts)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in texts
    ]


def _row(tenant: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(tenant["tenant"]),
        str(tenant.get("state") or tenant.get("wanted", "-")),
        str(tenant.get("tier", "-")),
        str(tenant.get("running_version") or tenant.get("version", "-")),
        str(tenant.get("node", "-")),
        _health(tenant),
        _used(tenant, "memory_bytes", _memory_limit(tenant)),
        _used(tenant, "disk_bytes", int(tenant.get("storage_bytes") or 0)),
        _differs(tenant),
        str(tenant.get("endpoint", "-")),
    )


def _differs(tenant: Mapping[str, Any]) -> str:
    """How many differences a deployment would take away, and whether an update has something."""
    if tenant.get("error"):
        return "error"
    drift = tenant.get("drift") or ()
    words = [str(len(drift))] * bool(drift) + ["update"] * bool(tenant.get("outdated"))
    return ", ".join(words) or "-"


def _lines(tenant: Mapping[str, Any]) -> list[tuple[str, Any]]:
    wanted = tenant.get("wanted")
    state = str(tenant.get("state") or wanted)
    addresses = tenant.get("addresses") or {}
    return [
        ("endpoint", tenant.get("endpoint")),
        ("state", _state_words(tenant, state)),
        ("tier", tenant.get("tier")),
        ("version", tenant.get("running_version") or tenant.get("version")),
        ("node", tenant.get("node")),
        ("owner", tenant.get("owner")),
        ("uid", tenant.get("uid")),
        ("keys", ", ".join(_key(key) for key in tenant.get("keys") or ())),
        ("memory", _used(tenant, "memory_bytes", _memory_limit(tenant))),
        ("disk", _used(tenant, "disk_bytes", int(tenant.get("storage_bytes") or 0))),
        ("storage", _storage_words(tenant)),
        ("app", addresses.get("app")),
        ("created", tenant.get("created")),
        ("deleted", tenant.get("deleted")),
        ("purged by sweep_deleted after", tenant.get("purge_after")),
        ("proved", tenant.get("proved")),
        ("last activity", tenant.get("last_activity")),
        ("last error", tenant.get("last_error")),
    ]


def _state_words(tenant: Mapping[str, Any], state: str) -> str:
    asleep, woken = tenant.get("asleep"), tenant.get("woken")
    if asleep:
        return f"{state} because idle since {asleep['idle_since']}; a request wakes it"
    if woken:
        return f"{state}: woken by a request at {woken['since']}, until pause_tenant"
    wanted = tenant.get("wanted")
    return state if wanted in (None, state) else f"{state} (should be {wanted})"


def _storage_words(tenant: Mapping[str, Any]) -> str:
    """What counts towards the tier's figure, and what follows from it."""
    storage = tenant.get("storage") or {}
    limit = int(storage.get("limit") or 0)
    if not limit:
        return ""
    used = max(0, int(storage["files"]) - int(storage["uncounted"]))
    text = f"{size(used)} of {size(limit)} counted at {storage['measured']}"
    if tenant.get("writes") == "closed":
        return text + ": full, writes are closed"
    return text + (": nearly full" if used >= _SOFT * limit else "")


def _container_line(role: str, container: Mapping[str, Any]) -> str:
    server = f"{role} {container.get('version') or ''}".strip()
    words = [f"{server}: {container['health']}", f"container {container['name']}"]
    if container.get("memory_bytes"):
        limit = size(container["memory_limit_bytes"])
        words.append(f"{size(container['memory_bytes'])} of {limit}")
    if container.get("addresses"):
        words.append(" ".join(sorted(container["addresses"].values())))
    if container.get("restarts"):
        words.append(f"{container['restarts']} restarts")
    if container.get("out_of_memory"):
        words.append("was out of memory")
    return ", ".join(words)


def _health(tenant: Mapping[str, Any]) -> str:
    containers = tenant.get("containers") or {}
    if not containers:
        return "-"
    if tenant.get("healthy"):
        return "ok"
    bad = [
        f"{role} {containers.get(role, {}).get('health', 'missing')}"
        for role in _ROLES
        if containers.get(role, {}).get("health") != "answers"
    ]
    return "stopped" if len(bad) == len(_ROLES) else ", ".join(bad)


def _memory_limit(tenant: Mapping[str, Any]) -> int:
    containers = (tenant.get("containers") or {}).values()
    return sum(int(container.get("memory_limit_bytes") or 0) for container in containers)


def _used(tenant: Mapping[str, Any], name: str, limit: int) -> str:
    used = tenant.get(name)
    if not used:
        return "-"
    return f"{size(used)}/{size(limit)}" if limit else size(used)


def _key(key: Mapping[str, Any]) -> str:
    return f"{key['name']} (until {key['expires']})" if key.get("expires") else str(key["name"])
