# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that fit a JSON schema, for structured outputs and tool calls nobody prepared for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 12


def fill(schema: Mapping[str, Any], text: str) -> Any:
    """Return the plainest value that fits; free strings become `text`."""
    return _fill(schema, schema, text, 0)


def _fill(schema: Mapping[str, Any], root: Mapping[str, Any], text: str, depth: int) -> Any:
    schema = _resolve(schema, root)
    if depth > MAX_DEPTH:
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _fill(_first_useful(schema[name]), root, text, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: _fill(part, root, text, depth + 1) for name, part in properties.items()}
    if kind == "array":
        item = schema.get("items") or {}
        count = int(schema.get("minItems", 0))
        return [_fill(item, root, text, depth + 1) for _index in range(min(count, 64))]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "string":
        return text[: int(schema.get("maxLength", 200))].ljust(int(schema.get("minLength", 0)))
    return False if kind == "boolean" else None


def _first_useful(options: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((option for option in options if option.get("type") != "null"), options[0])


def _number(schema: Mapping[str, Any]) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    value: int | float = max(0, low)
    if "maximum" in schema:
        value = min(value, schema["maximum"])
    if value == schema.get("exclusiveMinimum"):
        value += 1
    return value


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _hop in range(MAX_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target: Any = root
        for part in reference.lstrip("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, Mapping) and part else target
        schema = target if isinstance(target, Mapping) else {}
    return schema
