"""A role's defaults and its argument specs name the same options, with the same default values."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parents[2] / "roles").iterdir() if path.is_dir())
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


class Loader(yaml.SafeLoader):
    """YAML with Ansible's own tags."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: "!" + suffix)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader) if path.exists() else None


@functools.cache
def defaults(role: Path) -> dict[str, Any]:
    files = [role / "defaults/main.yml", *sorted((role / "defaults/main").glob("*.yml"))]
    merged: dict[str, Any] = {}
    for path in files:
        merged |= load(path) or {}
    return merged


@functools.cache
def options(role: Path) -> dict[str, Any]:
    """The options of the role's entry point; other entry points may repeat some of them."""
    specs = (load(role / "meta/argument_specs.yml") or {}).get("argument_specs", {})
    return (specs.get("main") or {}).get("options", {})


@each_role
def test_has_the_files_that_a_reader_looks_for(role: Path) -> None:
    wanted = ["tasks/main.yml", "meta/main.yml", "meta/argument_specs.yml", "README.md"]
    assert [name for name in wanted if not (role / name).exists()] == []


@each_role
def test_every_default_is_specified(role: Path) -> None:
    internal = {name for name in defaults(role) if name.startswith("_")}
    assert sorted(set(defaults(role)) - internal - set(options(role))) == []


@each_role
def test_every_option_has_a_default_or_is_required_or_may_be_left_out(role: Path) -> None:
    stated = [
        name
        for name, option in options(role).items()
        if "default" in option and name not in defaults(role)
    ]
    assert stated == []


@each_role
def test_required_options_have_no_default(role: Path) -> None:
    required = {name for name, option in options(role).items() if option.get("required")}
    assert sorted(required & set(defaults(role))) == []


@each_role
def test_defaults_agree_with_the_specs(role: Path) -> None:
    """A value computed by a template, and a whole table, are described in words instead."""
    differ = {
        name: (value, options(role)[name]["default"])
        for name, value in defaults(role).items()
        if "default" in options(role).get(name, {}) and options(role)[name]["default"] != value
    }
    assert differ == {}


@each_role
def test_every_option_is_described(role: Path) -> None:
    silent = [name for name, option in options(role).items() if not option.get("description")]
    assert silent == []


@functools.cache
def told(role: Path) -> dict[str, str]:
    """The options in the tables of a role's README, with the default that these give, if any."""
    text = (role / "README.md").read_text()
    tables = re.findall(r"^\| variable \| default \|.*\n\|-.*\n((?:\|.*\n)*)", text, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", "".join(tables), re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


@each_role
def test_a_readme_tells_of_every_option(role: Path) -> None:
    """In its tables, or by leading to the defaults: then it names those that have none."""
    text = (role / "README.md").read_text()
    if told(role):
        # The README says in words that a variable of the model provider has a tenant's counterpart.
        spoken_of = {name.replace("platform_", "tenant_", 1) for name in told(role)}
        assert sorted(set(options(role)) - set(told(role)) - spoken_of) == []
    else:
        assert "`defaults/main.yml`" in text
        silent = set(options(role)) - set(defaults(role))
        assert [name for name in sorted(silent) if name not in text] == []


@each_role
def test_a_readme_tells_of_no_other_options(role: Path) -> None:
    known = set(options(role)) | set(options(ROLES[0].parent / "tenant"))
    text = (role / "README.md").read_text()
    named = set(re.findall(rf"\b(?:{role.name}|platform|tenant)_\w*[a-z]\b(?!\*|\.py)", text))
    assert sorted(named - known) == []


@each_role
def test_a_readme_tells_the_defaults(role: Path) -> None:
    """A whole table is described in words instead; an empty value, by saying nothing."""
    differ = {}
    for name, said in told(role).items():
        option = options(role).get(name, {})
        value = option.get("default")
        if option.get("required"):
            wanted = "*required*"
        elif value in (None, "", 0, [], {}) and value is not False:
            wanted = ""
        else:
            wanted = f"`{str(value).lower() if isinstance(value, bool) else value}`"
        if said != wanted and not isinstance(value, list):
            differ[name] = (said, wanted)
    assert differ == {}


@each_role
def test_names_start_with_the_role_or_are_public(role: Path) -> None:
    prefixes = (role.name + "_", "_" + role.name + "_", "platform_", "tenant_")
    assert [name for name in options(role) if not name.startswith(prefixes)] == []
