# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order an update goes through the fleet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_plan import version_key
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import split_names

CANARY = "canary"
VARIABLE = "platform_update_waves"
_KEYS = ("tenants", "size", "pause")


@dataclass(frozen=True)
class Candidate:
    """A tenant as the order of an update sees it.

    :param version: the server version that it runs; empty when nobody knows.
    :param wanted: the version that its entry names.
    :param state: what it should be.
    :param outdated: whether its node has other images for its servers now.
    :param ran: whether it has proved itself once, so that there is something to update.
    """

    name: str
    tier: str
    version: str
    wanted: str
    state: str = "running"
    pinned: bool = False
    canary: bool = False
    outdated: bool = False
    ran: bool = True


@dataclass(frozen=True)
class Step:
    """How a part of the fleet is updated.

    :param tenants: ``canary`` or the name of a tier.
    :param size: how many tenants at once; 0 for all of them.
    :param pause: seconds to wait after each wave of the part.
    """

    tenants: str
    size: int
    pause: int


@dataclass(frozen=True)
class Wave:
    """Tenants that are updated together, and the seconds to wait afterwards."""

    part: str
    tenants: tuple[str, ...]
    pause: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a playbook."""
        return {"part": self.part, "tenants": list(self.tenants), "pause": self.pause}


def parse_steps(value: Any) -> tuple[Step, ...]:
    """The variable ``platform_update_waves``.

    :raises VariableError: when it cannot be used.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise _bad("needs entries of the form {tenants: <canary or a tier>, size: 5, pause: 60}")
    steps = []
    for entry in value:
        if not isinstance(entry, Mapping) or not entry.get("tenants"):
            raise _bad("needs entries that say which tenants they are for: canary, or a tier")
        unknown = sorted(set(entry) - set(_KEYS))
        if unknown:
            raise _bad(f"has an entry with {unknown[0]!r}; it can have {', '.join(_KEYS)}")
        numbers = [entry.get("size", 0), entry.get("pause", 0)]
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise _bad(f"{entry['tenants']}: size and pause are numbers, 0 or more")
        steps.append(Step(str(entry["tenants"]), *numbers))
    if len({step.tenants for step in steps}) != len(steps):
        raise _bad("names the same tenants twice")
    return tuple(steps)


def canaries_of(given: Any, tenants: Collection[str]) -> list[str]:
    """The tenants that a run names as canaries: a list, or a text with commas between them.

    :raises MemcloudError: when one of them is not among the tenants.
    """
    if isinstance(given, str):
        given = split_names(given)
    elif not isinstance(given, list):
        given = [given]
    unknown = [str(name) for name in given if name not in tenants]
    if unknown:
        raise MemcloudError(
            f"canaries: there is no tenant {', '.join(unknown)} in this inventory. Nothing was "
            "touched: name those that there are (list_tenants), with commas between them"
        )
    return list(given)


def waves_of(candidates: Iterable[Candidate], steps: Sequence[Step], version: str) -> list[Wave]:
    """The waves in which the tenants that need it go to a version.

    A canary goes with the canaries, whatever its tier; tiers that no step names come last, each
    in waves like those of the last step.

    :param version: empty where each goes to the version of its entry.
    """
    todo = [c for c in candidates if not skipped(c, version)]
    parts: dict[str, list[str]] = {step.tenants: [] for step in steps}
    has_canaries = CANARY in parts
    for candidate in sorted(todo, key=lambda c: c.name):
        part = CANARY if candidate.canary and has_canaries else candidate.tier
        parts.setdefault(part, []).append(candidate.name)
    known = {step.tenants: step for step in steps}
    waves = []
    for part, names in parts.items():
        step = known.get(part, steps[-1])
        size = step.size or len(names) or 1
        waves += [
            Wave(part, tuple(names[start : start + size]), step.pause)
            for start in range(0, len(names), size)
        ]
    return waves


def skipped(candidate: Candidate, version: str) -> str:
    """Why a tenant is left as it is; empty when it is to be updated."""
    if candidate.pinned:
        return "is pinned"
    if candidate.state == "deleted":
        return "is deleted"
    if not candidate.ran:
        return "never ran; deploy_tenant brings it up at the version of its entry"
    target = version or candidate.wanted
    if candidate.version == candidate.wanted == target and not candidate.outdated:
        return "is there already"
    if candidate.version and version_key(candidate.version) > version_key(target):
        return "has a newer version"
    return ""


def outcome_of(known: Mapping[str, Any], reason: str, dry_run: bool = False) -> str:
    """What became of a tenant, or would become of it, in words.

    :param known: the facts that the update left on its host.
    :param reason: why it was left as it is, if it was.
    :param dry_run: whether planning was all that was to be done.
    """
    failure = str(known.get("memcloud_failure") or "")
    if failure:
        return f"failed: {failure}"
    if known.get("memcloud_updated"):
        return "updated"
    if dry_run and "memcloud_update_plan" in known:
        return "would be updated"
    return reason or "not reached"


def _bad(message: str) -> VariableError:
    return VariableError("platform", VARIABLE, message)
