# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tenants
short_description: Every C(host_vars) entry is a tenant
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Makes a host of each C(host_vars/<name>.yml) (or C(.yaml), C(.json), or folder) beside the
    configuration file, unless it is the entry of a node. Adding a tenant is adding one file.
  - A tenant is in the groups C(tenants), C(at_<node>) and C(tier_<tier>) and has the connection
    of its node, so that C(ansible acme -m ping) reaches the node that carries the tenant.
  - Each character of a node's or a tier's name that is no letter, digit or C(_) is a C(_) in the
    name of the group, as in C(at_node_1) for C(node-1).
  - Where there is one node, entries without C(tenant_node) are carried by that one.
  - Entries made by hand, without C(tenant_uid) or C(tenant_api_keys), are in the group
    C(tenants_incomplete) too; deploying completes them.
  - The configuration file must end in C(tenants.yml) or C(tenants.yaml). In an inventory
    directory it must sort behind the files that name the nodes, as C(nodes.yml) does.
  - An entry that cannot be read is left out with a warning that names the file; the other
    tenants are there. What was left out and why is in the variable C(memcloud_entry_problems) of
    all hosts, as are tenants that share a hostname or a uid.
options:
  plugin:
    description: Marks a configuration file of this plugin.
    type: str
    required: true
    choices: [memcloud.memmachine.tenants]
  nodes_group:
    description: The group of the Docker hosts.
    type: str
    default: nodes
"""

EXAMPLES = r"""
# inventories/production/tenants.yml, with inventories/production/nodes.yml beside it and
# one file for each tenant in inventories/production/host_vars
plugin: memcloud.memmachine.tenants
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.template import trust_as_template
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._entries import (
    Entries,
    Entry,
    duplicates,
    find_entries,
    load_entries,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._vaulted import decrypter

_GROUP = "tenants"
_INCOMPLETE = "tenants_incomplete"
# What a machine makes up for an entry.
_MADE_UP = frozenset({"tenant_uid", "tenant_api_keys"})
_DEFAULT_TIER = "free"
# The connection of a tenant is that of its node. A default of none leaves the option alone.
_CONNECTION = {
    "ansible_host": "tenant_node",
    "ansible_connection": "'ssh'",
    "ansible_port": "none",
    "ansible_user": "none",
    "ansible_password": "none",
    "ansible_ssh_private_key_file": "none",
    "ansible_ssh_common_args": "''",
    "ansible_ssh_extra_args": "''",
    "ansible_python_interpreter": "'auto_silent'",
    "ansible_become": "false",
    "ansible_become_method": "'sudo'",
    "ansible_become_user": "'root'",
    "ansible_become_password": "none",
}


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    NAME = "memcloud.memmachine.tenants"

    def verify_file(self, path: str) -> bool:
        if not super().verify_file(path) or not path.endswith(("tenants.yml", "tenants.yaml")):
            return False
        with open(path, encoding="utf-8", errors="replace") as file:
            return self.NAME in file.read(65536)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        directory = os.path.dirname(os.path.abspath(path))
        nodes = self._nodes()
        decrypt = decrypter(loader)
        try:
            entries = load_entries(self._entries_of_tenants(directory, nodes), decrypt)
            usual = self._usual_values(directory, decrypt)
        except MemcloudError as error:
            raise AnsibleParserError(str(error)) from error
        for name, problem in entries.problems.items():
            self.display.warning(f"Tenant {name} is left out: {problem}")
        self._add_group(entries, self._domain(usual))
        for name, variables in entries.variables.items():
            self._add_tenant(name, {**usual, **variables}, nodes)

    def _nodes(self) -> list[str]:
        group = self.inventory.groups.get(self.get_option("nodes_group"))
        return [host.name for host in group.get_hosts()] if group else []

    def _entries_of_tenants(self, directory: str, nodes: list[str]) -> list[Entry]:
        """Entries of hosts that no other source knows, or that another one calls tenants."""
        group = self.inventory.groups.get(_GROUP)
        called_tenants = {host.name for host in group.get_hosts()} if group else set()
        others = (set(self.inventory.hosts) | set(nodes) | {"localhost"}) - called_tenants
        entries = find_entries(os.path.join(directory, "host_vars"))
        return [entry for entry in entries if entry.name not in others]

    def _usual_values(self, directory: str, decrypt: Callable[[str], str]) -> dict[str, Any]:
        """What group_vars give to entries without it: node, tier, domain."""
        group_vars = os.path.join(directory, "group_vars")
        found = load_entries(
            (entry for entry in find_entries(group_vars) if entry.name in ("all", _GROUP)),
            decrypt,
        )
        usual = {"tenant_tier": _DEFAULT_TIER}
        for name in ("all", _GROUP):
            variables = found.variables.get(name, {})
            for variable in ("tenant_node", "tenant_tier", "platform_domain"):
                if variable in variables:
                    usual[variable] = variables[variable]
        return usual

    def _domain(self, usual: Mapping[str, Any]) -> Any:
        """The domain of tenants without a hostname of their own."""
        everywhere = self.inventory.groups["all"].vars
        default = load_defaults()["platform_domain"]
        return usual.get("platform_domain", everywhere.get("platform_domain", default))

    def _add_group(self, entries: Entries, domain: Any) -> None:
        self.inventory.add_group(_GROUP)
        for variable, default in _CONNECTION.items():
            value = "{{ hostvars[tenant_node].%s | default(%s) }}" % (variable, default)
            self.inventory.set_variable(_GROUP, variable, trust_as_template(value))
        problems = {**duplicates(entries.variables, domain), **entries.problems}
        if problems:
            self.inventory.set_variable("all", "memcloud_entry_problems", problems)

    def _add_tenant(self, name: str, variables: Mapping[str, Any], nodes: list[str]) -> None:
        self.inventory.add_host(name, group=_GROUP)
        node = variables.get("tenant_node")
        if node is None and len(nodes) == 1:
            node = nodes[0]
            self.inventory.set_variable(name, "tenant_node", node)
        if variables.get("tenant_state") != "deleted" and _MADE_UP - set(variables):
            self.inventory.add_group(_INCOMPLETE)
            self.inventory.add_child(_INCOMPLETE, name)
        self._add_to(name, "at_", node)
        self._add_to(name, "tier_", variables.get("tenant_tier"))

    def _add_to(self, name: str, prefix: str, word: Any) -> None:
        # A template is not known here, a wrong type is told when the variables are checked.
        if isinstance(word, str) and word and "{{" not in word:
            group = to_safe_group_name(prefix + word, force=True, silent=True)
            self.inventory.add_group(group)
            self.inventory.add_child(group, name)
