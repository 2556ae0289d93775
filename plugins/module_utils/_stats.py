# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants were used for: requests, errors and latency at the edge, and what is stored.

Traefik counts by service since it started; its numbers include the probes of our own runs.
"""

from __future__ import annotations

import datetime
import http.client
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import DATABASES
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT, now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    observe,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_ROLE,
    LABEL_UID,
)

PERCENTILES = (50, 95, 99)
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_REQUESTS = "traefik_service_requests_total"
_BUCKET = "traefik_service_request_duration_seconds_bucket"
_STARTED = "process_start_time_seconds"
_COUNTS = """SELECT
  (SELECT count(*) FROM episodestore WHERE session_key <> 'memcloud/probe'),
  (SELECT count(*) FROM feature WHERE set_id NOT LIKE '%org\\_memcloud\\_project\\_probe%'),
  (SELECT count(DISTINCT session_key) FROM episodestore WHERE session_key <> 'memcloud/probe'),
  pg_database_size('memmachine')"""
_PSQL = (
    'PGPASSWORD="$(cat /run/memcloud/admin_password)" exec psql -X -U postgres -d memmachine '
    '-v ON_ERROR_STOP=1 -AtF " " -c "$1"'
)
_THREADS = 8

Samples = list[tuple[str, dict[str, str], float]]


def parse_metrics(text: str) -> Samples:
    """The samples of a Prometheus page: name, labels, value."""
    found = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and not line.startswith("#"):
            labels = dict(_LABEL.findall(match[2] or ""))
            found.append((match[1], labels, float(match[3])))
    return found


def quantile(buckets: Mapping[float, float], percent: float) -> float | None:
    """A percentile of a cumulative histogram, as Prometheus estimates it.

    :param buckets: count of what took at most so many seconds, by these seconds.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    rank = total * percent / 100
    lower, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return lower
            inside = buckets[bound] - below
            return round(lower + (bound - lower) * (rank - below) / inside, 4) if inside else bound
        lower, below = bound, buckets[bound]
    return lower


def edge_numbers(samples: Samples) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Requests, errors and latency by tenant, and since when they are counted."""
    requests: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    since = None
    for name, labels, value in samples:
        service = labels.get("service", "")
        tenant, mark, _provider = service.rpartition("-app@")
        if name == _STARTED:
            moment = datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
            since = moment.strftime(MOMENT)
        elif mark and name == _REQUESTS:
            requests[tenant][labels.get("code", "")] += value
        elif mark and name == _BUCKET:
            buckets[tenant][float(labels["le"].replace("+Inf", "inf"))] += value
    return {
        tenant: {
            "requests": int(sum(codes.values())),
            "client_errors": int(sum(n for code, n in codes.items() if code.startswith("4"))),
            "server_errors": int(sum(n for code, n in codes.items() if code.startswith("5"))),
            "latency_seconds": {
                f"p{percent}": quantile(buckets[tenant], percent) for percent in PERCENTILES
            },
        }
        for tenant, codes in requests.items()
    }, since


def tenant_stats(
    platform: Mapping[str, Any], tenants: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The numbers of tenants of one node."""
    tenants = list(tenants)
    engine = Engine(platform["docker_host"])
    state = NodeState(platform["data_dir"])
    found = observe(engine, platform["name"], [tenant["tenant"] for tenant in tenants])
    try:
        counted, since = edge_numbers(parse_metrics(_page(platform["metrics_address"])))
    except (OSError, http.client.HTTPException):
        counted, since = {}, None

    def one(tenant: Mapping[str, Any]) -> dict[str, Any]:
        name = tenant["tenant"]
        mine = found.get(name, Found())
        activity = state.activity(name, tenant["uid"])
        counts = activity.get("counts") or {}
        nothing = {"requests": 0, "client_errors": 0, "server_errors": 0, "latency_seconds": {}}
        return {
            "tenant": name,
            "edge": {"since": since, **(counted.get(name) or nothing)},
            "gate": {"allowed": counts.get("allowed", 0), **counts},
            "storage_bytes": _volumes(tenant, mine),
            "running_hours": _running_hours(mine),
            "last_activity": activity.get("last_activity"),
            **_stored(engine, mine),
        }

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, tenants))


def _page(address: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.read().decode("utf-8", "replace") if answer.status == 200 else ""
    finally:
        connection.close()


def _volumes(tenant: Mapping[str, Any], found: Found) -> dict[str, int]:
    """Bytes on the disk of each database; generations that are kept count, too."""
    used = dict.fromkeys(DATABASES, 0)
    for volume in found.volumes.values():
        labels = volume.get("Labels") or {}
        if labels.get(LABEL_UID) == tenant["uid"] and labels.get(LABEL_ROLE) in used:
            used[labels[LABEL_ROLE]] += disk_usage(volume["Mountpoint"])
    return used


def _running_hours(found: Found) -> float:
    """Hours since the app was started last; 0 when it does not run."""
    for container in found.containers.values():
        if container["Config"]["Labels"].get(LABEL_ROLE) == "app":
            state = container["State"]
            if state.get("Running"):
                started = datetime.datetime.strptime(state["StartedAt"][:19] + "Z", MOMENT)
                spent = datetime.datetime.strptime(now(), MOMENT) - started
                return round(spent.total_seconds() / 3600, 2)
    return 0.0


def _stored(engine: Engine, found: Found) -> dict[str, int | None]:
    """What PostgreSQL says; nothing while it does not run."""
    names = ("episodes", "semantic_memories", "projects", "database_bytes")
    for container in found.containers.values():
        labels = container["Config"]["Labels"]
        if labels.get(LABEL_ROLE) == "postgres" and container["State"].get("Running"):
            try:
                command = ["sh", "-c", _PSQL, "sh", _COUNTS]
                printed = engine.execute(container["Id"], command).decode()
                return dict(zip(names, (int(value) for value in printed.split())))
            except (MemcloudError, ValueError):
                break
    return dict.fromkeys(names)
