# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a tenant's entry to where the inventory is kept.

An operation writes what a tenant should be first and converges then, so that the next run
does not revert it. For the controller only.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.memcloud.memmachine.plugins.module_utils._entries import (
    VAULT,
    Entry,
    find_entries,
    load_file,
    load_plain,
    others_of,
    parse_variables,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    existing,
    keep_out_of_git,
    read_text,
)

ANY, NEW, EXISTING = "any", "new", "existing"

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")
# What YAML 1.1, which Ansible reads, takes for something else than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_SECRET_NAME = re.compile(r"(password|secret|token|model_api_key|access_key|root_key)")
_NOT_SECRET = frozenset({"tenant_secret_epoch", "tenant_root_key_version"})
_NEVER_SECRET = frozenset({"tenant_uid", "tenant_owner", "tenant_state", "tenant_api_keys"})
_MISSING = object()
_HEADER = "# What this tenant should be. Operations of memcloud.memmachine change it too.\n"


_Contents = Mapping[str, Mapping[str, Any]]


class EntryExistsError(MemcloudError):
    """The entry was to be new, but somebody has made it already."""


@dataclass(frozen=True)
class Change:
    """What was done to an entry; `before` and `after` can be shown, secrets are masked."""

    changed: bool
    before: str
    after: str
    where: str

    def as_diff(self) -> dict[str, str]:
        """What Ansible shows of it."""
        header = {"before_header": self.where, "after_header": self.where}
        return {"before": self.before, "after": self.after, **header}


@dataclass(frozen=True)
class Request:
    """Changes of one entry, applied again to what is found if somebody was quicker.

    :param expect: whether the entry must be new, must exist, or either.
    :param uid: the uid that the entry must have: names can be used again, identities not.
    :param delete: take the whole entry away.
    :param read: values that the entry had when this request was made up; None for no value.
    :param seen: what else of the entry this run read and brings to the tenant's node.
    :param beside: raises where it cannot stand beside the entries that there are when it is
        written; not asked in an inventory of AWX.
    """

    name: str
    variables: Mapping[str, Any]
    remove: Collection[str] = ()
    expect: str = ANY
    uid: str | None = None
    delete: bool = False
    read: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict)
    beside: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None

    def laid_over(self, current: Mapping[str, Any]) -> dict[str, Any]:
        """The entry that this makes of a present one."""
        planned = {**current, **self.variables}
        return {name: value for name, value in planned.items() if name not in self.remove}

    def check(self, current: Mapping[str, Any] | None) -> None:
        if current is None:
            if self.expect == EXISTING and not self.delete:
                raise MemcloudError(f"{self.name}: there is no entry of this tenant to change")
            return
        if self.expect == NEW:
            raise EntryExistsError(f"{self.name}: there is an entry of this name already")
        if self.uid is not None and str(current.get("tenant_uid")) != self.uid:
            raise MemcloudError(
                f"{self.name}: tenant_uid is {current.get('tenant_uid')}, not {self.uid}: the "
                "entry is of another tenant of this name; nothing was changed"
            )
        for name, value in self.read.items():
            # What is as asked for already was written by a run of this request that was killed.
            if current.get(name) not in (value, self.variables.get(name, value)):
                raise MemcloudError(
                    f"{self.name}: {name} was changed by another run meanwhile, which stays as it "
                    "is: nothing was changed. Run this again"
                )
        for name in sorted(self.seen.keys() - {*self.variables, *self.remove, *self.read}):
            if not _same(current.get(name), self.seen[name]):
                raise MemcloudError(
                    f"{self.name}: {name} was changed by another run since this one read the "
                    "entry, and its node would get again what was there before. The entry stays "
                    "as it is: run this again, with an inventory that is up to date"
                )


class Writer(Protocol):
    def check(self) -> None:
        """Raise if a change could not be written, before anything is touched."""

    def read(self, name: str) -> dict[str, Any] | None:
        """The variables of an entry as written, None where there is none.

        What is vaulted has no value here, as it may be shown, but for what decisions are made by.
        """

    def apply(self, request: Request, *, dry_run: bool = False) -> Change:
        """Make a change, or only say what it would be."""


class FileWriter:
    """Entries as files beside the inventory.

    :param decrypt: returns the text of a file that is encrypted as a whole.
    """

    def __init__(
        self, inventory_dir: str, decrypt: Callable[[str], str | bytes] | None = None
    ) -> None:
        self._directory = os.path.join(inventory_dir, "host_vars")
        self._decrypt = decrypt

    def check(self) -> None:
        directory = existing(self._directory)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise MemcloudError(
                f"{directory} cannot be written, so the tenant's entry cannot be changed. Run as "
                "a user who may write there, or set platform_inventory_writer to git or awx."
            )

    def read(self, name: str) -> dict[str, Any] | None:
        entry = self._entry(name)
        if entry is None:
            return None
        variables: dict[str, Any] = {}
        for file, values in self._contents(entry).items():
            hidden = dict.fromkeys(values.keys() - _NEVER_SECRET) if _is_encrypted(file) else {}
            variables.update({**values, **hidden})
        return variables

    def apply(self, request: Request, *, dry_run: bool = False) -> Change:
        if dry_run and not os.path.isdir(self._directory):
            return self._apply(request, dry_run=True)
        with self._locked():
            return self._apply(request, dry_run=dry_run)

    def _entry(self, name: str) -> Entry | None:
        found = (entry for entry in find_entries(self._directory) if entry.name == name)
        return next(found, None)

    def _contents(self, entry: Entry) -> dict[str, dict[str, Any]]:
        """Variables by file, in the order in which a later one overrides those before."""
        return {file: load_file(file, self._decrypt) for file in entry.files}

    def _home(self, name: str, entry: Entry | None, contents: _Contents) -> str:
        """The file for variables that the entry has not got yet: that with the identity."""
        if entry is None:
            return os.path.join(self._directory, name + ".yml")
        if not os.path.isdir(entry.path):
            return entry.path
        with_uid = (file for file, values in contents.items() if "tenant_uid" in values)
        return next(with_uid, os.path.join(entry.path, "tenant.yml"))

    def _apply(self, request: Request, *, dry_run: bool) -> Change:
        entry = self._entry(request.name)
        contents = self._contents(entry) if entry else {}
        current = _merged(contents.values()) if entry else None
        request.check(current)
        if request.delete:
            return self._delete(request, current, dry_run=dry_run)
        if request.beside is not None:
            request.beside(load_plain(self._directory))
        home = self._home(request.name, entry, contents)
        before = {file: read_text(file) for file in [*contents, home]}
        after = _edited(request, contents, before, home)
        changed = [file for file, text in after.items() if text != before[file]]
        if not dry_run:
            for file in changed:
                write_atomically(file, after[file])
        if not changed:
            text = shown(before[home], home)
            return Change(False, text, text, home)
        return Change(
            True,
            "".join(shown(before[file], file) for file in changed),
            "".join(shown(after[file], file) for file in changed),
            changed[0] if len(changed) == 1 or entry is None else entry.path,
        )

    def _delete(
        self, request: Request, current: Mapping[str, Any] | None, *, dry_run: bool
    ) -> Change:
        entry = self._entry(request.name)
        if entry is None or current is None:
            return Change(False, "", "", os.path.join(self._directory, request.name + ".yml"))
        others = others_of(entry)
        if others:
            raise MemcloudError(
                f"{request.name}: its entry is {entry.path}, and {' and '.join(others)} beside it, "
                "of no effect so far, would make the tenant anew, with the keys that stand there. "
                "The entry was not removed: remove what is beside it, and run this again"
            )
        before = "".join(shown(read_text(file), file) for file in entry.files)
        if not dry_run and os.path.isdir(entry.path):
            shutil.rmtree(entry.path)
        elif not dry_run:
            os.unlink(entry.path)
        return Change(True, before, "", entry.path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; the lock ends with the process."""
        os.makedirs(self._directory, exist_ok=True)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _edited(
    request: Request, contents: _Contents, before: Mapping[str, str | None], home: str
) -> dict[str, str]:
    """The new texts of the files that a request concerns.

    A variable is set in the last file that has it, which counts, and removed from all.

    :param contents: the entry's variables by file.
    :param before: the texts of these files, and of `home`, to which new variables go.
    :raises MemcloudError: the entry would not be what was asked for.
    """
    wanted: dict[str, dict[str, Any]] = {} if contents else {home: {}}
    for name, value in request.variables.items():
        file = next((f for f in reversed(list(contents)) if name in contents[f]), home)
        if file not in contents or contents[file].get(name, _MISSING) != value:
            wanted.setdefault(file, {})[name] = value
    for file, values in contents.items():
        if any(name in values for name in request.remove):
            wanted.setdefault(file, {})
    after: dict[str, str] = {}
    planned = dict(contents)
    for file, variables in wanted.items():
        json_file = file.endswith(".json")
        edit = edit_json if json_file else edit_yaml
        text = edit(before[file], variables, request.remove, file)
        after[file] = text
        planned[file] = json.loads(text) if json_file else parse_variables(text, file)
    merged = _merged(planned.values())
    failed = {n for n, v in request.variables.items() if _plain(merged.get(n)) != _plain(v)}
    failed.update(name for name in request.remove if name in merged)
    if failed:
        raise MemcloudError(
            f"{request.name}: {', '.join(sorted(failed))} cannot be changed in "
            f"{' and '.join(wanted) or home}, and nothing was: change it there by hand"
        )
    return after


def edit_yaml(
    text: str | None, variables: Mapping[str, Any], remove: Collection[str], path: str
) -> str:
    """The text with some variables set and others removed; comments and order stay."""
    if text is not None and text.startswith(VAULT):
        names = ", ".join([*variables, *remove])
        raise MemcloudError(
            f"{path} is encrypted as a whole and is not changed ({names}). Keep secrets alone in "
            "such a file: make it a folder, with tenant.yml for the tenant and vault.yml for "
            "secrets."
        )
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(text) if text else None
    except YAMLError as error:
        raise MemcloudError(f"{path} is no valid YAML and is not changed: {error}") from error
    fresh = document is None
    if fresh:
        document = CommentedMap()
    if not isinstance(document, CommentedMap):
        raise MemcloudError(f"{path} must be a mapping of variables; it is not changed")
    if not _update(document, variables, remove) and text is not None:
        return text
    yaml.explicit_start = not fresh and (text or "").lstrip().startswith("---")
    stream = io.StringIO()
    yaml.dump(document, stream)
    head = "" if not fresh else text or "---\n" + _HEADER
    return head + stream.getvalue()


def edit_json(
    text: str | None, variables: Mapping[str, Any], remove: Collection[str], path: str
) -> str:
    try:
        document = json.loads(text) if text else {}
    except ValueError as error:
        raise MemcloudError(f"{path} is no valid JSON and is not changed: {error}") from error
    if not isinstance(document, dict):
        raise MemcloudError(f"{path} must be a mapping of variables; it is not changed")
    changed = {key: value for key, value in document.items() if key not in remove}
    changed.update(variables)
    return text if text and changed == document else json.dumps(changed, indent=2) + "\n"


def write_atomically(path: str, text: str, mode: int | None = None) -> None:
    """Replace a file in one step; readers see the old or the new text, never a part.

    :raises MemcloudError: it cannot be written.
    """
    with writing(path):
        target = os.path.realpath(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if mode is None:
            mode = os.stat(target).st_mode & 0o777 if os.path.exists(target) else 0o644
        atomic_write(target, text, mode)


def make_directory_for(path: str) -> None:
    """Make the directory of a file that holds a secret, 0700 where it is new and not for git.

    :raises MemcloudError: it cannot be made.
    """
    with writing(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        keep_out_of_git(os.path.dirname(os.path.abspath(path)))


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Say in words which file of the controller cannot be written, and why.

    The system's own error names a file that nobody asked for, or none when the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise MemcloudError(
            f"{path} cannot be written: {error.strerror or error}. Mend that and run again, it "
            "goes on from here"
        ) from error


def shown(text: str | None, path: str) -> str:
    """The text for a diff: values of secret variables are masked, hashes are not."""
    if not text:
        return ""
    if text.startswith(VAULT):
        return "(hidden)\n"
    lines: list[str] = []
    masking = False
    for line in text.splitlines(keepends=True):
        match = re.match(r"[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?\s*:", line.lstrip("{, "))
        top_level = not line[:1].isspace() or path.endswith(".json")
        if match and (top_level or not masking):
            name = match.group(1)
            hidden = _SECRET_NAME.search(name) is not None and name not in _NOT_SECRET
            masking = (hidden or "!vault" in line) and name != "sha256"
            if masking:
                line = f"{name}: (hidden)\n"
            lines.append(line)
        elif not masking or (top_level and line.strip()):
            masking = False
            lines.append(line)
    return "".join(lines)


def _is_encrypted(path: str) -> bool:
    return (read_text(path) or "").startswith(VAULT)


def _update(document: Any, variables: Mapping[str, Any], remove: Collection[str]) -> bool:
    changed = False
    for name, value in variables.items():
        if name not in document or _plain(document[name]) != value:
            document[str.__str__(name)] = _for_yaml(value)
            changed = True
    for name in remove:
        if name in document:
            del document[name]
            changed = True
    return changed


def _merged(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for variables in contents:
        merged.update(variables)
    return merged


def _same(written: Any, read: Any) -> bool:
    """Whether a value of an entry is what a run has of it.

    There is none for what is vaulted, and of dates not all inventories make the same.
    """
    if written is None or isinstance(written, datetime.date):
        return True
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        return written.keys() == read.keys() and all(_same(written[key], read[key]) for key in read)
    if isinstance(written, list) and isinstance(read, list):
        return len(written) == len(read) and all(map(_same, written, read))
    return bool(written == read)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _for_yaml(value: Any) -> Any:
    """The value such that YAML 1.1 and 1.2 read the same."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {str.__str__(key): _for_yaml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_yaml(item) for item in value]
    if isinstance(value, str):
        # Ansible's own kind of text, which carries marks, cannot be written.
        text = str.__str__(value)
        plain = _PLAIN.match(text) and text.lower() not in _WORDS
        return text if plain else DoubleQuotedScalarString(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value
