# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants on their node: plan, converge, prove. Runs on the node, one call for many tenants."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._capacity import (
    check_fits,
    figures_of,
    stored_bytes,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import leaf_path
from ansible_collections.memcloud.memmachine.plugins.module_utils._deletion import (
    delete,
    left_something,
    volumes_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    DECISIONS,
    desired_tenant,
    in_force,
    overruled,
    volume_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import (
    check_gate,
    wait_for_router,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
    told,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._forward import remove_ended
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job, kept_too_long
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked, now
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    FIRST_SLOT,
    slots_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    DEPARTED,
    check_embedder,
    check_identity,
    check_not_departed,
    check_version,
    finish_killed,
    unfinished,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    compare,
    observe,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import cluster_major
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import measure_at_last
from ansible_collections.memcloud.memmachine.plugins.module_utils._rotation import (
    is_due,
    present_version,
    version_of,
    words_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import Drift, diff_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._stated import accept
from ansible_collections.memcloud.memmachine.plugins.module_utils._volumes import Volumes

# Room that must be free where the engine and the platform keep their data.
MINIMUM_FREE_BYTES = 2 * 1024**3
# Seconds to wait for another run's work on a tenant: the module that a killed controller left
# behind goes on to its end.
_LOCK_WAIT = 120
# Servers that start keep processors busy: with more tenants at a time than processors, all of them
# take longer.
_STARTS = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))


@dataclass
class TenantResult:
    """What the plan found, or what converging did, for one tenant."""

    tenant: str
    drift: list[Drift] = field(default_factory=list)
    error: str = ""
    proof: dict[str, float] | None = None
    state: str = ""
    held_seconds: float = 0.0
    deletion: dict[str, Any] | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a module's result."""
        return {
            "tenant": self.tenant,
            "changed": bool(self.drift),
            "drift": [drift.words() for drift in self.drift],
            "diff": diff_of(self.drift),
            "error": self.error,
            "proof": self.proof,
            "state": self.state,
            "held_seconds": self.held_seconds,
            "deletion": self.deletion,
            "note": self.note,
        }


class TenantNode(Node):
    """Planning and deploying tenants of one node."""

    # -- plan ---------------------------------------------------------------------------------

    def plan(
        self,
        tenants: Iterable[Mapping[str, Any]],
        purge: bool = False,
        settle: bool = False,
        elsewhere: str = "",
    ) -> list[TenantResult]:
        """What differs for each tenant. Reads the engine once and changes nothing.

        :param settle: whether what the node decided since (sleep, wake) counts no longer.
        :param elsewhere: what becomes of them on the node that they are on, when this is another
            one: only those count that left something here.
        """
        tenants = list(tenants)
        found = observe(self.engine, self.platform["name"], [t["tenant"] for t in tenants])
        node = self.state.node()
        slots = self._slots_to_be(tenants, node)
        hostnames = functools.lru_cache(maxsize=None)(self.hostnames)
        results = []
        for tenant in tenants:
            name = tenant["tenant"]
            result = TenantResult(name, state=tenant["state"])
            results.append(result)
            try:
                record = self.state.tenant(name)
                mine = found.get(name, Found())
                if elsewhere and not left_something(
                    self.state, self.platform, tenant, mine, elsewhere
                ):
                    continue
                check_identity(tenant, record)
                self.state.check_name(name, tenant["uid"], node["slots"])
                counts_not = list(DECISIONS) if settle else overruled(tenant, record)
                if settle and tenant["state"] != "deleted":
                    counts_not.append(DEPARTED)
                result.drift += _settled(tenant, [d for d in counts_not if record.pop(d, None)])
                tenant = in_force(tenant, record)
                result.state = tenant["state"]
                volumes = Volumes(tenant, self.platform, record, mine)
                volumes.recall()
                check_not_departed(tenant, record)
                if not record.get("operation"):
                    self._check(tenant, record, hostnames, node["root_key_checks"])
                volumes.check_used()
                volumes.check_there()
                facts = self.facts(tenant, record, slots[name])
                desired, _contents = desired_tenant(tenant, self.platform, facts)
                images = {c.image: self.image_id(c.image) for c in desired.containers}
                self._check_cluster(tenant, record, mine)
                result.drift += compare(desired, mine, images, record["files"])
                result.drift += self.certificate(tenant, check_mode=True)
                result.drift += self._not_in_hosts_file(tenant, hostnames)
                result.drift += self._rotation(tenant, record)
                result.drift += self._unproved(tenant, record, mine, purge)
                result.drift += _kept(tenant, record)
                result.drift += _limit_drift(tenant, record)
            except Exception as error:
                result.error = told(name, error)
        return results

    def _not_in_hosts_file(
        self, tenant: Mapping[str, Any], hostnames: Callable[[], Mapping[str, str]]
    ) -> list[Drift]:
        if tenant["state"] == "deleted" or not self.platform["manage_hosts_file"]:
            return []
        if not self.hosts_file({*hostnames(), tenant["hostname"]}, check_mode=True):
            return []
        return [Drift("hostname", tenant["hostname"], "write", "is not in the hosts file")]

    def missing_versions(self, tenants: Iterable[Mapping[str, Any]]) -> list[str]:
        """Server versions that tenants want and this node has no image of."""
        recorded = self.images.get("memmachine") or {}
        wanted = {t["version"] for t in tenants if t["state"] != "deleted"}
        return sorted(
            version
            for version in wanted
            if version not in recorded or self.engine.image_id(recorded[version]["id"]) is None
        )

    def _unproved(
        self, tenant: Mapping[str, Any], record: Mapping[str, Any], found: Found, purge: bool
    ) -> list[Drift]:
        name, state = tenant["tenant"], str(record.get("state") or "")
        left = record.get("operation")
        if left:
            what = unfinished(record)
            return [Drift("tenant", name, "finish", what, left["started"], tenant["state"])]
        if tenant["state"] == "deleted":
            drifts = []
            if state not in ("", "deleted"):
                drifts.append(Drift("tenant", name, "record", "is not deleted", state, "deleted"))
            if purge:
                drifts += [
                    Drift("volume", volume, "purge", "is to be purged", "present", "absent")
                    for volume in volumes_of(tenant, found.volumes.values())
                ]
                # Also when nothing seems to be left: everything is looked for, and reported.
                drifts.append(Drift("tenant", name, "purge", "is to be purged", "kept", "absent"))
            return drifts
        if state != tenant["state"]:
            what = "has not proved itself" if tenant["state"] == "running" else "is not recorded"
            return [Drift("tenant", name, "prove", what, state, tenant["state"])]
        return []

    def _slots_to_be(
        self, tenants: Iterable[Mapping[str, Any]], node: Mapping[str, Any]
    ) -> dict[str, int]:
        """The slot of each tenant; for a new one that which it would get."""
        known = {u: int(entry["slot"]) for u, entry in node["slots"].items()}
        taken = set(known.values())
        pool = range(FIRST_SLOT, slots_of(self.platform["subnet_pool"]))
        free = (slot for slot in pool if slot not in taken)
        return {
            t["tenant"]: known[t["uid"]] if t["uid"] in known else next(free, FIRST_SLOT)
            for t in tenants
        }

    # -- checks before anything is touched ----------------------------------------------------

    def _check(
        self,
        tenant: Mapping[str, Any],
        record: Mapping[str, Any],
        hostnames: Callable[[], Mapping[str, str]],
        root_key_checks: Mapping[str, str] | None = None,
    ) -> None:
        name = tenant["tenant"]
        if tenant["state"] == "deleted":
            return
        key = tenant["root_key"]
        self.state.check_root_key(name, key["version"], key["check"], root_key_checks)
        # A hostname that was recorded has been looked up when it was new.
        known = record.get("hostname") == tenant["hostname"] and record.get("state") != "deleted"
        other = None if known else hostnames().get(tenant["hostname"])
        if other not in (None, name):
            raise VariableError(
                name,
                "tenant_hostname",
                f"{tenant['hostname']} already leads to tenant {other} on this node: give this "
                "tenant another hostname",
            )
        check_embedder(tenant, record)
        check_version(tenant, record)
        check_fits(tenant, record, lambda role: self._stored(tenant, record, role))
        # Revoking a key of one that runs, or suspending it, needs no room and cannot wait for any.
        if tenant["state"] == "running" and record.get("state") != "running":
            self._check_disk(name)

    def _stored(self, tenant: Mapping[str, Any], record: Mapping[str, Any], role: str) -> int:
        generation = int(record.get("generation") or 1)
        wanted = volume_of(tenant, self.platform, role, generation)
        volumes = self.engine.volumes(self.platform["name"])
        return sum(stored_bytes(v["Mountpoint"]) for v in volumes if v["Name"] == wanted)

    def _check_cluster(
        self, tenant: Mapping[str, Any], record: Mapping[str, Any], found: Found
    ) -> None:
        """Stop a server of another major version from making a new cluster beside the old one."""
        image, here = self.facts(tenant, record, 0).images.get("postgres"), self.postgres_major()
        if tenant["state"] == "deleted" or image != self.images.get("postgres", {}).get("id"):
            return
        name = volume_of(tenant, self.platform, "postgres", int(record.get("generation") or 1))
        volume = found.volumes.get(name) or {}
        major = cluster_major(str(volume.get("Mountpoint") or "/nowhere"))
        if major is None or here in (0, major):
            return
        raise MemcloudError(
            f"{tenant['tenant']}: its data is of PostgreSQL {major}, and its node has PostgreSQL "
            f"{here} now: run update_tenant -e tenant={tenant['tenant']}, which moves the data by "
            "dump and restore. Nothing was touched"
        )

    def _check_disk(self, tenant: str) -> None:
        free = shutil.disk_usage(self.platform["data_dir"]).free
        if free < MINIMUM_FREE_BYTES:
            raise MemcloudError(
                f"{tenant}: {free // 1024**2} MiB are free below {self.platform['data_dir']} on "
                f"its node, {MINIMUM_FREE_BYTES // 1024**2} MiB are needed: make room and run again"
            )

    # -- converge -----------------------------------------------------------------------------

    def converge(
        self,
        tenants: Iterable[Mapping[str, Any]],
        secrets: Mapping[str, Mapping[str, str]],
        purge: bool = False,
        settle: bool = False,
        elsewhere: str = "",
    ) -> list[TenantResult]:
        """Bring about what differs, tenants side by side; one's failure does not stop others.

        :param elsewhere: as for :meth:`plan`.
        """
        hostnames = functools.lru_cache(maxsize=None)(self.hostnames)
        remove_ended(self.state.data_dir)

        def one(tenant: Mapping[str, Any]) -> TenantResult:
            result = TenantResult(tenant["tenant"])
            own = secrets.get(tenant["tenant"], {})
            began = time.monotonic()
            try:
                name = f"tenant-{tenant['tenant']}"
                lock = locked(self.state.locks, name, self.owner, _LOCK_WAIT)
                with lock, Job(self, tenant, own, {"elsewhere": elsewhere}) as job:
                    if settle and tenant["state"] != "deleted":
                        job.settle(*DECISIONS, DEPARTED)
                    self._converge(job, purge, hostnames, result)
            except Exception as error:
                result.error = told(tenant["tenant"], error)
            if result.drift or result.error:
                words = [drift.words() for drift in result.drift]
                words += filter(None, [result.note])
                spent = time.monotonic() - began
                operation = "delete" if tenant["state"] == "deleted" else "deploy"
                self.journal.note(tenant, own, operation, words, result.error, spent)
            return result

        with ThreadPoolExecutor(max(1, int(self.platform["parallelism"]))) as pool:
            return list(pool.map(one, tenants))

    def _converge(
        self,
        job: Job,
        purge: bool,
        hostnames: Callable[[], Mapping[str, str]],
        result: TenantResult,
    ) -> None:
        tenant = job.tenant
        found = job.found()
        elsewhere = job.params["elsewhere"]
        if elsewhere and not left_something(self.state, self.platform, tenant, found, elsewhere):
            return
        check_identity(tenant, job.record)
        self.state.check_name(job.name, tenant["uid"])
        result.drift += _settled(tenant, job.settled)
        accept(job.stated, self.run, self.began, job.record)
        check_not_departed(tenant, job.record)
        if tenant["state"] not in ("suspended", "deleted"):
            check_gate(self.platform["gate_port"], job.name)
        job.volumes(found).recall()
        if job.record.get("operation"):
            result.drift += self._unproved(tenant, job.record, Found(), purge)
            if tenant["state"] == "deleted":
                job.clean()
                job.record.pop("operation")
            else:
                finish_killed(job)
                found = job.found()
        self._check(tenant, job.record, hostnames)
        if tenant["state"] == "deleted":
            result.drift += self._unproved(tenant, job.record, Found(), purge)
            drifts, result.deletion = delete(job, purge)
            result.drift += drifts
            result.state = "deleted"
        else:
            volumes = job.volumes(found)
            volumes.check_used()
            volumes.check_there()
            self._check_cluster(tenant, job.record, found)
            self._deploy(job, result)

    def _deploy(self, job: Job, result: TenantResult) -> None:
        tenant, record = job.tenant, job.record
        # One that is shut out is deployed again before it starts, and cannot wait for a provider.
        if tenant["state"] == "running" or (tenant["state"] == "paused" and tenant["wake"]):
            self.try_first(tenant, job.secrets)
        key = tenant["root_key"]
        self.state.remember_root_key(key["version"], key["check"], self.owner)
        record.setdefault("created", now())
        record.pop("deleted", None)
        record.pop(DEPARTED, None)
        before = record.get("state")
        if record.get("hostname") not in (None, tenant["hostname"]):
            # In the record, so that a run that finishes a killed one knows of it.
            record.setdefault("former_hostnames", []).append(record["hostname"])
        record.update(
            tenant=job.name,
            uid=tenant["uid"],
            owner=tenant["owner"],
            slot=job.slot,
            hostname=tenant["hostname"],
            tier=tenant["tier"],
            version=tenant["version"],
            figures=figures_of(tenant),
        )
        result.drift += self.certificate(tenant)
        if before == "running" and tenant["state"] != "running":
            # No request is cut: the gate lets no more in, then the app answers those that it has.
            job.release()
            job.drain()
        with _STARTS if tenant["state"] == "running" else contextlib.nullcontext():
            result.drift += self._bring(job)
            if before != tenant["state"]:
                result.drift += self._unproved(tenant, {**record, "state": before}, Found(), False)
            result.drift += self._not_in_hosts_file(tenant, self.hostnames)
            self.write_hosts_file()
            wait_for_router(self.platform["edge_api_port"], f"{job.name}-api@file", job.name)
            if tenant["state"] == "running":
                result.proof = job.prove()
        self._remove_former_certificates(job)
        result.drift += _limit_drift(tenant, record)
        if record.get("storage"):
            record["storage"]["limit"] = tenant["storage"]
        if job.held:
            job.release()
            result.held_seconds = job.held_seconds
        result.drift += _kept(tenant, record)
        job.clean()
        if tenant["state"] == "running" and before != "running":
            record["started"] = now()
        result.state = record["state"] = tenant["state"]
        record["images"] = job.images()
        job.save()
        changed, result.note = measure_at_last(job)
        if changed:
            what = f"writes are {record.get('writes') or 'open'} now, by what is stored"
            result.drift.append(Drift("tenant", job.name, "writes", what))

    def _remove_former_certificates(self, job: Job) -> None:
        """Remove the certificates of hostnames that the tenant had before, with their keys."""
        former = set(job.record.pop("former_hostnames", ())) - {job.tenant["hostname"]}
        if not former or self.platform["tls_mode"] != "local_ca":
            return
        for hostname in former:
            if not self.serves_another(hostname, job.name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(leaf_path(self.state.path("edge", "certs"), hostname))

    def _bring(self, job: Job) -> list[Drift]:
        """Bring about what differs; clients of a tenant that serves wait and see no error.

        The app stops with its databases: it would keep connections that lead nowhere.
        """
        rotates = self._rotation(job.tenant, job.record)
        serves = job.tenant["state"] == "running" and "proved" in job.record
        differences = job.differences() if serves else []
        if not any(d.object == "container" and d.action != "update" for d in differences):
            return rotates + job.bring()
        job.hold()
        job.drain()
        job.bring()
        return rotates + differences

    def _rotation(self, tenant: Mapping[str, Any], record: Mapping[str, Any]) -> list[Drift]:
        if tenant["state"] == "deleted" or not is_due(tenant, record):
            return []
        before, after = words_of(present_version(record)), words_of(version_of(tenant))
        what = "has not its present password yet"
        return [Drift("database", "neo4j", "rotate", what, before, after)]


def _settled(tenant: Mapping[str, Any], settled: Iterable[str]) -> list[Drift]:
    """What was decided of a tenant on its node, and counts no longer."""
    drifts = []
    for decision in settled:
        what, before = f"is no longer {decision} by its node's decision", decision
        if decision == DEPARTED:
            what, before = "stays here, though it was stopped to be moved", ""
        drifts.append(Drift("tenant", tenant["tenant"], "settle", what, before))
    return drifts


def _kept(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> list[Drift]:
    """Databases of before an update that have been kept as long as they should be."""
    if not kept_too_long(record, int(record.get("generation") or 1)):
        return []
    until = record["previous"]["keep_until"]
    what = "keeps what was before its update no longer"
    return [Drift("tenant", tenant["tenant"], "forget", what, "kept", f"until {until}")]


def _limit_drift(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> list[Drift]:
    """Whether the node knows how much the tenant may store: its keeper minds that by itself."""
    if tenant["state"] == "deleted" or not record.get("uid"):
        return []
    before, after = (record.get("storage") or {}).get("limit"), tenant["storage"]
    if before == after:
        return []
    what = "storage limit differs"
    return [Drift("tenant", tenant["tenant"], "record", what, str(before or ""), str(after))]


def plan_tenants(given: Mapping[str, Any], _check_mode: bool) -> dict[str, Any]:
    """What the module tenant_plan returns."""
    node = TenantNode(json.loads(given["platform"]), given["owner"])
    tenants = json.loads(given["tenants"])
    results = node.plan(tenants, given["purge"], given["settle"], given["elsewhere"])
    refused = {result.tenant for result in results if result.error}
    return {
        "changed": False,
        "tenants": [result.as_dict() for result in results if result.drift or result.error],
        "checked": len(results),
        "missing_versions": node.missing_versions(t for t in tenants if t["tenant"] not in refused),
    }


def converge_tenants(given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """What the module tenant_converge returns."""
    if check_mode:
        return {"changed": False, "tenants": []}
    node = TenantNode(json.loads(given["platform"]), given["owner"])
    tenants, secrets = json.loads(given["tenants"]), json.loads(given["secrets"])
    how = (given["purge"], given["settle"], given["elsewhere"])
    results = node.converge(tenants, secrets, *how)
    return {
        "changed": any(result.drift for result in results),
        "tenants": [result.as_dict() for result in results],
    }
