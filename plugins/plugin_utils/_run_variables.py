# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a run that its playbooks do not read: Ansible takes any -e, and nobody notices.

``-e tennant=acme`` would back up every tenant, ``-e tenant=acme`` update the whole fleet, since
update_fleet goes by -l. What a playbook takes is in its head, where people read it. Nor does
anybody notice a word that is neither true nor false: Ansible takes it for false.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.context import CLIARGS
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._model import SECRET_FIELDS
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    TENANT_VARIABLES,
    Reader,
    suggestion,
)

PLAYBOOKS = os.path.realpath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "playbooks")
)
_COLLECTION = "memcloud.memmachine."
# Given for a run, they would win over the entry of each tenant, and be written to none.
OF_ENTRIES = TENANT_VARIABLES - {"tenant_model_" + secret for secret in SECRET_FIELDS}
# Variables of the inventory are checked where they are read; those of Ansible and AWX are theirs.
_NOT_OURS = ("platform_", "tenant_", "memcloud_", "ansible_", "awx_", "tower_")
_IN_HEAD = re.compile(r"""^# -e (?:'\{")?([a-z][a-z0-9_]*)(?:=|":)""", re.MULTILINE)
_SWITCH_IN_HEAD = re.compile(r"^# -e ([a-z][a-z0-9_]*)=(?:true|false)\b", re.MULTILINE)
_SECOND_NAME_OF = re.compile(r"import_playbook: ([a-z_]+\.yml)$", re.MULTILINE)


def check_run_variables(task_vars: Mapping[str, Any]) -> None:
    """Stop a run of our playbooks that was given a variable of another one, or a misspelt one.

    Others may be there: inventories and playbooks of the user have variables of their own.

    :raises MemcloudError: naming the variable, and those that the playbook takes; or saying that it
        stands in entries, or is neither true nor false.
    """
    # Of an imported play it is the directory where that one is: of ours, support too.
    directory = task_vars.get("playbook_dir")
    if not directory or not Path(os.path.realpath(directory)).is_relative_to(PLAYBOOKS):
        return
    run = _playbooks_of_run()
    taken = {name: None for path in run for name in variables_of(path)}
    known = known_variables()
    # Ansible has read them already, so the loader reads nothing.
    given = load_extra_vars(DataLoader())
    switches = _switches_of(run or _playbooks())
    for name in sorted(given):
        if name in switches:
            _check_switch(name, given[name])
        if name in OF_ENTRIES:
            own = name.removeprefix("tenant_")
            meant = f" (did you mean {own}?)" if own in (taken if run else known) else ""
            raise MemcloudError(
                f"{name}: stands in a tenant's entry{meant}. By -e it would count for every tenant "
                "of this run, and for no later run. Nothing was touched: write it into the entry "
                "(change_tenant), and run again without it"
            )
        if name.startswith(_NOT_OURS) or name in (taken if run else known):
            continue
        if name not in known and not suggestion(name, known):
            continue
        whose = " and ".join(path.stem for path in run) or "the playbooks"
        meant = suggestion(name, taken if run else known)
        can_be = f" It takes {', '.join([*taken, *_limits(run)]) or 'none'}." if run else ""
        raise MemcloudError(
            f"{name}: is no variable of {whose}{meant}.{can_be} Nothing was touched: correct it or "
            "leave it out, and run again"
        )


def variables_of(playbook: Path) -> list[str]:
    """The variables that the head of a playbook tells of; a second name has those of the first."""
    return list(dict.fromkeys(_IN_HEAD.findall(_head_of(playbook))))


def _head_of(playbook: Path) -> str:
    text = playbook.read_text(encoding="utf-8")
    first = None if _IN_HEAD.search(text) else _SECOND_NAME_OF.search(text)
    return _head_of(playbook.with_name(first[1])) if first else text


def _switches_of(playbooks: Iterable[Path]) -> set[str]:
    """The variables that heads show as true or false, and none of these playbooks as another."""
    shown: set[str] = set()
    others: set[str] = set()
    for path in playbooks:
        switches = _SWITCH_IN_HEAD.findall(_head_of(path))
        shown.update(switches)
        others.update(set(variables_of(path)).difference(switches))
    return shown - others


def _check_switch(name: str, value: Any) -> None:
    if isinstance(value, str) and "{{" in value:
        return
    try:
        Reader("", {name: str(value)}).boolean(name)
    except VariableError:
        raise MemcloudError(
            f"{name} is {value!r}, which is neither true nor false. Nothing was touched: correct "
            "it or leave it out, and run again"
        ) from None


def _limits(run: list[Path]) -> list[str]:
    """-l, where a head tells of it: how hosts are chosen without a variable."""
    return ["-l"] if any("\n# -l " in path.read_text(encoding="utf-8") for path in run) else []


@functools.cache
def known_variables() -> frozenset[str]:
    """The variables that the heads of all playbooks tell of."""
    return frozenset(name for path in _playbooks() for name in variables_of(path))


def _playbooks() -> list[Path]:
    return list(Path(PLAYBOOKS).glob("*.yml"))


def _playbooks_of_run() -> list[Path]:
    """Those that the command line names; none where one of them is somebody else's."""
    run = []
    for word in CLIARGS.get("args") or ():
        path = Path(os.path.realpath(word))
        if word.startswith(_COLLECTION):
            path = Path(PLAYBOOKS, word.removeprefix(_COLLECTION).removesuffix(".yml") + ".yml")
        if str(path.parent) != PLAYBOOKS or not path.is_file():
            return []
        run.append(path)
    return run
