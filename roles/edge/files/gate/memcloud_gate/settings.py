# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate is told at its start: one small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """The settings file cannot be used; the text says why."""


@dataclass(frozen=True)
class Settings:
    """Settings of one gate.

    `wake_dir` is where signals for the keeper are left; without it nobody is woken.
    `max_held` bounds the requests that wait for a tenant to start, over all tenants.
    """

    host: str
    port: int
    tenants_dir: Path
    activity_dir: Path
    wake_dir: Path | None = None
    scan_seconds: float = 0.5
    flush_seconds: float = 5.0
    max_connections: int = 4096
    max_held: int = 1000


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
    """Turn the file's content into settings; unknown options are left alone."""
    host, port = _address(data.get("listen", "127.0.0.1:9081"))
    return Settings(
        host=host,
        port=port,
        tenants_dir=_directory(data, "tenants_dir"),
        activity_dir=_directory(data, "activity_dir"),
        wake_dir=_directory(data, "wake_dir") if "wake_dir" in data else None,
        scan_seconds=_number(data, "scan_seconds", 0.5, 0.05, 1.0),
        flush_seconds=_number(data, "flush_seconds", 5.0, 0.05, 3600.0),
        max_connections=int(_number(data, "max_connections", 4096, 16, 65536)),
        max_held=int(_number(data, "max_held", 1000, 0, 65536)),
    )


def _address(value: object) -> tuple[str, int]:
    host, colon, port = str(value).rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"listen: expected ADDRESS:PORT, got {value!r}")
    return host, int(port)


def _directory(data: Mapping[str, Any], name: str) -> Path:
    value = data.get(name)
    if not isinstance(value, str) or not value.startswith("/"):
        raise SettingsError(f"{name}: expected an absolute path, got {value!r}")
    return Path(value)


def _number(data: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise SettingsError(f"{name}: expected a number from {low} to {high}, got {value!r}")
    return value
