# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation on the controller knows: its inventory, the writer, a tenant to be."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.context import CLIARGS
from ansible.inventory.host import Host
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._entries import (
    duplicates,
    load_plain,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_awx import AwxWriter
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_git import GitWriter
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    FileWriter,
    Writer,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._fleet import FleetVariables
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._placement import (
    Need,
    choose_node,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._run_variables import (
    OF_ENTRIES,
    check_run_variables,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._vaulted import decrypter

_TENANTS = "tenants"
_NODES = "nodes"
_PLUGIN = "memcloud.memmachine.tenants"


class Controller:
    """The inventory of a run, seen from an action on the controller.

    :param task_vars: the task's variables, with ``hostvars`` and ``groups``.
    :param templar: the action's templar.
    :raises MemcloudError: when the run was given a misspelt variable.
    """

    def __init__(self, task_vars: Mapping[str, Any], templar: Any) -> None:
        check_run_variables(task_vars)
        self._task_vars = task_vars
        self._templar = templar
        self._hostvars = task_vars["hostvars"]
        self._groups = task_vars["groups"]
        self._entries: Mapping[str, Mapping[str, Any]] | None = None
        self.inventory_dir = _inventory_dir(task_vars)
        if not _git_root(self.inventory_dir):
            given = self._settings("platform_git_inventory").get("platform_git_inventory")
            self.inventory_dir = _in_project(str(given)) if given else self.inventory_dir

    def nodes(self) -> list[str]:
        """The nodes, of which there must be one."""
        nodes = list(self._groups.get(_NODES) or ())
        if not nodes:
            raise MemcloudError(
                "There is no node: put at least one host into the group nodes of the inventory "
                "and set it up with setup_node"
            )
        return nodes

    def node_of(self, tenant: str) -> str:
        """The node of a tenant that the inventory knows, empty for any other."""
        if tenant not in self._hostvars:
            return ""
        return str(self._hostvars.raw_get(tenant).get("tenant_node") or "")

    def state_of(self, tenant: str) -> str:
        """The state that the entry of a tenant asks for."""
        return str(self._hostvars.raw_get(tenant).get("tenant_state") or "running")

    def seen(self, tenant: str) -> dict[str, Any]:
        """What this run read in the entry of a tenant, None for what it has not got."""
        if tenant not in self._hostvars:
            return {}
        raw = self._hostvars.raw_get(tenant)
        return {variable: raw.get(variable) for variable in OF_ENTRIES}

    def choose_node(
        self, tenant: str, group: str, rooms: Mapping[str, Mapping[str, Any]], need: Need
    ) -> str:
        """The node of a group with room for a tenant.

        :param rooms: what node_room answered for each node.
        """
        nodes = self.nodes()
        if group != _NODES:
            nodes = [node for node in nodes if node in (self._groups.get(group) or ())]
            if not nodes:
                raise VariableError(
                    tenant, "tenant_node_group", f"is {group!r}, in which there is no node"
                )
        there = [name for name, room in rooms.items() if tenant in (room.get("tenants") or ())]
        if there:
            raise VariableError(
                tenant,
                "tenant_node",
                f"is not in its entry, and {' and '.join(there)} has a tenant of this name, which "
                "would go on beside a new one elsewhere. Nothing was written: where it is this "
                f"one, put its entry back as it was (state.json in tenants/{tenant} below "
                "platform_data_dir has its uid); else choose another name",
            )
        if len(nodes) == 1:
            return nodes[0]
        carried: dict[str, list[str]] = {node: [] for node in nodes}
        # Others may have been given a node since Ansible read their entries.
        entries = self._read_entries()
        for name in {*(self._groups.get(_TENANTS) or ()), *entries}:
            node = entries.get(name, {}).get("tenant_node") or self.node_of(name)
            if name != tenant and node in carried:
                carried[node].append(name)
        return choose_node(tenant, nodes, carried, rooms, need)

    def usual(self, variable: str, default: str) -> str:
        """What the inventory gives to a new tenant for one variable."""
        return str(self._raw("").get(variable) or default)

    def tenant(
        self,
        name: str,
        variables: Mapping[str, Any],
        usual: Mapping[str, Any] | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> tuple[Tenant, Platform]:
        """The tenant that an entry with these variables laid over it would make.

        :param usual: what is taken where the entry says nothing.
        :param entry: the present entry; counts where the inventory has not got it yet.
        """
        known = {} if name in self._hostvars else entry or {}
        raw = {**(usual or {}), **self._raw(name), **known, **variables}
        hostvars = _Planned(self._hostvars, name, raw)
        # The tenant is no group yet; that it may not be called like one is checked.
        fleet = FleetVariables({"hostvars": hostvars, "groups": self._groups}, self._templar)
        tenant, platform = fleet.tenant(name)
        if name in self._hostvars and name not in (self._groups.get(_TENANTS) or ()):
            raise VariableError(
                name, "name", "is the name of another host of the inventory; choose another one"
            )
        self.check_hostname(tenant, platform, self._stated(platform))
        return tenant, platform

    def writer(self, platform: Platform) -> Writer:
        """The writer that platform_inventory_writer names."""
        values = self._settings("platform_git_", "platform_awx_")
        decrypt = decrypter(self._hostvars._loader)
        return writer_of(platform.inventory_writer, self.inventory_dir, values, decrypt)

    def keys_dir(self, platform: Platform) -> str:
        """Where answers with keys are kept."""
        return os.path.join(self.inventory_dir, platform.keys_dir or ".secrets")

    def key_is_lost(self, platform: Platform, given: Mapping[str, Any]) -> bool:
        """Whether AWX throws a new key away at the end of this job.

        A path that is not absolute is one in the job's own directory.

        :param given: what the run says of where the key goes.
        """
        job = self._task_vars.get("awx_job_id") or self._task_vars.get("tower_job_id")
        place = given.get("key_file") or given.get("result_file") or platform.keys_dir
        return bool(job) and not os.path.isabs(str(place))

    def _settings(self, *prefixes: str) -> dict[str, Any]:
        """The variables of the platform whose names begin so."""
        raw = self._raw("")
        templar = self._templar.copy_with_new_env(available_variables=raw)
        return {
            name: templar.template(value)
            for name, value in raw.items()
            if str(name).startswith(prefixes)
        }

    def _raw(self, name: str) -> dict[str, Any]:
        """Untemplated variables of a tenant, of one to be if there is none of this name."""
        if name and name in self._hostvars:
            return dict(self._hostvars.raw_get(name))
        host = Host(name or "a-new-tenant", gen_uuid=False)
        host.set_variable("inventory_dir", self.inventory_dir)
        groups = self._hostvars._inventory.groups
        if _TENANTS in groups:
            host.add_group(groups[_TENANTS])
        return dict(self._hostvars._variable_manager.get_vars(host=host, include_hostvars=False))

    def _read_entries(self) -> Mapping[str, Mapping[str, Any]]:
        self._entries = load_plain(os.path.join(self.inventory_dir, "host_vars"))
        return self._entries

    def hostname_is_anothers(self, tenant: Tenant, platform: Platform) -> bool:
        """Whether the hostname of a deleted tenant was given to another one meanwhile."""
        stated = self._stated(platform)
        return bool(self._hostname_problem(tenant, platform, "running", stated))

    def check_hostname(
        self, tenant: Tenant, platform: Platform, entries: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Raise where another one of the entries has the hostname of a tenant."""
        problem = self._hostname_problem(tenant, platform, tenant.state, entries)
        if problem:
            variable, _colon, message = problem.partition(": ")
            raise VariableError(tenant.name, variable, message)

    def _hostname_problem(
        self,
        tenant: Tenant,
        platform: Platform,
        state: str,
        entries: Mapping[str, Mapping[str, Any]],
    ) -> str:
        """What speaks against a tenant's hostname in a state; empty when nothing does."""
        hostnames = {
            name: {variable: values[variable] for variable in values if variable != "tenant_uid"}
            for name, values in entries.items()
            if name not in self._groups.get(_NODES, ()) and name != tenant.name
        }
        hostnames[tenant.name] = {"tenant_hostname": tenant.hostname, "tenant_state": state}
        return duplicates(hostnames, platform.domain).get(tenant.name, "")

    def _stated(self, platform: Platform) -> Mapping[str, Mapping[str, Any]]:
        """The entries of all tenants; those that AWX keeps are no files."""
        if platform.inventory_writer == "awx":
            hosts = self._hostvars._inventory.hosts
            return {name: hosts[name].vars for name in self._groups.get(_TENANTS) or ()}
        return self._read_entries() if self._entries is None else self._entries


def writer_of(
    kind: str,
    inventory_dir: str,
    values: Mapping[str, Any],
    decrypt: Callable[[str], str] | None = None,
) -> Writer:
    """The inventory writer of a kind, with the platform_git_* or platform_awx_* settings."""

    def text(name: str, default: str = "") -> str:
        return str(values.get(name) or default)

    if kind == "git":
        return GitWriter(
            inventory_dir,
            remote=text("platform_git_remote", "origin"),
            branch=text("platform_git_branch"),
            author=text("platform_git_author"),
            decrypt=decrypt,
            warn=Display().warning,
        )
    if kind == "awx":
        return AwxWriter(
            text("platform_awx_url"),
            text("platform_awx_token"),
            text("platform_awx_inventory"),
            text("platform_awx_ca_file"),
        )
    return FileWriter(inventory_dir, decrypt)


class _Planned:
    """The variables of all hosts, with those of one tenant replaced."""

    def __init__(self, hostvars: Any, name: str, raw: Mapping[str, Any]) -> None:
        self._hostvars = hostvars
        self._name = name
        self._raw = raw

    def raw_get(self, name: str) -> Any:
        return self._raw if name == self._name else self._hostvars.raw_get(name)


def _inventory_dir(task_vars: Mapping[str, Any]) -> str:
    """The directory with the configuration of the inventory plugin, else that of the nodes."""
    sources = [str(source) for source in task_vars.get("ansible_inventory_sources") or ()]
    directories = [
        source if os.path.isdir(source) else os.path.dirname(source)
        for source in sources
        if os.path.exists(source)
    ]
    for directory in directories:
        if any(map(_configures_plugin, _files_in(directory))):
            return directory
    for node in task_vars["groups"].get(_NODES) or ():
        found = task_vars["hostvars"].raw_get(node).get("inventory_dir")
        if found:
            return str(found)
    if directories:
        return directories[0]
    raise MemcloudError("There is no inventory directory to write to: name one with -i")


def _git_root(directory: str) -> str:
    """The top of the working copy that a directory is in; empty where it is in none."""
    path = Path(os.path.realpath(directory))
    return next((str(above) for above in (path, *path.parents) if (above / ".git").exists()), "")


def _in_project(given: str) -> str:
    """The inventory's directory in the repository that the run's playbook comes from."""
    playbooks = [word for word in CLIARGS.get("args") or () if os.path.isfile(word)]
    for directory in (*map(os.path.dirname, map(os.path.realpath, playbooks)), os.getcwd()):
        root = _git_root(directory)
        if root and os.path.isdir(os.path.join(root, given)):
            return os.path.join(root, given)
    raise VariableError(
        "platform",
        "platform_git_inventory",
        f"is {given}, and the Git repository of this playbook has no such directory: write it from "
        "the top of the repository, as inventories/production",
    )


def _files_in(directory: str) -> list[str]:
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]


def _configures_plugin(path: str) -> bool:
    if not path.endswith(("tenants.yml", "tenants.yaml")) or not os.path.isfile(path):
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return _PLUGIN in file.read(65536)
