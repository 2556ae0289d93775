# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volumes a tenant's memories are on. An empty one never takes their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    DATABASES,
    volume_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import Found
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_KIND,
    LABEL_UID,
    SCRATCH,
)

_GENERATION = re.compile(r"-g(\d+)\Z")
_OLDER = (
    "If its record (state.json) is an older one that was put back, put the newest one in its "
    "place, or write into it the generation of the right volumes (2 for -g2; 1 without) and the "
    "version of the server that stored what is there."
)


class Volumes:
    """The volumes of a tenant's databases: which its record names, and which the engine has.

    :param record: what the node remembers of the tenant; a generation of it names the volumes.
    :param found: what the engine has of the tenant.
    """

    def __init__(
        self,
        tenant: Mapping[str, Any],
        platform: Mapping[str, Any],
        record: dict[str, Any],
        found: Found,
    ) -> None:
        self._tenant = tenant
        self._platform = platform
        self._record = record
        self._found = found
        self._own = [name for name, volume in found.volumes.items() if self._is_own(volume)]

    def generations(self) -> set[int]:
        """Of which generations there are volumes."""
        matches = map(_GENERATION.search, self._own)
        return {int(match.group(1)) if match else 1 for match in matches}

    def recall(self) -> None:
        """Where the record of the tenant was lost, note in it which generation it lives on.

        :raises MemcloudError: when several could be meant.
        """
        if self._record.get("uid"):
            return
        numbers = sorted(self.generations())
        if len(numbers) > 1:
            names = [volume_of(self._tenant, self._platform, "postgres", n) for n in numbers]
            raise MemcloudError(
                f"{self._tenant['tenant']}: its record (state.json) is gone from its node, which "
                f"has more than one state of its memories: {', '.join(names)} (and the same of "
                "neo4j). Put the record back, or keep the volumes that its containers use (docker "
                "inspect shows them) and remove the others (docker volume rm). Nothing was touched"
            )
        if numbers:
            self._record["generation"] = numbers[0]

    def check_there(self) -> None:
        """Stop where what a tenant has stored its memories on is not there any more.

        :raises MemcloudError: naming the volumes, with the ways out.
        """
        if self._tenant["state"] == "deleted" or "proved" not in self._record:
            return
        missing = self._missing()
        if missing:
            name = self._tenant["tenant"]
            others = self._beside()
            older = f"There are {', '.join(others)}. {_OLDER} " if others else ""
            raise MemcloudError(
                f"{name}: {' and '.join(missing)} {'are' if missing[1:] else 'is'} gone from its "
                "node; its memories were there, and a new volume would be empty. "
                f"{older}Does the engine keep its data elsewhere now (docker info)? Put it back. "
                f"Otherwise restore_tenant -e tenant={name} -e force=true brings back the last "
                "restore point; without one, "
                f"delete_tenant -e tenant={name} -e keep_data=false and create_tenant begin anew. "
                "Nothing was touched"
            )

    def check_used(self) -> None:
        """Stop where a tenant's databases are on other volumes than its record names.

        :raises MemcloudError: naming the volumes, with what to do.
        """
        others = self._used_beside()
        if others and self._tenant["state"] != "deleted":
            raise MemcloudError(
                f"{self._tenant['tenant']}: its databases are on {' and '.join(others)}, and its "
                f"record names others (generation: {self._generation}). {_OLDER} Nothing was "
                "touched"
            )

    def in_doubt(self) -> list[str]:
        """Those that may hold the tenant's memories though its record names others.

        That is those that its databases are on while no operation is unfinished, and all where what
        the record names is not there: it may be older than they are.
        """
        return self._beside() if self._missing() else self._used_beside()

    def _is_own(self, volume: Mapping[str, Any]) -> bool:
        """Whether it is of this very identity, and not of a throw-away tenant."""
        labels = volume.get("Labels") or {}
        return labels.get(LABEL_UID) == self._tenant["uid"] and labels.get(LABEL_KIND) != SCRATCH

    @property
    def _generation(self) -> int:
        return int(self._record.get("generation") or 1)

    def _named(self) -> list[str]:
        """Those that the record names."""
        generation = self._generation
        return [volume_of(self._tenant, self._platform, role, generation) for role in DATABASES]

    def _missing(self) -> list[str]:
        """Those that the record names and the engine has not."""
        return [name for name in self._named() if name not in self._found.volumes]

    def _beside(self) -> list[str]:
        """Those that the engine has and the record does not name."""
        return sorted(set(self._own) - set(self._named()))

    def _used_beside(self) -> list[str]:
        if self._record.get("operation"):
            return []  # what it was at may be on the next ones
        servers = self._found.containers.values()
        used = {mount.get("Name") for server in servers for mount in server.get("Mounts") or ()}
        return [name for name in self._beside() if name in used]
