# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ansible-playbook with the settings of the checkout, for tests without a platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).parents[2]
DF = """#!%s
import json, sys
for begin, (free, mounted) in json.loads(%r).items():
    if sys.argv[-1].startswith(begin):
        print("Avail Mounted on")
        print(free * 1024**2, mounted)
        break
"""


def play(*words: Path | str, cwd: Path = TOP, **environment: str) -> tuple[int, str]:
    """Return code and output of a run."""
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", *words],
        cwd=cwd,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def play_tasks(
    directory: Path,
    tasks: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    *words: str,
    **environment: str,
) -> tuple[int, str]:
    """Return code and output of a run of some tasks, as of a role, on this machine."""
    play_of_them = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, **variables},
        "tasks": tasks,
    }
    (directory / "play.yml").write_text(yaml.safe_dump([play_of_them]))
    return play("-i", "localhost,", directory / "play.yml", *words, **environment)


def path_with_df(directory: Path, free: dict[str, tuple[int, str]]) -> str:
    """A PATH whose df knows what is free (MiB) and where it is mounted, by the begin of a place."""
    program = directory / "bin/df"
    program.parent.mkdir()
    program.write_text(DF % (sys.executable, json.dumps(free)))
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"
