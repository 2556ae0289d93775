# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenants' entries in a directory ``host_vars``: a file or a folder each.

For the controller only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

EXTENSIONS = (".yml", ".yaml", ".json")
VAULT = "$ANSIBLE_VAULT"


@dataclass(frozen=True)
class Entry:
    """Where one host's variables are; a folder's files are sorted as Ansible reads them."""

    name: str
    path: str
    files: tuple[str, ...]


@dataclass
class Entries:
    """Variables by name of the entries that can be read, and what is wrong with the others."""

    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def find_entries(directory: str) -> list[Entry]:
    """Every entry of a directory, by name. Hidden files and editors' backups are none."""
    try:
        with os.scandir(directory) as items:
            listed = sorted(items, key=lambda item: item.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MemcloudError(f"{directory} cannot be read: {error.strerror}") from error
    entries: dict[str, Entry] = {}
    for item in listed:
        if item.name.startswith((".", "#")) or item.name.endswith("~"):
            continue
        if item.is_dir():
            entries[item.name] = Entry(item.name, item.path, tuple(_files_below(item.path)))
            continue
        name, extension = os.path.splitext(item.name)
        # Ansible reads one of them: a folder before files, and .yml first.
        if extension in EXTENSIONS and not _outranked(entries.get(name), extension):
            entries[name] = Entry(name, item.path, (item.path,))
    return list(entries.values())


def others_of(entry: Entry) -> list[str]:
    """The files under an entry's name that would be the entry, were it not there."""
    top = os.path.join(os.path.dirname(entry.path), entry.name)
    files = (top + extension for extension in EXTENSIONS)
    return [path for path in files if path != entry.path and os.path.lexists(path)]


def load_entries(
    entries: Iterable[Entry], decrypt: Callable[[str], str | bytes] | None = None
) -> Entries:
    """Read entries; a broken one is a problem of that tenant alone.

    :param decrypt: returns the text of a file that is encrypted as a whole.
    """
    found = Entries()
    for entry in entries:
        try:
            found.variables[entry.name] = load_entry(entry, decrypt)
        except MemcloudError as error:
            found.problems[entry.name] = str(error)
    return found


def load_plain(directory: str) -> Mapping[str, Mapping[str, Any]]:
    """What can be read without a secret of all entries of a directory, by name.

    Neither a hostname nor a node is a secret: what is vaulted beside them need not be known.
    """
    return load_entries(find_entries(directory), lambda _path: "").variables


def load_entry(entry: Entry, decrypt: Callable[[str], str | bytes] | None = None) -> dict[str, Any]:
    """The variables of one entry as written: templates and vaulted values are not resolved."""
    variables: dict[str, Any] = {}
    for path in entry.files:
        variables.update(load_file(path, decrypt))
    return variables


def duplicates(variables: Mapping[str, Mapping[str, Any]], domain: Any = None) -> dict[str, str]:
    """What is wrong with tenants that share a hostname or a uid with another one, by name.

    :param domain: that of tenants without a hostname of their own and without platform_domain;
        they are left alone where it is not known, as that of a template is not.
    """
    owners: dict[tuple[str, str], list[str]] = {}
    for name, values in variables.items():
        deleted = values.get("tenant_state") == "deleted"
        hostname = None if deleted else _hostname(name, values, domain)
        given = {"tenant_uid": values.get("tenant_uid"), "tenant_hostname": hostname}
        for variable, value in given.items():
            if text := _plain(value):
                owners.setdefault((variable, text), []).append(name)
    problems: dict[str, str] = {}
    for (variable, value), names in owners.items():
        if len(names) > 1:
            for name in names:
                others = " and ".join(other for other in names if other != name)
                problems[name] = (
                    f"{variable}: {value} is that of {others} too; each tenant needs its own"
                )
    return problems


def _hostname(name: str, values: Mapping[str, Any], domain: Any) -> Any:
    own = values.get("tenant_hostname")
    if own is not None and own != "":
        return own
    domain = _plain(values.get("platform_domain", domain))
    return f"{name}.{domain}" if domain else None


def _plain(value: Any) -> str:
    """A text in lower case; empty for anything else, and for what has to be templated."""
    if not isinstance(value, str) or "{{" in value or "{%" in value:
        return ""
    return value.strip().lower()


def _outranked(other: Entry | None, extension: str) -> bool:
    if other is None:
        return False
    ranks = {known: rank for rank, known in enumerate(("", *EXTENSIONS))}
    return ranks.get(os.path.splitext(other.path)[1], 0) < ranks[extension]


def _files_below(directory: str) -> list[str]:
    files: list[str] = []
    for item in sorted(os.listdir(directory)):
        path = os.path.join(directory, item)
        if item.startswith(".") or item.endswith("~"):
            continue
        if os.path.isdir(path):
            files.extend(_files_below(path))
        elif os.path.splitext(item)[1] in ("", *EXTENSIONS):
            files.append(path)
    return files


def load_file(path: str, decrypt: Callable[[str], str | bytes] | None) -> dict[str, Any]:
    """The variables of one file of an entry, as `load_entry` has them."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise MemcloudError(f"{path} cannot be read: {error.strerror}") from error
    if text.startswith(VAULT.encode()):
        if decrypt is None:
            raise MemcloudError(f"{path} is encrypted and no vault secret is at hand")
        decrypted = decrypt(path)
        # Ansible's own kind of text, which carries marks, is not taken by the YAML library.
        text = decrypted.encode() if isinstance(decrypted, str) else decrypted
    return parse_variables(text, path)


def parse_variables(text: str | bytes, path: str) -> dict[str, Any]:
    """The variables in the text of a file."""
    # Not at the top: for the controller only, and a node need not have PyYAML.
    import yaml

    try:
        values = yaml.load(text, Loader=yaml_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise MemcloudError(f"{path}{where} is no valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise MemcloudError(f"{path} is no valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise MemcloudError(f"{path} must be a mapping of variables, not a {type(values).__name__}")
    return values


_LOADERS: list[Any] = []


def yaml_loader() -> Any:
    """A safe loader that takes Ansible's own tags (!vault, !unsafe) as opaque values."""
    if not _LOADERS:
        import yaml

        class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
            def construct_object(self, node: Any, deep: bool = False) -> Any:
                try:
                    return super().construct_object(node, deep)
                except (ValueError, LookupError, AttributeError, TypeError) as error:
                    # Of 2026-11-31, 0x_ or !!bool abc; the library lets them through as they are.
                    kind = node.tag.rpartition(":")[2]
                    problem = f"no valid {kind}: correct it, or quote it if it is a text"
                    raise yaml.constructor.ConstructorError(
                        None, None, problem, node.start_mark
                    ) from error

        Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)
        _LOADERS.append(Loader)
    return _LOADERS[0]
