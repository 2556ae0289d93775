# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The defaults of the public variables, as role ``tenant`` states them."""

from __future__ import annotations

import functools
import os
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_DIRECTORY = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "roles", "tenant", "defaults", "main"
)
_FILES = ("main.yml", "tiers.yml")


@functools.cache
def load_defaults() -> dict[str, Any]:
    """Name and value of every option with a default. Shared: copy before changing it."""
    # Not at the top: for the controller only, and a node need not have PyYAML.
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    defaults: dict[str, Any] = {}
    for name in _FILES:
        path = os.path.normpath(os.path.join(_DIRECTORY, name))
        try:
            with open(path, "rb") as file:
                defaults.update(yaml.load(file, Loader=loader))
        except OSError as error:
            raise MemcloudError(
                "The collection is incomplete: %s cannot be read (%s). Install it again."
                % (path, error.strerror)
            ) from error
    return defaults
