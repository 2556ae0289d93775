# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting idle tenants to sleep. Their entries go on saying running; a request wakes them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import APP_PORT
from ansible_collections.memcloud.memmachine.plugins.module_utils._idleness import (
    Signs,
    connections_to,
    idle_since,
    why_awake,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import addresses_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Busy,
    Operation,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import psql

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
# Of every kind of storage that a server version may have, those that exist.
_BACKLOG = """
SELECT coalesce(sum((xpath('/row/n/text()', query_to_xml(
  format('SELECT count(*) AS n FROM %I.%I WHERE NOT ingested', schemaname, tablename),
  false, true, '')))[1]::text::bigint), 0)
FROM pg_tables
WHERE tablename IN ('set_ingested_history', 'vector_semantic_set_ingested_history');
"""


class Sleep(Operation):
    """Stops a tenant that nobody uses.

    The record and the gate say so first: from then on a request waits and wakes the tenant, also
    when this is killed before the servers have stopped, which the next run then does.
    """

    name = "pause_idle"
    marks = False
    of_every_tenant = True
    lock_wait = 0.0

    def busy(self, busy: Busy) -> dict[str, Any] | None:
        """A tenant that is worked on is not idle."""
        return {"message": f"not idle: {busy.error}"}

    def run(self, job: Job) -> dict[str, Any]:
        """Look, and stop it if it is idle, or goes on running though it was put to sleep."""
        asleep = job.record.get("asleep")
        if asleep and job.running():
            return self._stop(job, asleep["idle_since"])
        hours = job.params.get("idle_hours")
        hours = job.tenant["idle_hours"] if hours is None else float(hours)
        signs = _signs(job)
        moment = datetime.datetime.now(datetime.timezone.utc)
        reason = why_awake(signs, hours, moment)
        if not reason:
            signs = dataclasses.replace(signs, backlog=int(psql(job, _BACKLOG)))
            reason = why_awake(signs, hours, moment)
        if reason:
            return {"message": f"not put to sleep: it {reason}"}
        since = idle_since(signs)
        job.record.update(state="paused", asleep={"since": now(), "idle_since": since})
        job.save()
        return self._stop(job, since)

    @staticmethod
    def _stop(job: Job, since: str | None) -> dict[str, Any]:
        job.release()
        with job.step("stop"):
            job.drain()
            job.stop("postgres", "neo4j")
        return {
            "changed": True,
            "state": "paused",
            "idle_since": since,
            "message": f"paused because idle since {since}",
        }


def _signs(job: Job) -> Signs:
    activity = job.state.activity(job.name, job.tenant["uid"])
    address = addresses_of(job.platform["subnet_pool"], job.slot).app
    tables = []
    for path in _TABLES:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as table:
            tables.append(table.read())
    wanted, recorded = str(job.tenant["state"]), str(job.record.get("state") or "not deployed")
    return Signs(
        state=recorded if wanted == "running" else wanted,
        wake=job.tenant["wake"],
        last_request=activity.get("last_activity"),
        since=job.record.get("started") or job.record.get("created"),
        connections=connections_to(tables, address, APP_PORT),
    )
