"""An authority that gives out certificates by ACME, as Let's Encrypt does: its own test server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_ca,
    ensure_leaf,
    leaf_path,
)

from .ports import free_port

NAME = "localhost"


def certificate(directory: Path, hostname: str) -> tuple[Path, Path]:
    """A certificate with its key in one file, and the authority that signed it, made here."""
    ensure_ca(str(directory / "ca"), "Test")
    ensure_leaf(str(directory / "ca"), str(directory / "certs"), hostname)
    return Path(leaf_path(str(directory / "certs"), hostname)), directory / "ca/ca.crt"


@dataclass(frozen=True)
class Authority:
    """The authority while it runs.

    :param url: its directory of ACME.
    :param server_ca: what signed the certificate of its own server.
    :param root: what signs the certificates that it gives out.
    """

    url: str
    server_ca: Path
    root: Path


@contextmanager
def authority(directory: Path, http_port: int) -> Iterator[Authority]:
    """Run one that looks for its challenges at a port of this machine."""
    ours, server_ca = certificate(directory, NAME)
    ports = [free_port() for _ in range(2)]
    settings = {
        "listenAddress": f"127.0.0.1:{ports[0]}",
        "managementListenAddress": f"127.0.0.1:{ports[1]}",
        "certificate": str(ours),
        "privateKey": str(ours),
        "httpPort": http_port,
        "tlsPort": 1,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    with (directory / "pebble.log").open("wb") as log:
        process = subprocess.Popen(
            ["pebble", "-config", directory / "pebble.json"],
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        root = directory / "root.pem"
        root.write_text(_answer(f"https://{NAME}:{ports[1]}/roots/0", server_ca))
        yield Authority(f"https://{NAME}:{ports[0]}/dir", server_ca, root)
    finally:
        process.kill()
        process.wait()


def _answer(url: str, server_ca: Path) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            answer = requests.get(url, verify=str(server_ca), timeout=5)
            answer.raise_for_status()
            return answer.text
        except requests.ConnectionError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)
