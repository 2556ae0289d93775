"""The platform that tests act on: tenants by their public door, the node by Docker."""

from __future__ import annotations

import ipaddress
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils import _secrets

from .playbook import CHECKOUT, Playbooks

INVENTORY = Path(os.environ.get("CI_INVENTORY") or CHECKOUT / "inventories/ci")
ROLES = ("postgres", "neo4j", "app")


@dataclass
class Platform:
    """A platform of one node; the defaults are those of inventories/ci."""

    inventory: Path = INVENTORY
    docker_host: str = "unix:///var/run/docker.sock"
    variables: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        group_vars = yaml.safe_load((self.inventory / "group_vars/all.yml").read_text())
        self.variables = {**group_vars, **self.variables}
        self.play = Playbooks(self.inventory)

    @property
    def name(self) -> str:
        return str(self.variables["platform_name"])

    @property
    def data_dir(self) -> Path:
        return Path("/var/lib/memcloud") / self.name

    @property
    def networks(self) -> ipaddress.IPv4Network:
        """The pool that all networks of the platform come from."""
        return ipaddress.IPv4Network(self.variables["platform_subnet_pool"])

    @property
    def node_address(self) -> str:
        """Where tenants find the services of their node."""
        return str(self.networks.network_address + 1)

    @property
    def secrets(self) -> Path:
        return self.inventory / ".secrets"

    @property
    def authority(self) -> Path:
        """Certificate of the authority that signed the tenants' certificates."""
        return self.secrets / "ca.crt"

    def docker(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.docker_host, timeout=30)

    def tenant(self, name: str) -> Tenant:
        return Tenant(self, name)

    def tenants(self) -> list[str]:
        return sorted(path.stem for path in (self.inventory / "host_vars").glob("*.yml"))

    def create(self, name: str, tier: str = "free", **variables: Any) -> Tenant:
        """Write the entry and mint the key, nothing more; an entry that is there stays."""
        tenant = self.tenant(name)
        if not tenant.entry_file.exists():
            self.play.ok(
                "create_tenant",
                tenant=name,
                tier=tier,
                key_file=str(tenant.key_file),
                deploy=False,
                variables=variables,
            )
        return tenant

    def delete(self, *names: str) -> None:
        """Delete tenants with their data."""
        for name in names:
            self.play.ok("delete_tenant", tenant=name, keep_data=False)
            self.tenant(name).key_file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Tenant:
    """A tenant, as its customers and as its node see it."""

    platform: Platform
    name: str

    @property
    def hostname(self) -> str:
        return f"{self.name}.{self.platform.variables['platform_domain']}"

    @property
    def url(self) -> str:
        return f"https://{self.hostname}:{self.platform.variables['platform_https_port']}"

    @property
    def entry_file(self) -> Path:
        return self.platform.inventory / "host_vars" / f"{self.name}.yml"

    @property
    def key_file(self) -> Path:
        return self.platform.secrets / "keys" / f"{self.name}.key"

    @property
    def key(self) -> str:
        return self.key_file.read_text().strip()

    def derived(self) -> dict[str, str]:
        """Every secret that is derived for the tenant, by its purpose."""
        keys = _secrets.parse_root_keys({1: (self.platform.secrets / "root_key").read_text()})
        epochs = dict.fromkeys(_secrets.PURPOSES, self.entry.get("tenant_secret_epoch", 1))
        epochs["backup"] = 0  # restore points outlive a rotation
        uid = self.entry["tenant_uid"]
        return {name: _secrets.derive(keys, 1, uid, name, epoch) for name, epoch in epochs.items()}

    @property
    def entry(self) -> dict[str, Any]:
        return dict(yaml.safe_load(self.entry_file.read_text()))

    def change_entry(self, **variables: Any) -> None:
        """Edit the entry as an operator would."""
        self.entry_file.write_text(yaml.safe_dump({**self.entry, **variables}, sort_keys=False))

    @property
    def route_file(self) -> Path:
        """The file that the edge reads the tenant's route from."""
        found = [
            path
            for path in (self.platform.data_dir / "edge/dynamic").glob("*.yml")
            if self.hostname in path.read_text()
        ]
        assert len(found) == 1, found
        return found[0]

    # Through the edge -----------------------------------------------------------------

    def request(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """Ask the edge, with the tenant's key unless another one (or none: "") is given."""
        key = self.key if key is None else key
        headers = {**({"Authorization": f"Bearer {key}"} if key else {})}
        headers |= options.pop("headers", {})
        return requests.request(
            method,
            self.url + path,
            headers=headers,
            verify=str(self.platform.authority),
            timeout=options.pop("timeout", 30),
            **options,
        )

    def add(self, sentence: str, project: str = "tests", **options: Any) -> str:
        """Store a sentence; its id."""
        body = {"org_id": "ci", "project_id": project, "messages": [{"content": sentence}]}
        answer = self.request("POST", "/api/v2/memories", json=body, **options)
        self._check(answer)
        return str(answer.json()["results"][0]["uid"])

    def search(self, query: str, project: str = "tests", **options: Any) -> list[str]:
        """Sentences found in the long-term and the short-term memory."""
        body = {"org_id": "ci", "project_id": project, "query": query, "top_k": 5}
        answer = self.request("POST", "/api/v2/memories/search", json=body, **options)
        self._check(answer)
        found = answer.json()["content"].get("episodic_memory") or {}
        memories = (found.get("long_term_memory") or {}, found.get("short_term_memory") or {})
        return [episode["content"] for part in memories for episode in part.get("episodes", [])]

    def _check(self, answer: requests.Response) -> None:
        """Raise for an error, with what was answered and what the server has to say about it."""
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            said = f"{error}: {answer.text[:500]}"
            if answer.status_code == 500:
                said += f"\n{self.container('app').logs(tail=40).decode(errors='replace')}"
            raise requests.HTTPError(said, response=answer) from None

    def remembers(self, sentence: str, seconds: float = 30) -> bool:
        """Whether a search finds the sentence, waiting for a server that is starting."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if sentence in self.search(sentence):
                    return True
            except requests.RequestException:
                pass
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)

    def store_something(self) -> str:
        """Store a sentence that no other tenant has."""
        sentence = f"The launch code of {self.name} is {uuid.uuid4().hex}"
        self.add(sentence)
        return sentence

    # On the node ----------------------------------------------------------------------

    def container(self, role: str) -> Any:
        return self.platform.docker().containers.get(f"{self.platform.name}-{self.name}-{role}")

    def container_ids(self) -> dict[str, tuple[str, str]]:
        """Id and start time of each container: the same as long as nobody touched it."""
        containers = {role: self.container(role) for role in ROLES}
        return {role: (c.id, c.attrs["State"]["StartedAt"]) for role, c in containers.items()}

    @property
    def labels(self) -> list[str]:
        """What all that the engine holds of it has. Another platform may have one of its name."""
        return [f"memcloud.platform={self.platform.name}", f"memcloud.tenant={self.name}"]

    def scratch_runs(self) -> bool:
        """Whether an operation has a container of its own beside the tenant's."""
        label = [*self.labels, "memcloud.kind=scratch"]
        return bool(self.platform.docker().api.containers(filters={"label": label}))

    def is_held(self) -> bool:
        """Whether requests wait at the gate while an operation works."""
        path = self.platform.data_dir / "gate/tenants" / f"{self.name}.json"
        return path.exists() and json.loads(path.read_text())["state"] == "updating"

    def leftovers(self) -> list[str]:
        """Containers, networks, volumes, slots and files besides what a tenant consists of."""
        prefix = f"{self.platform.name}-{self.name}-"
        docker = self.platform.docker()
        mine = {"label": self.labels}
        # Those of others may go while they are looked at.
        named = {"name": f"^{prefix}"}
        containers = {c.name for c in docker.containers.list(all=True, filters=named)}
        containers |= {c.name for c in docker.containers.list(all=True, filters=mine)}
        networks = {n.name for n in docker.networks.list() if n.name.startswith(prefix)}
        networks |= {n.name for n in docker.networks.list(filters=mine)}
        its_own = {prefix + role for role in ROLES}, {prefix + "data", prefix + "app"}
        assert its_own[0] <= containers and its_own[1] <= networks
        left = sorted(containers - its_own[0]) + sorted(networks - its_own[1])
        volumes = sorted(
            {v.name for v in docker.volumes.list() if v.name.startswith(prefix)}
            | {v.name for v in docker.volumes.list(filters=mine)}
        )
        assert len(volumes) >= 2
        left += volumes if len(volumes) > 2 else []
        data = self.platform.data_dir
        left += [str(path) for path in (data / "tenants" / self.name).glob("work")]
        left += [str(path) for path in (data / "locks").glob(f"tenant-{self.name}.*")]
        slots = json.loads((data / "node.json").read_text())["slots"]
        left += [f"slot {uid}" for uid in slots if uid == f"verify-{self.entry['tenant_uid']}"]
        return left + [str(path) for path in data.rglob("*.new")]

    def address(self, role: str) -> str:
        """Address of a container on the tenant's network of the databases."""
        networks = self.container(role).attrs["NetworkSettings"]["Networks"]
        return str(networks[f"{self.platform.name}-{self.name}-data"]["IPAddress"])

    def python(self, program: str) -> str:
        """Run a Python program in the app's container and give back what it prints."""
        exit_code, output = self.container("app").exec_run(["python", "-c", program])
        text = str(output.decode())
        assert exit_code == 0, text
        return text.strip()

    def connects(self, address: str, port: int) -> bool:
        """Whether the app's container can open a connection."""
        program = (
            "import socket, sys\n"
            "try:\n"
            f"    socket.create_connection(({address!r}, {port}), 2).close(); print('yes')\n"
            "except OSError:\n"
            "    print('no')"
        )
        return self.python(program) == "yes"

    def sql(self, query: str) -> str:
        """What the tenant's PostgreSQL answers to its administrator."""
        command = 'PGPASSWORD="$(cat /run/memcloud/admin_password)" exec psql '
        command += '-U postgres -d memmachine -Atc "$1"'
        exit_code, output = self.container("postgres").exec_run(["sh", "-c", command, "sh", query])
        assert exit_code == 0, output
        return str(output.decode()).strip()

    def stats(self) -> dict[str, int]:
        """What the gate counted for the tenant."""
        port = self.platform.variables["platform_gate_port"]
        stats = requests.get(f"http://127.0.0.1:{port}/stats", timeout=5).json()
        return dict(json.loads(json.dumps(stats))["tenants"].get(self.name, {}))
