# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Misspelt variables of a run: Ansible takes any -e, and the playbook then does its default.

``-e tennant=acme`` would pause every tenant, ``-e restorepoint=…`` would restore the latest one.
What the playbooks take is in their headers, where people read it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import suggestion

PLAYBOOKS = os.path.realpath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "playbooks")
)
# Variables of the inventory are checked where they are read; those of Ansible and AWX are theirs.
_NOT_OURS = ("platform_", "tenant_", "memcloud_", "ansible_", "awx_", "tower_")
_VARIABLE = re.compile(r"""-e (?:'\{")?([a-z][a-z0-9_]*)(?:=|":)""")


def check_run_variables(task_vars: Mapping[str, Any]) -> None:
    """Stop a run of one of our playbooks that was given a variable almost like one of theirs.

    Others may be there: inventories and playbooks of the user have variables of their own.

    :raises MemcloudError: naming the variable and what was probably meant.
    """
    directory = task_vars.get("playbook_dir")
    if not directory or os.path.realpath(directory) != PLAYBOOKS:
        return
    # Ansible has read them already, so the loader reads nothing.
    for name in sorted(load_extra_vars(DataLoader())):
        if name.startswith(_NOT_OURS) or name in known_variables():
            continue
        meant = suggestion(name, known_variables())
        if meant:
            raise MemcloudError(
                f"{name}: is no variable of the playbooks{meant}. Nothing was touched: correct it "
                "and run again"
            )


@functools.cache
def known_variables() -> frozenset[str]:
    """The variables that the headers of the playbooks tell of."""
    return frozenset(
        name
        for path in Path(PLAYBOOKS).glob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("# ")
        for name in _VARIABLE.findall(line)
    )
