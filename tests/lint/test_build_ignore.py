# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that is built from a working copy has what git knows, and no keys or tenants."""

from __future__ import annotations

import fnmatch
import subprocess
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
PATTERNS = yaml.safe_load((TOP / "galaxy.yml").read_text())["build_ignore"]


def is_left_out(path: str) -> bool:
    """As ansible-galaxy walks: the patterns are held against each directory on the way, too."""
    parts = path.split("/")
    ways = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatch(way, pattern) for way in ways for pattern in PATTERNS)


@pytest.mark.parametrize(
    "path",
    [
        "inventories/quickstart/.secrets/root_key",
        "inventories/example/.secrets/keys/acme.key",
        "inventories/production/.reports/deleted-acme.json",
        "inventories/quickstart/host_vars/acme.yml",
        "inventories/production/host_vars/acme/vault.yml",
        "inventories/eu-1/host_vars/acme.yml",
    ],
)
def test_what_a_user_wrote_is_left_out(path: str) -> None:
    assert is_left_out(path)


def test_inventories_that_are_committed_are_not() -> None:
    command = ["git", "ls-files", "inventories"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout
    assert [path for path in listed.splitlines() if is_left_out(path)] == []
