# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants on their node: plan, converge, prove. Runs on the node, one call for many tenants."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_leaf
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    Converger,
    image_ids,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    MISSING_IMAGE,
    Facts,
    desired_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import wait_for_router
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import ensure_hosts
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import locked, now
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_config import (
    tenant_configuration,
    validate_in_image,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._model_check import check_model
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    FIRST_SLOT,
    NodeState,
    slots_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    compare,
    observe,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Edge, Probe
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_UID,
    Drift,
    canonical_json,
    diff_of,
    sha256,
)

# Room that must be free where the engine and the platform keep their data.
MINIMUM_FREE_BYTES = 2 * 1024**3
# Seconds to wait for another run's work on a tenant: the module that a killed controller left
# behind goes on to its end.
_LOCK_WAIT = 120


@dataclass
class TenantResult:
    """What the plan found, or what converging did, for one tenant."""

    tenant: str
    drift: list[Drift] = field(default_factory=list)
    error: str = ""
    proof: dict[str, float] | None = None
    state: str = ""

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
        }


class TenantNode:
    """One node with its engine and its records.

    :param platform: the platform's inputs.
    :param owner: who runs this, for the locks.
    """

    def __init__(self, platform: Mapping[str, Any], owner: str) -> None:
        self._platform = platform
        self._owner = owner
        self._engine = Engine(platform["docker_host"])
        self._state = NodeState(platform["data_dir"])
        self._images = self._state.images()
        self._cpus = os.cpu_count() or 1

    # -- plan ---------------------------------------------------------------------------------

    def plan(self, tenants: Iterable[Mapping[str, Any]], purge: bool = False) -> list[TenantResult]:
        """What differs for each tenant. Reads the engine once and changes nothing."""
        tenants = list(tenants)
        found = observe(self._engine, self._platform["name"], [t["tenant"] for t in tenants])
        slots = self._slots_to_be(tenants)
        hostnames = self._hostnames()
        known_images: dict[str, str | None] = {}
        results = []
        for tenant in tenants:
            name = tenant["tenant"]
            result = TenantResult(name, state=tenant["state"])
            results.append(result)
            try:
                self._check(tenant, hostnames)
                facts = self._facts(tenant, slots[name])
                desired, _contents = desired_tenant(tenant, self._platform, facts)
                for container in desired.containers:
                    if container.image not in known_images:
                        known_images[container.image] = self._engine.image_id(container.image)
                record = self._state.tenant(name)
                mine = found.get(name, Found())
                result.drift = compare(desired, mine, known_images, record["files"])
                result.drift += self._certificate(tenant, check_mode=True)
                known = {*hostnames, tenant["hostname"]}
                if tenant["state"] != "deleted" and self._hosts_file(known, check_mode=True):
                    what = "is not in the hosts file"
                    result.drift.append(Drift("hostname", tenant["hostname"], "write", what))
                result.drift += self._unproved(tenant, record, mine, purge)
            except MemcloudError as error:
                result.error = str(error)
        return results

    def missing_versions(self, tenants: Iterable[Mapping[str, Any]]) -> list[str]:
        """Server versions that tenants want and this node has no image of."""
        recorded = self._images.get("memmachine") or {}
        wanted = {t["version"] for t in tenants if t["state"] != "deleted"}
        return sorted(
            version
            for version in wanted
            if version not in recorded or self._engine.image_id(recorded[version]["id"]) is None
        )

    def _certificate(self, tenant: Mapping[str, Any], check_mode: bool = False) -> list[Drift]:
        """The tenant's certificate from the node's own authority, made where it is due."""
        if self._platform["tls_mode"] != "local_ca" or tenant["state"] == "deleted":
            return []
        hostname = tenant["hostname"]
        directories = self._state.path("edge", "ca"), self._state.path("edge", "certs")
        ensured = ensure_leaf(*directories, hostname, check_mode=check_mode)
        if not ensured.changed:
            return []
        return [Drift("certificate", hostname, "write", ensured.reason, "", ensured.expires)]

    def _hosts_file(self, hostnames: Iterable[str], check_mode: bool = False) -> bool:
        """Have the hostnames of this node's tenants in its hosts file, where that is wanted."""
        if not self._platform["manage_hosts_file"]:
            return False
        return ensure_hosts(self._platform["name"], sorted(hostnames), check_mode=check_mode)

    def _unproved(
        self, tenant: Mapping[str, Any], record: Mapping[str, Any], found: Found, purge: bool
    ) -> list[Drift]:
        name, state = tenant["tenant"], str(record.get("state") or "")
        if tenant["state"] == "deleted":
            drifts = []
            if state not in ("", "deleted"):
                drifts.append(Drift("tenant", name, "record", "is not deleted", state, "deleted"))
            if purge:
                drifts += [
                    Drift("volume", volume, "purge", "is to be purged", "present", "absent")
                    for volume in _volumes_of(tenant, found)
                ]
                if os.path.isdir(self._state.tenant_dir(name)):
                    drifts.append(Drift("tenant", name, "purge", "has a record", "kept", "absent"))
            return drifts
        if state != tenant["state"]:
            what = "has not proved itself" if tenant["state"] == "running" else "is not recorded"
            return [Drift("tenant", name, "prove", what, state, tenant["state"])]
        return []

    def _slots_to_be(self, tenants: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """The slot of each tenant; for a new one that which it would get."""
        known = {u: int(entry["slot"]) for u, entry in self._state.node()["slots"].items()}
        taken = set(known.values())
        pool = range(FIRST_SLOT, slots_of(self._platform["subnet_pool"]))
        free = (slot for slot in pool if slot not in taken)
        return {
            t["tenant"]: known[t["uid"]] if t["uid"] in known else next(free, FIRST_SLOT)
            for t in tenants
        }

    def _facts(self, tenant: Mapping[str, Any], slot: int) -> Facts:
        images: dict[str, str] = {
            kind: self._images[kind]["id"] for kind in ("postgres", "neo4j") if kind in self._images
        }
        version = (self._images.get("memmachine") or {}).get(tenant["version"])
        if version:
            images["memmachine"] = version["id"]
        return Facts(slot, images, self._cpus)

    # -- checks before anything is touched ----------------------------------------------------

    def _hostnames(self) -> dict[str, str]:
        """Which tenant of this node has which hostname."""
        hostnames = {}
        for name in self._state.tenants():
            try:
                record = self._state.tenant(name)
            except MemcloudError:
                continue  # the tenant itself fails on it, by name; the others go on
            if record.get("state") != "deleted" and record.get("hostname"):
                hostnames[record["hostname"]] = name
        return hostnames

    def _check(self, tenant: Mapping[str, Any], hostnames: Mapping[str, str]) -> None:
        name = tenant["tenant"]
        if tenant["state"] == "deleted":
            return
        key = tenant["root_key"]
        self._state.check_root_key(name, key["version"], key["check"])
        other = hostnames.get(tenant["hostname"])
        if other not in (None, name):
            raise VariableError(
                name,
                "tenant_hostname",
                f"{tenant['hostname']} already leads to tenant {other} on this node: give this "
                "tenant another hostname",
            )
        record = self._state.tenant(name)
        if record.get("uid") not in (None, tenant["uid"]):
            raise VariableError(
                name,
                "tenant_uid",
                f"is {tenant['uid']}, but this node keeps data of another tenant of that name "
                f"(uid {record['uid']}): set it back, or delete the other one with "
                "keep_data=false first",
            )
        _check_embedder(tenant, record)
        _check_version(tenant, record)
        self._check_disk(name)

    def _check_disk(self, tenant: str) -> None:
        free = shutil.disk_usage(self._platform["data_dir"]).free
        if free < MINIMUM_FREE_BYTES:
            raise MemcloudError(
                f"{tenant}: {free // 1024**2} MiB are free below {self._platform['data_dir']} on "
                f"its node, {MINIMUM_FREE_BYTES // 1024**2} MiB are needed: make room and run again"
            )

    # -- converge -----------------------------------------------------------------------------

    def converge(
        self,
        tenants: Iterable[Mapping[str, Any]],
        secrets: Mapping[str, Mapping[str, str]],
        purge: bool = False,
    ) -> list[TenantResult]:
        """Bring about what differs, tenants side by side; one's failure does not stop others."""

        def one(tenant: Mapping[str, Any]) -> TenantResult:
            result = TenantResult(tenant["tenant"])
            try:
                with locked(
                    self._state.locks, f"tenant-{tenant['tenant']}", self._owner, _LOCK_WAIT
                ):
                    self._check(tenant, self._hostnames())
                    if tenant["state"] == "deleted":
                        self._delete(tenant, purge, result)
                    else:
                        self._deploy(tenant, secrets[tenant["tenant"]], result)
            except MemcloudError as error:
                result.error = str(error)
            except OSError as error:
                result.error = f"{tenant['tenant']}: {error}"
            return result

        with ThreadPoolExecutor(max(1, int(self._platform["parallelism"]))) as pool:
            return list(pool.map(one, tenants))

    def _deploy(
        self, tenant: Mapping[str, Any], secrets: Mapping[str, str], result: TenantResult
    ) -> None:
        name = tenant["tenant"]
        self._try_first(tenant, secrets)
        key = tenant["root_key"]
        self._state.remember_root_key(key["version"], key["check"], self._owner)
        slot = self._state.claim_slot(
            tenant["uid"], name, self._platform["subnet_pool"], self._owner
        )
        desired, contents = desired_tenant(
            tenant, self._platform, self._facts(tenant, slot), secrets
        )
        os.makedirs(self._state.tenant_dir(name), mode=0o711, exist_ok=True)
        record = self._state.tenant(name)
        record.setdefault("created", now())
        before = record.get("state")
        record.update(
            tenant=name,
            uid=tenant["uid"],
            owner=tenant["owner"],
            slot=slot,
            hostname=tenant["hostname"],
            tier=tenant["tier"],
            version=tenant["version"],
        )
        certificate = self._certificate(tenant)

        def remember() -> None:
            record.update(state="deploying", changed=now())
            self._state.write_tenant(name, record)

        found = observe(self._engine, self._platform["name"], [name]).get(name, Found())
        images = image_ids(self._engine, [desired])
        converger = Converger(self._engine, desired, contents, record["files"], remember)
        result.drift = certificate + converger.apply(found, images)
        if before != tenant["state"]:
            result.drift += self._unproved(tenant, {**record, "state": before}, found, False)
        with locked(self._state.locks, "hosts", self._owner):
            self._hosts_file(self._hostnames())
        wait_for_router(self._platform["edge_api_port"], f"{name}-api@file", name)
        if tenant["state"] == "running":
            result.proof = self._prove(tenant, secrets, record)
        result.state = tenant["state"]
        record.update(state=tenant["state"], changed=now())
        self._state.write_tenant(name, record)

    def _try_first(self, tenant: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Try model provider and configuration before the first container exists."""
        image = self._facts(tenant, 0).images.get("memmachine", MISSING_IMAGE)
        if self._engine.image_id(image) is None:
            raise MemcloudError(
                f"{tenant['tenant']}: this node has no image of MemMachine {tenant['version']}: "
                "run setup_node for it, or deploy_tenant, which builds it"
            )
        text = tenant_configuration(
            version=tenant["version"],
            postgres_host="192.0.2.1",
            neo4j_host="192.0.2.2",
            model=tenant["model"],
            secrets={key: "x" * len(value) for key, value in secrets.items()},
        )
        with locked(self._state.locks, "checks", self._owner, wait=120):
            check_model(self._engine, self._state, self._platform, tenant, secrets, image)
            mark = sha256(canonical_json([image, text]))[:32]
            remembered = self._state.path("checked", f"configuration-{mark}")
            if not os.path.exists(remembered):
                validate_in_image(self._engine.client, image, text)
                with open(remembered, "w", encoding="utf-8"):
                    pass

    def _prove(
        self, tenant: Mapping[str, Any], secrets: Mapping[str, str], record: dict[str, Any]
    ) -> dict[str, float]:
        tls = self._platform["tls_mode"] != "off"
        port = self._platform["https_port"] if tls else self._platform["http_port"]
        authority = None
        if self._platform["tls_mode"] == "local_ca":
            authority = self._state.path("edge", "ca.crt")
        edge = Edge(tenant["hostname"], port, tls, authority)
        probe = Probe(tenant["tenant"], edge, secrets["probe"])
        try:
            probe.wait_ready()
            record["embedder"] = _embedder(tenant)
            self._state.write_tenant(tenant["tenant"], record)
            proof = probe.round_trip().as_dict()
        except MemcloudError as error:
            raise MemcloudError(f"{error}{self._why(tenant)}") from error
        record.update(proved=now(), proof=proof)
        return proof

    def _why(self, tenant: Mapping[str, Any]) -> str:
        """What the containers of a tenant that did not prove itself have to say."""
        words = []
        for role in ("postgres", "neo4j", "app"):
            name = f"{self._platform['name']}-{tenant['tenant']}-{role}"
            state = (self._engine.inspect(name) or {}).get("State") or {}
            if not state.get("Running") or state.get("Restarting"):
                words.append(
                    f"; container {name} is {state.get('Status', 'missing')} "
                    f"(exit code {state.get('ExitCode')}), its last lines: "
                    + self._engine.logs(name, 8).strip()[-1200:]
                )
        return "".join(words)

    def _delete(self, tenant: Mapping[str, Any], purge: bool, result: TenantResult) -> None:
        name = tenant["tenant"]
        desired, _contents = desired_tenant(tenant, self._platform, Facts(0, {}, self._cpus))
        found = observe(self._engine, self._platform["name"], [name]).get(name, Found())
        record = self._state.tenant(name)
        result.drift = self._unproved(tenant, record, found, purge)
        result.drift += Converger(self._engine, desired, {}, record["files"]).apply(found, {})
        result.state = "deleted"
        if purge:
            for volume in _volumes_of(tenant, found):
                self._engine.remove_volume(volume)
            shutil.rmtree(self._state.tenant_dir(name), ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._state.path("gate", "activity", f"{name}.json"))
            self._state.release_slot(tenant["uid"], self._owner)
        elif record.get("uid"):
            record.update(state="deleted", changed=now(), deleted=now())
            self._state.write_tenant(name, record)
        with locked(self._state.locks, "hosts", self._owner):
            self._hosts_file(self._hostnames())


def _volumes_of(tenant: Mapping[str, Any], found: Found) -> list[str]:
    """The volumes of this very identity: a name may have been used before."""
    return [
        name
        for name, volume in found.volumes.items()
        if (volume.get("Labels") or {}).get(LABEL_UID) == tenant["uid"]
    ]


def _embedder(tenant: Mapping[str, Any]) -> dict[str, Any]:
    model = tenant["model"]
    return {"model": model["embedder_model"], "dimensions": model["embedder_dimensions"]}


def _check_embedder(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    known, wanted = record.get("embedder"), _embedder(tenant)
    if known is None or known == wanted:
        return
    raise VariableError(
        tenant["tenant"],
        "tenant_embedder_model",
        f"the tenant's memories were stored with {known['model']} ({known['dimensions']} "
        f"dimensions) and cannot be found with {wanted['model']} ({wanted['dimensions']}): set "
        "tenant_embedder_model and tenant_embedder_dimensions back to the stored values, or "
        "create a new tenant for the new model. Nothing was touched",
    )


def _check_version(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop another server version from touching memories that were stored before.

    A newer server migrates a part of the database and may not read the rest (0.4.0 answers 500 to
    every write on a database of 0.3.9); an older one does not start on a migrated database.
    """
    stored = record.get("version")
    if "embedder" not in record or stored in (None, tenant["version"]):
        return
    raise VariableError(
        tenant["tenant"],
        "tenant_version",
        f"is {tenant['version']}, but the tenant's memories were stored by MemMachine {stored}, "
        "and a version must not change under them without a restore point: set tenant_version to "
        f"{stored}, or create a new tenant of {tenant['version']}. Nothing was touched",
    )
