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


def recall_generation(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: dict[str, Any],
    found: Found,
) -> None:
    """Where the record of a tenant was lost, take from the engine which volumes it lives on.

    :raises MemcloudError: when several could be meant.
    """
    if record.get("uid"):
        return
    numbers = sorted(generations(tenant, found))
    if len(numbers) > 1:
        names = [volume_of(tenant, platform, "postgres", number) for number in numbers]
        raise MemcloudError(
            f"{tenant['tenant']}: its record (state.json) is gone from its node, which has more "
            f"than one state of its memories: {', '.join(names)} (and the same of neo4j). Put the "
            "record back, or keep the volumes that its containers use (docker inspect shows them) "
            "and remove the others (docker volume rm). Nothing was touched"
        )
    if numbers:
        record["generation"] = numbers[0]


def check_volumes(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> None:
    """Stop where the volumes of a tenant that has stored memories are not there any more.

    :raises MemcloudError: naming them, with the ways out.
    """
    if tenant["state"] == "deleted" or "proved" not in record:
        return
    missing = _missing(tenant, platform, record, found)
    if missing:
        name = tenant["tenant"]
        others = volumes_beside(tenant, platform, record, found)
        older = f"There are {', '.join(others)}. {_OLDER} " if others else ""
        raise MemcloudError(
            f"{name}: {' and '.join(missing)} {'are' if missing[1:] else 'is'} gone from its node; "
            f"its memories were there, and a new volume would be empty. {older}Does the engine "
            "keep its data elsewhere now (docker info)? Put it back. Otherwise restore_tenant "
            f"-e tenant={name} -e force=true brings back the last restore point; without one, "
            f"delete_tenant -e tenant={name} -e keep_data=false and create_tenant begin anew. "
            "Nothing was touched"
        )


def check_servers(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> None:
    """Stop where a tenant's databases are on other volumes than its record names.

    :raises MemcloudError: naming the volumes, with what to do.
    """
    others = _used_beside(tenant, platform, record, found)
    if others and tenant["state"] != "deleted":
        raise MemcloudError(
            f"{tenant['tenant']}: its databases are on {' and '.join(others)}, and its record "
            f"names others (generation: {int(record.get('generation') or 1)}). {_OLDER} Nothing "
            "was touched"
        )


def volumes_in_doubt(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> list[str]:
    """The volumes that may hold a tenant's memories though its record names others.

    Those that its databases are on while no operation is unfinished, and all where what the record
    names is not there: it may be older than they are.
    """
    if _missing(tenant, platform, record, found):
        return volumes_beside(tenant, platform, record, found)
    return _used_beside(tenant, platform, record, found)


def _used_beside(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> list[str]:
    if record.get("operation"):
        return []  # what it was at may be on the next ones
    mounts = [m for server in found.containers.values() for m in server.get("Mounts") or ()]
    used = {mount.get("Name") for mount in mounts}
    return [name for name in volumes_beside(tenant, platform, record, found) if name in used]


def _missing(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> list[str]:
    generation = int(record.get("generation") or 1)
    names = [volume_of(tenant, platform, role, generation) for role in DATABASES]
    return [name for name in names if name not in found.volumes]


def volumes_beside(
    tenant: Mapping[str, Any],
    platform: Mapping[str, Any],
    record: Mapping[str, Any],
    found: Found,
) -> list[str]:
    """The volumes of a tenant that are not those that its record says it lives on."""
    generation = int(record.get("generation") or 1)
    named = {volume_of(tenant, platform, role, generation) for role in DATABASES}
    return sorted(set(_own(tenant, found)) - named)


def generations(tenant: Mapping[str, Any], found: Found) -> set[int]:
    """Of which generations there are volumes of this very identity."""
    matches = map(_GENERATION.search, _own(tenant, found))
    return {int(match.group(1)) if match else 1 for match in matches}


def _own(tenant: Mapping[str, Any], found: Found) -> list[str]:
    """The names of the volumes of this very identity, without those of throw-away tenants."""
    names = []
    for name, volume in found.volumes.items():
        labels = volume.get("Labels") or {}
        if labels.get(LABEL_UID) == tenant["uid"] and labels.get(LABEL_KIND) != SCRATCH:
            names.append(name)
    return names
