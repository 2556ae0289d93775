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
    generations = sorted(_generations(tenant, found))
    if len(generations) > 1:
        names = [volume_of(tenant, platform, "postgres", number) for number in generations]
        raise MemcloudError(
            f"{tenant['tenant']}: its record (state.json) is gone from its node, which has more "
            f"than one state of its memories: {', '.join(names)} (and the same of neo4j). Put the "
            "record back, or keep the volumes that its containers use (docker inspect shows them) "
            "and remove the others (docker volume rm). Nothing was touched"
        )
    if generations:
        record["generation"] = generations[0]


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
    generation = int(record.get("generation") or 1)
    names = [volume_of(tenant, platform, role, generation) for role in DATABASES]
    missing = [name for name in names if name not in found.volumes]
    if missing:
        name = tenant["tenant"]
        raise MemcloudError(
            f"{name}: {' and '.join(missing)} {'are' if missing[1:] else 'is'} gone from its node; "
            "its memories were there, and a new volume would be empty. Does the engine keep its "
            "data elsewhere now (docker info)? Put it back. Otherwise restore_tenant "
            f"-e tenant={name} -e force=true brings back the last restore point; without one, "
            f"delete_tenant -e tenant={name} -e keep_data=false and create_tenant begin anew. "
            "Nothing was touched"
        )


def _generations(tenant: Mapping[str, Any], found: Found) -> set[int]:
    """Of which generations there are volumes of this very identity."""
    numbers = set()
    for name, volume in found.volumes.items():
        labels = volume.get("Labels") or {}
        if labels.get(LABEL_UID) == tenant["uid"] and labels.get(LABEL_KIND) != SCRATCH:
            match = _GENERATION.search(name)
            numbers.add(int(match.group(1)) if match else 1)
    return numbers
