"""No secret anywhere but where it belongs: the hunt looks for the secrets themselves.

A tenant with a model key of its own is created for it, and every process of the machine, those in
containers too, is watched meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets as random
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.platform import ROLES, Platform, Tenant
from support.playbook import Run


@dataclass
class Watch:
    """Command lines and environments of all processes, as often as they can be read."""

    seen: set[bytes] = field(default_factory=set)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, over: threading.Event) -> None:
        while not over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                for file in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        self.seen.add((process / file).read_bytes())

    def text(self) -> str:
        return b"\n".join(self.seen).decode(errors="replace")


@dataclass(frozen=True)
class Creation:
    """A tenant, the run that deployed it, and what was seen of processes meanwhile."""

    tenant: Tenant
    model_key: str
    planted: str
    run: Run
    watch: Watch


@pytest.fixture(scope="module")
def creation(platform: Platform) -> Iterator[Creation]:
    model_key, planted = "demo-" + random.token_hex(16), random.token_hex(16)
    file = platform.secrets / "model.key"
    file.touch(0o600)
    file.write_text(model_key)
    tenant = platform.create("hunted")
    tenant.change_entry(
        tenant_model_provider="openai_compatible",
        tenant_model_base_url=(
            f"http://{platform.node_address}:{platform.variables['platform_demo_model_port']}/v1"
        ),
        tenant_model_api_key="{{ lookup('ansible.builtin.file', '%s') }}" % file,
        tenant_embedder_model="demo-embedding",
        tenant_embedder_dimensions=384,
        tenant_language_model="demo-chat",
    )
    watch = Watch()
    try:
        with watch.on(), subprocess.Popen(["sleep", "1"], env={"PLANTED": planted}):
            run = platform.play.ok(
                "create_tenant",
                "--diff",
                "-vvv",
                tenant="hunted",
                key_file=str(tenant.key_file),
                reissue_key=True,
            )
        yield Creation(tenant, model_key, planted, run, watch)
    finally:
        platform.delete("hunted")
        file.unlink()


@pytest.fixture(scope="module")
def tenant(creation: Creation) -> Tenant:
    return creation.tenant


@pytest.fixture(scope="module")
def secrets(platform: Platform, creation: Creation) -> dict[str, str]:
    """Every secret of the platform and of the tenant, by name."""
    root_key = (platform.secrets / "root_key").read_text().strip()
    found = {"root key": root_key, "api key": creation.tenant.key}
    found["root key in hex"] = base64.b64decode(root_key).hex()
    found["model key"] = creation.model_key
    return found | creation.tenant.derived()


def leaked(secrets: dict[str, str], text: str) -> list[str]:
    return sorted(name for name, secret in secrets.items() if secret in text)


def test_the_hunt_would_find_them(platform: Platform, tenant: Tenant, secrets: dict) -> None:
    """The derived passwords are those that the databases really have."""
    home = platform.data_dir / "tenants" / tenant.name
    assert (home / "postgres/app_password").read_text().strip() == secrets["postgres-app"]
    configuration = (home / "app/configuration.yml").read_text()
    assert leaked(secrets, configuration) == ["model key", "neo4j", "postgres-app"]


def test_not_in_what_the_creation_prints(creation: Creation, secrets: dict) -> None:
    assert "TASK [" in creation.run.output
    assert leaked(secrets, creation.run.output) == []


def test_not_in_command_lines_or_environments_while_it_is_created(
    creation: Creation, secrets: dict
) -> None:
    seen = creation.watch.text()
    assert creation.planted in seen, "the watch sees environments"
    assert "playbooks/create_tenant.yml" in seen, "and command lines"
    assert "/opt/memcloud/start" in seen, "and those in containers"
    assert leaked(secrets, seen) == []


@pytest.mark.parametrize("verbosity", ["-v", "-vvv"])
def test_not_in_what_a_run_prints(
    platform: Platform, tenant: Tenant, secrets: dict, verbosity: str
) -> None:
    platform.tenant(tenant.name).container("app").stop(timeout=10)
    output = platform.play.ok("deploy_tenant", "--diff", verbosity).output
    assert leaked(secrets, output) == []


def test_not_in_the_diff_of_a_configuration_that_changes(
    platform: Platform, tenant: Tenant, secrets: dict
) -> None:
    path = platform.data_dir / "tenants" / tenant.name / "app/configuration.yml"
    path.write_text(path.read_text() + "# by hand\n")
    for mode in (["--check"], []):
        output = platform.play.ok("deploy_tenant", "--diff", "-vvv", *mode).output
        assert leaked(secrets, output) == []


def test_not_in_the_report(platform: Platform, tenant: Tenant, secrets: dict, tmp_path: Path):
    report = tmp_path / "info.json"
    run = platform.play.ok("tenant_info", "-vvv", result_file=str(report))
    assert leaked(secrets, run.output + report.read_text()) == []


def test_not_in_containers_labels_environments_or_logs(
    platform: Platform, tenant: Tenant, secrets: dict
) -> None:
    client = platform.docker()
    ours = client.containers.list(all=True, filters={"label": f"memcloud.platform={platform.name}"})
    assert len(ours) >= len(ROLES) + 2
    for container in ours:
        assert leaked(secrets, json.dumps(container.attrs)) == [], container.name
        assert leaked(secrets, container.logs().decode()) == [], container.name
    for kind in (client.networks, client.volumes):
        text = json.dumps([item.attrs for item in kind.list()])
        assert leaked(secrets, text) == []


def test_not_in_command_lines_or_environments_of_processes(secrets: dict) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            try:
                text = (process / file).read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(os.getpid()) == process.name:
                continue
            assert leaked(secrets, text) == [], (process, file)


def test_not_in_files_that_others_can_read(
    platform: Platform, tenant: Tenant, secrets: dict
) -> None:
    for path in [*platform.data_dir.rglob("*"), *platform.inventory.rglob("*")]:
        if path.is_file() and path.stat().st_mode & 0o004:
            reachable = all(p.stat().st_mode & 0o001 for p in path.parents if p != Path("/"))
            if reachable:
                assert leaked(secrets, path.read_text(errors="replace")) == [], path


def test_the_root_key_never_reaches_the_node(platform: Platform, secrets: dict) -> None:
    """Not even files that root alone can read."""
    root_key = {name: secret for name, secret in secrets.items() if name.startswith("root key")}
    for path in platform.data_dir.rglob("*"):
        if path.is_file():
            assert leaked(root_key, path.read_text(errors="replace")) == [], path


def test_the_api_key_is_kept_nowhere_but_in_its_own_file(
    platform: Platform, tenant: Tenant, secrets: dict
) -> None:
    key = {"api key": secrets["api key"]}
    for root in (platform.data_dir, platform.inventory):
        for path in root.rglob("*"):
            if path.is_file() and path != tenant.key_file:
                assert leaked(key, path.read_text(errors="replace")) == [], path


def test_files_of_the_quickstart_kind_are_private_and_ignored_by_git(tenant: Tenant) -> None:
    assert tenant.key_file.stat().st_mode & 0o077 == 0
    root_key = tenant.platform.secrets / "root_key"
    assert root_key.stat().st_mode & 0o077 == 0
    ignored = subprocess.run(
        ["git", "check-ignore", str(tenant.key_file), str(root_key)], capture_output=True, text=True
    )
    assert len(ignored.stdout.splitlines()) == 2
