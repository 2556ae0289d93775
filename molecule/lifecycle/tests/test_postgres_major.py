"""A tenant of an older PostgreSQL comes to the node's major version, and back again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from support.images import own_images
from support.platform import Platform, Tenant
from support.playbook import CHECKOUT

SUITE, MAJOR = "bookworm", "15"
BASE, IMAGE = "memcloud-test/bookworm:1", "memcloud-test/postgres:15"
RECIPE = CHECKOUT / "roles/postgres_pgvector/files/image"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(scope="module")
def older_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PostgreSQL of Debian 12, made as this collection makes the one of Debian 13."""
    base = subprocess.Popen(
        ["mmdebstrap", "--quiet", "--variant=minbase", SUITE, "-"], stdout=subprocess.PIPE
    )
    subprocess.run(["docker", "import", "-", BASE], stdin=base.stdout, check=True)
    assert base.wait() == 0
    context = tmp_path_factory.mktemp("postgres")
    shutil.copytree(RECIPE, context, dirs_exist_ok=True)
    for path in context.iterdir():
        text = path.read_text().replace("postgresql-17", f"postgresql-{MAJOR}")
        text = text.replace("postgresql/17/", f"postgresql/{MAJOR}/").replace(
            "data/17", f"data/{MAJOR}"
        )
        # Locales of PostgreSQL itself are of 17.
        text = text.replace("--locale-provider=builtin", "--locale-provider=libc")
        text = text.replace("--builtin-locale=C.UTF-8 ", "")
        path.write_text(text)
    arguments = [f"--build-arg=BASE={BASE}"]
    arguments += [
        f"--build-arg={name}={os.environ[name]}" for name in PROXIES if name in os.environ
    ]
    subprocess.run(["docker", "build", "--quiet", "-t", IMAGE, *arguments, context], check=True)
    made = ["docker", "image", "inspect", "--format", "{{.Id}}", IMAGE]
    yield subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "rmi", "--force", IMAGE, BASE], check=True)


@pytest.fixture
def tenant(platform: Platform, older_image: str) -> Iterator[Tenant]:
    """A tenant on a node that had nothing newer yet."""
    with own_images(platform):
        path = platform.data_dir / "images.json"
        known = json.loads(path.read_text())
        known["postgres"].update(id=older_image, version=f"{MAJOR}.0")
        path.write_text(json.dumps(known))
        made = platform.create("sigma")
        platform.play.ok("deploy_tenant", tenant=made.name)
    yield made
    platform.delete(made.name)


def major(tenant: Tenant) -> int:
    code, said = tenant.container("postgres").exec_run(["postgres", "--version"])
    assert code == 0
    return int(said.split()[2].split(b".")[0])


def test_another_major_version_by_dump_and_restore(platform: Platform, tenant: Tenant) -> None:
    sentence = tenant.store_something()
    assert major(tenant) == int(MAJOR)
    # Nothing but an update puts the new one on its data.
    assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}
    run = platform.play.ok("update_tenant", tenant=tenant.name)
    assert f"PostgreSQL {MAJOR} -> 17 by dump and restore" in run.output
    assert major(tenant) == 17
    assert tenant.remembers(sentence)
    assert platform.play.ok("deploy_tenant", tenant=tenant.name).changed == {}

    later = tenant.store_something()
    platform.play.ok("rollback_tenant", tenant=tenant.name, force=True)
    assert major(tenant) == int(MAJOR)
    assert tenant.remembers(sentence) and later not in tenant.search(later)
