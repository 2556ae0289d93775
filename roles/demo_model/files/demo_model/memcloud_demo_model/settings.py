# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo model provider is told at its start: one small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """The settings file cannot be used; the text says why."""


@dataclass(frozen=True)
class Settings:
    """Where to listen and which API key opens it."""

    host: str
    port: int
    api_key: str = field(repr=False)


def read_settings(path: Path) -> Settings:
    """Read the file, or raise SettingsError naming the option at fault."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected one JSON object")
    return parse_settings(data)


def parse_settings(data: Mapping[str, Any]) -> Settings:
    """Turn the file's content into settings."""
    host, colon, port = str(data.get("listen", "")).rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"listen: expected ADDRESS:PORT, got {data.get('listen')!r}")
    key = data.get("api_key")
    if not isinstance(key, str) or not key.strip():
        raise SettingsError("api_key: expected a key that is not empty")
    return Settings(host.strip("[]"), int(port), key.strip())
