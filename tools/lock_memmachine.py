#!/usr/bin/env python3
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the lock file of one MemMachine version for images built from packages.

    tools/lock_memmachine.py 0.4.0

Needs uv. The lock holds every package with the hashes of the files that fit the image: CPython
3.13 on Linux, x86-64 and ARM64.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

LOCKS = Path(__file__).parent.parent / "roles/memmachine_image/files/image/locks"
PYTHON = "3.13"
FITTING = re.compile(
    r"-(?:[a-z0-9.]*py3[a-z0-9.]*-none|cp313-cp313|cp3\d+-abi3)-(?:any|\S*linux\S*_(?:x86_64|aarch64))"
)
HEADER = """\
# Packages of memmachine-server {version}, for CPython {python} on Linux.
# Written by tools/lock_memmachine.py {version}; do not edit.
"""


def resolve(version: str) -> dict:
    """Return the resolved packages as uv's standard lock document."""
    wanted = [f"memmachine-server=={version}", f"memmachine-common=={version}", "psycopg2-binary"]
    with tempfile.TemporaryDirectory() as scratch:
        source, lock = Path(scratch, "wanted.in"), Path(scratch, "pylock.toml")
        source.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        subprocess.run(
            ["uv", "pip", "compile", "--quiet", "--python-version", PYTHON, "--python-platform",
             "x86_64-manylinux_2_28", "--format", "pylock.toml", "-o", str(lock), str(source)],
            check=True,
        )  # fmt: skip
        return tomllib.loads(lock.read_text(encoding="utf-8"))


def file_name(entry: dict) -> str:
    """Return the name of a distributed file."""
    return entry.get("name") or entry["url"].rpartition("/")[2]


def pinned(package: dict) -> str:
    """Return a package as a requirement with the hashes of the files that fit."""
    wheels = [wheel for wheel in package.get("wheels", []) if FITTING.search(file_name(wheel))]
    files = wheels or [package["sdist"]]
    hashes = sorted({"--hash=sha256:" + entry["hashes"]["sha256"] for entry in files})
    return " \\\n    ".join([f"{package['name']}=={package['version']}", *hashes])


def main() -> int:
    """Write the lock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    version = parser.parse_args().version
    packages = sorted(resolve(version)["packages"], key=lambda package: package["name"])
    lines = [HEADER.format(version=version, python=PYTHON)]
    lines += [pinned(package) + "\n" for package in packages]
    LOCKS.mkdir(parents=True, exist_ok=True)
    (LOCKS / f"memmachine-{version}.txt").write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
