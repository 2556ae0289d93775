"""Images of a node that differ a little from its own, as a new minor version would."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .platform import Platform

_LABEL = "memcloud.test=image"
# What an image of derive() has and the node's own has not.
MARK = "/usr/share/memcloud/another"
ANOTHER = f"RUN touch {MARK}"
# Files of a server's image, and lines in them that begin a function.
ROUTER = "/app/.venv/lib/python3.13/site-packages/memmachine_server/server/api_v2/router.py"
STORES = (ROUTER, ") -> AddMemoriesResponse:")
SEARCHES = (ROUTER, ") -> SearchResult:")
STARTS = ("/opt/memcloud/launch.py", "def serve() -> None:")


def base_image() -> str:
    """The Debian that the node's own images are made of; empty when this machine has none."""
    command = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "memcloud/base"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(listed.stdout.split()), "")


def derive(base: str, *lines: str) -> str:
    """The id of an image with a tiny layer on top of another one."""
    dockerfile = "\n".join([f"FROM {base}", "USER 0", *lines])
    command = ["docker", "build", "--quiet", "--label", _LABEL, "-"]
    built = subprocess.run(command, input=dockerfile, capture_output=True, text=True, check=True)
    return built.stdout.strip()


def replace_image(platform: Platform, kind: str, *lines: str, version: str = "") -> None:
    """Have the node believe that its image of a kind is its present one with another layer."""
    with record_of(platform, kind, version) as entry:
        entry["id"] = derive(entry["id"], *lines)


def with_line(place: tuple[str, str], line: str) -> str:
    """A layer with another first line in a function of a server."""
    file, mark = Path(place[0]), place[1]
    quoted = shlex.quote(f"/^{mark}/a\\    {line}")
    return f"RUN sed -i {quoted} {file} && rm {file.parent}/__pycache__/{file.stem}.*"


@contextlib.contextmanager
def record_of(platform: Platform, kind: str, version: str = "") -> Iterator[dict[str, Any]]:
    """What the node notes of its image of a kind, to be changed; written in the end."""
    path = platform.data_dir / "images.json"
    known = json.loads(path.read_text())
    yield known[kind][version] if version else known[kind]
    path.write_text(json.dumps(known))


@contextlib.contextmanager
def own_images(platform: Platform) -> Iterator[None]:
    """Put the node's record of its images back in the end."""
    path = platform.data_dir / "images.json"
    before = path.read_text()
    try:
        yield
    finally:
        path.write_text(before)


def remove_derived(platform: Platform) -> None:
    """Remove what derive() made; no container may use it any more."""
    engine = platform.docker()
    for image in engine.images.list(filters={"label": _LABEL}):
        engine.images.remove(image.id, force=True)
