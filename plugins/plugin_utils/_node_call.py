# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong when a node was called, in words for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def failure_of(node: str, answer: Mapping[str, Any]) -> str:
    """The reason why a module call on a node failed, empty when it did not."""
    if not answer.get("failed") and not answer.get("unreachable"):
        return ""
    said = [str(answer.get(key) or "") for key in ("msg", "module_stderr", "module_stdout")]
    text = " ".join(part for part in said if part).strip() or _words(answer.get("exception"))
    if answer.get("unreachable"):
        return f"node {node} cannot be reached: {text}"
    if "interpreter" in text and "not found" in text or "No such file or directory" in text:
        return f"node {node} is not set up (its Python environment is missing): run setup_node"
    return f"node {node}: {text[-2000:]}"


def _words(exception: Any) -> str:
    """What a module's crash says about itself: ansible-core 2.19 hands on a summary of it."""
    said = getattr(getattr(exception, "event", None), "msg", None)
    return f"the module crashed: {said}" if said else str(exception or "")
