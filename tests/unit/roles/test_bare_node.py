# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that has nothing of ours yet, in check mode."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from support import controller


@pytest.mark.parametrize("older", [True, False])
def test_check_mode_says_what_a_bare_machine_would_get_first(tmp_path: Path, older: bool) -> None:
    """What else it would get needs engine and virtual environment: the play ends there for it."""
    venv = tmp_path / "venv"
    if older:
        (venv / "bin").mkdir(parents=True)
        (venv / "bin/python").symlink_to(sys.executable)
    before = sorted(tmp_path.rglob("*"))
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "docker_node_python": sys.executable,
            "docker_node_docker_host": f"unix://{tmp_path}/none.sock",
            "docker_node_data_dir": str(tmp_path / "data"),
            "platform_node_venv": str(venv),
            "docker_node_subnet_pool": "192.168.250.0/24",
            "docker_node_needed_ports": [],
            "docker_node_min_free": 1,
        },
        "roles": ["memcloud.memmachine.docker_node", "memcloud.memmachine.neo4j"],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    code, output = controller.play("-i", "localhost,", tmp_path / "play.yml", "--check")
    assert code == 0, output
    assert f"a Docker Engine that is started, the virtual environment {venv}." in output
    assert "changed=1 " in output
    assert "image of Neo4j" not in output
    (tmp_path / "play.yml").unlink()
    assert sorted(tmp_path.rglob("*")) == before
