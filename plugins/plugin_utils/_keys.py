# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API keys of a tenant's entry: one more, another one for a name, one less.

Several keys can be live, each under a name. A rotated key stays beside its successor, under the
same name and with its end written to it, which the gate enforces by itself.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    EXISTING,
    Change,
    Request,
    Writer,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import hash_api_key
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._creation import (
    DEFAULT_NAME,
    OPEN,
    Answer,
    check_hash,
    facts_of,
    keys_of,
    new_key,
    one_at_a_time,
)

Key = Mapping[str, Any]

_DURATION = re.compile(r"([0-9]{1,12})\s*(s|m|h|d|w)?\Z")
_MOST_DAYS = 36500
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# State in an answer whose key is in the entry, but perhaps not at the gate yet.
_UNFINISHED = "updating"


@dataclass(frozen=True)
class KeyChange:
    """What becomes of a tenant's keys.

    :param keys: the keys as they stand in the entry afterwards.
    :param ends: when the keys that were replaced or revoked end; empty for at once.
    """

    keys: list[dict[str, Any]]
    ends: str = ""


def answer_path(keys_dir: str, tenant: str, key_name: str = DEFAULT_NAME) -> str:
    """Where the answer about a tenant's key is, unless it was told another place."""
    name = tenant if key_name == DEFAULT_NAME else f"{tenant}.{key_name}"
    return os.path.join(keys_dir, name + ".json")


def unanswered(answer: Answer, tenant: Tenant) -> str:
    """Of what nobody was told yet: that the C(tenant) runs, or that the C(key) opens; or empty."""
    state = answer.read().get("state")
    if state in OPEN:
        return "tenant"
    if state == _UNFINISHED:
        made = answer.api_key()
        if not made or hash_api_key(made) in {key.sha256 for key in tenant.api_keys}:
            return "key"
    return ""


def seconds_of(text: Any, option: str) -> int:
    """Seconds of a duration such as 24h, 30m, 7d or 0.

    :param option: the option that it was given for, for the error.
    """
    match = _DURATION.match(str(text).strip().lower())
    number = int(match.group(1)) if match else 0
    unit = match.group(2) if match else None
    if not match or (unit is None and number):
        raise MemcloudError(
            f"{option}: {text!r} is no length of time: write a number with s, m, h, d or w, as "
            "24h; or 0"
        )
    seconds = number * _SECONDS[unit or "s"]
    if seconds > _MOST_DAYS * 86400:
        raise MemcloudError(f"{option}: {text!r} is too long; it can be {_MOST_DAYS}d at most")
    return seconds


def moment_of(text: Any, now: datetime.datetime, option: str) -> str:
    """The moment that was meant by a date, a time, or a length of time from now."""
    given = str(text).strip()
    if _DURATION.match(given.lower()):
        seconds = seconds_of(given, option)
        if not seconds:
            raise MemcloudError(
                f"{option}: {given} would end the key before anybody uses it; leave it out for one "
                "that never ends"
            )
        return _after(now, seconds)
    moment = _moment(given, option)
    if moment <= now:
        raise MemcloudError(f"{option}: {given} has passed already")
    return moment.strftime(MOMENT)


def moment_before(text: Any, now: datetime.datetime, option: str) -> str:
    """The moment that was meant by a date, a time, or a length of time until now."""
    given = str(text).strip()
    if _DURATION.match(given.lower()):
        return _after(now, -seconds_of(given, option))
    return _moment(given, option).strftime(MOMENT)


def _moment(given: str, option: str) -> datetime.datetime:
    """A date or a time as text, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", given))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return moment.astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):
        raise MemcloudError(
            f"{option}: {given!r} is neither a moment as 2027-01-31T00:00:00Z nor a length of time "
            "as 90d"
        ) from None


def live(keys: Sequence[Key], now: datetime.datetime) -> list[dict[str, Any]]:
    """The keys that have not ended: what has ended opens nothing and is not kept."""
    return [dict(key) for key in keys if not _ended(key, now)]


def rotated(
    tenant: str, keys: Sequence[Key], new: Key, overlap: int, now: datetime.datetime
) -> KeyChange:
    """The keys after one of them got a successor.

    :param new: record of the successor, with the name of the key that it replaces.
    :param overlap: seconds that the replaced key lives on.
    """
    present = live(keys, now)
    name = new["name"]
    if not any(key.get("name") == name for key in present):
        raise MemcloudError(
            f"{tenant}: has no key {name} that could be rotated{_known(present)}; add_key makes one"
        )
    _check_new(tenant, present, new)
    replaced = _replaced(present, name, overlap, now)
    return KeyChange([dict(new), *replaced.keys], replaced.ends)


def _replaced(
    present: Sequence[dict[str, Any]],
    name: str,
    overlap: int,
    now: datetime.datetime,
    successor: str = "",
) -> KeyChange:
    """The keys, of which those of a name end after an overlap.

    :param successor: hash of the one among them that replaced the others.
    """
    ends = _after(now, overlap)
    kept = []
    for key in present:
        if key.get("name") == name and key.get("sha256") != successor:
            if not overlap:
                continue
            key["expires"] = min(_text(key.get("expires")) or ends, ends)
        kept.append(key)
    return KeyChange(kept, ends if overlap else "")


def added(tenant: str, keys: Sequence[Key], new: Key, now: datetime.datetime) -> KeyChange:
    """The keys with one more, under a name of its own."""
    present = live(keys, now)
    if any(key.get("name") == new["name"] for key in present):
        raise MemcloudError(
            f"{tenant}: has a key {new['name']} already: choose another key_name, or replace it "
            "with rotate_keys"
        )
    _check_new(tenant, present, new)
    return KeyChange([*present, dict(new)])


def revoked(tenant: str, keys: Sequence[Key], name: str, now: datetime.datetime) -> KeyChange:
    """The keys with an end, which is now, for those of a name.

    Their records stay until the next change of the tenant's keys: where the node was not reached,
    the same command again finds them, changes nothing, and goes on to the node.
    """
    present = live(keys, now)
    rest = [key for key in present if key.get("name") != name]
    if len(rest) == len(present):
        if any(key.get("name") == name for key in keys):
            return KeyChange([dict(key) for key in keys])  # it has ended
        raise MemcloudError(f"{tenant}: has no key {name}{_known(present)}")
    if not rest:
        raise MemcloudError(
            f"{tenant}: {name} is its only key: replace it at once with rotate_keys "
            f"-e tenant={tenant} -e key_name={name} -e overlap=0, or shut the tenant with "
            f"suspend_tenant -e tenant={tenant}"
        )
    for key in present:
        if key.get("name") == name:
            key["expires"] = _after(now, 0)
    return KeyChange(present)


def _check_new(tenant: str, present: Sequence[Key], new: Key) -> None:
    for key in present:
        if key.get("sha256") == new["sha256"]:
            raise MemcloudError(
                f"{tenant}: api_key_sha256 is the present key {key.get('name')}: a new key has "
                "another hash"
            )


def _ended(key: Key, now: datetime.datetime) -> bool:
    expires = _text(key.get("expires"))
    return bool(expires) and expires <= now.astimezone(datetime.timezone.utc).strftime(MOMENT)


def _after(now: datetime.datetime, seconds: int) -> str:
    moment = now.astimezone(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime(MOMENT)


def _text(moment: Any) -> str:
    """A moment of an entry as text; YAML may have read it as one already."""
    if not moment:
        return ""
    if isinstance(moment, str):
        try:
            moment = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", moment.strip()))
        except ValueError:
            return str(moment)
    if isinstance(moment, datetime.date) and not isinstance(moment, datetime.datetime):
        moment = datetime.datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return str(moment.astimezone(datetime.timezone.utc).strftime(MOMENT))


def _known(present: Sequence[Key]) -> str:
    names = sorted({str(key.get("name")) for key in present})
    return f" (it has {', '.join(names)})" if names else ""


@dataclass(frozen=True)
class KeyWish:
    """What is asked for about the API keys of a tenant.

    :param change: rotate, add or revoke.
    :param overlap: seconds that a replaced key lives on.
    :param expires: when an added key ends; empty for never.
    :param api_key_sha256: hash of a key that the caller keeps; empty to have one made.
    """

    tenant: str
    change: str
    key_name: str = DEFAULT_NAME
    overlap: int = 0
    expires: str = ""
    api_key_sha256: str = ""


@dataclass(frozen=True)
class KeyOutcome:
    """What was done; without the key.

    :param action: rotated, added, revoked; or resumed when a killed run had written it.
    """

    action: str
    variables: dict[str, Any]
    change: Change | None
    ends: str = ""


def change_keys(
    wish: KeyWish,
    writer: Writer,
    answer: Answer,
    validate: Callable[[Mapping[str, Any]], Tenant],
    now: datetime.datetime,
    *,
    seen: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> KeyOutcome:
    """Write the answer with a new key, and the entry with its hash.

    :param validate: the tenant that these variables laid over its entry would make; raises what
        is wrong.
    :param seen: what the run goes on with of the entry, beside its keys.
    """
    check_hash(wish.tenant, wish.api_key_sha256)
    writer.check()
    with one_at_a_time(answer.path, dry_run=dry_run):
        entry = writer.read(wish.tenant) or {}
        if not isinstance(entry.get("tenant_api_keys"), list) and validate({}).api_keys:
            raise MemcloudError(
                f"{wish.tenant}: its tenant_api_keys come from a template or from group_vars, and "
                "one more in its entry would take the place of all of them. Nothing was touched: "
                "write them into the entry as a list, and run again"
            )
        keys = keys_of(entry)
        how: dict[str, Any] = {
            "expect": EXISTING,
            "read": {"tenant_api_keys": entry.get("tenant_api_keys")},
            "seen": seen or {},
        }
        successor = "" if wish.change == "revoke" else _written(wish, live(keys, now), answer)
        if successor:
            planned = _resumed(wish, keys, successor, now)
            variables = {"tenant_api_keys": planned.keys}
            # Unchanged, too: the writer finishes its own part of what a killed run left.
            request = Request(wish.tenant, variables, **how)
            change = writer.apply(request, dry_run=dry_run)
            return KeyOutcome("resumed", variables, change, planned.ends)
        api_key, planned = _plan(wish, keys, now)
        if api_key:
            answer.check_lasts()
        variables = {"tenant_api_keys": planned.keys}
        tenant = validate(variables)
        request = Request(wish.tenant, variables, uid=tenant.uid, **how)
        if dry_run:
            change = writer.apply(request, dry_run=True)
        elif wish.change == "revoke":
            change = writer.apply(request)
            if os.path.exists(answer.path):
                answer.remove()
        else:
            with answer.undone_on_error(writer, variables):
                facts = {**facts_of(tenant, _UNFINISHED), "key_name": wish.key_name}
                if wish.key_name == DEFAULT_NAME:
                    facts.pop("key_name")
                answer.write(facts, api_key)
                change = writer.apply(request)
    done = {"rotate": "rotated", "add": "added", "revoke": "revoked"}[wish.change]
    return KeyOutcome(done, variables, change, planned.ends)


def _written(wish: KeyWish, present: Sequence[Key], answer: Answer) -> str:
    """The hash of the key that a run before this one wrote and did not finish; empty for none."""
    known = wish.api_key_sha256
    if not known and answer.read().get("state") == _UNFINISHED:
        made = answer.api_key()
        known = hash_api_key(made) if made else ""
    # The successor stands before those that it replaced.
    newest = next((key for key in present if key.get("name") == wish.key_name), {})
    return known if newest.get("sha256") == known else ""


def _resumed(
    wish: KeyWish, keys: Sequence[Key], successor: str, now: datetime.datetime
) -> KeyChange:
    """The keys as they are, but for replaced ones that are to end earlier than the run before said.

    :param successor: hash of the key that is there already.
    """
    if wish.change == "rotate":
        planned = _replaced(live(keys, now), wish.key_name, wish.overlap, now, successor)
        if planned.keys != live(keys, now):
            return planned
    return KeyChange([dict(key) for key in keys])


def _plan(wish: KeyWish, keys: Sequence[Key], now: datetime.datetime) -> tuple[str, KeyChange]:
    if wish.change == "revoke":
        return "", revoked(wish.tenant, keys, wish.key_name, now)
    api_key, new = new_key(wish.api_key_sha256, _after(now, 0), wish.key_name)
    if wish.expires:
        new["expires"] = wish.expires
    if wish.change == "add":
        return api_key, added(wish.tenant, keys, new, now)
    return api_key, rotated(wish.tenant, keys, new, wish.overlap, now)
