# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving that a restore point can be restored: in a throw-away tenant without a route.

The throw-away tenant has servers, networks and volumes of its own and its files in the job's work
directory; all of it is of the kind ``scratch`` and goes away at the end, or with the next run.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._backup import (
    never_ran,
    repository_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    Converger,
    image_ids,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    APP_PORT,
    desired_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import EngineError
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import addresses_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import Operation
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import Found
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import NoRepository
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore import choose, fetch
from ansible_collections.memcloud.memmachine.plugins.module_utils._restore_point import (
    count_differences,
    total,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import SCRATCH
from ansible_collections.memcloud.memmachine.plugins.module_utils._stores import (
    BEING_DELETED,
    Session,
    fill_volumes,
)

# Memories that are looked at one by one, or all of them if there are fewer.
SAMPLE = 50
_READY_SECONDS = 180
_ANSWER_SECONDS = 30
# How many results a search for a memory's own text may bring before it counts as lost.
_TOP = 20
_SAMPLE = f"""SELECT * FROM (
  SELECT to_jsonb(e) - 'embedding' AS memory,
    row_number() OVER (PARTITION BY session_key ORDER BY created_at, place) - 1 AS position
  FROM (SELECT *, ctid::text AS place FROM episodestore
        WHERE session_key <> 'memcloud/probe' AND session_key NOT IN ({BEING_DELETED})) e
) memories ORDER BY random() LIMIT {SAMPLE}"""
# Asked by the app's own driver, with the settings that it has: how many episodes there are, and
# which of those that are named.
_GRAPH = """import json, sys, yaml, neo4j
found = yaml.safe_load(open("/run/memcloud/configuration.yml"))
found = found["resources"]["databases"]["neo4j"]["config"]
with neo4j.GraphDatabase.driver(found["uri"], auth=(found["user"], found["password"])) as driver:
    records, _summary, _keys = driver.execute_query(
        "MATCH (n) UNWIND labels(n) AS l WITH l, n WHERE l STARTS WITH 'SANITIZED_Episode_' "
        "RETURN count(DISTINCT n) AS episodes, "
        "collect(DISTINCT CASE WHEN n.uid IN $uids THEN n.uid END) AS uids", uids=sys.argv[1:])
    print(json.dumps([records[0]["episodes"], records[0]["uids"]]))
"""


class Verify(Operation):
    """Restores the newest point into a throw-away tenant and looks for its memories."""

    name = "verify"
    of_every_tenant = True
    touches = False

    def settled(self, job: Job) -> str:
        """A tenant that never ran here may still have points: of a node that was lost."""
        if not never_ran(job):
            return ""
        repository = repository_of(job)
        try:
            repository.open()
            points = repository.points()
        except NoRepository:
            points = []
        return "" if points else "never ran, so it has no restore points"

    def check(self, job: Job) -> None:
        """There is a point, and it may be restored here."""
        choose(job, self._target(job))

    def run(self, job: Job) -> dict[str, Any]:
        """Bring it up without a route, compare, search, and take it away; the evidence."""
        began = time.monotonic()
        repository, point, manifest = choose(job, self._target(job))
        with job.step("fetch"):
            files = fetch(job, repository, point, manifest)
        stand_in = StandIn(job, manifest)
        try:
            with job.step("load"):
                counts = stand_in.load(files)
            problems = count_differences(manifest["counts"], counts)
            with job.step("start"):
                stand_in.start()
            with job.step("search"):
                looked = stand_in.look()
        finally:
            with job.step("remove"):
                stand_in.remove()
        problems += looked.pop("problems")
        evidence = {
            "at": now(),
            "point": point,
            "taken": manifest["taken"],
            "version": manifest["version"],
            "memories": total(counts),
            "projects": len(counts["episodes"]),
            "semantic": total(counts, "semantic"),
            **looked,
            "seconds": round(time.monotonic() - began, 1),
            "proved": not problems,
            "problems": problems[:20],
        }
        self._record(job, evidence)
        if problems:
            raise MemcloudError(
                f"{job.name}: restore point {point} did not prove itself: "
                f"{'; '.join(problems[:5])}. The tenant itself was not touched: take another "
                "restore point now (backup_tenant), then verify that one"
            )
        alone = evidence["memories"] - evidence["in_neo4j"]
        noted = f"; {alone} of them are in PostgreSQL alone" if alone > 0 else ""
        return {
            "changed": False,
            "evidence": evidence,
            "message": f"restore point {point} is proved: {evidence['memories']} memories in "
            f"{evidence['projects']} projects as counted, {looked['sampled']} of them found by "
            f"id and {looked['searched']} by search{noted}",
        }

    @staticmethod
    def _target(job: Job) -> dict[str, Any]:
        """The throw-away tenant is what the tenant was last proved as."""
        recorded = job.record.get("restore_point") or {}
        return dict(job.tenant, version=recorded.get("version") or job.tenant["version"])

    @staticmethod
    def _record(job: Job, evidence: Mapping[str, Any]) -> None:
        """Into the tenant's record, and as a line of a file that is kept."""
        job.record["verified"] = dict(evidence)
        job.save()
        directory = job.state.path("evidence")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, f"{job.unique_name}.jsonl")
        before = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                before = stream.read()
        line = json.dumps({**job.identity, **evidence})
        atomic_write(path, before + line + "\n", 0o600)


class StandIn:
    """A throw-away tenant made from a restore point."""

    def __init__(self, job: Job, manifest: Mapping[str, Any]) -> None:
        self._job = job
        tenant = dict(job.tenant, tenant=job.stand_in, state="running", version=manifest["version"])
        platform = dict(job.platform, data_dir=job.work)
        pool = platform["subnet_pool"]
        self.remove_slot()
        slot = job.state.claim_slot(job.stand_in, job.stand_in, pool, job.node.owner)
        self._app = addresses_of(pool, slot).app
        facts = replace(job.node.facts(tenant, {}, slot), generation=1)
        desired, self._contents = desired_tenant(tenant, platform, facts, job.secrets)
        inner = os.path.join(job.work, "tenants")
        self._desired = replace(
            desired,
            kind=SCRATCH,
            tenant=job.name,
            files=tuple(file for file in desired.files if file.path.startswith(inner)),
        )
        os.makedirs(inner, mode=0o711, exist_ok=True)
        os.chmod(job.work, 0o711)

    def load(self, files: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Make its servers, without starting them, and load the data; what it counts."""
        stopped = replace(
            self._desired,
            containers=tuple(replace(c, running=False) for c in self._desired.containers),
        )
        images = image_ids(self._job.engine, [stopped])
        Converger(self._job.engine, stopped, self._contents, {}).apply(Found(), images)
        return fill_volumes(self._job.engine, self._desired, files)

    def start(self) -> None:
        """Start it and wait until it answers."""
        engine = self._job.engine
        names = {container.role: container.name for container in self._desired.containers}
        for role in ("postgres", "neo4j", "app"):
            engine.start(names[role])
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self._ask("GET", "/api/v2/health", None)
                self._graph()
                return
            except (OSError, http.client.HTTPException, MemcloudError) as error:
                if time.monotonic() > deadline:
                    said = engine.logs(names["app"], 8).strip()[-600:]
                    raise MemcloudError(
                        f"{self._job.name}: the restored tenant does not answer: {error}; the last "
                        f"lines of its server: {said}"
                    ) from error
                time.sleep(0.3)

    def look(self) -> dict[str, Any]:
        """Find a sample of the memories by their ids and by searching for their text."""
        name = next(c.name for c in self._desired.containers if c.role == "postgres")
        with Session(self._job.engine, name) as session:
            counted = total(session.counts())
            sample = session.rows(_SAMPLE) if counted else []
        in_graph, known = self._graph(*(_uid(row["memory"]) for row in sample))
        problems, searched = [], 0
        for row in sample:
            memory = row["memory"]
            uid = _uid(memory)
            organisation, _slash, project = str(memory["session_key"]).partition("/")
            where = {"org_id": organisation, "project_id": project}
            listed = self._listed(where, int(row["position"]), uid)
            if listed != memory["content"]:
                problems.append(f"memory {uid} is not found by its id")
            # Neither is found in the tenant itself: one that was stored for semantic memory alone,
            # or that the model did not take, and those of a project that has its search off.
            if uid not in known or not self._searches(where):
                continue
            searched += 1
            if not self._found(where, memory["content"], uid):
                problems.append(f"memory {uid} is not found by search")
        looked = {"sampled": len(sample), "searched": searched}
        return {**looked, "in_neo4j": in_graph, "problems": problems}

    def remove(self) -> None:
        """Take all of it away."""
        engine = self._job.engine
        for container in self._desired.containers:
            engine.remove_container(container.name, passing=True)
        for network in self._desired.networks:
            engine.remove_network(network.name)
        for volume in self._desired.volumes:
            engine.remove_volume(volume.name)
        self.remove_slot()

    def remove_slot(self) -> None:
        """Give its slot back, also that of one that was killed."""
        self._job.state.release_slot(self._job.stand_in, self._job.node.owner)

    # -- asking it ----------------------------------------------------------------------------

    def _listed(self, where: Mapping[str, str], position: int, uid: str) -> str:
        """The text of a memory by its id, empty when the server does not list it."""
        for asked in (
            {"filter": f"uid = '{uid}'", "page_size": 5},
            {"page_size": 5, "page_num": position // 5},
        ):
            try:
                body = {**where, **asked, "type": "episodic"}
                content = self._ask("POST", "/api/v2/memories/list", body).get("content") or {}
            except MemcloudError:
                continue  # an older server does not filter by id
            for episode in content.get("episodic_memory") or []:
                if str(episode.get("uid")) == uid:
                    return str(episode["content"])
        return ""

    def _searches(self, where: Mapping[str, str]) -> bool:
        """Whether a project has its long-term memory on; an older server has no such switch."""
        try:
            switches = self._ask("POST", "/api/v2/memory/episodic/config/get", where)
        except MemcloudError:
            return True
        return all(switches.get(name, True) for name in ("enabled", "long_term_memory_enabled"))

    def _found(self, where: Mapping[str, str], text: str, uid: str) -> bool:
        """Whether a search in the long-term memory, which is Neo4j's, brings it."""
        body = {**where, "query": text, "top_k": _TOP, "types": ["episodic"]}
        content = self._ask("POST", "/api/v2/memories/search", body).get("content") or {}
        memories = content.get("episodic_memory") or {}
        episodes = (memories.get("long_term_memory") or {}).get("episodes") or []
        if any(str(episode.get("uid")) == uid for episode in episodes):
            return True
        # Of more memories with one text than a search brings, any may come.
        return len(episodes) >= _TOP and all(e.get("content") == text for e in episodes)

    def _graph(self, *uids: str) -> tuple[int, set[str]]:
        """How many episodes Neo4j holds, and which of these."""
        name = next(c.name for c in self._desired.containers if c.role == "app")
        command = ["/app/.venv/bin/python", "-I", "-c", _GRAPH, *uids]
        try:
            episodes, known = json.loads(self._job.engine.execute(name, command))
            return int(episodes), set(known)
        except (ValueError, TypeError, EngineError) as error:
            raise MemcloudError(f"{self._job.name}: Neo4j cannot be counted: {error}") from error

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._app, APP_PORT, timeout=_ANSWER_SECONDS)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            raw = answer.read(10_000_000)
        finally:
            connection.close()
        if answer.status >= 300:
            raise MemcloudError(f"{path} answers {answer.status}: {raw[:300]!r}")
        return dict(json.loads(raw)) if raw else {}


def _uid(memory: Mapping[str, Any]) -> str:
    return str(memory.get("uid") or memory.get("id"))
