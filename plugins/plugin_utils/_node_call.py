# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a module on a node for its tenants, and what went wrong then, in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    WorkAction,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    FleetVariables,
    tenants_of,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_code import (
    CALLS,
    Code,
    told,
)

# What a shell returns where there is no such program.
_NOT_FOUND = 127
# A call may be silent for hours. One whose node is gone ends after two minutes; else it would end
# when the system gives up, after more than two hours, and all other nodes' tenants with it.
_ALIVE = "-o ServerAliveInterval=15 -o ServerAliveCountMax=8"


class NodeAction(WorkAction):
    """Runs for one representative of each node, delegated to the node; its argument is a batch."""

    def _tenants(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The tenants of the batch that are worked on, all of them where none are named."""
        tenants = tenants_of(self._task.args["batch"])
        wanted = None if names is None else set(names)
        return [tenant for tenant in tenants if wanted is None or tenant["tenant"] in wanted]

    def _parsed(
        self, tenants: Iterable[Mapping[str, Any]], task_vars: dict[str, Any]
    ) -> list[tuple[Tenant, Platform]]:
        """The same tenants with what no batch carries, such as the keys of their secrets."""
        names = sorted(tenant["tenant"] for tenant in tenants)
        parsed, _errors = FleetVariables(task_vars, self._templar).tenants(names)
        return parsed

    def _ask(
        self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """What a module answers on the node, or nothing and what went wrong."""
        node = self._task.args["batch"]["node"]
        self._notice_when_it_goes()
        try:
            if module in CALLS and self._is_pipelining_enabled("new"):
                answer = self._call(module, arguments)
            else:
                answer = self._execute_module(
                    module_name="memcloud.memmachine." + module,
                    module_args=arguments,
                    task_vars=task_vars,
                )
        except AnsibleConnectionFailure as error:
            return {}, f"node {node} cannot be reached: {error}"
        problem = failure_of(node, answer)
        return ({}, problem) if problem else (dict(answer), "")

    def _notice_when_it_goes(self) -> None:
        """Have SSH ask whether the node is still there; what the operator set of it counts."""
        if getattr(self._connection, "transport", "") != "ssh":
            return
        given = str(self._connection.get_option("ssh_extra_args") or "")
        if _ALIVE not in given:
            self._connection.set_option("ssh_extra_args", f"{given} {_ALIVE}".strip())

    def _call(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the function behind a module returns, from the code that the node keeps."""
        code = Code.here()
        call = code.call(module, arguments, bool(self._task.check_mode))
        answer = self._run(call)
        if answer.get("missing_code"):
            answer = self._run(code.store())
            answer = self._run(call) if not answer.get("failed") else answer
        return answer

    def _run(self, program: bytes) -> dict[str, Any]:
        """Run a program with the node's own Python, as Ansible runs a pipelined module."""
        interpreter = shlex.quote(self._task.args["batch"]["interpreter"])
        command = f"{self._compute_environment_string()} {interpreter} -I".strip()
        done = self._low_level_execute_command(command, in_data=program)
        answer = told(done["stdout"])
        if answer is None:
            said = {"module_stderr": done["stderr"], "module_stdout": done["stdout"]}
            if done["rc"] == _NOT_FOUND:
                said = {"msg": "interpreter not found"}
            elif not any(said.values()):
                # So it is when the system kills what takes too much memory.
                words = f"what was called ended with status {done['rc']} and said nothing"
                said = {"msg": f"{words}: see dmesg there, and run this again"}
            answer = {"failed": True, **said}
        return answer


def all_failed(tenants: Iterable[Mapping[str, Any]], problem: str) -> list[dict[str, Any]]:
    """An entry with the same problem for each tenant, by its name."""
    return [
        {"tenant": tenant["tenant"], "error": f"{tenant['tenant']}: {problem}"}
        for tenant in tenants
    ]


def failure_of(node: str, answer: Mapping[str, Any]) -> str:
    """The reason why a module call on a node failed, empty when it did not."""
    if not answer.get("failed") and not answer.get("unreachable"):
        return ""
    said = [str(answer.get(key) or "") for key in ("msg", "module_stderr", "module_stdout")]
    text = " ".join(part for part in said if part).strip() or _words(answer.get("exception"))
    if answer.get("unreachable"):
        return f"node {node} cannot be reached: {text}"
    missing = "interpreter" in text and "not found" in text
    if missing or "No such file or directory" in said[1]:  # what the shell says, not our code
        return f"node {node} is not set up (its Python environment is missing): run setup_node"
    return f"node {node}: {text[-2000:]}"


def _words(exception: Any) -> str:
    """What a module's crash says about itself: ansible-core 2.19 hands on a summary of it."""
    said = getattr(getattr(exception, "event", None), "msg", None)
    return f"the module crashed: {said}" if said else str(exception or "")
