# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
import re

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import (
    ROUTERS,
    Route,
    RouteError,
    RouteLimits,
    gate_entry,
    traefik_dynamic,
)

LIMITS = RouteLimits.from_dict(
    {
        "requests_per_second": 10,
        "burst": 20,
        "in_flight": 8,
        "mcp_in_flight": 4,
        "body_bytes": 1048576,
    }
)
ROUTE = Route(
    tenant="acme",
    hostname="acme.memcloud.localhost",
    app="10.192.0.50:8080",
    limits=LIMITS,
    gate_port=9081,
)


def http_of(route: Route) -> dict:
    return json.loads(traefik_dynamic(route))["http"]


def middleware(route: Route, name: str) -> dict:
    return http_of(route)["middlewares"][f"{route.tenant}-{name}"]


def test_api_passes_gate_then_rate_then_in_flight_then_body_limit():
    router = http_of(ROUTE)["routers"]["acme-api"]
    assert list(http_of(ROUTE)["routers"]) == [f"acme-{name}" for name in ROUTERS]
    assert router["middlewares"] == [
        "acme-gate",
        "acme-rate",
        "acme-inflight",
        "acme-body",
    ]
    assert router["service"] == "acme-app"


def test_mcp_passes_the_gate_and_the_limits_first_and_is_never_buffered():
    http = http_of(ROUTE)
    chain = http["routers"]["acme-mcp"]["middlewares"]
    assert chain == ["acme-gate", "acme-rate", "acme-mcpinflight", "acme-mcppath"]
    assert not any("buffering" in http["middlewares"][name] for name in chain)
    calls = http["routers"]["acme-mcpcall"]
    assert calls["middlewares"] == [*chain[:3], "acme-mcpbody", *chain[3:]]
    assert calls["rule"] == http["routers"]["acme-mcp"]["rule"] + " && Method(`POST`)"


def test_health_needs_no_key_and_goes_to_the_gate():
    http = http_of(ROUTE)
    router = http["routers"]["acme-health"]
    assert "acme-gate" not in router["middlewares"]
    assert router["service"] == "acme-gate"
    assert http["middlewares"]["acme-healthpath"] == {
        "replacePath": {"path": "/public/acme/health"}
    }


def test_every_name_a_router_uses_is_defined_in_the_same_file():
    http = http_of(ROUTE)
    for router in http["routers"].values():
        assert router["service"] in http["services"]
        assert set(router["middlewares"]) <= set(http["middlewares"])


def test_gate_is_asked_for_this_tenant_and_takes_the_key_away():
    assert middleware(ROUTE, "gate")["forwardAuth"] == {
        "address": "http://127.0.0.1:9081/auth/acme",
        "trustForwardHeader": False,
        "authResponseHeaders": ["X-Tenant", "Authorization"],
        "maxResponseBodySize": 65536,
    }


@pytest.mark.parametrize(("allowed", "read"), [(1000, 1000), (16 * 1024**2, 1024**2)])
def test_the_body_of_an_mcp_call_is_read_before_the_answer_begins(allowed, read):
    limits = dataclasses.replace(LIMITS, body_bytes=allowed)
    route = dataclasses.replace(ROUTE, limits=limits)
    assert middleware(route, "mcpbody")["forwardAuth"] == {
        "address": "http://127.0.0.1:9081/body",
        "forwardBody": True,
        "maxBodySize": read,
        "trustForwardHeader": False,
        "maxResponseBodySize": 65536,
    }


@pytest.mark.parametrize("name", ["rate", "inflight", "mcpinflight"])
def test_limits_count_a_tenant_not_a_client(name):
    (settings,) = middleware(ROUTE, name).values()
    assert settings["sourceCriterion"] == {"requestHeaderName": "X-Tenant"}


@pytest.mark.parametrize(
    ("name", "kind", "field", "value"),
    [
        ("rate", "rateLimit", "average", 10),
        ("rate", "rateLimit", "burst", 20),
        ("inflight", "inFlightReq", "amount", 8),
        ("mcpinflight", "inFlightReq", "amount", 4),
        ("body", "buffering", "maxRequestBodyBytes", 1048576),
    ],
)
def test_figures_of_the_tier_reach_traefik(name, kind, field, value):
    assert middleware(ROUTE, name)[kind][field] == value


@pytest.mark.parametrize(
    ("path", "routed"),
    [
        ("/api/v2/health", True),
        ("/api/v2/projects", True),
        ("/api/v2/projects/list", True),
        ("/api/v2/memories", True),
        ("/api/v2/memories/episodic/delete", True),
        ("/api/v2/memory/episodic/config", True),
        ("/api/v2/metrics", False),
        ("/api/v2/config", False),
        ("/api/v2/config/resources", False),
        ("/api/v2/", False),
        ("/api/v2/projectsx", False),
        ("/docs", False),
        ("/openapi.json", False),
        ("/x/api/v2/projects", False),
    ],
)
def test_only_the_public_api_is_routed(path, routed):
    rule = http_of(ROUTE)["routers"]["acme-api"]["rule"]
    match = re.search(r"PathRegexp\(`(.+?)`\)", rule)
    assert match is not None
    assert bool(re.search(match.group(1), path)) is routed


@pytest.mark.parametrize(
    ("mode", "entry_point", "tls", "certificates"),
    [
        ("local_ca", "websecure", {}, True),
        ("files", "websecure", {}, False),
        ("acme", "websecure", {"certResolver": "memcloud"}, False),
        ("off", "web", None, False),
    ],
)
def test_tls_modes(mode, entry_point, tls, certificates):
    document = json.loads(traefik_dynamic(dataclasses.replace(ROUTE, tls_mode=mode)))
    for router in document["http"]["routers"].values():
        assert router["entryPoints"] == [entry_point]
        assert router.get("tls") == tls
    assert ("tls" in document) is certificates


def test_certificate_is_the_hostnames_own():
    tls = json.loads(traefik_dynamic(ROUTE))["tls"]
    path = "/etc/traefik/certs/acme.memcloud.localhost.pem"
    assert tls == {"certificates": [{"certFile": path, "keyFile": path}]}


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": "a`) || Host(`globex.memcloud.localhost"},
        {"hostname": "acme.{{ env }}"},
        {"hostname": "Acme.example.com"},
        {"hostname": ""},
        {"hostname": "-acme.example.com"},
        {"hostname": "acme.example.com\n"},
        {"tenant": "acme\n"},
        {"app": "10.192.0.50:80\n"},
        {"tenant": "../acme"},
        {"tenant": "acme corp"},
        {"app": "10.192.0.50"},
        {"app": "evil.example.com:80"},
        {"tls_mode": "on"},
    ],
)
def test_what_could_break_out_of_the_file_is_refused(change):
    with pytest.raises(RouteError):
        traefik_dynamic(dataclasses.replace(ROUTE, **change))


def test_no_template_mark_and_always_the_same_bytes():
    text = traefik_dynamic(ROUTE)
    assert "{{" not in text
    assert text == traefik_dynamic(dataclasses.replace(ROUTE))


def test_gate_entry_holds_hashes_and_state():
    text = gate_entry(
        tenant="acme",
        uid="0123456789abcdef",
        state="running",
        keys=[{"name": "default", "sha256": "AB" * 32, "created": "2026-11-21"}],
        probe_sha256="cd" * 32,
        app="10.192.0.50:8080",
    )
    assert json.loads(text) == {
        "tenant": "acme",
        "uid": "0123456789abcdef",
        "state": "running",
        "keys": [{"name": "default", "sha256": "ab" * 32, "expires": None}],
        "probe_sha256": "cd" * 32,
        "app": "10.192.0.50:8080",
        "retry_after": 10,
        "writes": "open",
        "hold_seconds": 0,
        "wake": False,
        "pace": 20,
    }


@pytest.mark.parametrize("name", ["3com", "1", "1e5", "a" * 63])
def test_every_label_is_a_tenant(name):
    http = http_of(dataclasses.replace(ROUTE, tenant=name, hostname=f"{name}.example.com"))
    assert f"{name}-api" in http["routers"]


@pytest.mark.parametrize("number", [0, -1, 2**63])
@pytest.mark.parametrize("name", sorted(vars(LIMITS)))
def test_a_number_that_traefik_cannot_take_is_refused(name, number):
    limits = dataclasses.replace(LIMITS, **{name: number})
    with pytest.raises(RouteError) as error:
        traefik_dynamic(dataclasses.replace(ROUTE, limits=limits))
    assert str(error.value) == (
        f"acme: tenant_limits: {name} is {number}, which Traefik cannot take; correct it there, "
        "or in the tier (platform_tiers)"
    )


@pytest.mark.parametrize(
    "other",
    [
        "acme-mcp",
        "acme-mcpcall",
        "acme-health",
        "acme-app",
        "acme-api",
        "acme-gate",
        "acme-moved-until",
        "memcloud",
    ],
)
def test_no_name_is_that_of_a_tenant_with_a_similar_name(other):
    mine, others = http_of(ROUTE), http_of(dataclasses.replace(ROUTE, tenant=other))
    for kind, entries in mine.items():
        assert not set(entries) & set(others[kind]), kind
