# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that load lean behave as packages that load as usual."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

IMAGE = Path(__file__).parents[3] / "roles/memmachine_image/files/image"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"memmachine_image_{name}", IMAGE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lean = load("lean")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("from .a import A as A\n", {"A": "a"}),
        ("# note\n\nfrom __future__ import annotations\n\nfrom .a import A as A\n", {"A": "a"}),
        ("from .a import (\n    A as A,\n    B,\n)\n", {"A": "a", "B": "a"}),
        ("from .a.b import C\n\n__all__ = [\n    'C',\n]\n", {"C": "a.b"}),
        ("from .a import A as B\n", None),
        ("from .a import A\nprint(A)\n", None),
        ("import os\nfrom .a import A\n", None),
        ("from .a import A\nif True:\n    from .b import B\n", None),
        ('"""Words."""\nfrom .a import A\n', None),
        ("from .a import *\n", None),
        ("", None),
    ],
)
def test_only_what_does_nothing_but_pass_on_names_is_taken_apart(
    source: str, parts: dict[str, str] | None
) -> None:
    assert lean.reexported(source) == parts


PROGRAM = """
import sys
sys.path[:0] = [{image!r}, {packages!r}]
import lean
lean.REEXPORTING, lean.LATER, lean.AFTERWARDS = ("given",), {{"heavy": ("Tool",), "dear": ()}}, {{}}
lean.LEAN = frozenset(lean.LATER)
lean.apply()
{program}
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    files = {
        "given/__init__.py": "from .one import One as One\nfrom .two import Two as Two\n",
        "given/one.py": "from .two import Two\n\n\nclass One(Two):\n    pass\n",
        "given/two.py": "class Two:\n    pass\n",
        "given/three.py": "three = 3\n",
        "heavy/__init__.py": "print('heavy runs')\nfrom .part import Tool\nother = 1\n",
        "heavy/part.py": "import heavy\n\n\nclass Tool:\n    def __init__(self, x): self.x = x\n",
        "dear/__init__.py": "print('dear runs')\nprice = 9\n",
        "dear/part.py": "from dear import price\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("import given; print('given.one' in sys.modules)", "False"),
        (
            "from given import Two; print(Two, 'given.one' in sys.modules)",
            "<class 'given.two.Two'> False",
        ),
        ("from given import *; print(One.__bases__[0] is Two)", "True"),
        ("import given; print(given.three.three)", "3"),
        ("import given; print(hasattr(given, 'four'), 'One' in dir(given))", "False True"),
        ("from heavy import Tool; print('not yet'); print(Tool(3).x)", "not yet\nheavy runs\n3"),
        ("import heavy; print(heavy.other, heavy.other)", "heavy runs\n1 1"),
        (
            "from heavy import Tool; from heavy.part import Tool as T; print(type(Tool(1)) is T)",
            "heavy runs\nTrue",
        ),
        ("import dear; print('not yet'); print(dear.price)", "not yet\ndear runs\n9"),
        ("import dear.part; print(dear.part.price)", "dear runs\n9"),
        ("import dear; print(dear.__spec__.name, dear.__name__)", "dear dear"),
        ("import heavy; print(hasattr(heavy, 'gone'))", "heavy runs\nFalse"),
    ],
)
def test_a_lean_package_gives_what_it_would_give(program: str, output: str, packages: Path) -> None:
    text = PROGRAM.format(image=str(IMAGE), packages=str(packages), program=program)
    result = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=30
    )
    assert (result.stdout.strip(), result.stderr) == (output, "")


def test_a_computed_table_refuses_what_the_table_had_not() -> None:
    class Calendar:
        MIN_YEAR, MAX_YEAR = 1, 9999

        @staticmethod
        def _days_in_month(year: int, month: int) -> int:
            return 28 + month

    calendar = Calendar()
    lean._calendar(calendar)
    assert calendar._DAYS_IN_MONTH[2026, 2] == 30
    for key in ((0, 1), (10000, 1), (2026, 0), (2026, 13)):
        with pytest.raises(KeyError):
            calendar._DAYS_IN_MONTH[key]
