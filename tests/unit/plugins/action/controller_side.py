# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions run in this process over a real inventory, without a playbook around them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.plugins.vars import host_group_vars
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()


def write_inventory(directory: Path, **files: str) -> Path:
    """An inventory with one node; `files` are further ones, with / for __ and . for _DOT_."""
    texts = {
        "nodes.yml": "nodes: {hosts: {node1: {ansible_connection: local}}}\n",
        "tenants.yml": "plugin: memcloud.memmachine.tenants\n",
        "group_vars/all.yml": f'platform_root_keys: {{1: "{ROOT_KEY}"}}\n',
        **{name.replace("__", "/").replace("_DOT_", "."): text for name, text in files.items()},
    }
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


class Run:
    """One run over an inventory, as a playbook would start it."""

    def __init__(
        self, inventory: Path, *, vault_secrets: Sequence[Any] = (), **extra_vars: Any
    ) -> None:
        # Ansible remembers for the life of a process which files there are.
        for cache in (host_group_vars.FOUND, host_group_vars.NAK):
            cache.clear()
        self.loader = DataLoader()
        self.loader.set_vault_secrets(vault_secrets)
        self.inventory = InventoryManager(self.loader, sources=[str(inventory)])
        self.variables = VariableManager(self.loader, self.inventory)
        self.variables._extra_vars = {**self.variables._extra_vars, **extra_vars}
        self.hostvars = HostVars(self.inventory, self.variables, self.loader)

    def groups(self) -> dict[str, list[str]]:
        return {name: list(hosts) for name, hosts in self.inventory.get_groups_dict().items()}

    def task_vars(self, host: str) -> dict[str, Any]:
        return {
            **self.hostvars.raw_get(host),
            "hostvars": self.hostvars,
            "groups": self.inventory.get_groups_dict(),
            "ansible_inventory_sources": self.inventory._sources,
            "ansible_play_hosts": self.groups().get("tenants", []),
            "ansible_play_hosts_all": self.groups().get("tenants", []),
            "inventory_hostname": host,
        }

    def act(
        self, action: Any, host: str = "localhost", *, check_mode: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Run an action plugin and return its result."""
        task_vars = self.task_vars(host)
        task = SimpleNamespace(
            args=arguments,
            check_mode=check_mode,
            diff=True,
            async_val=0,
            delegate_to=None,
            action="memcloud.memmachine.action",
            environment=None,
        )
        plugin = action.ActionModule(
            task=task,
            connection=SimpleNamespace(
                _shell=SimpleNamespace(tmpdir=None), is_pipelining_enabled=lambda _async: False
            ),
            play_context=PlayContext(),
            loader=self.loader,
            templar=Templar(self.loader, task_vars),
            shared_loader_obj=None,
        )
        return dict(plugin.run(task_vars=task_vars))
