# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README, docs and the roles' READMEs show works: each example is given to what reads it.

So are the commands that messages advise.
"""

from __future__ import annotations

import ast
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
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    variables_of,
)

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
    taken = variables_of(PLAYBOOKS / f"{name}.yml")
    assert [variable for variable in _VARIABLE.findall(command) if variable not in taken] == []


def rows() -> list[Any]:
    """The rows of tables that name variables beside playbooks: survey questions, options."""
    found = []
    for page in PAGES:
        for row in re.findall(r"^\| (`.*) \|$", page.read_text(), re.MULTILINE):
            first, *others = row.split(" | ")
            known = [PLAYBOOKS / f"{word}.yml" for word in re.findall(r"`([a-z_]+)`", first)]
            known = [playbook for playbook in known if playbook.exists()]
            names = _VARIABLE.findall(row)
            names += re.findall(r"`([a-z0-9_]+)`", others[0]) if page.stem == "awx" else []
            if known and names:
                label = f"{page.relative_to(ROOT)}: {first}"
                found.append(pytest.param(known, names, id=label))
    return found


@pytest.mark.parametrize(("playbooks", "names"), rows())
def test_a_table_names_variables_that_one_of_its_playbooks_reads(
    playbooks: list[Path], names: list[str]
) -> None:
    taken = {variable for playbook in playbooks for variable in variables_of(playbook)}
    assert sorted(set(names) - taken) == []


def sentences(path: Path) -> Iterator[str]:
    """The texts of a file that may be shown to somebody, each in one line."""
    text = path.read_text()
    if path.suffix != ".py":
        yield " ".join(text.split())
        return
    inner: set[ast.AST] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
            yield " ".join("".join(map(str, parts)).split())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield " ".join(node.value.split())


def advice() -> list[Any]:
    """Every command with options that a message of the code may advise."""
    names = "|".join(sorted(path.stem for path in PLAYBOOKS.glob("*.yml")))
    command = re.compile(rf"\b({names})((?: -[el] [^\s,;:)`\"]+)+)")
    files = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("playbooks/**/*.yml")]
    files += ROOT.glob("roles/*/tasks/*.yml")
    found = {
        (path, match[1], match[2])
        for path in files
        for sentence in sentences(path)
        for match in command.finditer(sentence)
    }
    return [
        pytest.param(name, options, id=f"{path.relative_to(ROOT)}: {name}{options}")
        for path, name, options in sorted(found)
    ]


@pytest.mark.parametrize(("name", "options"), advice())
def test_a_command_that_a_message_advises_can_be_followed(name: str, options: str) -> None:
    playbook = PLAYBOOKS / f"{name}.yml"
    given = _VARIABLE.findall(options)
    assert set(given) <= set(variables_of(playbook))
    # It stops where nobody says for whom it is.
    if "Make sure that it is said which tenants" in text_of(playbook):
        assert "tenant" in given or " -l " in options


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
