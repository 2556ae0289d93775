# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files by which the edge knows a tenant: Traefik's route and the gate's entry.

Both are pure functions of what they are given, so that the same tenant always gives the same
bytes. Traefik's file is JSON, which is YAML too: every value is quoted by the encoder and no
library is needed on a node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import (
    LABEL,
    is_hostname,
)

TLS_MODES = ("local_ca", "files", "acme", "off")
# What each tenant's routers are called, behind its name.
ROUTERS = ("api", "mcp", "mcpcall", "health")
ACME_RESOLVER = "memcloud"
CERTIFICATE_DIR = "/etc/traefik/certs"

# Only what a customer may call. The server's metrics, its own configuration API
# (/api/v2/config), its documentation pages and whatever a later version adds are not routed.
_PUBLIC_API = "^/api/v2/(health|projects|memories|memory)(/|$)"

_ADDRESS = re.compile(r"[0-9.]+:[0-9]+\Z")
# One number that Traefik cannot read, and it refuses every change of its directory.
_LARGEST_NUMBER = 2**63 - 1

# uvicorn closes an idle connection after 5 s. Letting go of it before that keeps a POST, which
# cannot be repeated, from being sent into a connection that is just being closed.
_IDLE_CONNECTION = "4s"

# What a call of the MCP may carry: the edge keeps room for that much for each call under way, so
# it must not grow with the tier.
_MCP_BODY_BYTES = 1024**2


class RouteError(MemcloudError):
    """A route that must not be written."""


@dataclass(frozen=True)
class RouteLimits:
    """What one tenant may ask of the edge; the figures of its tier (`edge:`)."""

    requests_per_second: int
    burst: int
    in_flight: int
    mcp_in_flight: int
    body_bytes: int

    @classmethod
    def from_dict(cls, limits: Mapping[str, Any]) -> RouteLimits:
        """Take the `edge:` mapping of a tier, already merged with `tenant_limits`."""
        return cls(
            requests_per_second=int(limits["requests_per_second"]),
            burst=int(limits["burst"]),
            in_flight=int(limits["in_flight"]),
            mcp_in_flight=int(limits["mcp_in_flight"]),
            body_bytes=int(limits["body_bytes"]),
        )


@dataclass(frozen=True)
class Route:
    """All that Traefik needs to know about one tenant."""

    tenant: str
    hostname: str
    app: str
    """Address and port of the app container, such as ``10.192.0.50:8080``."""
    limits: RouteLimits
    gate_port: int = 9081
    tls_mode: str = "local_ca"


def certificate_path(hostname: str) -> str:
    """Where Traefik, inside its container, finds certificate and key of a hostname."""
    return f"{CERTIFICATE_DIR}/{hostname}.pem"


def traefik_dynamic(route: Route) -> str:
    """Return the tenant's file for Traefik's file provider."""
    _check(route)
    # On one line: with an indent, Python takes four times as long, for every tenant of a plan.
    text = json.dumps(_dynamic(route)) + "\n"
    # Traefik runs each file through Go's template engine first.
    if "{{" in text:
        raise RouteError(f"{route.tenant}: the route would contain a template mark ({{{{)")
    return text


def _check(route: Route) -> None:
    if not LABEL.match(route.tenant):
        raise RouteError(f"{route.tenant}: tenant name is not a DNS label")
    if not is_hostname(route.hostname):
        raise RouteError(
            f"{route.tenant}: tenant_hostname: {route.hostname!r} is not a hostname; use "
            "lower-case letters, digits, dashes and dots"
        )
    if not _ADDRESS.match(route.app):
        raise RouteError(f"{route.tenant}: {route.app!r} is not an address and port")
    for name, number in vars(route.limits).items():
        if not 1 <= number <= _LARGEST_NUMBER:
            raise RouteError(
                f"{route.tenant}: tenant_limits: {name} is {number}, which Traefik cannot take; "
                "correct it there, or in the tier (platform_tiers)"
            )
    if route.tls_mode not in TLS_MODES:
        raise RouteError(
            "platform: platform_tls_mode: {!r} is none of {}".format(
                route.tls_mode, ", ".join(TLS_MODES)
            )
        )


def _dynamic(route: Route) -> dict[str, Any]:
    document: dict[str, Any] = {
        "http": {
            "routers": _routers(route),
            "middlewares": _middlewares(route),
            "services": _services(route),
            "serversTransports": {
                f"{route.tenant}-app": {
                    "forwardingTimeouts": {
                        "dialTimeout": "5s",
                        "idleConnTimeout": _IDLE_CONNECTION,
                    }
                }
            },
        }
    }
    if route.tls_mode == "local_ca":
        path = certificate_path(route.hostname)
        document["tls"] = {"certificates": [{"certFile": path, "keyFile": path}]}
    return document


def _routers(route: Route) -> dict[str, Any]:
    def router(rule: str, chain: Sequence[str], service: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "entryPoints": ["web" if route.tls_mode == "off" else "websecure"],
            "rule": f"Host(`{route.hostname}`) && {rule}",
            "middlewares": [f"{route.tenant}-{name}" for name in chain],
            "service": f"{route.tenant}-{service}",
        }
        if route.tls_mode == "acme":
            entry["tls"] = {"certResolver": ACME_RESOLVER}
        elif route.tls_mode != "off":
            entry["tls"] = {}
        return entry

    mcp = "(Path(`/mcp`) || PathPrefix(`/mcp/`))"
    return {
        f"{route.tenant}-api": router(
            f"PathRegexp(`{_PUBLIC_API}`)", ["gate", "rate", "inflight", "body"], "app"
        ),
        # Streams: nothing on this path may buffer answers.
        f"{route.tenant}-mcp": router(mcp, ["gate", "rate", "mcpinflight", "mcppath"], "app"),
        f"{route.tenant}-mcpcall": router(
            f"{mcp} && Method(`POST`)",
            ["gate", "rate", "mcpinflight", "mcpbody", "mcppath"],
            "app",
        ),
        f"{route.tenant}-health": router(
            "Path(`/health`) && (Method(`GET`) || Method(`HEAD`))",
            ["healthrate", "healthpath"],
            "gate",
        ),
    }


def _middlewares(route: Route) -> dict[str, Any]:
    limits = route.limits
    # The gate's word, not the client's: one hostname can be written in many ways.
    per_tenant = {"sourceCriterion": {"requestHeaderName": "X-Tenant"}}
    gate = "http://127.0.0.1:%d" % route.gate_port
    asked: dict[str, Any] = {"trustForwardHeader": False, "maxResponseBodySize": 65536}
    chain: dict[str, Any] = {
        "gate": {
            "forwardAuth": {
                "address": f"{gate}/auth/{route.tenant}",
                # Listed and not returned by the gate: taken away from the request.
                "authResponseHeaders": ["X-Tenant", "Authorization"],
                **asked,
            }
        },
        # Traefik cuts an answer that begins while the request's body is still being read, as a
        # stream's does now and then (Go closes the body with the first byte of the answer). With
        # the body read beforehand it does not; the gate does not look at it. After the limits: it
        # makes room for the longest body at once.
        "mcpbody": {
            "forwardAuth": {
                "address": f"{gate}/body",
                "forwardBody": True,
                "maxBodySize": min(limits.body_bytes, _MCP_BODY_BYTES),
                **asked,
            }
        },
        "rate": {
            "rateLimit": dict(
                average=limits.requests_per_second,
                period="1s",
                burst=limits.burst,
                **per_tenant,
            )
        },
        "inflight": {"inFlightReq": dict(amount=limits.in_flight, **per_tenant)},
        "mcpinflight": {"inFlightReq": dict(amount=limits.mcp_in_flight, **per_tenant)},
        "body": {"buffering": {"maxRequestBodyBytes": limits.body_bytes}},
        # The app would answer /mcp with a redirect to http://…/mcp/.
        "mcppath": {"replacePathRegex": {"regex": "^/mcp$", "replacement": "/mcp/"}},
        # By the client's address: without a key, one client must not use up all of it.
        "healthrate": {"rateLimit": {"average": 5, "period": "1s", "burst": 20}},
        "healthpath": {"replacePath": {"path": f"/public/{route.tenant}/health"}},
    }
    # Names without a dash: acme's never are those of a tenant called acme-mcp.
    return {f"{route.tenant}-{name}": value for name, value in chain.items()}


def _services(route: Route) -> dict[str, Any]:
    return {
        f"{route.tenant}-app": {
            "loadBalancer": {
                "servers": [{"url": f"http://{route.app}"}],
                "serversTransport": f"{route.tenant}-app",
            }
        },
        f"{route.tenant}-gate": {
            "loadBalancer": {"servers": [{"url": "http://127.0.0.1:%d" % route.gate_port}]}
        },
    }


def gate_entry(
    *,
    tenant: str,
    uid: str,
    state: str,
    keys: Sequence[Mapping[str, Any]],
    probe_sha256: str,
    app: str,
    retry_after: int = 10,
    writes: str = "open",
    hold_seconds: int = 0,
    wake: bool = False,
    pace: int = 20,
) -> str:
    """Return the gate's file of a tenant: who may pass, as hashes of keys, and in what state.

    :param pace: how many requests that waited are let go in a second; all at once, those beyond the
        tier's limits would be refused.
    """
    entry = {
        "tenant": tenant,
        "uid": uid,
        "state": state,
        "keys": [
            {
                "name": str(key.get("name", "default")),
                "sha256": str(key["sha256"]).lower(),
                "expires": key.get("expires"),
            }
            for key in keys
        ],
        "probe_sha256": probe_sha256,
        "app": app,
        "retry_after": retry_after,
        "writes": writes,
        "hold_seconds": hold_seconds,
        "wake": wake,
        "pace": pace,
    }
    return json.dumps(entry, sort_keys=True) + "\n"
