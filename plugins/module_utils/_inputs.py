# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller tells a node about its tenants: plain data without a secret.

The node adds what only it knows (slot, image ids) and computes the desired state from both.
Secrets go to the node only when something has to be written, and separately.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._model import SECRET_FIELDS, Model
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import unique_name
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import Platform
from ansible_collections.memcloud.memmachine.plugins.module_utils._rotation import NEO4J_BEFORE
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import (
    derive,
    hash_api_key,
    root_key_check,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import Tenant
from ansible_collections.memcloud.memmachine.plugins.module_utils._tiers import Resources

# Names of the secrets of a tenant on their way to the node, and the purpose of the derived ones.
DERIVED = {
    "postgres_admin": "postgres-admin",
    "postgres_app": "postgres-app",
    "neo4j": "neo4j",
    "neo4j_salt": "neo4j-salt",
    "probe": "probe",
}


def platform_inputs(platform: Platform) -> dict[str, Any]:
    """The part that all tenants of a node share."""
    return {
        "name": platform.name,
        "data_dir": platform.data_dir,
        "docker_host": platform.docker_host,
        "subnet_pool": str(platform.subnet_pool),
        "node_address": platform.node_address,
        "http_port": platform.http_port,
        "https_port": platform.https_port,
        "edge_api_port": platform.edge_api_port,
        "gate_port": platform.gate_port,
        "metrics_address": platform.metrics_address,
        "tls_mode": platform.tls_mode,
        "parallelism": platform.parallelism,
        "update_keep": platform.update_keep,
        "manage_hosts_file": platform.manage_hosts_file,
        "keep_deleted_days": platform.keep_deleted_days,
        "memmachine_version": platform.memmachine_version,
        "backup_folder": backup_place(platform) if is_local(backup_place(platform)) else "",
    }


def tenant_secrets(tenant: Tenant, platform: Platform) -> dict[str, str]:
    """Every secret of a tenant that its node needs. Never to be logged or returned."""
    secrets = {
        name: derive(
            platform.root_keys,
            tenant.root_key_version,
            tenant.uid,
            purpose,
            tenant.secret_epoch,
        )
        for name, purpose in DERIVED.items()
    }
    for name in SECRET_FIELDS:
        secrets["model_" + name] = getattr(tenant.model, name)
    return secrets


def sent_secrets(tenant: Tenant, platform: Platform) -> dict[str, str]:
    """The secrets as the node gets them: with what it needs to replace a password."""
    before = (
        derive(platform.root_keys, version, tenant.uid, DERIVED["neo4j"], epoch)
        for version, epoch in _versions_before(tenant, platform)
    )
    return {**tenant_secrets(tenant, platform), NEO4J_BEFORE: " ".join(before)}


def _versions_before(tenant: Tenant, platform: Platform) -> list[tuple[int, int]]:
    """Root key and epoch that a password may be of, when it is not of the present ones."""
    version, epoch = tenant.root_key_version, tenant.secret_epoch
    known = sorted(platform.root_keys)
    others = [v for v in known if v < version][-1:] + [v for v in known if v > version][:1]
    candidates = [(version, epoch - 1), *((other, epoch) for other in others)]
    return [(v, e) for v, e in candidates if e > 0]


def fingerprints(secrets: dict[str, str]) -> dict[str, str]:
    """Values that change with the secrets and from which no secret can be guessed.

    The key of the fingerprints is the tenant's own probe key, which never is among them in clear.
    """
    key = secrets["probe"].encode()
    return {
        name: hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()[:32]
        if value
        else ""
        for name, value in secrets.items()
    }


def tenant_inputs(tenant: Tenant, platform: Platform) -> dict[str, Any]:
    """Everything about a tenant that decides what it is made of, without a secret."""
    secrets = tenant_secrets(tenant, platform)
    return {
        "tenant": tenant.name,
        "uid": tenant.uid,
        "state": tenant.state,
        "wake": tenant.wake,
        "idle_hours": tenant.tier.idle_hours,
        "owner": tenant.owner,
        "node": tenant.node,
        "hostname": tenant.hostname,
        "endpoint": tenant.endpoint,
        "version": tenant.version,
        "tier": tenant.tier.name,
        "pinned": tenant.pinned,
        "canary": tenant.canary,
        "app": _resources(tenant.tier.app),
        "postgres": {**_resources(tenant.tier.postgres), "sizes": dict(tenant.tier.postgres_sizes)},
        "neo4j": {**_resources(tenant.tier.neo4j), "sizes": dict(tenant.tier.neo4j_sizes)},
        "storage": tenant.tier.storage,
        "backup": dict(tenant.tier.backup),
        "edge": {
            "requests_per_second": tenant.edge.requests_per_second,
            "burst": tenant.edge.burst,
            "in_flight": tenant.edge.in_flight,
            "mcp_in_flight": tenant.edge.mcp_in_flight,
            "body_bytes": tenant.edge.body_bytes,
        },
        "keys": [
            {"name": key.name, "sha256": key.sha256, "expires": key.expires}
            for key in tenant.api_keys
        ],
        "model": _model(tenant.model),
        "root_key": {
            "version": tenant.root_key_version,
            "check": root_key_check(platform.root_keys[tenant.root_key_version]),
        },
        "secret_epoch": tenant.secret_epoch,
        "probe_sha256": hash_api_key(secrets["probe"]),
        "fingerprints": fingerprints(secrets),
    }


def backup_place(platform: Platform) -> str:
    """Below what the repositories of all tenants are."""
    return platform.backup_repository or f"{platform.data_dir}/backups"


def backup_access(
    name: str, uid: str, root_key_version: int, platform: Platform, prune: bool = False
) -> dict[str, Any]:
    """How a tenant's restore points are reached. Never to be logged or returned.

    The password does not depend on the tenant's secret epoch, so that old restore points stay
    readable; those of other root keys are tried where the present one's does not fit.

    :param prune: with the credentials that may delete, which no node gets.
    """
    versions = [root_key_version, *sorted(set(platform.root_keys) - {root_key_version})]
    environment = dict(platform.backup_environment)
    if prune:
        environment.update(platform.backup_prune_environment)
    return {
        "url": f"{backup_place(platform)}/{unique_name(name, uid)}",
        "passwords": [derive(platform.root_keys, v, uid, "backup", 0) for v in versions],
        "environment": environment,
    }


def _resources(resources: Resources) -> dict[str, Any]:
    return {
        "memory": resources.memory,
        "cpus": resources.cpus,
        "cpu_shares": resources.cpu_shares,
        "pids": resources.pids,
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "provider": model.provider,
        "base_url": model.base_url,
        "region": model.region,
        "embedder_model": model.embedder_model,
        "embedder_dimensions": model.embedder_dimensions,
        "language_model": model.language_model,
    }
