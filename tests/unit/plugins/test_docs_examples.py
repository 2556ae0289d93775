# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README, docs and the roles' READMEs show works: each example is given to what reads it."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_builder.ee_schema import validate_schema
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import parse_platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import parse_tenant

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")])
PLAYBOOKS = ROOT / "playbooks"
# What every inventory has, so that an example need not show it.
GIVEN = {
    "platform_root_keys": {1: base64.b64encode(bytes(range(32))).decode()},
    "tenant_uid": "0123456789abcdef",
    "tenant_node": "node1",
}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_CUT_SHORT = re.compile(r"\b[0-9a-f]+…")
_VARIABLE = re.compile(r"""-e (?:'\{")?([a-z][a-z0-9_]*)(?:=|":)""")


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for found, text in _BLOCK.findall(page.read_text()):
            if found == language:
                yield page, text


def examples() -> list[Any]:
    """The YAML documents of all pages, with plausible text where a reader puts secrets."""
    numbers: dict[Path, Iterator[int]] = {}
    found = []
    for page, text in blocks("yaml"):
        whole = _CUT_SHORT.sub(lambda cut: cut.group()[:-1].ljust(64, "a"), text)
        for example in yaml.safe_load_all(_TEMPLATE.sub("something", whole)):
            number = next(numbers.setdefault(page, itertools.count(1)))
            found.append(pytest.param(example, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


@pytest.mark.parametrize("example", examples())
def test_an_example_can_be_used(example: Any) -> None:
    if isinstance(example, list):
        for play in example:
            check_play(play)
    elif set(example) == {"nodes"}:
        assert {"hosts"} <= set(example["nodes"]) <= {"hosts", "vars"}
    elif "images" in example:
        validate_schema(example)
    else:
        variables = {k: v for k, v in example.items() if not k.startswith("docker_node_")}
        check_options("docker_node", set(example) - set(variables))
        assert [name for name in variables if not name.startswith(("platform_", "tenant_"))] == []
        values = {**load_defaults(), **GIVEN, **variables}
        parse_tenant("acme", values, parse_platform(values), nodes={"node1"})


def check_play(play: Mapping[str, Any]) -> None:
    """A play of roles, or of tasks that include one, with options that the roles have."""
    assert play["hosts"] in ("nodes", "tenants", "node1")
    for role in play.get("roles", ()):
        role = {"role": role} if isinstance(role, str) else role
        name = role["role"].removeprefix("memcloud.memmachine.")
        options = {**role, **role.get("vars", {})}
        check_options(name, set(options) - {"role", "vars"})
    for task in play.get("tasks", ()):
        name = task["ansible.builtin.include_role"]["name"].removeprefix("memcloud.memmachine.")
        check_options(name, set(task["vars"]))
        required = {key for key, option in specs(name).items() if option.get("required")}
        assert required <= set(task["vars"])


def check_options(role: str, used: set[str]) -> None:
    assert sorted(used - set(specs(role))) == []


@functools.cache
def specs(role: str) -> dict[str, Any]:
    text = (ROOT / "roles" / role / "meta/argument_specs.yml").read_text()
    return dict(yaml.safe_load(text)["argument_specs"]["main"]["options"])


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=str(page.relative_to(ROOT))) for page, text in blocks("json")]
)
def test_json_is_json(text: str) -> None:
    while text:
        _value, end = json.JSONDecoder().raw_decode(text)
        text = text[end:].lstrip()


def commands() -> list[Any]:
    """Every command of a page that runs a playbook, in a block or within a line."""
    names = "|".join(sorted(path.stem for path in PLAYBOOKS.glob("*.yml")))
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks_of = [block for found, block in blocks("sh") if found == page]
        lines = "\n".join(blocks_of).split("\n")
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in lines:
            words = line.split("#")[0].strip()
            if re.match(rf"(\S+=\S+ )*ansible-playbook |({names})( |$)", words):
                found.append(pytest.param(words, id=f"{page.relative_to(ROOT)}: {words}"))
    return found


@pytest.mark.parametrize("command", commands())
def test_a_command_names_a_playbook_and_variables_that_it_reads(command: str) -> None:
    words = command.split()
    while "=" in words[0]:
        words.pop(0)
    named = words[1] if words[0] == "ansible-playbook" else words[0]
    name = re.sub(r"^(playbooks/|memcloud\.memmachine\.)|\.yml$", "", named)
    read = text_of(PLAYBOOKS / f"{name}.yml")
    unknown = [
        variable
        for variable in _VARIABLE.findall(command)
        if not re.search(rf"\b{variable}\b", read)
    ]
    assert unknown == []


@functools.cache
def text_of(playbook: Path) -> str:
    """A playbook with all that it imports."""
    text = playbook.read_text()
    imported = re.findall(r"import_playbook: (\S+)", text)
    return "\n".join([text, *(text_of((playbook.parent / path).resolve()) for path in imported)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text())
    lost = []
    for link in links:
        path, _hash, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            lost.append(link)
    assert lost == []


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_linked() -> None:
    """A newcomer finds a page of docs from the README, by way of other pages at most."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
        waiting += [Path(os.path.normpath(page.parent / link)) for link in links]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []
