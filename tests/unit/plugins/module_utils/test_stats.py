"""Numbers of tenants, out of a page of Traefik's metrics."""

from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._stats import (
    edge_numbers,
    parse_metrics,
    quantile,
)

PAGE = """
# HELP traefik_service_requests_total How many requests
process_start_time_seconds 1.7952515581e+09
traefik_service_requests_total{code="200",method="GET",protocol="http",service="acme-app@file"} 90
traefik_service_requests_total{code="429",method="GET",protocol="http",service="acme-app@file"} 6
traefik_service_requests_total{code="502",method="POST",protocol="http",service="acme-app@file"} 4
traefik_service_requests_total{code="200",method="GET",protocol="http",service="x-app-app@file"} 1
traefik_service_requests_total{code="200",method="GET",protocol="http",service="gate@file"} 7
traefik_service_request_duration_seconds_bucket{code="200",service="acme-app@file",le="0.1"} 50
traefik_service_request_duration_seconds_bucket{code="200",service="acme-app@file",le="0.3"} 90
traefik_service_request_duration_seconds_bucket{code="502",service="acme-app@file",le="0.3"} 10
traefik_service_request_duration_seconds_bucket{code="502",service="acme-app@file",le="0.1"} 0
traefik_service_request_duration_seconds_bucket{code="200",service="acme-app@file",le="+Inf"} 90
traefik_service_request_duration_seconds_bucket{code="502",service="acme-app@file",le="+Inf"} 10
"""


def test_requests_errors_and_latency_are_counted_by_tenant():
    numbers, since = edge_numbers(parse_metrics(PAGE))
    assert sorted(numbers) == ["acme", "x-app"]
    acme = numbers["acme"]
    assert (acme["requests"], acme["client_errors"], acme["server_errors"]) == (100, 6, 4)
    assert acme["latency_seconds"] == {"p50": 0.1, "p95": 0.28, "p99": 0.296}
    assert since == "2026-11-21T08:59:18Z"


@pytest.mark.parametrize(
    ("buckets", "percent", "wanted"),
    [
        ({}, 50, None),
        ({0.1: 0, float("inf"): 0}, 50, None),
        ({0.1: 10, float("inf"): 10}, 50, 0.05),
        ({0.1: 0, 0.3: 10, float("inf"): 10}, 50, 0.2),
        ({0.1: 5, 0.3: 5, float("inf"): 10}, 99, 0.3),  # longer than the last bound: no guess
    ],
)
def test_a_percentile_is_estimated_as_prometheus_does(buckets, percent, wanted):
    assert quantile(buckets, percent) == wanted


def test_labels_with_quotes_and_commas_are_read():
    ((name, labels, value),) = parse_metrics('m{a="x,\\"y\\"",b="2"} 3')
    assert (name, labels, value) == ("m", {"a": 'x,\\"y\\"', "b": "2"}, 3.0)
