"""No secret anywhere but where it belongs: the hunt looks for the secrets themselves."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _secrets
from support.platform import ROLES, Platform, Tenant

PURPOSES = ("postgres-admin", "postgres-app", "neo4j", "probe")


@pytest.fixture(scope="module")
def secrets(platform: Platform, tenant: Tenant) -> dict[str, str]:
    """Every secret of the platform and of the tenant, by name."""
    root_key = (platform.secrets / "root_key").read_text().strip()
    keys = _secrets.parse_root_keys({1: root_key})
    uid = tenant.entry["tenant_uid"]
    found = {"root key": root_key, "api key": tenant.key}
    found["root key in hex"] = base64.b64decode(root_key).hex()
    for purpose in PURPOSES:
        found[purpose] = _secrets.derive(keys, 1, uid, purpose, 1)
    return found


def leaked(secrets: dict[str, str], text: str) -> list[str]:
    return sorted(name for name, secret in secrets.items() if secret in text)


def test_the_hunt_would_find_them(platform: Platform, tenant: Tenant, secrets: dict) -> None:
    """The derived passwords are those that the databases really have."""
    home = platform.data_dir / "tenants" / tenant.name
    assert (home / "postgres/app_password").read_text().strip() == secrets["postgres-app"]
    configuration = (home / "app/configuration.yml").read_text()
    assert {"postgres-app", "neo4j"} <= set(leaked(secrets, configuration))


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
