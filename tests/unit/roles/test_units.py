"""The systemd units of a node, as systemd reads them: no machine of the tests has an init."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import controller

CHECKOUT = Path(__file__).parents[3]
ROLE = CHECKOUT / "roles/docker_node"
OWN_ENGINE = ["-H", "unix:///run/mc/docker.sock", "--data-root", "/srv/mc/docker"]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{role}/defaults/main.yml, {role}/vars/main.yml]
  tasks:
    - ansible.builtin.copy:
        dest: "{there}/{{{{ item.path | basename }}}}"
        content: "{{{{ item.content }}}}"
        mode: "0644"
      loop: "{{{{ _docker_node_units + _docker_node_engine_unit }}}}"
"""

SYSTEMCTL = """#!/bin/sh
echo "$*" >>{there}/asked
case $1 in
show) printf 'LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n' ;;
is-enabled) echo disabled; exit 1 ;;
esac
"""


def units(there: Path, daemon_args: list[str]) -> list[Path]:
    """The units of a platform, as the role writes them."""
    # Lookups find templates beside the playbook, as they do in a role.
    (there / "templates").symlink_to(ROLE / "templates")
    (there / "files").symlink_to(ROLE / "files")
    play = there / "play.yml"
    play.write_text(PLAY.format(role=ROLE, there=there))
    given = {
        "ansible_python_interpreter": sys.executable,
        "docker_node_platform": "mc",
        "docker_node_daemon_args": daemon_args,
    }
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            "localhost,",
            "-e",
            json.dumps(given),
            play,
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "ANSIBLE_LOCALHOST_WARNING": "false"},
    )
    return sorted(there.glob("*.service"))


@pytest.mark.parametrize("daemon_args", [[], OWN_ENGINE], ids=["Debian's engine", "own engine"])
def test_systemd_understands_the_units(tmp_path: Path, daemon_args: list[str]) -> None:
    made = units(tmp_path, daemon_args)
    assert [unit.name for unit in made] == [
        f"memcloud-mc-{name}.service" for name in ("engine", "firewall", "node")
    ]
    engine, firewall, node = (unit.read_text() for unit in made)
    program = tmp_path / "memcloud-node"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in made:
        text = unit.read_text()
        # Docker's own package and Debian's have it in different directories.
        for command in ("/usr/local/sbin/memcloud-node", "dockerd"):
            text = re.sub(rf"^(Exec\w+)={command}", rf"\1={program}", text, flags=re.M)
        unit.write_text(text)
    for name in ("docker", "containerd", "nftables"):
        stub = tmp_path / f"{name}.service"
        stub.write_text(f"[Service]\nExecStart={program}\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *made],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    service = "memcloud-mc-engine" if daemon_args else "docker"
    # The table stands before a container can run, and both before the tenants are started.
    assert f"Before={service}.service" in firewall
    for word in ("After", "Requires"):
        (line,) = [line for line in node.splitlines() if line.startswith(f"{word}=")]
        assert {f"{service}.service", "memcloud-mc-firewall.service"} <= set(
            line.partition("=")[2].split()
        )
    assert "\nExecStart=dockerd" in engine
    # It says that it is up when it has started the containers of all tenants.
    assert "\nType=notify\n" in engine and "\nTimeoutStartSec=infinity\n" in engine
    if daemon_args:
        assert "--data-root /srv/mc/docker" in engine


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
@pytest.mark.parametrize("written", [True, False])
def test_units_that_an_earlier_run_wrote_are_seen_to(
    tmp_path: Path, written: bool, check: list[str]
) -> None:
    """That run may have ended at what stands between, such as a firewall table that is refused."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.format(there=tmp_path))
    program.chmod(0o755)
    tasks = yaml.safe_load((ROLE / "tasks/node.yml").read_text())
    mine = [task for task in tasks if "ansible.builtin.systemd_service" in task]
    variables = {
        "docker_node_platform": "mc",
        "__docker_node_found": {"init": "systemd"},
        "__docker_node_services": {"changed": written},
    }
    path = f"{program.parent}:{os.environ['PATH']}"
    code, output = controller.play_tasks(tmp_path, mine, variables, *check, PATH=path)
    assert code == 0, output
    log = tmp_path / "asked"
    asked = log.read_text().splitlines() if log.exists() else []
    changes = [line for line in asked if line.split()[0] in ("daemon-reload", "enable", "start")]
    if check:
        assert changes == []
        # What is to be written is not there yet.
        assert (asked == []) == written
        return
    assert changes == [
        "daemon-reload",
        "enable memcloud-mc-firewall",
        "start memcloud-mc-firewall",
        "daemon-reload",
        "enable memcloud-mc-node",
    ]


def test_an_engine_has_its_settings_before_its_package_starts_it() -> None:
    """With an init, the package does so; else its settings would count from the next start on."""
    tasks = yaml.safe_load((ROLE / "tasks/packages.yml").read_text())
    modules = [next(key for key in task if key.startswith("ansible.")) for task in tasks]
    install = modules.index("ansible.builtin.apt")
    (settings,) = [task for task in tasks[:install] if "ansible.builtin.include_tasks" in task]
    assert settings["ansible.builtin.include_tasks"] == "settings.yml"
    written = yaml.safe_load((ROLE / "tasks/settings.yml").read_text())[-1]["ansible.builtin.copy"]
    assert "docker_node_daemon_config" in written["content"]


def test_the_directory_above_the_platforms_own_is_left_to_its_owner() -> None:
    """It may be somebody's home, or a disk that others use."""
    for name in ("node", "settings"):
        tasks = (ROLE / f"tasks/{name}.yml").read_text()
        assert "docker_node_data_dir" in tasks
        assert "docker_node_data_dir | dirname" not in tasks
