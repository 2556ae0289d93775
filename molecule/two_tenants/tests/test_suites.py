"""Suites that stand for themselves, run side by side: one of them keeps a stream open for minutes.

tests/clients: the official library, mem-cli and the MCP SDK, unchanged, with only URL and key.
tests/integration, all of it: firewall and edge of the node, tried with made-up tenants; its
images and networks; the hook for DNS records against a name server. A test that is skipped has
proven nothing, and fails its suite.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support.platform import Platform
from support.playbook import CHECKOUT

PYTEST = ["pytest", "-p", "no:cacheprovider", "-rs"]
IMAGES = ("test_databases", "test_memmachine_pull")


def start(variables: dict[str, str], *commands: list[str]) -> subprocess.Popen[str]:
    program = " && ".join(" ".join(command) for command in commands)
    return subprocess.Popen(
        ["bash", "-c", program],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def clients(platform: Platform, name: str, seconds: int) -> subprocess.Popen[str]:
    tenant = platform.tenant(name)
    variables = {
        "MEMCLOUD_URL": tenant.url,
        "MEMCLOUD_KEY_FILE": str(tenant.key_file),
        "MEMCLOUD_CA_FILE": str(platform.authority),
        "MEMCLOUD_STREAM_SECONDS": str(seconds),
    }
    return start(variables, [*PYTEST, "tests/clients"])


def integration(platform: Platform) -> dict[str, subprocess.Popen[str]]:
    """Every suite of tests/integration, in two rows that take about the same time."""
    names = ["subnet_pool", "http_port", "https_port", "edge_api_port", "gate_port"]
    names.append("metrics_address")
    variables = {f"MEMCLOUD_{n.upper()}": str(platform.variables[f"platform_{n}"]) for n in names}
    demo_model_port = platform.variables["platform_demo_model_port"]
    variables |= {
        "MEMCLOUD_PLATFORM": platform.name,
        "MEMCLOUD_DATA_DIR": str(platform.data_dir),
        "MEMCLOUD_MODEL_ENDPOINT": f"{platform.node_address}:{demo_model_port}",
    }
    rows: dict[str, list[list[str]]] = {"node": [], "images": []}
    for suite in sorted((CHECKOUT / "tests/integration").rglob("test_*.py")):
        row = "images" if suite.stem in IMAGES else "node"
        rows[row].append([*PYTEST, str(suite.relative_to(CHECKOUT))])
    return {row: start(variables, *commands) for row, commands in rows.items()}


@pytest.fixture(scope="module")
def running(platform: Platform) -> Iterator[dict[str, subprocess.Popen[str]]]:
    suites = {
        # One stream for the three minutes that are promised.
        "clients of alpha": clients(platform, "alpha", 180),
        "clients of beta": clients(platform, "beta", 5),
        **integration(platform),
    }
    yield suites
    for suite in suites.values():
        suite.kill()


@pytest.mark.parametrize("suite", ["clients of beta", "node", "images", "clients of alpha"])
def test_suite_passes(running: dict[str, subprocess.Popen[str]], suite: str) -> None:
    output, _ = running[suite].communicate(timeout=900)
    assert running[suite].returncode == 0, output
    assert "SKIPPED" not in output, output
