# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory writer for an inventory in AWX: the variables of a host, by AWX's API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode

from ansible.module_utils.urls import open_url
from ansible_collections.memcloud.memmachine.plugins.module_utils._entries import yaml_loader
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    Change,
    EntryExistsError,
    Request,
    edit_json,
    edit_yaml,
    shown,
)

_TIMEOUT = 30
_TENANTS = "tenants"


class AwxWriter:
    """Entries as hosts of an AWX inventory.

    :param inventory: name or number of the inventory.
    :param ca_file: certificate of the CA that signed AWX's certificate; empty for the system's.
    """

    def __init__(self, url: str, token: str, inventory: str, ca_file: str = "") -> None:
        for variable, value in (
            ("platform_awx_url", url),
            ("platform_awx_token", token),
            ("platform_awx_inventory", inventory),
        ):
            if not value:
                raise MemcloudError(f"{variable} is missing: the writer awx needs it")
        self._url = url.rstrip("/")
        self._token = token
        self._inventory_given = inventory
        self._ca_file = ca_file
        self._inventory_id: int | None = None

    def check(self) -> None:
        """AWX tells what the token may do to an inventory."""
        inventory = self._call("GET", f"inventories/{self._inventory()}/")
        if not inventory["summary_fields"]["user_capabilities"].get("edit"):
            raise MemcloudError(
                f"The AWX token may not change the inventory {self._inventory_given}; give its "
                "user the role Admin on it. Nothing was touched."
            )

    def read(self, name: str) -> dict[str, Any] | None:
        host = self._host(name)
        return None if host is None else self._parsed(name, host["variables"])

    def apply(self, request: Request, *, dry_run: bool = False) -> Change:
        host = self._host(request.name)
        before = host["variables"] if host else ""
        request.check(self._parsed(request.name, before) if host else None)
        where = f"{self._url} inventory {self._inventory_given} host {request.name}"
        if request.delete:
            if host and not dry_run:
                self._call("DELETE", f"hosts/{host['id']}/")
            return Change(host is not None, shown(before, where), "", where)
        edit = edit_json if before.lstrip().startswith("{") else edit_yaml
        after = edit(before, request.variables, request.remove, where)
        changed = host is None or after != before
        if not dry_run:
            if host is None:
                host = self._create(request.name, after)
            elif changed:
                self._call("PATCH", f"hosts/{host['id']}/", {"variables": after})
            # Unchanged too: a run before this one may have been killed here.
            self._join_groups(host["id"], self._parsed(request.name, after))
        return Change(changed, shown(before, where), shown(after, where), where)

    def _create(self, name: str, variables: str) -> dict[str, Any]:
        """A host in the group tenants from the beginning: no playbook finds it elsewhere."""
        body = {"name": name, "inventory": self._inventory(), "variables": variables}
        try:
            return self._call("POST", f"groups/{self._group(_TENANTS)}/hosts/", body)
        except _ConflictError as error:
            raise EntryExistsError(f"{name}: somebody else made the entry meanwhile") from error

    def _join_groups(self, host: int, variables: Mapping[str, Any]) -> None:
        """The groups that the inventory plugin makes elsewhere; a moved tenant changes them."""
        wanted = {_TENANTS}
        for prefix, variable in (("at_", "tenant_node"), ("tier_", "tenant_tier")):
            if isinstance(variables.get(variable), str):
                wanted.add(prefix + re.sub(r"\W", "_", variables[variable]))
        current = {
            group["name"]: group["id"]
            for group in self._results(f"hosts/{host}/groups/?page_size=200")
        }
        for name in sorted(wanted - set(current)):
            self._call("POST", f"groups/{self._group(name)}/hosts/", {"id": host})
        for name in sorted(set(current) - wanted):
            if name.startswith(("at_", "tier_")):
                body = {"id": host, "disassociate": True}
                self._call("POST", f"groups/{current[name]}/hosts/", body)

    def _group(self, name: str) -> int:
        """The number of a group, which is made where there is none."""
        group = self._find("groups", name)
        if group is None:
            body = {"name": name, "inventory": self._inventory()}
            try:
                group = self._call("POST", "groups/", body)
            except _ConflictError:
                group = self._find("groups", name)  # another run was quicker
                if group is None:
                    raise
        return int(group["id"])

    def _host(self, name: str) -> dict[str, Any] | None:
        return self._find("hosts", name)

    def _find(self, kind: str, name: str) -> dict[str, Any] | None:
        query = urlencode({"name": name})
        found = self._results(f"inventories/{self._inventory()}/{kind}/?{query}")
        return found[0] if found else None

    def _inventory(self) -> int:
        if self._inventory_id is None:
            given = self._inventory_given
            if given.isdigit():
                self._inventory_id = int(given)
            else:
                found = self._results("inventories/?" + urlencode({"name": given}))
                if len(found) != 1:
                    raise MemcloudError(
                        f"platform_awx_inventory: AWX has {len(found)} inventories named {given} "
                        "that this token can see; give the number of one"
                    )
                self._inventory_id = int(found[0]["id"])
        return self._inventory_id

    def _parsed(self, name: str, text: str) -> dict[str, Any]:
        import yaml

        try:
            variables = yaml.load(text or "{}", Loader=yaml_loader())
        except (yaml.YAMLError, RecursionError) as error:
            raise MemcloudError(f"{name}: its variables in AWX are no valid YAML") from error
        return variables if isinstance(variables, dict) else {}

    def _results(self, path: str) -> list[dict[str, Any]]:
        return list(self._call("GET", path).get("results", ()))

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        url = f"{self._url}/api/v2/{quote(path, safe='/?&=%+')}"
        try:
            with open_url(
                url,
                method=method,
                data=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": "application/json",
                },
                ca_path=self._ca_file or None,
                timeout=_TIMEOUT,
            ) as answer:
                text = answer.read()
        except HTTPError as error:
            raise _explained(error, method, path) from error
        except (URLError, OSError) as error:
            raise MemcloudError(f"AWX at {self._url} cannot be reached: {error}") from error
        answered: dict[str, Any] = json.loads(text) if text else {}
        return answered


class _ConflictError(MemcloudError):
    """AWX refused an object because there is one of this name."""


def _explained(error: HTTPError, method: str, path: str) -> MemcloudError:
    if error.code in (401, 403):
        return MemcloudError(
            f"AWX refused {method} {path} ({error.code}): platform_awx_token is wrong or may not "
            "do this."
        )
    detail = error.read()[:300].decode("utf-8", "replace")
    kind = _ConflictError if error.code == 400 and "already exists" in detail else MemcloudError
    return kind(f"AWX answered {error.code} to {method} {path}: {detail}")
