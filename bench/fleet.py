"""The tenants of an inventory as the collection's own plugins see them, for the benches."""

from __future__ import annotations

from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

init_plugin_loader()

from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import (
    platform_inputs,
    tenant_inputs,
    tenant_secrets,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import (
    FleetVariables,
)


def load(inventory: str, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Platform inputs, tenant inputs and secrets of one tenant."""
    loader = DataLoader()
    manager = InventoryManager(loader, sources=[inventory])
    variables = VariableManager(loader, manager)
    task_vars = {
        "hostvars": HostVars(manager, variables, loader),
        "groups": manager.get_groups_dict(),
    }
    tenant, platform = FleetVariables(task_vars, Templar(loader)).tenant(name)
    return (
        platform_inputs(platform),
        tenant_inputs(tenant, platform),
        tenant_secrets(tenant, platform),
    )
