# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks with several tenants of one node, one of which fails.

The nodes are this machine, and their Python is a program that answers as the test says.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import controller

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()
NODE = """#!%s
import ast, json, sys
program = sys.stdin.read()
with open(%r + "/program", "w") as log:
    log.write(program)
line = next(line for line in program.splitlines() if line.startswith("given = json.loads("))
given = json.loads(ast.literal_eval(line.removeprefix("given = json.loads(")[:-1]))
arguments = given["arguments"]
states = {tenant["tenant"]: tenant["state"] for tenant in json.loads(arguments["tenants"])}
names = list(states)
what = %r + (arguments.get("operation") or given["call"])
here = %r
with open(here + "/calls", "a") as log:
    log.write(json.dumps([what, names]) + "\\n")
with open(here + "/states", "w") as log:
    json.dump(states, log)
with open(here + "/tenants", "w") as log:
    log.write(arguments["tenants"])
answers = json.load(open(here + "/answers"))[what]
told = {"tenants": [], **answers.get("", {})}
for name in names:
    if name in answers:
        told["tenants"].append({"tenant": name, "operation": what, **answers[name]})
print("\\n%s" + json.dumps(told))
"""


class World:
    """An inventory of three tenants, and what was asked of their node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._python("venv", "")
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        second = {**local, "platform_node_venv": str(directory / "venv2")}
        files = {
            "nodes.yml": {"nodes": {"hosts": {"node1": local, "node2": second}}},
            "tenants.yml": {"plugin": "memcloud.memmachine.tenants"},
            "group_vars/all.yml": {
                "platform_root_keys": {1: ROOT_KEY},
                "platform_data_dir": str(directory / "data/mc"),
                "platform_node_venv": str(directory / "venv"),
            },
        }
        for number, name in enumerate(("acme", "globex", "initech")):
            uid = f"0123456789abcde{number}"
            files[f"host_vars/{name}.yml"] = {"tenant_uid": uid, "tenant_node": "node1"}
        for name, content in files.items():
            path = directory / "inventory" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content))

    def _python(self, venv: str, prefix: str) -> None:
        from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _node_code

        python = self.directory / venv / "bin/python"
        python.parent.mkdir(parents=True)
        here = str(self.directory)
        words = (sys.executable, here, prefix, here, _node_code._MARK)
        python.write_text(NODE % words)
        python.chmod(0o755)

    def set_up_node2(self) -> None:
        """What is asked there has its name in front."""
        self._python("venv2", "node2 ")

    def play(self, playbook: Path | str, *words: str, **answers: Any) -> tuple[int, str]:
        """Code and output, in one line, of a run; `answers` by call and tenant."""
        (self.directory / "answers").write_text(json.dumps(answers))
        inventory = self.directory / "inventory"
        code, output = controller.play("-i", inventory, playbook, *words)
        return code, " ".join(output.split())

    def calls(self) -> list[list[Any]]:
        path = self.directory / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def states(self) -> dict[str, str]:
        """What the node was last told that its tenants should be."""
        return dict(json.loads((self.directory / "states").read_text()))

    def told(self) -> list[dict[str, Any]]:
        """The inputs that the node was given last."""
        return list(json.loads((self.directory / "tenants").read_text()))

    def entry(self, name: str, **change: Any) -> Any:
        """What a tenant's entry says, after a change by hand."""
        path = self.directory / f"inventory/host_vars/{name}.yml"
        found = yaml.safe_load(path.read_text())
        if change:
            path.write_text(yaml.safe_dump({**found, **change}))
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)


WAVE = """
- hosts: tenants
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: memcloud.memmachine.tenant
            tasks_from: update
          vars:
            memcloud_version: 0.4.0
      rescue:
        - ansible.builtin.debug:
            msg: "{{ inventory_hostname }} FAILED {{ ansible_failed_result.msg }}"
"""


def test_a_tenant_that_is_refused_in_a_wave_stops_nobody_else(world: World) -> None:
    """acme speaks for the node until it is refused."""
    playbook = world.directory / "wave.yml"
    playbook.write_text(WAVE)
    image = {"plan": {"kind": "image", "reason": "other images"}, "message": "image"}
    refuse = {"plan": {"kind": "refuse", "reason": "is older"}, "message": "refuse"}
    _status, output = world.play(
        playbook,
        update_plan={"acme": refuse, "globex": image, "initech": image},
        update={name: {"changed": True, "message": "done"} for name in ("acme", "globex")},
    )
    assert world.calls() == [
        ["update_plan", ["acme", "globex", "initech"]],
        ["update", ["globex", "initech"]],
    ]
    assert "acme FAILED acme: is older. Nothing was touched" in output
    assert "globex FAILED" not in output
    assert world.entry("globex")["tenant_version"] == "0.4.0"
    assert "tenant_version" not in world.entry("acme")
    # The node said nothing of it.
    assert "initech FAILED initech: update was not done: see what failed on its node" in output
    assert not world.entry("initech").get("tenant_version")


def test_entries_that_were_not_written_are_put_back_for_all(world: World) -> None:
    playbook = world.directory / "wave.yml"
    playbook.write_text(WAVE)
    plan = {"plan": {"kind": "image", "reason": "other images"}, "message": "image"}
    names = ("acme", "globex", "initech")
    _status, output = world.play(
        playbook,
        update_plan=dict.fromkeys(names, plan),
        update={name: {"error": f"{name}: no"} for name in names},
    )
    for name in names:
        assert f"{name} FAILED {name}: no" in output
        assert not world.entry(name).get("tenant_version")


def test_check_mode_of_a_fleet_says_who_would_be_updated(world: World) -> None:
    old, new = ({"running_version": version, "embedder": {}} for version in ("0.3.9", "0.4.0"))
    image = {"plan": {"kind": "image", "reason": "the same tables"}, "message": "image"}
    answers = {
        "tenant_facts": {"acme": old, "globex": new, "initech": old},
        "tenant_plan": {},
        "update_plan": {"acme": image, "initech": {"error": "initech: no"}},
    }
    world.entry("globex", tenant_version="0.4.0")
    words = ("-e", "version=0.4.0", "--check")
    _status, output = world.play("playbooks/update_fleet.yml", *words, **answers)
    assert "1 would be updated" in output
    assert "is there already" in output and "failed: initech: no" in output
    assert "not reached" not in output


# Calls come through; a module that is copied first, as the one that builds images, does not.
HALF_SSH = """#!/bin/sh
for last; do :; done
case "$last" in *" -I"*) exec sh -c "$last" ;; esac
exit 255
"""


@pytest.mark.parametrize("together", [1, 2])
def test_a_node_that_goes_while_an_image_is_built_stops_the_waves(
    world: World, together: int
) -> None:
    world.set_up_node2()
    ssh = world.directory / "ssh"
    ssh.write_text(HALF_SSH)
    ssh.chmod(0o755)
    away = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh)}
    (world.directory / "inventory/host_vars/node1.yml").write_text(yaml.safe_dump(away))
    for name in ("globex", "initech"):
        world.entry(name, tenant_node="node2")
    settings = world.directory / "inventory/group_vars/all.yml"
    waves = {"platform_update_waves": [{"tenants": "free", "size": together}]}
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **waves}))
    old = {"running_version": "0.3.9", "embedder": {}}
    image = {"operation": "update_plan", "plan": {"kind": "image", "reason": "x"}}
    done = {"operation": "update", "changed": True, "message": "done"}
    result = world.directory / "result.json"
    status, _output = world.play(
        "playbooks/update_fleet.yml",
        *("-e", "version=0.4.0", "-e", f"result_file={result}"),
        **{
            "tenant_facts": {"acme": old},
            "tenant_plan": {},
            "update_plan": {"acme": {"missing": "0.4.0", "message": "is not there"}},
            "node2 tenant_facts": dict.fromkeys(("globex", "initech"), old),
            "node2 tenant_plan": {},
            "node2 update_plan": dict.fromkeys(("globex", "initech"), image),
            "node2 update": dict.fromkeys(("globex", "initech"), done),
        },
    )
    assert status != 0
    outcomes = {one["tenant"]: one["outcome"] for one in json.loads(result.read_text())["tenants"]}
    assert outcomes.pop("acme").startswith("failed: ")
    others = ("updated", "not reached") if together == 2 else ("not reached", "not reached")
    assert tuple(outcomes[name] for name in ("globex", "initech")) == others


def test_a_node_that_goes_during_a_call_is_noticed(world: World) -> None:
    ssh = world.directory / "ssh"
    ssh.write_text(HALF_SSH.replace("\n", f'\necho "$*" >> {world.directory}/ssh.log\n', 1))
    ssh.chmod(0o755)
    own = {"ansible_ssh_extra_args": "-o ServerAliveCountMax=3"}
    away = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), **own}
    (world.directory / "inventory/host_vars/node1.yml").write_text(yaml.safe_dump(away))
    names = ("acme", "globex", "initech")
    done = {"operation": "check_storage", "message": "done"}
    status, output = world.play(
        "playbooks/check_storage.yml", check_storage=dict.fromkeys(names, done)
    )
    assert status == 0, output
    (call,) = (world.directory / "ssh.log").read_text().splitlines()
    assert "-o ServerAliveInterval=15" in call
    # SSH takes the first.
    assert call.index("ServerAliveCountMax=3") < call.index("ServerAliveCountMax=8")


@pytest.mark.parametrize("unread", [False, True])
def test_an_entry_that_cannot_be_used_keeps_no_other_tenant_from_a_restore_point(
    world: World, unread: bool
) -> None:
    world.entry("acme", tenant_tier="gold")
    if unread:
        (world.directory / "inventory/host_vars/initech.yml").write_text("tenant_uid: [")
    done = {"operation": "backup", "changed": True, "message": "done"}
    names = ("globex", "initech")
    words = ("playbooks/backup_tenant.yml", "-e", "due=true")
    status, output = world.play(*words, backup=dict.fromkeys(names, done))
    assert status != 0
    assert world.calls() == [["backup", ["globex"] if unread else ["globex", "initech"]]]
    assert "acme: tenant_tier: is 'gold'" in output
    assert ('"msg": "initech: ' in output) is unread
    for name in names[: 1 if unread else 2]:
        world.entry(name, tenant_tier="gold")
    status, output = world.play(*words, backup={})
    assert status != 0 and "Nothing was touched" in output
    assert len(world.calls()) == 1


KILLED = {"recorded": {"version": "0.3.9", "embedder": {"model": "small", "dimensions": 384}}}


@pytest.mark.parametrize("operation", ["update", "rollback", "restore"])
def test_an_entry_that_a_killed_run_wrote_names_again_what_the_node_has(
    world: World, operation: str
) -> None:
    world.entry("acme", tenant_version="0.4.0")
    version = ("-e", "version=0.4.0") if operation != "rollback" else ()
    failed = {"acme": {"error": "acme: no", **KILLED}}
    answers = {
        "update_plan": {"acme": {"message": "has an unfinished update", "from": "0.3.9"}},
        "rollback_plan": {"acme": {"message": "has an unfinished rollback", "version": "0.4.0"}},
        "restore_plan": {"acme": {"message": "has an unfinished restore"}},
        operation: failed,
    }
    playbook = f"playbooks/{operation}_tenant.yml"
    status, output = world.play(playbook, "-e", "tenant=acme", *version, **answers)
    assert status != 0 and "acme: no" in output
    assert [call for call, _names in world.calls()][-1] == operation
    assert world.entry("acme")["tenant_version"] == "0.3.9"


@pytest.mark.parametrize("operation", ["rollback", "restore"])
def test_an_entry_that_no_run_wrote_stays_as_somebody_left_it(world: World, operation: str) -> None:
    """acme is refused before any entry is written; globex fails afterwards."""
    world.entry("acme", tenant_version="0.4.0")
    world.entry("globex", tenant_version="0.4.0")
    version = ("-e", "version=0.3.9") if operation != "rollback" else ()
    answers = {
        f"{operation}_plan": {
            "acme": {"error": "acme: no", "recorded": {"version": "0.3.8"}},
            "globex": {"message": "can be done", "version": "0.3.9"},
        },
        operation: {"globex": {"error": "globex: no", "recorded": {"version": "0.4.0"}}},
    }
    playbook = f"playbooks/{operation}_tenant.yml"
    status, output = world.play(playbook, "-l", "acme,globex", *version, **answers)
    assert status != 0 and "acme: no" in output and "globex: no" in output
    assert world.calls()[-1] == [operation, ["globex"]]
    assert [world.entry(name)["tenant_version"] for name in ("acme", "globex")] == ["0.4.0"] * 2


@pytest.mark.parametrize(
    ("before", "recorded", "after"),
    [
        # A killed run wrote the new model.
        (("new", 768), KILLED, ("small", 384)),
        (("new", 768), {}, ("new", 768)),
        (("small", 384), KILLED, ("small", 384)),
        ((None, None), KILLED, (None, None)),
    ],
)
def test_an_entry_names_the_model_again_that_the_memories_are_of(
    world: World, before: Any, recorded: Any, after: Any
) -> None:
    named = ("tenant_embedder_model", "tenant_embedder_dimensions")
    model = {"tenant_model_base_url": "http://models.example.com/v1", "tenant_language_model": "x"}
    old = {key: value for key, value in zip(named, before, strict=True) if value}
    world.entry("acme", **model, **old)
    words = ("-e", "tenant=acme", "-e", "embedder_model=new", "-e", "embedder_dimensions=768")
    status, output = world.play(
        "playbooks/reembed_tenant.yml", *words, reembed={"acme": {"error": "acme: no", **recorded}}
    )
    assert status != 0 and "acme: no" in output
    assert tuple(world.entry("acme").get(key) for key in named) == after
    assert ("names the old model again" in output) is (after != ("new", 768))


def test_an_image_that_cannot_be_built_stops_those_that_want_it(world: World) -> None:
    drifted = {"drift": ["x"], "diff": {"before": "", "after": ""}, "state": "running", "error": ""}
    status, output = world.play(
        "playbooks/deploy_tenant.yml",
        tenant_plan={
            "": {"missing_versions": ["0.3.9"]},
            "acme": drifted,
            "globex": {**drifted, "error": "globex: no"},
            "initech": drifted,
        },
        tenant_converge={"acme": {**drifted, "error": "acme: no image"}, "initech": drifted},
    )
    assert status != 0
    assert world.calls()[-1] == ["tenant_converge", ["acme", "initech"]]
    assert "acme: no image" in output
    assert "initech: running" in output
    assert "initech: was not converged" not in output


@pytest.mark.parametrize("by", ["deploy", "update", "restore"])
def test_an_image_is_made_as_the_settings_of_its_node_say(world: World, by: str) -> None:
    """They win over those of the tenant: another disk, another engine."""
    world._python("venv2", "")
    own = {
        "platform_data_dir": "/srv/second/mc",
        "platform_docker_host": "unix:///run/second.sock",
        "platform_image_source": "pull",
    }
    world.entry("acme", tenant_node="node2", tenant_api_keys=[])
    (world.directory / "inventory/host_vars/node2.yml").write_text(yaml.safe_dump(own))
    missing = {"acme": {"missing": "0.3.9", "message": "is not on the node yet"}}
    drifted = {"drift": ["x"], "diff": {"before": "", "after": ""}, "state": "running", "error": ""}
    words, answers = {
        "deploy": ((), {"tenant_plan": {"": {"missing_versions": ["0.3.9"]}, "acme": drifted}}),
        "update": (("-e", "version=0.3.9"), {"update_plan": missing}),
        "restore": (("-e", "version=0.3.9"), {"restore_plan": missing}),
    }[by]
    playbook = f"playbooks/{by}_tenant.yml"
    _status, output = world.play(playbook, "-e", "tenant=acme", *words, **answers)
    assert "Have the image of each MemMachine version" in output
    assert f"{world.directory}/venv2/bin/python" in output
    program = (world.directory / "program").read_text()
    for value in own.values():
        assert value in program
    assert "/data/mc" not in program


def test_a_restore_into_another_version_begins_with_its_image(world: World) -> None:
    """The node of this test cannot build one."""
    words = ("playbooks/restore_tenant.yml", "-e", "tenant=acme", "-e", "version=0.3.9")
    missing = {"acme": {"missing": "0.3.9", "message": "is not on the node yet"}}
    status, output = world.play(*words, restore_plan=missing, restore={})
    assert status != 0
    assert "Have the image of each MemMachine version" in output
    assert world.calls() == [["restore_plan", ["acme"]]]
    assert "tenant_version" not in world.entry("acme")
    there = {"acme": {"message": "is on the node"}}
    done = {"acme": {"changed": True, "message": "2 memories"}}
    status, output = world.play(*words, restore_plan=there, restore=done)
    assert status == 0, output
    assert "Have the image of each MemMachine version" not in output
    assert world.calls()[-1] == ["restore", ["acme"]]
    assert world.entry("acme")["tenant_version"] == "0.3.9"


@pytest.mark.parametrize("before", [None, "0.4.0"])
def test_a_restore_that_is_refused_leaves_the_version_of_the_entry(
    world: World, before: str | None
) -> None:
    if before:
        world.entry("acme", tenant_version=before)
    words = ("-e", "tenant=acme", "-e", "version=0.3.9")
    there, refused = {"message": "is on the node"}, {"error": "acme: has 2 memories"}
    recorded = {"version": "0.4.0"}
    status, output = world.play(
        "playbooks/restore_tenant.yml",
        *words,
        restore_plan={"acme": there},
        restore={"acme": {**refused, "recorded": recorded}},
    )
    assert status != 0 and "acme: has 2 memories" in output
    assert "Put the version back into the entry" in output
    assert world.entry("acme").get("tenant_version") == before


MOVES = {"acme": {"message": "can be moved"}}


def test_a_version_that_is_not_given_is_that_of_the_entry(world: World) -> None:
    done = {"acme": {"changed": True, "message": "2 memories"}}
    words = ("playbooks/restore_tenant.yml", "-e", "tenant=acme", "-e", "version=")
    status, output = world.play(*words, restore=done)
    assert status == 0, output
    assert world.calls() == [["restore", ["acme"]]]
    assert "tenant_version" not in world.entry("acme")


def test_a_move_says_what_it_would_do(world: World) -> None:
    world.set_up_node2()
    words = ("-e", "tenant=acme", "-e", "node=node2", "--check")
    answers = {"depart_plan": MOVES, "node2 tenant_plan": {}}
    status, output = world.play("playbooks/move_tenant.yml", *words, **answers)
    assert status == 0, output
    assert "acme: would be stopped on node1 with a last restore point" in output
    assert world.entry("acme")["tenant_node"] == "node1"


def test_a_tenant_that_never_ran_moves_by_its_entry_alone(world: World) -> None:
    world.set_up_node2()
    departed = {"acme": {"changed": True, "message": "never ran"}}
    status, output = world.play(
        "playbooks/move_tenant.yml",
        *("-e", "tenant=acme", "-e", "node=node2"),
        **{"depart_plan": MOVES, "node2 tenant_plan": {}, "depart": departed, "tenant_plan": {}},
    )
    assert status == 0, output
    assert world.entry("acme")["tenant_node"] == "node2"
    whats = [what for what, _names in world.calls()]
    assert whats == ["depart_plan", "node2 tenant_plan", "depart", "tenant_plan"]


@pytest.mark.parametrize("entry", ["node1", "node2"])
def test_a_machine_with_two_names_keeps_what_lives_there(world: World, entry: str) -> None:
    world.set_up_node2()
    (world.directory / "data/mc").mkdir(parents=True)
    world.entry("acme", tenant_node=entry)
    words = ("-e", "tenant=acme", "-e", "node=node2", "-e", "confirm=true")
    status, output = world.play("playbooks/move_tenant.yml", *words)
    assert status != 0 and "acme: node1 and node2 are two names of one machine" in output
    assert world.calls() == [] and world.entry("acme")["tenant_node"] == entry


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_a_tenant_whose_move_would_be_refused_is_not_even_made_there(
    world: World, check: tuple[str, ...]
) -> None:
    world.set_up_node2()
    words = ("playbooks/move_tenant.yml", "-e", "tenant=acme", "-e", "node=node2", *check)
    status, output = world.play(*words, depart_plan={"acme": {"error": "acme: is of 0.3.9"}})
    assert status != 0 and "acme: is of 0.3.9" in output
    assert world.calls() == [["depart_plan", ["acme"]]]


def test_a_tenant_goes_on_where_a_move_lacks_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_up_node2()
    points = world.directory / "data/mc/backups/acme-01234567/snapshots"
    points.mkdir(parents=True)
    (points / "feedf00d").write_text("")
    # Both nodes are this machine, and have folders of their own all the same.
    (world.directory / "inventory/host_vars/node2.yml").write_text(
        yaml.safe_dump({"platform_data_dir": str(world.directory / "other/mc")})
    )
    nothing = {"": (0, "/")}
    monkeypatch.setenv("PATH", controller.path_with_df(world.directory, nothing))
    words = ("-e", "tenant=acme", "-e", "node=node2")
    answers = {"depart_plan": MOVES, "node2 tenant_plan": {}}
    status, output = world.play("playbooks/move_tenant.yml", *words, **answers)
    assert status != 0
    assert "acme: its restore points have no room on their way to node2" in output
    assert [what for what, _names in world.calls()] == ["depart_plan", "node2 tenant_plan"]
    assert world.entry("acme")["tenant_node"] == "node1"


def test_an_import_says_what_it_would_do(world: World) -> None:
    archive = world.directory / "acme.tar.gz"
    archive.write_text("")
    words = ("-e", "tenant=acme", "-e", f"file={archive}", "--check")
    status, output = world.play("playbooks/import_tenant.yml", *words)
    assert status == 0, output
    assert f"acme: would store the memories of {archive}" in output
    assert world.calls() == []
    assert not (world.directory / "data").exists()


BROUGHT = """
import os
there = json.loads(arguments["params"])["acme"]["archive"]
open(here + "/brought", "w").write(f"{there} {os.path.exists(there)}")
"""


def test_an_archive_stands_in_its_tenants_directory_alone(world: World) -> None:
    """A purge takes it from there, whatever becomes of the run."""
    archive = world.directory / "acme.tar.gz"
    archive.write_text("memories")
    words = ("playbooks/import_tenant.yml", "-e", "tenant=acme", "-e", f"file={archive}")
    home = world.directory / "data/mc/tenants/acme"
    node = world.directory / "venv/bin/python"
    node.write_text(node.read_text().replace("answers =", BROUGHT + "answers =", 1))
    failed = {"acme": {"error": "acme: its node has no record of it: run deploy_tenant"}}
    # A tenant that was not deployed leaves nothing there.
    status, output = world.play(*words, **{"import": failed})
    assert status != 0 and "acme: its node has no record of it: run deploy_tenant" in output
    assert not home.exists()
    there = f"{home}/import.tar.gz"
    assert (world.directory / "brought").read_text() == f"{there} False"
    home.mkdir(parents=True)
    done = {"acme": {"changed": True, "message": "done"}}
    status, output = world.play(*words, **{"import": done})
    assert status == 0, output
    assert (world.directory / "brought").read_text() == f"{there} True"
    assert list(home.iterdir()) == []
    assert [path.name for path in (world.directory / "data/mc").iterdir()] == ["tenants"]


@pytest.mark.parametrize(
    ("playbook", "of_acme", "of_initech"),
    [
        ("pause_tenant", "paused", "suspended"),
        ("suspend_tenant", "suspended", "suspended"),
        ("resume_tenant", "running", "running"),
    ],
)
def test_deleted_tenants_stay_so_and_suspended_ones_are_not_paused(
    world: World, playbook: str, of_acme: str, of_initech: str
) -> None:
    world.entry("globex", tenant_state="deleted")
    world.entry("initech", tenant_state="suspended")
    words = (f"playbooks/{playbook}.yml", "-e")
    status, output = world.play(*words, "tenant=all", tenant_plan={})
    assert status == 0, output
    states = {"acme": of_acme, "globex": "deleted", "initech": of_initech}
    assert {name: world.entry(name)["tenant_state"] for name in states} == states
    assert world.states() == states
    assert "globex: is deleted and stays so: create_tenant brings it back" in output
    said = "initech: is suspended and stays so: resume_tenant ends that" in output
    assert said == (playbook == "pause_tenant")
    status, output = world.play(*words, "tenant=globex")
    assert status != 0
    assert "globex: is deleted" in output
    assert "Nothing was touched: create_tenant brings it back with a new key" in output
    assert world.entry("globex")["tenant_state"] == "deleted"


PURGE = {
    "drift": ["to be purged"],
    "diff": {"before": "", "after": ""},
    "state": "deleted",
    "error": "",
}


def purged(name: str, *things: str) -> dict[str, Any]:
    """What a node answers that purged a tenant."""
    gone = [{"kind": "volume", "name": thing} for thing in things]
    told = {"tenant": name, "uid": "0123456789abcde0", "hostname": f"{name}.memcloud.localhost"}
    told |= {"owner": "", "at": "2026-11-21T12:00:00Z", "by": "ann@desk", "purge_after": None}
    report = {**told, "purged": True, "found": gone, "gone": gone, "left": []}
    return {**PURGE, "deletion": report}


CAME_BACK = """
if what == %r:
    with open(%r, "w") as entry:
        entry.write(%r)
"""
DELETE = ("playbooks/delete_tenant.yml", "-e", "keep_data=false")


@pytest.mark.parametrize("which", [("-e", "tenant=acme"), ("-l", "acme")])
def test_a_purge_takes_along_what_a_move_left(world: World, which: tuple[str, str]) -> None:
    world.set_up_node2()
    path = world.directory / "report.json"
    status, output = world.play(
        *DELETE,
        *which,
        "-e",
        f"result_file={path}",
        **{
            "tenant_plan": {"acme": PURGE},
            "tenant_converge": {"acme": purged("acme", "mc-acme-here")},
            "node2 tenant_plan": {"acme": PURGE},
            "node2 tenant_converge": {"acme": purged("acme", "mc-acme-there")},
        },
    )
    assert status == 0, output
    report = json.loads(path.read_text())
    there = {"kind": "volume", "name": "mc-acme-there", "node": "node2"}
    assert there in report["gone"] and report["unknown"] == []
    assert "Nothing: everything was looked up again." in path.with_suffix(".txt").read_text()
    assert not (world.directory / "inventory/host_vars/acme.yml").exists()


def test_a_node_where_nothing_was_left_is_asked_once(world: World) -> None:
    world.set_up_node2()
    status, output = world.play(
        *DELETE,
        "-e",
        "tenant=acme",
        **{
            "tenant_plan": {"acme": PURGE},
            "tenant_converge": {"acme": purged("acme")},
            "node2 tenant_plan": {},
        },
    )
    assert status == 0, output
    assert [call for call in world.calls() if call[0].startswith("node2")] == [
        ["node2 tenant_plan", ["acme"]]
    ]


def test_an_entry_stays_until_every_node_was_asked(world: World) -> None:
    """node2 is not set up, so nobody knows."""
    path = world.directory / "report.json"
    status, output = world.play(
        *DELETE,
        "-e",
        "tenant=acme",
        "-e",
        f"result_file={path}",
        tenant_plan={"acme": PURGE},
        tenant_converge={"acme": purged("acme", "mc-acme-here")},
    )
    assert status != 0
    assert "acme: was deleted, but its entry stays. What it left is not known" in output
    (unknown,) = json.loads(path.read_text())["unknown"]
    assert "node node2 is not set up" in unknown["why"]
    text = path.with_suffix(".txt").read_text()
    assert "Nothing that was seen." in text and "Not known" in text
    assert world.entry("acme")["tenant_state"] == "deleted"


@pytest.mark.parametrize("call", ["tenant_facts", "tenant_converge"])
def test_a_sweep_leaves_the_entry_of_who_came_back_meanwhile(world: World, call: str) -> None:
    world.set_up_node2()
    entry = world.directory / "inventory/host_vars/acme.yml"
    back = world.entry("acme", tenant_state="deleted")
    node = world.directory / "venv/bin/python"
    node.write_text(node.read_text() + CAME_BACK % (call, str(entry), yaml.safe_dump(back)))
    status, output = world.play(
        "playbooks/sweep_deleted.yml",
        **{
            "tenant_facts": {"acme": {"purge_after": "2026-01-01T00:00:00Z"}},
            "tenant_plan": {"acme": PURGE},
            "tenant_converge": {"acme": purged("acme")},
            "node2 tenant_plan": {},
        },
    )
    assert status != 0
    assert "acme: tenant_state was changed by another run meanwhile" in output
    assert world.entry("acme") == back
    was_purged = ["tenant_converge", ["acme"]] in world.calls()
    assert was_purged == (call == "tenant_converge")


@pytest.mark.parametrize(
    ("playbook", "given", "call"),
    [
        ("change_tier", "tier=pro", "tenant_plan"),
        ("update_tenant", "version=0.4.0", "update_plan"),
        ("move_tenant", "node=node2", "depart"),
    ],
)
def test_what_was_read_before_another_run_suspended_it_is_not_gone_on_with(
    world: World, playbook: str, given: str, call: str
) -> None:
    world.set_up_node2()
    entry = world.directory / "inventory/host_vars/acme.yml"
    suspended = {**world.entry("acme"), "tenant_state": "suspended"}
    node = world.directory / "venv/bin/python"
    node.write_text(node.read_text() + CAME_BACK % (call, str(entry), yaml.safe_dump(suspended)))
    image = {"plan": {"kind": "image", "reason": "other images"}, "message": "image"}
    departed = {"acme": {"changed": True, "message": "never ran"}}
    answers = {"tenant_plan": {}, "update_plan": {"acme": image}, "node2 tenant_plan": {}}
    status, output = world.play(
        f"playbooks/{playbook}.yml",
        *("-e", "tenant=acme", "-e", given),
        **{"depart_plan": MOVES, "depart": departed, **answers},
    )
    assert status != 0
    assert "acme: tenant_state was changed by another run since this one read" in output
    assert world.entry("acme") == suspended
    assert world.calls()[-1] == [call, ["acme"]]


def test_a_tenant_that_cannot_be_purged_stops_no_other_one(world: World) -> None:
    world.set_up_node2()
    globex = world.directory / "inventory/host_vars/globex.yml"
    globex.write_text(yaml.safe_dump({**world.entry("globex"), "tenant_node": "node2"}))
    status, output = world.play(
        *DELETE,
        "-l",
        "acme:globex",
        "-e",
        "confirm=2",
        **{
            "tenant_plan": {"acme": PURGE},
            "tenant_converge": {"acme": {**PURGE, "error": "acme: the disk is away"}},
            "node2 tenant_plan": {"globex": PURGE},
            "node2 tenant_converge": {"globex": purged("globex", "mc-globex-there")},
        },
    )
    assert status != 0
    assert "acme: the disk is away" in output
    assert world.entry("acme")["tenant_state"] == "deleted"
    assert ["tenant_plan", ["globex"]] in world.calls()
    assert not globex.exists()


def confirm(world: World, **found: Any) -> tuple[int, str]:
    """What a move left on node2 is purged, when acme is on node1 in this way."""
    world.set_up_node2()
    gone = {"node2 tenant_plan": {"acme": PURGE}, "node2 tenant_converge": {"acme": PURGE}}
    words = ("-e", "tenant=acme", "-e", "node=node1", "-e", "confirm=true")
    facts = {"tenant_facts": {"acme": {"state": "running", **found}}, "tenant_plan": {}}
    return world.play("playbooks/move_tenant.yml", *words, **facts, **gone)


def test_what_a_move_left_goes_when_it_is_confirmed(world: World) -> None:
    status, output = confirm(world, created="2026-01-01T00:00:00Z")
    assert status == 0, output
    assert world.calls()[-1] == ["node2 tenant_converge", ["acme"]]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "acme: is not on node1, the node of its entry. Nothing was purged"),
        (
            {"created": "2026-01-01T00:00:00Z", "departed": "2026-02-01T00:00:00Z"},
            "the node of its entry, since it was stopped there at 2026-02-01T00:00:00Z to be moved",
        ),
        ({"error": "acme: no disk"}, "the node of its entry (acme: no disk). Nothing was purged"),
    ],
)
def test_nothing_goes_where_the_entry_names_another_node(
    world: World, found: dict[str, Any], words: str
) -> None:
    status, output = confirm(world, **found)
    assert status != 0 and words in output
    assert [call for call in world.calls() if call[0].startswith("node2")] == []


EVENT = {
    "at": "2026-01-01T00:00:00Z",
    "tenant": "hooli",
    "operation": "delete",
    "result": "done",
    "seconds": 1.0,
    "who": "ann@desk",
    "playbook": "delete_tenant",
    "job": "",
    "error": "",
    "change": "is to be purged",
}


@pytest.mark.parametrize("carried", [True, False])
def test_what_happened_to_the_last_tenant_of_a_node_is_told(world: World, carried: bool) -> None:
    """hooli was on node2, where no tenant is; without the others there is none at all."""
    world.set_up_node2()
    for path in () if carried else (world.directory / "inventory/host_vars").iterdir():
        path.unlink()
    answers = {"tenant_read": {"": {"rows": []}}, "node2 tenant_read": {"": {"rows": [EVENT]}}}
    status, output = world.play("playbooks/tenant_journal.yml", **answers)
    assert status == 0, output
    assert "2026-01-01T00:00:00Z hooli delete" in output
    (world.directory / "calls").unlink()
    world.play("playbooks/tenant_journal.yml", "-l", "acme", **answers)
    assert "node2 tenant_read" not in [call[0] for call in world.calls()]


def test_what_happened_to_a_tenant_before_it_was_moved_is_told(world: World) -> None:
    world.set_up_node2()
    moved = {**EVENT, "tenant": "acme", "operation": "depart"}
    answers = {"tenant_read": {"": {"rows": []}}, "node2 tenant_read": {"": {"rows": [moved]}}}
    words = ("-e", "tenant=acme")
    status, output = world.play("playbooks/tenant_journal.yml", *words, **answers)
    assert status == 0, output
    assert "2026-01-01T00:00:00Z acme depart" in output
    # Also where its entry cannot be used, as when one looks what went wrong.
    world.entry("acme", tenant_tier="gold")
    status, output = world.play("playbooks/tenant_journal.yml", *words, **answers)
    assert status == 0, output
    assert "2026-01-01T00:00:00Z acme depart" in output and "acme: tenant_tier" in output


@pytest.mark.parametrize(
    ("playbook", "words"),
    [
        ("tenant_stats", ()),
        ("tenant_journal", ()),
        ("export_registry", ("-e", "database_url=postgresql://127.0.0.1:1/none")),
    ],
)
def test_an_entry_that_cannot_be_used_is_no_success_that_read_nothing(
    world: World, playbook: str, words: tuple[str, ...]
) -> None:
    world.entry("acme", tenant_tier="gold")
    answers = {"tenant_read": {"": {"rows": []}}, "node2 tenant_read": {"": {"rows": []}}}
    play = f"playbooks/{playbook}.yml"
    status, output = world.play(play, "-e", "tenant=acme", *words, **answers)
    assert status != 0
    assert "acme: tenant_tier: " in output


@pytest.mark.parametrize("before", [{"tenant_state": "deleted"}, {}])
def test_what_is_asked_for_one_that_comes_back_counts_at_once(
    world: World, before: dict[str, Any]
) -> None:
    if before:
        world.entry("acme", **before)
    else:  # one made by hand
        (world.directory / "inventory/host_vars/acme.yml").write_text("tenant_tier: pro\n")
    asked = {"variables": {"tenant_wake": False}, "node": "node1"}
    words = ("-e", "tenant=acme", "-e", json.dumps(asked))
    status, output = world.play("playbooks/create_tenant.yml", *words, tenant_plan={})
    assert status == 0, output
    (tenant,) = world.told()
    assert tenant["wake"] is False
    # An inventory that AWX tells says nothing of what was written since.
    assert "ok: [acme] => (item=tenant_wake)" in output
    assert world.entry("acme")["tenant_wake"] is False


def test_the_registry_of_a_node_without_tenants_is_exported(world: World) -> None:
    world.set_up_node2()
    answers = {name: {"": {"rows": []}} for name in ("tenant_read", "node2 tenant_read")}
    words = ("-e", "database_url=postgresql://127.0.0.1:1/none")
    _status, output = world.play("playbooks/export_registry.yml", *words, **answers)
    assert ["node2 tenant_read", []] in world.calls()
    assert "the deployments cannot be written" in output


def test_what_a_failed_run_made_is_finished_by_the_next(world: World) -> None:
    """The name leads to the node, and the answer says that the tenant is there."""
    records = world.directory / "records"
    hook = {"platform_dns_hook": ["sh", "-c", f'echo "$*" >>{records}', "hook"]}
    node = {"platform_public_address": "192.0.2.1"}
    settings = world.directory / "inventory/group_vars/all.yml"
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **hook, **node}))
    world.entry("globex", tenant_api_keys=[{"name": "default", "sha256": "a" * 64}])
    world.entry("initech", tenant_api_keys=[{"name": "default", "sha256": "b" * 64}])
    deploy = "playbooks/deploy_tenant.yml"
    status, output = world.play(deploy, tenant_plan={"acme": {**PURGE, "error": "acme: no room"}})
    assert status != 0 and "acme: no room" in output
    assert not records.exists()
    answer = world.directory / "inventory/.secrets/acme.json"
    assert json.loads(answer.read_text())["state"] == "deploying"
    for _again in range(2):
        status, output = world.play(deploy, tenant_plan={})
        assert status == 0, output
        assert json.loads(answer.read_text())["state"] == "running"
        assert records.read_text() == "present acme acme.memcloud.localhost 192.0.2.1 300\n"


@pytest.mark.parametrize(("playbook", "key_name"), [("rotate_keys", "default"), ("add_key", "ci")])
def test_a_key_that_a_failed_run_made_is_finished_by_the_next_deployment(
    world: World, playbook: str, key_name: str
) -> None:
    """The rotation after that makes another one, and does not go on from where that run was."""
    for name, letter in (("acme", "a"), ("globex", "b"), ("initech", "c")):
        world.entry(name, tenant_api_keys=[{"name": "default", "sha256": letter * 64}])
    secrets = world.directory / "inventory/.secrets"
    answer = secrets / ("acme.json" if key_name == "default" else f"acme.{key_name}.json")
    words = ("-e", "tenant=acme", "-e", f"key_name={key_name}")
    drifted = {**PURGE, "state": "running"}
    status, output = world.play(
        f"playbooks/{playbook}.yml",
        *words,
        tenant_plan={"acme": drifted},
        tenant_converge={"acme": {**drifted, "error": "acme: no answer"}},
    )
    assert status != 0 and "acme: no answer" in output
    first = json.loads(answer.read_text())
    assert first["state"] == "updating"
    # Of a run that was killed before its key was in the entry, and of somebody else.
    (secrets / "globex.json").write_text(json.dumps({**first, "tenant": "globex"}))
    (secrets / "initech.json").write_text("{")
    status, output = world.play("playbooks/deploy_tenant.yml", tenant_plan={})
    assert status == 0, output
    assert json.loads(answer.read_text()) == {**first, "state": "running", "ca_file": None}
    assert json.loads((secrets / "globex.json").read_text())["state"] == "updating"
    status, output = world.play("playbooks/rotate_keys.yml", *words, tenant_plan={})
    assert status == 0 and "acme: rotated; the key is in" in output, output
    assert json.loads(answer.read_text())["api_key"] != first["api_key"]


@pytest.mark.parametrize("chosen", [("-e", "tenant=acme"), ("-l", "acme")])
def test_an_empty_answer_to_what_is_to_be_rotated_is_none(
    world: World, chosen: tuple[str, str]
) -> None:
    """Surveys of AWX give one, and its limit leaves localhost out."""
    world.entry("acme", tenant_api_keys=[{"name": "default", "sha256": "a" * 64}])
    words = ("playbooks/rotate_keys.yml", *chosen, "-e", "what=")
    status, output = world.play(*words, tenant_plan={})
    assert status == 0 and "acme: rotated; the key is in" in output, output
    new, old = world.entry("acme")["tenant_api_keys"]
    assert new["sha256"] != old["sha256"] == "a" * 64 and old["expires"]
