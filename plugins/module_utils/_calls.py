# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What controllers ask of their nodes all the time, without a module around it.

The modules of these names run the same functions; plugin_utils/_node_code.py takes the short way.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_PACKAGE = __name__.rpartition(".")[0]
_TEXT = {"type": "str", "required": True}
_SECRET = {**_TEXT, "no_log": True}
_OWNER = {"type": "str", "default": "unknown"}
_NO = {"type": "bool", "default": False}
_ELSEWHERE = {"type": "str", "default": "", "choices": ["", "lives", "purged"]}


@dataclass(frozen=True)
class Call:
    """A function, by its module and name since it is imported when it is called, and no sooner."""

    function: str
    # What it is given, as an argument spec of Ansible: the module of its name has this one.
    arguments: Mapping[str, Mapping[str, Any]]

    def given(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """These arguments, and the defaults of those that are missing."""
        defaults = {
            name: option["default"]
            for name, option in self.arguments.items()
            if "default" in option
        }
        return {**defaults, **arguments}


# By the name of the module.
CALLS = {
    "tenant_converge": Call(
        "_deploy.converge_tenants",
        {
            "platform": _TEXT,
            "tenants": _TEXT,
            "secrets": _SECRET,
            "purge": _NO,
            "settle": _NO,
            "elsewhere": _ELSEWHERE,
            "owner": _OWNER,
        },
    ),
    "tenant_facts": Call("_tenant_facts.facts_of_tenants", {"platform": _TEXT, "tenants": _TEXT}),
    "tenant_operate": Call(
        "_operations.operate_tenants",
        {
            "operation": _TEXT,
            "platform": _TEXT,
            "tenants": _TEXT,
            "secrets": _SECRET,
            "params": {"type": "str", "default": "{}"},
            "private": {"type": "str", "default": "{}", "no_log": True},
            "owner": _OWNER,
        },
    ),
    "tenant_plan": Call(
        "_deploy.plan_tenants",
        {
            "platform": _TEXT,
            "tenants": _TEXT,
            "purge": _NO,
            "settle": _NO,
            "elsewhere": _ELSEWHERE,
            "owner": _OWNER,
        },
    ),
    "tenant_read": Call(
        "_rows.read_rows",
        {
            "about": {**_TEXT, "choices": ["registry", "journal", "stats"]},
            "platform": _TEXT,
            "tenants": _TEXT,
            "since": {"type": "str", "default": ""},
            "only": {"type": "list", "elements": "str", "default": []},
        },
    ),
}


def answer(call: str, given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of a call, or what a module that failed would return.

    :param given: the arguments that the module documents.
    """
    module, _dot, function = CALLS[call].function.partition(".")
    try:
        work = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), function)
        return dict(work(CALLS[call].given(given), check_mode))
    except MemcloudError as error:
        return {"failed": True, "msg": str(error)}
    except Exception:
        return {"failed": True, "msg": f"{call} crashed: {traceback.format_exc().strip()}"}
