# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a module's main() that all modules here share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)


def run(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Do the work and leave the module: with its result, or with an error's text."""
    try:
        result = work(module)
    except MemcloudError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(**result)


def run_call(
    module: AnsibleModule, work: Callable[[Mapping[str, Any], bool], dict[str, Any]]
) -> None:
    """The same for a function that nodes call without a module, too (_calls.py)."""
    run(module, lambda given: work(given.params, given.check_mode))
