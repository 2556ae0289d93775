"""The short way to a node: its code is sent once, and a call is a program on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
import venv
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _calls
from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _node_code
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import NodeAction
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_code import Code, told

SMALL = """
def work(given, check_mode):
    if given.get("fail"):
        raise MemcloudError("node1 is full")
    if given.get("crash"):
        return 1 // 0
    print("something of a library")
    return {"changed": not check_mode, "said": given["say"]}
"""


@pytest.fixture
def code() -> Code:
    """Code with one call, of two files that the real one has too."""
    here = Path(_calls.__file__).parent
    calls = (here / "_calls.py").read_text()
    before, _mark, rest = calls.partition("CALLS = {")
    spec = '{"say": {"type": "raw", "default": "nothing"}}'
    calls = (
        f'{before}CALLS = {{"small": Call("_small.work", {spec})}}\n' + rest.partition("\n}\n")[2]
    )
    errors = "ansible_collections.memcloud.memmachine.plugins.module_utils._errors"
    small = f"from {errors} import MemcloudError\n{SMALL}"
    files = {
        "_calls.py": calls.encode(),
        "_errors.py": (here / "_errors.py").read_bytes(),
        "_small.py": small.encode(),
    }
    return Code("0123", files)


class Node(NodeAction):
    """An action whose node is a virtual environment of this machine."""

    def __init__(self, home: Path, check_mode: bool = False) -> None:
        if not home.exists():
            venv.create(home, with_pip=False)
        self.home = home
        self.programs: list[bytes] = []
        batch = {"interpreter": str(home / "bin/python"), "node": "node1"}
        self._task = types.SimpleNamespace(args={"batch": batch}, check_mode=check_mode)
        self._connection = types.SimpleNamespace(is_pipelining_enabled=lambda _async: True)

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _compute_environment_string(self, raw: Any = None) -> str:
        return "A=b"

    def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, Any]:
        self.programs.append(in_data)
        done = subprocess.run(command, shell=True, input=in_data, capture_output=True, check=False)
        said = {"stdout": done.stdout.decode(), "stderr": done.stderr.decode()}
        return {"rc": done.returncode, **said}

    @property
    def kept(self) -> list[str]:
        return sorted(os.listdir(self.home / "code"))


@pytest.fixture
def small(code: Code, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.setattr("%s.CALLS" % NodeAction.__module__, frozenset(("small",)))
    monkeypatch.setattr(Code, "here", classmethod(lambda _cls: code))
    return code


def test_the_code_is_sent_once(small: Code, tmp_path: Path) -> None:
    node = Node(tmp_path / "venv")
    expected = ({"changed": True, "said": 'it\'s "é"'}, "")
    for _call in range(2):
        assert node._ask("small", {"say": 'it\'s "é"'}, {}) == expected
    assert len(node.programs) == 4  # a call that finds no code, the code, the call, another call
    assert node.kept == ["0123"]


def test_what_is_not_given_has_the_default_of_the_module(small: Code, tmp_path: Path) -> None:
    answer, problem = Node(tmp_path / "venv")._ask("small", {}, {})
    assert (answer["said"], problem) == ("nothing", "")


def test_a_call_knows_of_check_mode(small: Code, tmp_path: Path) -> None:
    answer, _problem = Node(tmp_path / "venv", check_mode=True)._ask("small", {"say": 1}, {})
    assert answer["changed"] is False


def test_what_went_wrong_is_said_in_words(small: Code, tmp_path: Path) -> None:
    node = Node(tmp_path / "venv")
    assert node._ask("small", {"fail": True}, {}) == ({}, "node node1: node1 is full")
    _answer, problem = node._ask("small", {"crash": True}, {})
    assert problem.startswith("node node1: small crashed: ") and "ZeroDivisionError" in problem


def test_a_node_that_is_not_set_up(small: Code, tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    _answer, problem = Node(tmp_path / "venv")._ask("small", {"say": 1}, {})
    assert "is not set up" in problem and "run setup_node" in problem


def test_code_that_nobody_uses_goes(small: Code, tmp_path: Path) -> None:
    node = Node(tmp_path / "venv")
    for name, days in (("old", 8), ("recent", 6)):
        path = node.home / "code" / name
        path.mkdir(parents=True)
        os.utime(path, (time.time() - days * 86400,) * 2)
    node._ask("small", {"say": 1}, {})
    assert node.kept == ["0123", "recent"]


def test_two_runs_that_send_the_same_code(code: Code, tmp_path: Path) -> None:
    node = Node(tmp_path / "venv")
    assert node._run(code.store()) == node._run(code.store()) == {}
    assert node.kept == ["0123"]


def test_a_full_disk_is_told_and_keeps_no_half_of_the_code(small: Code, tmp_path: Path) -> None:
    class Full(Node):
        def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, Any]:
            return super()._low_level_execute_command(f"ulimit -f 0; {command}", in_data)

    node = Full(tmp_path / "venv")
    _answer, problem = node._ask("small", {"say": 1}, {})
    assert "node node1: the collection's code cannot be kept below " in problem
    assert node.kept == []


def test_other_code_is_other_code() -> None:
    here = Code.here()
    assert here == Code.here()
    assert "_deploy.py" in here.files and "_calls.py" in here.files
    assert json.dumps(here.digest) in here.call("tenant_plan", {}, False).decode()


@pytest.mark.parametrize("call", _calls.CALLS)
def test_every_call_is_there_and_needs_no_ansible(call: str) -> None:
    """Nodes have no Ansible: in the virtual environment there is what their modules import."""
    program = (
        "import sys, importlib\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'ansible':\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        f"from {_calls.__name__} import CALLS, _PACKAGE\n"
        f"module, _, function = CALLS[{call!r}].function.partition('.')\n"
        "print(callable(getattr(importlib.import_module(_PACKAGE + '.' + module), function)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_the_last_line_with_the_mark_counts() -> None:
    assert told('hello\nmemcloud:{"a": 1}\nbye') == {"a": 1}
    assert told("Traceback") is None
    assert frozenset(_calls.CALLS) == _node_code.CALLS
