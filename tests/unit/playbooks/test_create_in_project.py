# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""create_tenant as AWX runs it: in a clone that is thrown away, with the writer git.

No node is touched: the tenants are not deployed here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

CHECKOUT = Path(__file__).parents[3]
ROOT_KEY = base64.b64encode(bytes(range(32))).decode()
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".ansible" / "collections"),
    "ANSIBLE_NOCOLOR": "1",
    "ROOT_KEY": ROOT_KEY,
}


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Operator", "-c", "user.email=operator@example.com")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


class Project:
    """A repository with an inventory, and jobs that run in clones of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.remote = directory / "project.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.remote], check=True)
        seed = directory / "seed"
        subprocess.run(["git", "clone", "-q", self.remote, seed], check=True, capture_output=True)
        inventory = seed / "inventory"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "nodes.yml").write_text(
            "nodes: {hosts: {node1: {ansible_connection: local}}}\n"
        )
        (inventory / "tenants.yml").write_text("plugin: memcloud.memmachine.tenants\n")
        (inventory / "group_vars" / "all.yml").write_text(
            "platform_inventory_writer: git\n"
            "platform_git_branch: main\n"
            "platform_root_keys: {1: \"{{ lookup('ansible.builtin.env', 'ROOT_KEY') }}\"}\n"
        )
        git(seed, "checkout", "-q", "-b", "main")
        git(seed, "add", ".")
        git(seed, "commit", "-q", "-m", "Start")
        git(seed, "push", "-q", "origin", "main")

    def job(self, name: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """A run in a fresh clone of a commit, as AWX makes it."""
        clone = self.directory / name
        subprocess.run(["git", "clone", "-q", self.remote, clone], check=True, capture_output=True)
        git(clone, "checkout", "-q", "--detach")
        return self._start(
            clone,
            str(CHECKOUT / "playbooks" / "create_tenant.yml"),
            "-i",
            str(clone / "inventory"),
            "--extra-vars",
            json.dumps({"deploy": False, **variables}),
            *arguments,
        )

    def awx_job(self, name: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """A job of AWX: a shallow copy of its own copy, and a script that tells the inventory."""
        copy, private = self.directory / f"{name}-copy", self.directory / name
        subprocess.run(["git", "clone", "-q", self.remote, copy], check=True, capture_output=True)
        playbook = copy / "create.yml"
        playbook.write_text("- import_playbook: memcloud.memmachine.create_tenant\n")
        git(copy, "add", ".")
        git(copy, "commit", "-q", "-m", "A playbook")
        project = private / "project"
        words = ["clone", "-q", "--depth=1", f"file://{copy}", str(project)]
        subprocess.run(["git", *words], check=True, capture_output=True)
        git(project, "checkout", "-q", "-b", "awx_internal/1")
        words = ["-i", str(copy / "inventory"), "--list", "--export"]
        told = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-inventory"), *words],
            cwd=copy,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        shutil.rmtree(copy)
        script = private / "inventory" / "hosts"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\n")
        script.chmod(0o755)
        extra = {"deploy": False, "awx_job_id": 7, **variables}
        return self._start(
            project, "create.yml", "-i", str(script), "-e", json.dumps(extra), *arguments
        )

    def _start(self, directory: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "ansible-playbook"), *arguments],
            cwd=directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, name: str, process: subprocess.Popen[str]) -> tuple[int, str]:
        """The job's return code and output; its clone is gone afterwards."""
        output, _nothing = process.communicate(timeout=120)
        shutil.rmtree(self.directory / name)
        return process.returncode, output

    def entry(self, tenant: str) -> Any:
        return yaml.safe_load(git(self.remote, "show", f"main:inventory/host_vars/{tenant}.yml"))

    def commits(self) -> int:
        return int(git(self.remote, "rev-list", "--count", "main"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_entry_outlives_the_clone_and_the_answer_finds_it_again(
    project: Project, tmp_path: Path
) -> None:
    answer = tmp_path / "answers" / "acme.json"
    wish = {"tenant": "acme", "tier": "pro", "result_file": str(answer)}
    status, output = project.finish("first", project.job("first", "-vvv", "--diff", **wish))
    assert status == 0, output
    told = json.loads(answer.read_text())
    entry = project.entry("acme")
    assert entry["tenant_uid"] == told["uid"]
    assert entry["tenant_tier"] == "pro"
    assert (
        entry["tenant_api_keys"][0]["sha256"]
        == hashlib.sha256(told["api_key"].encode()).hexdigest()
    )
    assert told["api_key"] not in output
    assert ROOT_KEY not in output
    assert project.commits() == 2
    status, output = project.finish("second", project.job("second", **wish))
    assert status == 0, output
    assert "changed=0" in output
    assert project.commits() == 2
    assert json.loads(answer.read_text()) == told


def test_two_jobs_at_the_same_moment(project: Project, tmp_path: Path) -> None:
    names = ("acme", "globex")
    jobs = [
        project.job(name, tenant=name, result_file=str(tmp_path / f"{name}.json")) for name in names
    ]
    for name, job in zip(names, jobs):
        status, output = project.finish(name, job)
        assert status == 0, output
    for name in names:
        told = json.loads((tmp_path / f"{name}.json").read_text())
        assert project.entry(name)["tenant_uid"] == told["uid"]


def test_one_name_at_the_same_moment_goes_to_one(project: Project, tmp_path: Path) -> None:
    jobs = [
        project.job(f"job{n}", tenant="acme", result_file=str(tmp_path / f"{n}" / "acme.json"))
        for n in range(2)
    ]
    finished = [project.finish(f"job{n}", job) for n, job in enumerate(jobs)]
    assert sorted(status != 0 for status, _output in finished) == [False, True], finished
    answers = list(tmp_path.glob("[01]/acme.json"))
    assert len(answers) == 1
    assert json.loads(answers[0].read_text())["uid"] == project.entry("acme")["tenant_uid"]
    assert project.commits() == 2


def test_where_nothing_can_be_pushed_nothing_is_left(project: Project, tmp_path: Path) -> None:
    hook = project.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    answer = tmp_path / "acme.json"
    status, output = project.finish(
        "job", project.job("job", tenant="acme", result_file=str(answer))
    )
    assert status != 0
    assert "cannot be pushed to origin" in output
    assert not answer.exists()
    assert project.commits() == 1


def test_a_job_whose_inventory_awx_tells_writes_to_the_project(
    project: Project, tmp_path: Path
) -> None:
    key = {"api_key_sha256": hashlib.sha256(b"mine").hexdigest()}
    status, output = project.finish("job", project.awx_job("job", tenant="acme", **key))
    assert status != 0
    assert "in AWX say with platform_git_inventory where" in output
    where = {"platform_git_remote": str(project.remote), "platform_git_inventory": "nowhere"}
    status, output = project.finish("job", project.awx_job("job", tenant="acme", **key, **where))
    assert status != 0
    assert "platform_git_inventory: is nowhere, and the Git repository of this playbook" in output
    where["platform_git_inventory"] = "inventory"
    status, output = project.finish("job", project.awx_job("job", tenant="acme", **where))
    assert status != 0
    assert "acme: no key was made, since " in output
    assert project.commits() == 1
    status, output = project.finish("job", project.awx_job("job", tenant="acme", **key, **where))
    assert status == 0, output
    assert project.entry("acme")["tenant_api_keys"][0]["sha256"] == key["api_key_sha256"]
    status, output = project.finish("job", project.awx_job("job", tenant="acme", **key, **where))
    assert status == 0, output
    assert "changed=0" in output
    assert project.commits() == 2
