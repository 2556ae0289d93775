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
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_PACKAGE = __name__.rpartition(".")[0]
# By the name of the module: where the function is. Imported when it is called, and nothing else.
CALLS = {
    "tenant_converge": "_deploy.converge_tenants",
    "tenant_facts": "_tenant_facts.facts_of_tenants",
    "tenant_operate": "_operations.operate_tenants",
    "tenant_plan": "_deploy.plan_tenants",
    "tenant_read": "_rows.read_rows",
}


def answer(call: str, given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of a call, or what a module that failed would return.

    :param given: all arguments that the module documents.
    """
    module, _dot, function = CALLS[call].partition(".")
    try:
        work = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), function)
        return dict(work(given, check_mode))
    except MemcloudError as error:
        return {"failed": True, "msg": str(error)}
    except Exception:
        return {"failed": True, "msg": f"{call} crashed: {traceback.format_exc().strip()}"}
