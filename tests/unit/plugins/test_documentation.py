"""What `ansible-doc` shows of each module: there, readable, and about that module."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
PACKAGE = "ansible_collections.memcloud.memmachine.plugins"


def names(kind: str) -> list[str]:
    found = sorted(path.stem for path in (PLUGINS / kind).glob("[a-z_]*.py"))
    return [name for name in found if name != "__init__"]


@pytest.mark.parametrize("name", names("modules"))
def test_a_module_is_documented(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["module"] == name
    assert documentation["short_description"] and documentation["description"]
    assert {"check_mode", "diff_mode"} <= set(documentation["attributes"])
    for option, described in (documentation.get("options") or {}).items():
        assert described["description"] and described["type"], option
    assert f"memcloud.memmachine.{name}:" in module.EXAMPLES
    assert isinstance(yaml.safe_load(module.EXAMPLES), list)
    for value, described in (yaml.safe_load(module.RETURN or "") or {}).items():
        assert described["description"] and described["returned"], value


@pytest.mark.parametrize("name", names("action"))
def test_an_action_is_documented_as_a_module(name: str) -> None:
    action = importlib.import_module(f"{PACKAGE}.action.{name}")
    assert action.ActionModule.run.__doc__
    assert name in names("modules")


@pytest.mark.parametrize("name", [*names("module_utils"), *names("plugin_utils")])
def test_every_file_says_what_it_is_for(name: str) -> None:
    kind = "module_utils" if (PLUGINS / "module_utils" / f"{name}.py").exists() else "plugin_utils"
    assert importlib.import_module(f"{PACKAGE}.{kind}.{name}").__doc__


def test_every_operation_has_a_name_of_its_own() -> None:
    operations = importlib.import_module(f"{PACKAGE}.module_utils._operations").operations()
    assert {"backup", "restore", "update"} <= set(operations)
    assert all(operation.name == name for name, operation in operations.items())
