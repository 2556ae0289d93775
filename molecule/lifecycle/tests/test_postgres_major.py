"""A node whose PostgreSQL is of the next major version: tenants come to it, and back again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._images import node_proxies
from support.images import own_images, record_of
from support.platform import Platform, Tenant
from support.playbook import CHECKOUT

# The next Debian has it. What is tried is the way there, not that version.
SUITE, NEXT = "forky", 18
BASE, IMAGE = f"memcloud-test/{SUITE}:1", f"memcloud-test/postgres:{NEXT}"
RECIPE = CHECKOUT / "roles/postgres_pgvector/files/image"


@pytest.fixture(scope="module")
def next_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The next PostgreSQL, made as this collection makes its own."""
    options = [
        "--variant=minbase",
        "--keyring=/usr/share/keyrings",
        '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be behind
    ]
    base = subprocess.Popen(
        ["mmdebstrap", "--quiet", *options, SUITE, "-"],
        stdout=subprocess.PIPE,
    )
    subprocess.run(["docker", "import", "-", BASE], stdin=base.stdout, check=True)
    assert base.wait() == 0
    context = tmp_path_factory.mktemp("postgres")
    shutil.copytree(RECIPE, context, dirs_exist_ok=True)
    for path in context.iterdir():
        text = path.read_text()
        for written in ("postgresql-{}", "postgresql/{}/", "data/{}"):
            text = text.replace(written.format(17), written.format(NEXT))
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    arguments = [f"--build-arg=BASE={BASE}"]
    arguments += [f"--build-arg={name}={value}" for name, value in node_proxies().items()]
    subprocess.run(["docker", "build", "--quiet", "-t", IMAGE, *arguments, context], check=True)
    made = ["docker", "image", "inspect", "--format", "{{.Id}}", IMAGE]
    yield subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "rmi", "--force", IMAGE, BASE], check=True)


@pytest.fixture
def tenant(platform: Platform) -> Iterator[Tenant]:
    made = platform.create("sigma")
    platform.play.ok("deploy_tenant", tenant=made.name)
    yield made
    platform.delete(made.name)


def major(tenant: Tenant) -> int:
    code, said = tenant.container("postgres").exec_run(["postgres", "--version"])
    assert code == 0
    return int(said.split()[2].split(b".")[0])


def test_another_major_version_by_dump_and_restore(
    platform: Platform, tenant: Tenant, next_image: str
) -> None:
    sentence = tenant.store_something()
    with own_images(platform):
        with record_of(platform, "postgres") as entry:
            entry.update(id=next_image, version=f"{NEXT}.0")
        # Nothing but an update puts it on data of another.
        assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}
        assert major(tenant) == NEXT - 1

        run = platform.play.ok("update_tenant", tenant=tenant.name)
        assert f"PostgreSQL {NEXT - 1} -> {NEXT} by dump and restore" in run.output
        assert major(tenant) == NEXT
        assert tenant.remembers(sentence)
        assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}

    later = tenant.store_something()
    platform.play.ok("rollback_tenant", tenant=tenant.name, force=True)
    assert major(tenant) == NEXT - 1
    assert tenant.remembers(sentence) and later not in tenant.search(later)
