# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""memmachine_image patches a published image, by tag and by digest, from a real registry.

Needs root, a Docker Engine, and an image of MemMachine that was built from packages: the published
one of this test is made of it, with a virtual environment of links to another Python, and without
psycopg2. The registry is in a container, made of the base image of the node.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_memmachine_pull.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from support.images import base_image
from support.ports import free_port

CHECKOUT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "registry"
PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
DOCKER_HOST = os.environ.get("MEMCLOUD_DOCKER_HOST", "unix:///var/run/docker.sock")
VERSION = "0.4.0"
INTERPRETER = "/app/.venv/bin/python"
MADE: set[str] = set()
NAME = "memmachine/memmachine"
PUBLISHED = """
FROM {built}
USER root
RUN apt-get update -q && apt-get install -qy --no-install-recommends python3-pip \\
 && rm -rf /var/lib/apt/lists/* /opt/memcloud \\
      /app/.venv/lib/python3*/site-packages/psycopg2* \\
 && find /app/.venv -name __pycache__ -prune -exec rm -rf {{}} + \\
 && mv /usr/bin/python3.13 /usr/local/bin/python3.13 \\
 && ln -s /usr/local/bin/python3.13 /usr/bin/python3.13 \\
 && ln -sfn python3.13 /usr/local/bin/python3 \\
 && rm /app/.venv/bin/python* && ln -s /usr/local/bin/python3 /app/.venv/bin/python \\
 && ln -s python /app/.venv/bin/python3 && ln -s python /app/.venv/bin/python3.13
LABEL memcloud.context= memcloud.memmachine= memcloud.python= memcloud.psycopg2=
ENTRYPOINT []
CMD ["memmachine-server"]
"""


def images() -> dict[str, Any]:
    path = DATA_DIR / "images.json"
    return json.loads(path.read_text()) if path.exists() else {}


BUILT = images().get("memmachine", {}).get(VERSION, {})
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or BUILT.get("source") != "packages",
    reason=f"needs root, and MemMachine {VERSION} from packages on this machine",
)


@dataclass(frozen=True)
class Published:
    """The published image, as a registry has it."""

    tag: str
    digest: str


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker.DockerClient(base_url=DOCKER_HOST, timeout=600)


@pytest.fixture(scope="module")
def registry(engine: docker.DockerClient) -> Iterator[str]:
    base = {"BASE": base_image()}
    image, _log = engine.images.build(
        path=str(HERE), buildargs=base, tag="memcloud-test/registry:1", rm=True, forcerm=True
    )
    address = f"127.0.0.1:{free_port()}"
    container = engine.containers.run(
        image.id,
        detach=True,
        name=f"memcloud-test-registry-{uuid.uuid4().hex[:8]}",
        network_mode="host",
        environment={"REGISTRY_HTTP_ADDR": address},
    )
    try:
        wait_for(f"http://{address}/v2/")
        yield address
    finally:
        container.remove(force=True, v=True)


def wait_for(url: str) -> None:
    for _attempt in range(50):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")


@pytest.fixture(scope="module")
def published(engine: docker.DockerClient, registry: str) -> Iterator[Published]:
    tag = f"{registry}/{NAME}:v{VERSION}-cpu"
    recipe = io.BytesIO(PUBLISHED.format(built=BUILT["ref"]).encode())
    engine.images.build(fileobj=recipe, tag=tag, rm=True, forcerm=True)
    pushed = engine.api.push(tag, stream=True, decode=True)
    digests = [entry["aux"]["Digest"] for entry in pushed if "aux" in entry]
    engine.images.remove(tag)
    try:
        yield Published(tag, f"{registry}/{NAME}@{digests[0]}")
    finally:
        for patched in MADE:
            engine.images.remove(patched)
        # By name: steps of a refused build may still stand on it, as the engine's build cache.
        for reference in (tag, f"{registry}/{NAME}@{digests[0]}"):
            with contextlib.suppress(docker.errors.ImageNotFound):
                engine.images.remove(reference)


def provide(
    data_dir: Path, reference: str, *, version: str = VERSION, check: bool = False
) -> dict[str, Any]:
    """Run the module as a task does, and give back its result."""
    task = {
        "memcloud.memmachine.memmachine_image": {
            "version": version,
            "source": "pull",
            "reference": reference,
            "platform_data_dir": str(data_dir),
            "docker_host": DOCKER_HOST,
        }
    }
    note = {"content": "{{ result | to_json }}", "dest": str(data_dir / "result.json")}
    tasks = [
        {**task, "register": "result", "ignore_errors": True},
        {"ansible.builtin.copy": {**note, "mode": "0600"}, "check_mode": False},
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook = data_dir / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    variables = json.dumps({"ansible_python_interpreter": sys.executable})
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", variables]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(CHECKOUT / "ansible.cfg"))
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    finished = subprocess.run(
        [*command, *(["--check"] if check else []), str(playbook)],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    result: dict[str, Any] = json.loads((data_dir / "result.json").read_text())
    if result.get("id"):
        MADE.add(result["ref"])
    return result


def python(engine: docker.DockerClient, image: str, program: str) -> str:
    """What a program says that the server's interpreter runs, with a read-only root."""
    options: dict[str, Any] = {"read_only": True, "network_mode": "none", "remove": True}
    said = engine.containers.run(image, ["-c", program], entrypoint=INTERPRETER, **options)
    return str(said.decode().strip())


def test_the_published_image_has_no_psycopg2(
    engine: docker.DockerClient, published: Published
) -> None:
    engine.images.pull(published.tag)
    with pytest.raises(docker.errors.ContainerError, match="No module named .*psycopg2"):
        python(engine, published.tag, "import psycopg2")


@pytest.mark.parametrize("named_by", ["tag", "digest"])
def test_it_is_patched(
    engine: docker.DockerClient, published: Published, named_by: str, tmp_path: Path
) -> None:
    reference = getattr(published, named_by)
    checked = provide(tmp_path, reference, check=True)
    assert checked["changed"] is True
    assert not (tmp_path / "images.json").exists()

    first, second = provide(tmp_path, reference), provide(tmp_path, reference)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["id"] == second["id"]
    assert provide(tmp_path, reference, check=True)["changed"] is False

    image = engine.images.get(first["ref"])
    assert image.id == first["id"]
    assert image.labels["memcloud.memmachine"] == VERSION
    assert image.labels["memcloud.psycopg2"] == first["versions"]["psycopg2"]
    assert image.labels["memcloud.python"] == first["versions"]["python"]
    assert image.attrs["Config"]["User"] == "30012:30012"
    noted = json.loads((tmp_path / "images.json").read_text())["memmachine"][VERSION]
    assert (noted["id"], noted["source"]) == (first["id"], "pull")

    where = "import psycopg2, memmachine_server as m; print(psycopg2.__file__); print(m.__file__)"
    driver, server = python(engine, first["id"], where).splitlines()
    assert Path(driver).parents[1] == Path(server).parents[1]
    data = "import nltk; print(nltk.data.find('tokenizers/punkt_tab/english/'))"
    assert python(engine, first["id"], data).startswith("/opt/memcloud/nltk_data/")


def test_an_image_of_another_version_is_refused(published: Published, tmp_path: Path) -> None:
    result = provide(tmp_path, published.tag, version="0.3.9")
    assert result["failed"] is True
    assert "holds MemMachine 0.4.0, not 0.3.9" in result["msg"]
    assert not (tmp_path / "images.json").exists()
