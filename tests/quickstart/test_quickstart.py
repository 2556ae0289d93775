"""A fresh clone, the README's commands as they stand there, and the lines that the quickstart prints.

Runs on the machine itself (platform `mc`, ports 80 and 443), so a quickstart that is in use is in the way: it says so
and leaves it alone. In order: quickstart, the printed lines, every command of the README, and back to nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NODE = Path("/var/lib/memcloud/mc")
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def environment() -> dict[str, str]:
    """As in a shell that was just opened: nothing of the virtual environment that runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MOLECULE_"))}
    kept.pop("VIRTUAL_ENV", None)
    path = [part for part in kept["PATH"].split(":") if not part.endswith(".venv/bin")]
    return {**kept, "PATH": ":".join(path)}


def shell(program: str, directory: Path, timeout: int = 1800) -> str:
    """Run a shell program that must succeed; what it printed."""
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, f"{program}\n{run.stdout[-8000:]}"
    return run.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if NODE.exists():
        pytest.skip(f"a quickstart is in use on this machine ({NODE}): `make clean` takes it away")
    directory = tmp_path_factory.mktemp("clone") / "memmachine"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(directory)], check=True)
    yield directory
    subprocess.run(["make", "clean"], cwd=directory, env=environment(), timeout=600, check=False)


@pytest.fixture(scope="module")
def printed(clone: Path) -> str:
    """What the first quickstart printed."""
    return shell("make quickstart", clone)


def containers(directory: Path) -> str:
    command = (
        "docker ps --no-trunc --filter label=memcloud.platform=mc --format '{{.ID}} {{.Names}}'"
    )
    return "\n".join(sorted(shell(command, directory).splitlines()))


def test_ends_with_two_tenants(printed: str) -> None:
    for tenant, tier in (("acme", "free"), ("globex", "pro")):
        assert f"\n{tenant} ({tier})\n  URL     https://{tenant}.memcloud.localhost" in printed
    assert "Both tenants are up" in printed


def test_printed_lines_work_when_pasted(clone: Path, printed: str) -> None:
    lines = [line.strip() for line in printed.splitlines() if line.startswith("    ")]
    pasted = [line for line in lines if "mem-cli" in line or "curl" in line or "python -c" in line]
    assert len(pasted) == 8
    for line in pasted:
        answer = shell(line, clone)
        if "search" in line:
            assert "tea" in answer, line


def test_a_second_run_changes_nothing_and_says_so(clone: Path, printed: str) -> None:
    before = containers(clone)
    assert before.count("\n") + 1 >= 8
    assert "nothing had to change" in shell("make quickstart", clone)
    assert containers(clone) == before


def test_files_of_the_clone_are_as_git_knows_them(clone: Path, printed: str) -> None:
    assert shell("git status --porcelain", clone) == ""


def test_every_command_of_the_readme_works_in_its_order(clone: Path, printed: str) -> None:
    """One shell from the top to the bottom, as a reader would."""
    blocks = FENCE.findall((clone / "README.md").read_text())
    assert len(blocks) >= 8
    # These two alone are what the tests before and after this one run.
    blocks = [block for block in blocks if block.strip() not in ("make quickstart", "make clean")]
    output = shell("\n".join(["set +u", *blocks]), clone)
    assert "Ada drinks her tea without sugar" in output
    assert "403\n" in output


def test_nothing_is_left(clone: Path, printed: str) -> None:
    shell("make clean", clone)
    assert not NODE.exists()
    for kind in ("ps --all", "network ls", "volume ls"):
        listed = subprocess.run(
            ["docker", *kind.split(), "--quiet", "--filter", "label=memcloud.platform=mc"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.stdout == "", kind
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    assert "memcloud_mc" not in tables.stdout
    assert "tenants of mc " not in Path("/etc/hosts").read_text()
    assert not (clone / "inventories/quickstart/.secrets").exists()
    assert "there is no quickstart to remove" in shell("make clean", clone)
