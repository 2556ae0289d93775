"""A role's defaults and its argument specs name the same options, with the same default values."""

from __future__ import annotations

import functools
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


@each_role
def test_names_start_with_the_role_or_are_public(role: Path) -> None:
    prefixes = (role.name + "_", "_" + role.name + "_", "platform_", "tenant_")
    assert [name for name in options(role) if not name.startswith(prefixes)] == []
