# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The head of a playbook lists the variables that it reads, all of them and no other."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    known_variables,
    variables_of,
)
from jinja2 import Environment, nodes
from support import controller

TOP = Path(__file__).parents[3]
PLAYBOOKS = sorted((TOP / "playbooks").glob("*.yml"))
# Variables of the inventory, of a role's options, and what playbooks and roles tell each other.
NOT_OF_A_RUN = (
    "_",
    "ansible_",
    "memcloud_",
    "platform_",
    "tenant_",
    *(f"{path.name}_" for path in (TOP / "roles").iterdir()),
)
OF_ANSIBLE = {
    "dict",
    "groups",
    "hostvars",
    "index",  # of a loop
    "inventory_dir",
    "inventory_hostname",
    "item",
    "lookup",
    "now",
    "omit",
    "playbook_dir",
}
TEMPLATES = Environment()
EXPRESSIONS = ("when", "that", "until", "failed_when", "changed_when")


@functools.cache
def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@functools.cache
def names_of(path: Path) -> set[str]:
    return set(names_in(parsed(path)))


def names_in(value: Any, expression: bool = False) -> Iterator[str]:
    """The variables that templates and conditions read."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from names_in(key)
            yield from names_in(inner, key in EXPRESSIONS)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner, expression)
    elif isinstance(value, str):
        tree = TEMPLATES.parse("{{" + value + "}}" if expression else value)
        found = list(tree.find_all(nodes.Name))
        own = {name.name for name in found if name.ctx != "load"}
        yield from (name.name for name in found if name.name not in own)


def files_of(path: Path, role: Path | None = None) -> Iterator[Path]:
    """A playbook or task file with all that it imports and includes."""
    yield path

    def walk(value: Any) -> Iterator[Path]:
        if isinstance(value, list):
            for inner in value:
                yield from walk(inner)
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            kind = str(key).removeprefix("ansible.builtin.")
            if kind in ("import_playbook", "import_tasks", "include_tasks"):
                name = inner if isinstance(inner, str) else inner["file"]
                yield from files_of((path.parent / name).resolve())
            elif kind in ("import_role", "include_role"):
                tasks = TOP / "roles" / inner["name"].rpartition(".")[2] / "tasks"
                yield from files_of(tasks / f"{inner.get('tasks_from', 'main')}.yml")
            else:
                yield from walk(inner)

    yield from walk(parsed(path))


def read_by(path: Path) -> set[str]:
    """The variables of a run that a playbook reads, wherever it does."""
    return {
        name
        for file in files_of(path)
        for name in names_of(file)
        if name not in OF_ANSIBLE and not name.startswith(NOT_OF_A_RUN)
    }


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_head_lists_what_the_playbook_reads(path: Path) -> None:
    listed = {name for name in variables_of(path) if not name.startswith(NOT_OF_A_RUN)}
    assert listed == read_by(path)


def test_variables_are_found_where_they_are_read() -> None:
    assert read_by(TOP / "playbooks/remove_node.yml") == {
        "node", "remove_data", "remove_images", "remove_engine"
    }  # fmt: skip
    assert read_by(TOP / "playbooks/pause_tenant.yml") == {"tenant"}
    assert len(known_variables()) > 45


def test_a_second_name_is_a_playbook_with_the_same_variables() -> None:
    seconds = {path.stem: path for path in PLAYBOOKS if "-" in path.stem}
    assert list(seconds) == ["create-tenant", "delete-tenant", "deploy-tenant", "tenant-info"]
    for name, path in seconds.items():
        first = path.with_name(name.replace("-", "_") + ".yml")
        assert list(files_of(path))[1] == first
        assert variables_of(path) == variables_of(first) != []


def test_the_second_names_can_be_played() -> None:
    second = [path for path in PLAYBOOKS if "-" in path.stem]
    code, output = controller.play("--syntax-check", "-i", "acme,", *second)
    assert code == 0, output
    assert output.count("playbook: ") == 4
