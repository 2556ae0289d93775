# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a later run needs to read the same inventory: cron knows nothing of a shell's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ansible import constants
from ansible.context import CLIARGS
from ansible.utils.path import unfrackpath
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

# <root>/ansible_collections/memcloud/memmachine/plugins/plugin_utils/<this file>
_OWN_ROOT = str(Path(os.path.abspath(__file__)).parents[5])
# What Ansible takes for a question, and for its standard input.
_NO_FILES = ("prompt", "prompt_ask_vault_pass", "-")


def run_environment() -> dict[str, str]:
    """The environment in which another run has this one's configuration, collections and vaults.

    :raises MemcloudError: where a vault password was typed.
    """
    found = {
        "ANSIBLE_CONFIG": constants.CONFIG_FILE,
        "ANSIBLE_COLLECTIONS_PATH": ":".join(_collections_paths()),
        "ANSIBLE_VAULT_IDENTITY_LIST": ",".join(_vault_ids()),
    }
    return {name: str(value) for name, value in found.items() if value}


def _collections_paths() -> list[str]:
    paths = list(constants.COLLECTIONS_PATHS)
    # Beside somebody's playbook, or on Python's path.
    return paths if _OWN_ROOT in paths else [_OWN_ROOT, *paths]


def _vault_ids() -> Iterator[str]:
    if CLIARGS.get("ask_vault_pass"):
        raise _typed()
    files = [*CLIARGS.get("vault_password_files", ()), constants.DEFAULT_VAULT_PASSWORD_FILE]
    of_files = [f"{constants.DEFAULT_VAULT_IDENTITY}@{file}" for file in files if file]
    given = [*constants.DEFAULT_VAULT_IDENTITY_LIST, *CLIARGS.get("vault_ids", ()), *of_files]
    for vault_id in dict.fromkeys(given):
        *label, place = vault_id.split("@", 1)
        if place in _NO_FILES:
            raise _typed()
        yield "@".join([*label, unfrackpath(place, follow=False)])


def _typed() -> MemcloudError:
    return MemcloudError(
        "the password of a vault was typed, and nobody is there to type it when the schedule "
        "starts. Keep it in a file that only root reads and name that one: "
        "--vault-password-file <file>, or --vault-id <label>@<file>. Nothing was written"
    )
