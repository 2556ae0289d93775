"""The tenants of an inventory as the collection's own plugins see them, for the benches."""

from __future__ import annotations

from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from measure import find_collection

find_collection()

from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import (
    platform_inputs,
    tenant_inputs,
    tenant_secrets,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import FleetVariables


def load_all(
    inventory: str, names: list[str]
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, dict[str, str]]]:
    """Platform inputs, tenants' inputs and their secrets, as the controller makes them."""
    loader = DataLoader()
    manager = InventoryManager(loader, sources=[inventory])
    variables = VariableManager(loader, manager)
    task_vars = {
        "hostvars": HostVars(manager, variables, loader),
        "groups": manager.get_groups_dict(),
    }
    parsed, errors = FleetVariables(task_vars, Templar(loader)).tenants(names)
    if errors:
        raise RuntimeError("\n".join(errors))
    return (
        platform_inputs(parsed[0][1]),
        [tenant_inputs(tenant, platform) for tenant, platform in parsed],
        {tenant.name: tenant_secrets(tenant, platform) for tenant, platform in parsed},
    )


def load(inventory: str, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Platform inputs, tenant inputs and secrets of one tenant."""
    platform, tenants, secrets = load_all(inventory, [name])
    return platform, tenants[0], secrets[name]
