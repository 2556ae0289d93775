"""What a tenant's containers use, read from the kernel's control groups (both versions)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from measure import run

ROLES = ("postgres", "neo4j", "app")


@dataclass(frozen=True)
class Use:
    """Processor seconds since the start, and bytes of memory without what the kernel may drop."""

    processor: float
    memory: int


def use_of(platform: str, tenants: list[str]) -> dict[str, dict[str, Use]]:
    """Use by tenant and role."""
    names = [f"{platform}-{tenant}-{role}" for tenant in tenants for role in ROLES]
    ids = run("docker", "inspect", "--format", "{{.Id}}", *names).split()
    found = [_use(container) for container in ids]
    return {
        tenant: dict(zip(ROLES, found[number * 3 : number * 3 + 3]))
        for number, tenant in enumerate(tenants)
    }


def processor_of(platform: str, tenants: list[str]) -> float:
    """Processor seconds of all containers of these tenants."""
    used = use_of(platform, tenants)
    return sum(one.processor for roles in used.values() for one in roles.values())


def _use(container: str) -> Use:
    if os.path.exists("/sys/fs/cgroup/cpuacct"):
        accounts = f"/sys/fs/cgroup/cpuacct/docker/{container}/cpuacct.usage"
        memory = f"/sys/fs/cgroup/memory/docker/{container}"
        used = _number(f"{memory}/memory.usage_in_bytes")
        dropped = _statistic(f"{memory}/memory.stat", "total_inactive_file")
        return Use(_number(accounts) / 1e9, used - dropped)
    for home in ("/sys/fs/cgroup/docker", "/sys/fs/cgroup/system.slice"):
        for name in (container, f"docker-{container}.scope"):
            group = os.path.join(home, name)
            if os.path.isdir(group):
                dropped = _statistic(f"{group}/memory.stat", "inactive_file")
                used = _number(f"{group}/memory.current") - dropped
                return Use(_statistic(f"{group}/cpu.stat", "usage_usec") / 1e6, used)
    raise RuntimeError(f"no control group of container {container} was found")


def _number(path: str) -> int:
    with open(path, encoding="ascii") as handle:
        return int(handle.read())


def _statistic(path: str, name: str) -> int:
    with open(path, encoding="ascii") as handle:
        for line in handle:
            key, value = line.split()
            if key == name:
                return int(value)
    raise RuntimeError(f"{path} has no {name}")
