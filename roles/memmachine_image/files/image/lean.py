# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave out of the server's start what it does not need yet.

Packages that only pass on names of their parts load a part when its name is asked for; packages
that only some configurations use run when anything is asked of them; two large tables of the Neo4j
driver are computed when asked. The build compares both ways and leaves this out where they differ.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import re
import struct
import sys
import threading
import types

# Packages whose __init__ is nothing but names of their parts; the whole tree below them counts.
REEXPORTING = ("openai.types", "openai.resources")
# Packages that only some configurations use, with the names that are imported from them at start
# and called later, if at all.
LATER = {"boto3": (), "langchain_text_splitters": ("RecursiveCharacterTextSplitter",)}
# Colours for error pages in HTML, which fall back to plain text without it.
ABSENT = ("mako.ext.pygmentplugin",)

_IMPORT = re.compile(r"^from \.(\S+) import (\([^)]*\)|[^\n(]*)$", re.MULTILINE)
_NO_CODE = re.compile(
    r"^(?:#.*|from __future__ import annotations|__all__ = \[[^\]]*\])$", re.MULTILINE
)


class _Reexporting(types.ModuleType):
    """A package that loads a part when one of its names is asked for."""

    def __getattr__(self, name):
        part = self.__dict__["__parts__"].get(name)
        if part is not None:
            module = importlib.import_module("." + part, self.__name__)
            value = self.__dict__[name] = getattr(module, name)
            return value
        find = importlib.machinery.PathFinder.find_spec
        if not name.startswith("__") and find(f"{self.__name__}.{name}", self.__path__):
            return importlib.import_module("." + name, self.__name__)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self):
        return sorted({*self.__dict__, *self.__dict__["__parts__"]})


class _Later(types.ModuleType):
    """A package that runs when anything is asked of it."""

    def __getattr__(self, name):
        run = self.__dict__.get("__run__")
        if run is None or (name.startswith("__") and name != "__path__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        run()
        return getattr(self, name)


class _Loader:
    """Loads a module in its lean way; about everything else it asks the usual loader."""

    def __init__(self, loader, name):
        self.usual = loader
        self.name = name

    def __getattr__(self, name):
        return getattr(self.usual, name)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if self.name in LATER:
            _put_off(module, self.usual, LATER[self.name])
            return
        parts = None
        if self.name.startswith(REEXPORTING):
            parts = reexported(self.usual.get_source(self.name))
        if parts is not None:
            module.__class__ = _Reexporting
            module.__dict__.update(__parts__=parts, __all__=list(parts))
            return
        self.usual.exec_module(module)
        if self.name in AFTERWARDS:
            AFTERWARDS[self.name](module)


class _Finder:
    """Finds the modules that this file names."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        reexporting = name.startswith(REEXPORTING)
        if not (reexporting or name in LEAN):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        if reexporting and spec.submodule_search_locations is None:
            return spec
        spec.loader = _Loader(spec.loader, name)
        return spec


def reexported(source):
    """Return which part has each name that a package passes on; None where it does more."""
    parts = {}
    for part, names in _IMPORT.findall(source):
        for entry in names.strip("()").split(","):
            name, _as, alias = entry.partition("#")[0].strip().partition(" as ")
            if alias and alias.strip() != name:
                return None
            if name and not name.isidentifier():
                return None
            if name:
                parts[name] = part
    rest = _NO_CODE.sub("", _IMPORT.sub("", source))
    return parts if parts and not rest.strip() else None


def _put_off(module, loader, names):
    """Let a package run later: when one of its names is called, or anything else is asked."""
    path = module.__path__
    if not names:
        # Who imports a part of the package asks for its path. With names, the import of a name
        # asks for it too.
        del module.__path__
    lock = threading.RLock()

    def run():
        with lock:
            if module.__dict__.pop("__run__", None) is not None:
                for name in names:
                    del module.__dict__[name]
                module.__path__ = path
                loader.exec_module(module)
                module.__class__ = types.ModuleType

    def stand_in(name):
        def call(*args, **kwargs):
            run()
            return getattr(module, name)(*args, **kwargs)

        return call

    module.__class__ = _Later
    module.__dict__.update({name: stand_in(name) for name in names}, __run__=run)


class _Computed(dict):
    """A table that is computed entry by entry, and kept nowhere."""

    def __init__(self, compute):
        super().__init__()
        self.compute = compute

    def __missing__(self, key):
        return self.compute(key)


class _Packed(list):
    """The list of all numbers of a width, packed."""

    def __getitem__(self, index):
        return struct.pack(">H", index)


def _calendar(module):
    """Compute how long a month is instead of keeping the answer for ten thousand years."""
    first, last, days_in_month = module.MIN_YEAR, module.MAX_YEAR, module._days_in_month

    def compute(key):
        year, month = key
        if not (first <= year <= last and 1 <= month <= 12):
            raise KeyError(key)
        return days_in_month(year, month)

    module._DAYS_IN_MONTH = _Computed(compute)


def _packstream(module):
    """Compute packed 16-bit numbers instead of keeping all of them twice."""
    if len(module.PACKED_UINT_16) == len(module.UNPACKED_UINT_16) == 0x10000:
        module.PACKED_UINT_16 = _Packed()
        module.UNPACKED_UINT_16 = _Computed(lambda packed: struct.unpack(">H", packed)[0])


AFTERWARDS = {"neo4j.time": _calendar, "neo4j._codec.packstream.v1": _packstream}
LEAN = frozenset((*LATER, *AFTERWARDS))


def apply():
    """Load the named modules in their lean way from now on."""
    for name in ABSENT:
        sys.modules[name] = None
    sys.meta_path.insert(0, _Finder)


def facts():
    """Return what both ways must agree on."""
    import boto3.session
    import neo4j._codec.packstream.v1 as packstream
    import neo4j.time as calendar
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    months = [(year, month) for year in range(1, 10000) for month in range(1, 13)]
    numbers = range(0x10000)
    packed = [packstream.PACKED_UINT_16[number] for number in numbers]
    return {
        "names": dict(_names()),
        "months": hash(tuple(calendar._DAYS_IN_MONTH[month] for month in months)),
        "numbers": hash(b"".join(packed)),
        "unpacked": [packstream.UNPACKED_UINT_16[entry] for entry in packed] == list(numbers),
        "split": RecursiveCharacterTextSplitter(chunk_size=9, chunk_overlap=2).split_text(
            "Two dogs and a cat"
        ),
        "boto3": [boto3.session.Session.__module__, boto3.client.__module__, boto3.__version__],
    }


def _names():
    """Yield each name that a package passes on, and what it stands for."""
    import pkgutil

    for root in REEXPORTING:
        package = importlib.import_module(root)
        below = pkgutil.walk_packages(package.__path__, root + ".")
        for name in [root, *(entry.name for entry in below if entry.ispkg)]:
            module = importlib.import_module(name)
            with open(module.__file__, encoding="utf-8") as stream:
                parts = reexported(stream.read())
            for part in parts or ():
                value = getattr(module, part)
                where = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
                yield f"{name}.{part}", [type(value).__name__, *where, repr(value)[:200]]


if __name__ == "__main__":
    if sys.argv[1:] == ["lean"]:
        apply()
    print(json.dumps(facts(), sort_keys=True))
