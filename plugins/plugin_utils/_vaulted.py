# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that Ansible Vault encrypted as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError


def decrypter(loader: Any) -> Callable[[str], str]:
    """What returns the text of an encrypted file, with the vault secrets of a loader of Ansible."""

    def decrypt(path: str) -> str:
        try:
            return str.__str__(loader.get_text_file_contents(path))
        except AnsibleError as error:
            raise MemcloudError(f"{path} cannot be decrypted: {error}") from error

    return decrypt
