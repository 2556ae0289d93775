"""Fixtures of the scenarios: the ci platform and the tenants that a scenario was given."""

from __future__ import annotations

import json
import os

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
