# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tenant at work: the steps that deploying it and every operation on it are made of."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar, cast

from ansible_collections.memcloud.memmachine.plugins.module_utils._bolt import PORT as BOLT_PORT
from ansible_collections.memcloud.memmachine.plugins.module_utils._converge import (
    Converger,
    image_ids,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    APP_PORT,
    DATABASES,
    IMAGE_OF,
    TenantPaths,
    container_name,
    desired_tenant,
    in_force,
    overruled,
    volume_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import (
    wait_for_gate,
    wait_for_router,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    read_text,
    remove_stale,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import now
from ansible_collections.memcloud.memmachine.plugins.module_utils._model import DEMO_EMBEDDER
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import unique_name
from ansible_collections.memcloud.memmachine.plugins.module_utils._node import Node
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import addresses_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import (
    Found,
    compare,
    observe,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import Probe
from ansible_collections.memcloud.memmachine.plugins.module_utils._rotation import (
    NEO4J_BEFORE,
    forget_neo4j_users,
    is_due,
    present_version,
    set_neo4j_password,
    version_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_UID,
    SCRATCH,
    Desired,
    Drift,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._volumes import Volumes

T = TypeVar("T")
# States in which a tenant stays until somebody wants another one.
_LASTING = ("running", "paused", "suspended")
ROLES = (*DATABASES, "app")
# Seconds after which a server that does not stop is killed. The app lets requests end and cuts
# streams by itself.
_STOP_SECONDS = {"app": 15, "postgres": 30, "neo4j": 30}
# Tenants whose clients wait, at a time. Their servers start again meanwhile, which keeps two
# processors busy for each: more of them only make the clients of all wait longer.
_HOLDS = threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) // 2))
_HOST_RULE = re.compile(r"Host\(`([^`]+)`\)")
# What import_tenant brings to a node stands in the tenant's directory, and how long one may wait
# there for the operation that another run is at.
UPLOADED = "import.tar.gz"
_UPLOADED_SECONDS = 3600.0
# A server may end because its databases were not there yet; one that does so again is broken.
_RESTARTS = 3


class Job:
    """One tenant on its node, whose lock the caller holds; a context that ends with the work on it.

    :param tenant: the tenant's inputs; ``job.tenant`` has the state that is in force.
    :param secrets: the tenant's secrets.
    :param params: what the operation was told.
    :param private: the part of it that must not be shown.
    """

    def __init__(
        self,
        node: Node,
        tenant: Mapping[str, Any],
        secrets: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        private: Mapping[str, Any] | None = None,
    ) -> None:
        self.node = node
        self.engine = node.engine
        self.state = node.state
        self.platform = node.platform
        self.stated = tenant
        self.name: str = tenant["tenant"]
        self.secrets = secrets
        self.params = params or {}
        self.private = private or {}
        self.record = self.state.tenant(self.name)
        self.settled: list[str] = []
        self.settle(*overruled(tenant, self.record))
        self._made: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.held_seconds = 0.0
        self._held_since: float | None = None

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_error: object) -> None:
        self.give_way()

    def give_way(self) -> None:
        """Let others have the turn; a tenant that could not be brought back stays held."""
        if self.held:
            self._held_since = None
            _HOLDS.release()

    def settle(self, *decisions: str) -> None:
        """Let what was decided on the node (``asleep``, ``woken`` …) count no longer."""
        self.settled += [name for name in decisions if self.record.pop(name, None)]
        self.tenant = in_force(self.stated, self.record)

    def stay(self, state: str | None) -> None:
        """Leave the tenant in a state that its node recorded, whatever its entry says by now."""
        if state in _LASTING:
            self.tenant = {**self.tenant, "state": state}

    # -- what it is made of -------------------------------------------------------------------

    @property
    def paths(self) -> TenantPaths:
        """Where the tenant's files are."""
        return TenantPaths.of(self.platform["data_dir"], self.name)

    @property
    def identity(self) -> dict[str, str]:
        """Which tenant it is, as it stands in what is kept of it."""
        return {"tenant": self.name, "uid": self.tenant["uid"]}

    @property
    def hostname(self) -> str:
        """The hostname that the edge knows: one that is new in the entry waits for a deployment."""
        known = _HOST_RULE.search(read_text(self.paths.route) or "")
        return known.group(1) if known else str(self.tenant["hostname"])

    @property
    def unique_name(self) -> str:
        """What files are called that outlive the tenant's name."""
        return unique_name(self.name, self.tenant["uid"])

    @property
    def generation(self) -> int:
        """Which volumes the tenant lives on."""
        return int(self.record.get("generation") or 1)

    @property
    def next_generation(self) -> int:
        """Whose volumes did not exist when it was asked for first: some may be kept."""

        def following() -> int:
            previous = (self.record.get("previous") or {}).get("generation") or 1
            return max(self.generation, int(previous), *self.volumes().generations()) + 1

        return self.once("next generation", following)

    @property
    def slot(self) -> int:
        """The tenant's slot, claimed when it has none yet."""
        pool = self.platform["subnet_pool"]
        return self.state.claim_slot(self.tenant["uid"], self.name, pool, self.node.owner)

    @property
    def stand_in(self) -> str:
        """Name and slot of the throw-away tenant of a verification: of no tenant's own name."""
        return f"verify-{self.tenant['uid']}"

    @property
    def held(self) -> bool:
        """Whether requests wait at the gate."""
        return self._held_since is not None

    @property
    def work(self) -> str:
        """A directory of this operation alone, taken away at its end."""
        path = os.path.join(self.paths.home, "work")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    @property
    def import_cursor(self) -> str:
        """The file that says how far an import came."""
        return os.path.join(self.paths.home, "import.json")

    def forget_import(self) -> None:
        """What was imported may not be there: its data was exchanged, or does not prove it."""
        self.record.pop("imported", None)
        remove_tree(self.import_cursor)

    def container(self, role: str) -> str:
        """Name of one of the tenant's containers."""
        return container_name(self.platform["name"], self.name, role)

    def address(self, role: str) -> str:
        """Where a container answers on the node: the app in its own network."""
        addresses = addresses_of(self.platform["subnet_pool"], self.slot)
        return str(getattr(addresses, role))

    def volume(self, role: str, generation: int | None = None) -> str:
        """Name of a database's volume, of the present generation when none is given."""
        return volume_of(self.tenant, self.platform, role, generation or self.generation)

    def volume_path(self, role: str, generation: int | None = None) -> str:
        """Where a volume is on the node's disk."""
        name = self.volume(role, generation)
        for volume in self.engine.volumes(self.platform["name"]):
            if volume["Name"] == name:
                return str(volume["Mountpoint"])
        raise MemcloudError(f"{self.name}: volume {name} is missing on its node")

    def images(self) -> dict[str, str]:
        """The ids of the images of the tenant's containers, by kind, as the record keeps them."""
        found = {role: self.engine.inspect(self.container(role)) for role in ROLES}
        return {IMAGE_OF[role]: str(one["Image"]) for role, one in found.items() if one}

    def desired(
        self, tenant: Mapping[str, Any] | None = None, generation: int | None = None
    ) -> tuple[Desired, dict[str, str]]:
        """What the tenant should be now, and its files with secrets."""
        tenant = tenant or self.tenant
        record = {**self.record, "generation": generation or self.generation}
        facts = self.node.facts(tenant, record, self.slot, self.held)
        return desired_tenant(tenant, self.platform, facts, self.secrets)

    def save(self) -> None:
        """Write the tenant's record, as one of a tenant that was changed."""
        self.record["changed"] = now()
        self.keep()

    def keep(self) -> None:
        """Write what was only found out: the tenant is what it was."""
        # The gate calls the keeper by what the entry says now, and the keeper wakes by the record.
        self.record["wake"] = self.stated["wake"]
        self.state.write_tenant(self.name, self.record)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the seconds of a part of the operation."""
        began = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - began
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)

    # -- the gate -----------------------------------------------------------------------------

    def hold(self) -> None:
        """Let requests wait at the gate; returns when it does so. None is lost or refused.

        A request waits 20 s at most and is then told when to come again. It is not done before
        the servers of this tenant have processors to start on.
        """
        if self.held:
            return
        _HOLDS.acquire()
        self._held_since = time.monotonic()
        self._write_gate()

    def release(self) -> None:
        """Let requests pass as the tenant's state wants it."""
        self._write_gate(held=False)
        if self._held_since is not None:
            self.held_seconds = round(time.monotonic() - self._held_since, 3)
            self._held_since = None
            _HOLDS.release()

    def _write_gate(self, held: bool = True) -> None:
        facts = self.node.facts(self.tenant, self.record, self.slot, held)
        desired, _contents = desired_tenant(self.tenant, self.platform, facts)
        file = next(file for file in desired.files if file.path == self.paths.gate)
        atomic_write(file.path, file.content or "", file.mode, file.uid, file.gid)
        wait_for_gate(self.platform["gate_port"], self.name, file.content)

    # -- the servers --------------------------------------------------------------------------

    def drain(self) -> None:
        """Stop the app: requests that it has are answered, streams are cut, within a bound."""
        self.stop("app")

    def stop(self, *roles: str) -> None:
        """Stop containers of the tenant, in the given order."""
        for role in roles:
            self.engine.stop(self.container(role), _STOP_SECONDS[role])

    def running(self) -> list[str]:
        """The roles of the tenant's containers that run."""
        return [r for r in ROLES if self.engine.state(self.container(r)).get("Running")]

    def start(self, *roles: str) -> None:
        """Start containers of the tenant as they are, all at once."""
        with ThreadPoolExecutor(len(ROLES)) as pool:
            list(pool.map(self.engine.start, map(self.container, roles)))

    def bring(
        self, tenant: Mapping[str, Any] | None = None, generation: int | None = None
    ) -> list[Drift]:
        """Bring containers, networks, volumes and files to what the record and inputs say.

        :param tenant: inputs that count for this once instead of the job's, such as those of the
            version that it had before.
        :param generation: volumes to live on instead of those of the record, which keeps naming
            what was last proved until the caller says otherwise.
        """
        desired, contents = self.desired(tenant, generation)
        os.makedirs(self.paths.home, mode=0o711, exist_ok=True)
        self.record.setdefault("passwords", present_version(self.record) or version_of(self.tenant))
        due = is_due(self.tenant, self.record, generation)

        def remember() -> None:
            self.record["state"] = "updating" if self.record.get("operation") else "deploying"
            self.save()

        images = image_ids(self.engine, [desired])
        before_app = functools.partial(self.change_passwords, generation) if due else None
        converger = Converger(
            self.engine, desired, contents, self.record["files"], remember, before_app
        )
        found = self.found()
        if generation in (None, self.generation):
            self.volumes(found).check_there()
        drifts = converger.apply(found, images)
        gate = next(file.content for file in desired.files if file.path == self.paths.gate)
        wait_for_gate(self.platform["gate_port"], self.name, gate)
        return drifts

    def differences(self) -> list[Drift]:
        """What :meth:`bring` would change now."""
        desired, _contents = self.desired()
        images = image_ids(self.engine, [desired])
        return compare(desired, self.found(), images, self.record["files"])

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What was made under this name for an earlier part of the operation, or is made now."""
        if name not in self._made:
            self._made[name] = make()
        return cast(T, self._made[name])

    def found(self) -> Found:
        """What the engine holds of the tenant now."""
        return observe(self.engine, self.platform["name"], [self.name]).get(self.name, Found())

    def volumes(self, found: Found | None = None) -> Volumes:
        """What its databases are on; what the engine holds is asked for unless it is given."""
        return Volumes(self.tenant, self.platform, self.record, found or self.found())

    def change_passwords(self, generation: int | None = None) -> None:
        """Give Neo4j the password that is in the tenant's files (PostgreSQL took it at its start).

        A Neo4j that should stand still is started for this alone. Done again after a run that was
        killed, it finds out which password Neo4j has.

        :param generation: on which volumes it runs, when it is on others than those of the record.
        """
        self.record["passwords"] = {}  # not known, where this ends on the way
        self.save()
        container = self.container("neo4j")
        runs = bool(self.engine.state(container).get("Running"))
        if not runs:
            self.engine.start(container)
        host = addresses_of(self.platform["subnet_pool"], self.slot).neo4j
        password = self.secrets["neo4j"]
        candidates = self.secrets.get(NEO4J_BEFORE, "").split()
        if not set_neo4j_password(host, password, candidates):
            self.stop("neo4j")
            auth_ini = os.path.join(self.paths.neo4j, "auth.ini")
            forget_neo4j_users(self.volume_path("neo4j", generation), auth_ini)
            self.engine.start(container)
            if not set_neo4j_password(host, password, ()):
                raise MemcloudError(
                    f"{self.name}: Neo4j does not take its new password: see the log of {container}"
                )
        if not runs:
            self.stop("neo4j")
        self.record["passwords"] = version_of(self.tenant)
        if generation not in (None, self.generation):
            self.record["passwords"]["generation"] = generation
        self.save()

    def prove(self, deadline: float = 180.0) -> dict[str, float]:
        """Store, find and delete a memory through the edge, whatever the gate does with others.

        :raises MemcloudError: with the step that failed and the last words of dead containers.
        """
        wait_for_router(self.platform["edge_api_port"], f"{self.name}-api@file", self.name)
        probe = self.probe(deadline)
        # What it came back from since it was started last says nothing of how it is now.
        before = self._ends()
        try:
            probe.wait_ready(lambda: self._check_alive(before))
            # What stored memories are of; another model only counts when they were moved to it.
            self.record.setdefault("embedder", embedder_of(self.tenant))
            self.save()
            proof = probe.round_trip().as_dict()
        except MemcloudError as error:
            raise MemcloudError(f"{error}{self.last_words()}") from error
        self.record.update(proved=now(), proof=proof)
        return proof

    def probe(self, deadline: float = 180.0) -> Probe:
        """What asks the tenant through the edge, whatever the gate does with others."""
        addresses = addresses_of(self.platform["subnet_pool"], self.slot)
        servers = ((addresses.app, APP_PORT), (addresses.neo4j, BOLT_PORT))
        edge = self.node.edge(self.hostname)
        return Probe(self.name, edge, self.secrets["probe"], deadline, servers)

    def _ends(self) -> int:
        """How often the server has ended by itself since it was started."""
        found = self.engine.inspect(self.container("app")) or {}
        return int(found.get("RestartCount") or 0)

    def _check_alive(self, before: int) -> None:
        """Raise when the server ends each time it is started: waiting longer is no use.

        :param before: how often it had ended when the wait began.
        """
        if self._ends() - before >= _RESTARTS:
            raise MemcloudError(f"{self.name}: the server does not stay up")

    def last_words(self) -> str:
        """What the tenant's containers have to say that do not run, or do not stay up."""
        words = []
        for role in ROLES:
            name = self.container(role)
            found = self.engine.inspect(name) or {}
            state = found.get("State") or {}
            ends = int(found.get("RestartCount") or 0)
            how = ""
            if not state.get("Running") or state.get("Restarting"):
                code = state.get("ExitCode")
                how = f"is {state.get('Status', 'missing')} (exit code {code})"
            elif ends:
                how = f"was started again {ends} times"
            if how:
                said = self.engine.logs(name, 8).strip()[-1200:]
                words.append(f"; container {name} {how}, its last lines: {said}")
        return "".join(words)

    def execute(
        self,
        role: str,
        command: list[str],
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
    ) -> bytes:
        """Run a command in one of the tenant's containers.

        :param stdin: what it reads.
        :param stdout: where what it prints goes; returned when None.
        :raises EngineError: with the end of what it wrote to its standard error.
        """
        return self.engine.execute(self.container(role), command, stdin, stdout)

    # -- leftovers ----------------------------------------------------------------------------

    def clean(self) -> None:
        """Take away what an operation left.

        That is its scratch containers and networks (a killed run leaves them running) with their
        slot, volumes of other generations with the containers that hold them (unless the record
        may be wrong about which these are), its directory, and an archive that was brought for an
        import (not for this one).
        """
        found = self.found()
        scratch = found.of_kind(SCRATCH)
        for name in scratch.containers:
            self.engine.remove_container(name, passing=True)
        for name in scratch.networks:
            self.engine.remove_network(name)
        kept = self._kept_volumes()
        kept.update(self.volumes(found).in_doubt())
        for name, volume in found.volumes.items():
            mine = (volume.get("Labels") or {}).get(LABEL_UID) == self.tenant["uid"]
            if mine and name not in kept:
                self._remove_servers_on(name, found)
                self.engine.remove_volume(name)
        if self.stand_in in self.state.node()["slots"]:
            self.state.release_slot(self.stand_in, self.node.owner)
        self.remove_work()
        if self.params.get("archive") != os.path.join(self.paths.home, UPLOADED):
            remove_stale(self.paths.home, re.escape(UPLOADED), _UPLOADED_SECONDS)

    def remove_work(self) -> None:
        """Take away the directory of the operation, with what opens the place of restore points."""
        shutil.rmtree(os.path.join(self.paths.home, "work"), ignore_errors=True)

    def _kept_volumes(self) -> set[str]:
        """The volumes that it lives on, and those that are kept for a rollback."""
        kept = {self.volume(role) for role in DATABASES}
        previous = (self.record.get("previous") or {}).get("generation")
        if previous and kept_too_long(self.record, self.generation):
            self.record.pop("previous")
        elif previous:
            kept |= {self.volume(role, int(previous)) for role in DATABASES}
        return kept

    def _remove_servers_on(self, volume: str, found: Found) -> None:
        """Remove the tenant's servers that an abandoned operation started on a volume."""
        for role in ROLES:
            server = found.containers.get(self.container(role)) or {}
            if any(mount.get("Name") == volume for mount in server.get("Mounts") or ()):
                self.engine.stop(self.container(role), _STOP_SECONDS[role])
                self.engine.remove_container(self.container(role))


def kept_too_long(record: Mapping[str, Any], generation: int) -> bool:
    """Whether the databases of before an update have been kept as long as they should be."""
    previous = record.get("previous") or {}
    if previous.get("generation") in (None, generation):
        return False
    until = str(previous.get("keep_until") or "")
    return bool(until) and until <= now()


def as_recorded(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a tenant as its memories were last proved with: server version, embedder."""
    recorded = dict(tenant, version=record.get("version") or tenant["version"])
    if record.get("embedder"):
        recorded["model"] = dict(
            tenant["model"],
            embedder_model=record["embedder"]["model"],
            embedder_dimensions=record["embedder"]["dimensions"],
        )
    return recorded


def embedder_of(tenant: Mapping[str, Any]) -> dict[str, Any]:
    """What decides whether stored vectors can be compared with new ones."""
    model = tenant["model"]
    return {"model": model["embedder_model"], "dimensions": model["embedder_dimensions"]}


def check_provider_stays(tenant: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Stop what would have a real provider asked for the demo's model, or the demo for a real one.

    Not even reembed_tenant can change between these two: to hand out its memories, the old server
    wants a provider that has the old model.
    """
    known, provider = record.get("embedder"), tenant["model"]["provider"]
    if known is None:
        return
    of_demo = known["model"] == DEMO_EMBEDDER
    if of_demo == (embedder_of(tenant)["model"] == DEMO_EMBEDDER or provider == "demo"):
        return
    back = (
        f"tenant_model_provider: demo in the entry of {tenant['tenant']}"
        if of_demo
        else f"the provider of {known['model']} again (platform_model_* or tenant_model_*)"
    )
    raise VariableError(
        tenant["tenant"],
        "tenant_model_provider",
        f"is {provider} now, but the tenant's memories were stored with {known['model']}, which "
        f"that provider does not have: set {back}. To have {provider} for them, then run "
        "export_tenant for it, create_tenant for a new one, import_tenant into that one. Nothing "
        "was touched",
    )
