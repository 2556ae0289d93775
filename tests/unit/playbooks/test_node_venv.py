"""The virtual environment of a node's modules, made by two runs at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

TASKS = Path(__file__).resolve().parents[3] / "roles/docker_node/tasks/venv.yml"


def command(venv: Path, digest: str) -> list[str]:
    """What the role runs on the node."""
    (made,) = [
        task["ansible.builtin.command"]["argv"]
        for task in yaml.safe_load(TASKS.read_text())
        if "ansible.builtin.command" in task
    ]
    values = {
        "{{ docker_node_venv }}": str(venv),
        "{{ docker_node_python }}": sys.executable,
    }
    for template, value in values.items():
        made = [word.replace(template, value) for word in made]
    assert [word for word in made if "{{" in word] == made[-1:]
    return [*made[:-1], digest]


def test_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (tmp_path / "venv.requirements.txt").touch()
    runs = [
        subprocess.Popen(command(venv, "a" * 64), stdout=subprocess.PIPE, text=True)
        for _run in range(2)
    ]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(said) == ["", "made\n"]
    assert (venv / ".requirements.sha256").read_text() == "a" * 64 + "\n"


def test_other_requirements_make_it_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (tmp_path / "venv.requirements.txt").touch()
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(sys.executable)
    (venv / ".requirements.sha256").write_text("b" * 64 + "\n")
    (venv / "left").touch()
    kept = subprocess.run(command(venv, "b" * 64), capture_output=True, text=True, check=True)
    assert (kept.stdout, (venv / "left").exists()) == ("", True)
    made = subprocess.run(command(venv, "a" * 64), capture_output=True, text=True, check=True)
    assert (made.stdout, (venv / "left").exists()) == ("made\n", False)
