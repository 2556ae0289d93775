"""Fixtures of the scenarios: the ci platform and the tenants that a scenario was given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from support.platform import Platform, Tenant


@pytest.fixture(scope="session")
def platform() -> Platform:
    return Platform()


@pytest.fixture(scope="session")
def tenant(platform: Platform) -> Tenant:
    """The first tenant of the scenario."""
    return platform.tenant(next(iter(json.loads(os.environ["CI_TENANTS"]))))


@pytest.fixture
def trust(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Official clients trust the tenants' certificates."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(platform.authority))


@pytest.fixture
def new_tenant(platform: Platform) -> Callable[..., Tenant]:
    """Creates tenants that are deleted, with their data, when the test is over."""
    made: list[str] = []

    def create(name: str, tier: str = "free", **variables: object) -> Tenant:
        made.append(name)
        return platform.create(name, tier, **variables)

    yield create
    platform.delete(*made)
