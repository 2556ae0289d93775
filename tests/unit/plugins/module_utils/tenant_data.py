"""A tenant and its platform as the controller tells them to a node."""

from __future__ import annotations

import base64
import hashlib

from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._inputs import (
    platform_inputs,
    sent_secrets,
    tenant_inputs,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import parse_platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import parse_tenant

ROOT_KEY = base64.b64encode(hashlib.sha256(b"root key of the tests").digest()).decode()
UID = "0123456789abcdef"


def make(data_dir="/var/lib/memcloud/mc", name="acme", **variables):
    """Inputs of platform and tenant, and the tenant's secrets."""
    values = {
        **load_defaults(),
        "platform_root_keys": {1: ROOT_KEY},
        "platform_data_dir": str(data_dir),
        "tenant_uid": UID,
        "tenant_node": "node1",
        "tenant_api_keys": [{"name": "default", "sha256": "ab" * 32}],
        **variables,
    }
    platform = parse_platform(values)
    tenant = parse_tenant(name, values, platform, nodes={"node1"})
    return (
        platform_inputs(platform),
        tenant_inputs(tenant, platform),
        sent_secrets(tenant, platform),
    )
