"""The edge with certificates of an ACME authority, with the operator's own, and without any."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.authority import authority, certificate
from support.platform import Platform, Tenant

SENTENCE = "Certificates come and go, memories stay"


@pytest.fixture(scope="module")
def sentence(platform: Platform, tenant: Tenant) -> Iterator[str]:
    """A memory from before; the node has its own authority again in the end."""
    tenant.add(SENTENCE)
    yield SENTENCE
    switch(platform)
    assert tenant.remembers(SENTENCE)


def switch(platform: Platform, **variables: Any) -> None:
    """Have certificates of another kind."""
    for playbook in ("setup_node", "deploy_tenant"):
        platform.play.ok(playbook, **variables)


def found(tenant: Tenant, url: str, trusted: Path | None) -> bool:
    """Whether the memory is found at an address whose certificate is good."""
    session = requests.Session()
    session.trust_env = False
    answer = session.post(
        f"{url}/api/v2/memories/search",
        json={"org_id": "ci", "project_id": "tests", "query": SENTENCE},
        headers={"Authorization": f"Bearer {tenant.key}"},
        verify=str(trusted) if trusted else True,
        allow_redirects=False,
        timeout=30,
    )
    return answer.status_code == 200 and SENTENCE in answer.text


def test_certificates_of_an_authority(
    platform: Platform, tenant: Tenant, sentence: str, tmp_path: Path
) -> None:
    with authority(tmp_path, int(platform.variables["platform_http_port"])) as acme:
        switch(
            platform,
            platform_tls_mode="acme",
            platform_acme_email="ops@example.com",
            platform_acme_server=acme.url,
            platform_acme_ca_file=str(acme.server_ca),
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.exceptions.SSLError):
                assert found(tenant, tenant.url, acme.root)
                return
            time.sleep(0.5)
    pytest.fail("the edge shows no certificate of the authority")


def test_certificates_of_the_operators_own(
    platform: Platform, tenant: Tenant, sentence: str, tmp_path: Path
) -> None:
    ours, signer = certificate(tmp_path, tenant.hostname)
    given: dict[str, Any] = {
        "platform_tls_mode": "files",
        "platform_tls_certificates": [{"certificate": str(ours), "key": str(ours)}],
    }
    switch(platform, **given)
    assert found(tenant, tenant.url, signer)
    again = [platform.play.ok(name, **given) for name in ("setup_node", "deploy_tenant")]
    assert [run.changed for run in again] == [{}, {}]


def test_none_behind_something_that_ends_tls(
    platform: Platform, tenant: Tenant, sentence: str
) -> None:
    switch(platform, platform_tls_mode="off")
    assert found(
        tenant, f"http://{tenant.hostname}:{platform.variables['platform_http_port']}", None
    )
    with pytest.raises(requests.ConnectionError):
        requests.get(tenant.url, timeout=5, verify=str(platform.authority))
