#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_points
short_description: Open, list, check, prune or remove the restore points of tenants
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Looks after the restic repositories of tenants, several at a time, where it is run.
  - One tenant's failure is reported and does not stop the others.
  - Called by the action plugin M(memcloud.memmachine.fleet_restore_points), which makes its input.
options:
  action:
    description: What to do. V(open) gives a repository of an older root key the password of the
      tenant's present one, as the others do first. V(prune) removes what no rule of the tier wants
      any more, V(remove) all of them.
    type: str
    choices: [open, list, check, prune, remove]
    required: true
  repositories:
    description: By tenant how its repository is reached, as JSON.
    type: str
    required: true
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: The removed restore points are in the result.
    support: none
requirements:
  - restic
"""

EXAMPLES = r"""
- name: List restore points
  memcloud.memmachine.restore_points:
    action: list
    repositories: "{{ repositories_json }}"
"""

RETURN = r"""
tenants:
  description:
    - For each tenant its restore points, which were removed, what remains, and an error if any.
  type: list
  elements: dict
  returned: always
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run
from ansible_collections.memcloud.memmachine.plugins.module_utils._repository_care import (
    ACTIONS,
    care,
)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look after the given repositories."""
    repositories = json.loads(module.params["repositories"])
    answers = care(module.params["action"], repositories, dry_run=module.check_mode)
    return {"changed": any(answer["changed"] for answer in answers), "tenants": answers}


def main() -> None:
    """Module entry."""
    run(
        AnsibleModule(
            argument_spec={
                "action": {"type": "str", "required": True, "choices": list(ACTIONS)},
                "repositories": {"type": "str", "required": True, "no_log": True},
            },
            supports_check_mode=True,
        ),
        work,
    )


if __name__ == "__main__":
    main()
