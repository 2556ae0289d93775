# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a tenant's entry: identity, key and the answer to whoever asked for the tenant.

The answer with the key is written before the entry, so that a run that is killed in between
leaves no tenant whose key nobody has.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    told,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import read_text
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    ANY,
    EXISTING,
    NEW,
    Change,
    EntryExistsError,
    Request,
    Writer,
    make_directory_for,
    write_atomically,
    writing,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import (
    hash_api_key,
    is_sha256,
    mint_api_key,
    mint_uid,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant

# The key that a tenant is made with.
DEFAULT_NAME = "default"
# States in an answer about a tenant that nobody was told to be there.
_MAKING = "deploying"
OPEN = (_MAKING, "error")
# Wish and variable: what a caller may ask for and an entry states.
_STATED = {
    "tier": "tenant_tier",
    "hostname": "tenant_hostname",
    "version": "tenant_version",
    "node": "tenant_node",
    "owner": "tenant_owner",
}
# What changes a variable of a tenant that exists, with its name and the value; see _CHANGE.
_CHANGED_BY = {
    "tenant_node": "move_tenant -e tenant={} -e node={}",
    "tenant_version": "update_tenant -e tenant={} -e version={}",
    "tenant_tier": "change_tier -e tenant={} -e tier={}",
    "tenant_embedder_model": "reembed_tenant -e tenant={}",
    "tenant_embedder_dimensions": "reembed_tenant -e tenant={}",
}
_CHANGE = "change_tenant -e tenant={}"


@dataclass(frozen=True)
class Wish:
    """What the caller asks for; empty means that it is left to the platform."""

    name: str
    tier: str = ""
    hostname: str = ""
    version: str = ""
    node: str = ""
    owner: str = ""
    api_key_sha256: str = ""
    reissue_key: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)

    def stated(self) -> dict[str, str]:
        """The variables that were asked for."""
        given = ((variable, getattr(self, name)) for name, variable in _STATED.items())
        return {variable: value for variable, value in given if value}

    def asked(self) -> dict[str, Any]:
        """All of them, the further ones too."""
        return {**self.stated(), **self.variables}


@dataclass(frozen=True)
class Usual:
    """What a new tenant gets where the caller asks for nothing.

    :param node: chooses it from the entries as they stand then.
    """

    tier: str
    node: Callable[[], str]
    root_key_version: int


@dataclass(frozen=True)
class Decision:
    """What will be done: `variables` go into the entry, `api_key` into the answer."""

    action: str
    variables: Mapping[str, Any]
    api_key: str = ""
    expect: str = ANY
    uid: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What was done; without the key.

    :param variables: what was written into the entry.
    :param entry: the whole entry as it is now.
    """

    action: str
    variables: dict[str, Any]
    entry: dict[str, Any]
    change: Change | None


class Answer:
    """The result file: what is told to whoever asked for the tenant, with its key, 0600.

    :param key_file: a file of its own for the key; empty to have it in the result file.
    :param lost: whether it goes with the run, so that a key in it would be nobody's.
    """

    def __init__(self, tenant: str, path: str, key_file: str = "", lost: bool = False) -> None:
        self._tenant = tenant
        self.path = path
        self.key_file = key_file
        self._lost = lost

    def read(self) -> dict[str, Any]:
        """The answer given before, empty when there is none."""
        text = read_text(self.path)
        if text is None:
            return {}
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or answer.get("tenant") != self._tenant:
            raise MemcloudError(
                f"{self._tenant}: result_file: {self.path} is something else than an answer about "
                "this tenant and is not overwritten; name another file"
            )
        return answer

    def api_key(self) -> str:
        """The key that was given before, empty when it is not here."""
        answer = self.read()
        if answer.get("api_key"):
            return str(answer["api_key"])
        path = answer.get("api_key_file") or self.key_file
        return (read_text(path) or "").strip() if path else ""

    def check_lasts(self) -> None:
        """Raise if nobody could fetch a new key from here."""
        if self._lost:
            raise MemcloudError(
                f"{self._tenant}: no key was made, since {self.key_file or self.path} is thrown "
                "away with this job of AWX. Nothing was touched. Give -e api_key_sha256=<hex> of a "
                "key that you keep, or a place that stays, as an absolute path: -e result_file=… "
                "or -e key_file=…, or platform_keys_dir"
            )
        if self.key_file and os.path.realpath(self.key_file) == os.path.realpath(self.path):
            raise MemcloudError(
                f"{self._tenant}: no key was made, since key_file and result_file are both "
                f"{self.path}, and the answer would take its place. Nothing was touched. Name two "
                "files, or one of them alone"
            )

    def write(self, facts: Mapping[str, Any], api_key: str | None = None) -> bool:
        """Lay facts over the answer, and a new key if there is one; whether it changed."""
        before = self.read()
        answer = {**before, "tenant": self._tenant, **facts}
        if api_key is not None:
            answer.pop("api_key_file", None)
            if self.key_file and api_key:
                make_directory_for(self.key_file)
                write_atomically(self.key_file, api_key + "\n", 0o600)
                answer["api_key"], answer["api_key_file"] = None, self.key_file
            else:
                answer["api_key"] = api_key or None
        if answer == before:
            return False
        make_directory_for(self.path)
        write_atomically(self.path, json.dumps(answer, indent=2) + "\n", 0o600)
        return True

    def forget_key(self) -> None:
        """The key opens nothing any more: keep it nowhere."""
        path = self.read().get("api_key_file")
        if path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def remove(self) -> None:
        """Take away the answer with its key."""
        self.forget_key()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    @contextlib.contextmanager
    def undone_on_error(self, writer: Writer, variables: Mapping[str, Any]) -> Iterator[None]:
        """Put back what was there if the entry could not be written.

        What fails behind the writing leaves the answer: it has the only copy of the new key.

        :param variables: what is written into the entry.
        """
        kept = {path: read_text(path) for path in (self.path, self.key_file) if path}
        try:
            yield
        except Exception as error:
            self._check_not_written(writer, variables, error)
            for path, text in kept.items():
                if text is not None:
                    write_atomically(path, text, 0o600)
                elif os.path.exists(path):
                    os.unlink(path)
            raise

    def _check_not_written(
        self, writer: Writer, variables: Mapping[str, Any], error: Exception
    ) -> None:
        new = {key.get("sha256") for key in keys_of(variables)}
        where = self.key_file or self.path
        words = told(self._tenant, error).rstrip(".")
        try:
            present = {key.get("sha256") for key in keys_of(writer.read(self._tenant) or {})}
        except (MemcloudError, OSError) as unreadable:
            raise MemcloudError(
                f"{words}. Whether its entry was written cannot be read "
                f"({unreadable}), so the answer in {where} is kept: run this again, it goes on "
                "from there"
            ) from error
        if new and new <= present:
            raise MemcloudError(
                f"{words}. Its entry was written all the same, and the answer "
                f"in {where} is kept: run this again, it goes on from there"
            ) from error


def create(
    wish: Wish,
    writer: Writer,
    answer: Answer,
    usual: Usual,
    validate: Callable[[Mapping[str, Any], Mapping[str, Any] | None], Tenant],
    moment: str,
    *,
    seen: Mapping[str, Any] | None = None,
    beside: Callable[[Tenant, Mapping[str, Mapping[str, Any]]], None] | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Write answer and entry of a tenant, or find that both are there already.

    :param validate: the tenant that variables laid over the present entry would make; raises
        what is wrong.
    :param moment: when a key that is made now was made.
    :param seen: what the run read in the entry of a tenant that there is.
    :param beside: raises where the tenant cannot stand beside the entries as they are then.
    """
    writer.check()
    with one_at_a_time(answer.path, dry_run=dry_run):
        current = writer.read(wish.name)
        decision = decide(wish, current, answer.api_key(), usual, moment)
        if decision.api_key:
            answer.check_lasts()
        tenant = validate(decision.variables, current)
        entry = {**(current or {}), **decision.variables}
        _check_in_force(wish, entry, tenant)
        read = {name: (current or {}).get(name) for name in decision.variables}
        request = Request(
            wish.name,
            decision.variables,
            expect=decision.expect,
            uid=decision.uid,
            read=read,
            seen=seen or {},
            beside=functools.partial(beside, tenant) if beside else None,
        )
        if dry_run or decision.action == "resumed":
            # Of what a killed run left, the writer finishes its own part.
            change = writer.apply(request, dry_run=dry_run)
            return Outcome(decision.action, dict(decision.variables), entry, change)
        try:
            with answer.undone_on_error(writer, decision.variables):
                answer.write(facts_of(tenant, _MAKING), decision.api_key)
                change = writer.apply(request)
        except EntryExistsError as error:
            raise MemcloudError(
                f"{wish.name}: somebody else created a tenant of this name at the same moment; "
                "theirs is untouched. Choose another name"
            ) from error
    return Outcome(decision.action, dict(decision.variables), entry, change)


def decide(
    wish: Wish,
    current: Mapping[str, Any] | None,
    known_key: str,
    usual: Usual,
    moment: str,
) -> Decision:
    """What a wish means for what is there.

    :param known_key: the key in the answer that was given before.
    """
    check_hash(wish.name, wish.api_key_sha256)
    if current is None:
        return _created(wish, usual, moment)
    if not current.get("tenant_uid"):
        return _completed(wish, current, usual, moment)
    uid = str(current["tenant_uid"])
    _check_owner(wish, current)
    if current.get("tenant_state") == "deleted":
        return _revived(wish, current, uid, moment)
    _check_stated(wish, current)
    if wish.reissue_key:
        api_key, entry = new_key(wish.api_key_sha256, moment)
        others = [key for key in keys_of(current) if key.get("name") != DEFAULT_NAME]
        return Decision("reissued", {"tenant_api_keys": [entry, *others]}, api_key, EXISTING, uid)
    hashes = {key.get("sha256") for key in keys_of(current)}
    if not hashes:
        return _completed(wish, current, usual, moment)
    known = wish.api_key_sha256 or (hash_api_key(known_key) if known_key else "")
    if known in hashes:
        return Decision("resumed", {}, "", EXISTING, uid)
    raise MemcloudError(
        f"{wish.name}: there is a tenant of this name already, and its key is not the one in the "
        "result file. To deploy it again use deploy_tenant; for a new key instead of the present "
        "one add -e reissue_key=true; for another tenant choose another name"
    )


def facts_of(tenant: Tenant, state: str) -> dict[str, Any]:
    """What an answer says about a tenant beside its key."""
    return {
        "tenant": tenant.name,
        "endpoint": tenant.endpoint,
        "state": state,
        "tier": tenant.tier.name,
        "node": tenant.node,
        "version": tenant.version,
        "uid": tenant.uid,
        "owner": tenant.owner,
    }


def _created(wish: Wish, usual: Usual, moment: str) -> Decision:
    api_key, entry = new_key(wish.api_key_sha256, moment)
    variables = {
        "tenant_uid": mint_uid(),
        "tenant_node": wish.node or usual.node(),
        "tenant_tier": usual.tier,
        **wish.stated(),
        **(
            {"tenant_root_key_version": usual.root_key_version}
            if usual.root_key_version > 1
            else {}
        ),
        **wish.variables,
        "tenant_api_keys": [entry],
    }
    return Decision("created", variables, api_key, NEW)


def _completed(wish: Wish, current: Mapping[str, Any], usual: Usual, moment: str) -> Decision:
    """An entry made by hand gets what only a machine should make up."""
    _check_stated(wish, current)
    variables: dict[str, Any] = {}
    api_key = ""
    if not current.get("tenant_uid"):
        variables["tenant_uid"] = mint_uid()
        if usual.root_key_version > 1 and "tenant_root_key_version" not in current:
            variables["tenant_root_key_version"] = usual.root_key_version
        asked = wish.asked()
        variables.update({name: asked[name] for name in asked if current.get(name) is None})
    if not (current.get("tenant_node") or variables.get("tenant_node")):
        variables["tenant_node"] = wish.node or usual.node()
    if not keys_of(current):
        api_key, entry = new_key(wish.api_key_sha256, moment)
        variables["tenant_api_keys"] = [entry]
    return Decision("completed", variables, api_key, EXISTING)


def _revived(wish: Wish, current: Mapping[str, Any], uid: str, moment: str) -> Decision:
    node = current.get("tenant_node")
    if wish.node and node and wish.node != node:
        raise MemcloudError(
            f"{wish.name}: node: its kept data is on {node}, not on {wish.node}. Leave node out, "
            "or delete the kept data first (delete_tenant with keep_data=false)"
        )
    api_key, entry = new_key(wish.api_key_sha256, moment)
    variables = {
        **wish.stated(),
        **wish.variables,
        "tenant_state": "running",
        "tenant_api_keys": [entry],
    }
    return Decision("revived", variables, api_key, EXISTING, uid)


def _check_owner(wish: Wish, current: Mapping[str, Any]) -> None:
    owner = str(current.get("tenant_owner") or "")
    kept = current.get("tenant_state") == "deleted"
    if wish.owner != owner and (kept or wish.owner):
        what = "There is kept data of" if kept else "There is"
        raise MemcloudError(
            f"{wish.name}: owner: {what} a tenant of this name that belongs to another owner than "
            f"{wish.owner or 'nobody'}; it is given to its own owner only. Choose another name"
        )


def _check_stated(wish: Wish, current: Mapping[str, Any]) -> None:
    for variable, value in wish.asked().items():
        present = current.get(variable)
        if present is not None and present != value:
            raise _differs(wish, variable, present, value, bool(current.get("tenant_uid")))


def _check_in_force(wish: Wish, entry: Mapping[str, Any], tenant: Tenant) -> None:
    """Stop where what was asked for neither stands in the entry nor follows from the platform."""
    usual = {
        "tenant_tier": tenant.tier.name,
        "tenant_hostname": tenant.hostname,
        "tenant_version": tenant.version,
        "tenant_node": tenant.node,
    }
    for variable, value in wish.asked().items():
        present = usual.get(variable, "not set")
        if entry.get(variable) is None and present != value:
            raise _differs(wish, variable, present, value)


def _differs(
    wish: Wish, variable: str, present: Any, value: Any, exists: bool = True
) -> MemcloudError:
    """What was asked for and is something else, with what changes it.

    :param exists: whether a node may have it already: another one would begin empty.
    """
    how = "Change its host_vars entry, or ask for what that says"
    if exists:
        how = f"{_CHANGED_BY.get(variable, _CHANGE).format(wish.name, value)} does that"
    return MemcloudError(
        f"{wish.name}: {variable} is {present} and was asked to be {value}: creating a "
        f"tenant does not change one that exists. {how}. Nothing was touched"
    )


def check_hash(tenant: str, sha256: str) -> None:
    """Raise for what was given as the hash of a caller's own key and is none."""
    if sha256 and not is_sha256(sha256):
        raise MemcloudError(
            f"{tenant}: api_key_sha256 must be the 64 lower-case hex digits that "
            '`printf %s "$KEY" | sha256sum` prints'
        )


def new_key(
    api_key_sha256: str, moment: str, name: str = DEFAULT_NAME
) -> tuple[str, dict[str, str]]:
    """A key, empty when the caller keeps it and gives its hash, and its record for the entry."""
    api_key = "" if api_key_sha256 else mint_api_key()
    sha256 = api_key_sha256 or hash_api_key(api_key)
    return api_key, {"name": name, "sha256": sha256, "created": moment}


def keys_of(current: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The API keys that an entry names."""
    keys = current.get("tenant_api_keys")
    return [key for key in keys if isinstance(key, Mapping)] if isinstance(keys, list) else []


@contextlib.contextmanager
def one_at_a_time(path: str, *, dry_run: bool) -> Iterator[None]:
    """One run at a time writes answers here; the lock ends with the process."""
    if dry_run:
        yield
        return
    make_directory_for(path)
    with writing(path):
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
