# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables in, tenants or errors out. Every error names its owner and its variable."""

from __future__ import annotations

import base64
import copy
import datetime
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils import _tiers
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import (
    SUPPORTED_VERSIONS,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import (
    KNOWN_VARIABLES,
    Platform,
    Tenant,
    check_fleet,
    parse_all,
    parse_platform,
    parse_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import parse_size

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()
SHA256 = "ab" * 32
NODES = ("node1", "node2")
SPECS = Path(__file__).parents[4] / "roles" / "tenant" / "meta" / "argument_specs.yml"


def platform_variables(**changes: Any) -> dict[str, Any]:
    return {**load_defaults(), "platform_root_keys": {1: ROOT_KEY}, **changes}


def tenant_variables(**changes: Any) -> dict[str, Any]:
    entry = {
        "tenant_uid": "0123456789abcdef",
        "tenant_node": "node1",
        "tenant_api_keys": [{"name": "default", "sha256": SHA256}],
    }
    return {**load_defaults(), **entry, **changes}


def platform(**changes: Any) -> Platform:
    return parse_platform(platform_variables(**changes))


def tenant(name: str = "acme", on: Platform | None = None, **changes: Any) -> Tenant:
    return parse_tenant(name, tenant_variables(**changes), on or platform(), nodes=NODES)


def test_defaults_make_a_tenant() -> None:
    acme = tenant()
    assert acme.tier.name == "free"
    assert acme.state == "running"
    assert acme.hostname == "acme.memcloud.localhost"
    assert acme.endpoint == "https://acme.memcloud.localhost"
    assert acme.version == "0.4.0"
    assert acme.edge == acme.tier.edge
    assert acme.api_keys[0].sha256 == SHA256


def test_defaults_specs_and_known_variables_are_the_same_set() -> None:
    options = yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]
    assert set(options) == set(KNOWN_VARIABLES)
    assert set(load_defaults()) <= set(KNOWN_VARIABLES)
    without = set(KNOWN_VARIABLES) - set(load_defaults())
    assert {name for name, option in options.items() if "default" in option} | {
        "platform_tiers"
    } == set(KNOWN_VARIABLES) - without


BAD_TENANTS: list[tuple[dict[str, Any], str, str]] = [
    ({"tenant_uid": None}, "tenant_uid", "openssl rand -hex 8"),
    ({"tenant_uid": 1234567890123456}, "tenant_uid", "write it in quotes"),
    ({"tenant_uid": "XYZ"}, "tenant_uid", "16 digits"),
    ({"tenant_uid": "0123456789ABCDEF"}, "tenant_uid", "16 digits"),
    ({"tenant_node": None}, "tenant_node", "is missing"),
    ({"tenant_node": "node3"}, "tenant_node", "did you mean node"),
    ({"tenant_node": ["node1"]}, "tenant_node", "must be text, not a list"),
    ({"tenant_tier": "fre"}, "tenant_tier", "did you mean free?"),
    ({"tenant_tier": "gold"}, "tenant_tier", "free, pro, enterprise"),
    ({"tenant_tier": ["free"]}, "tenant_tier", "must be text, not a list"),
    ({"tenant_tier": {"free": 1}}, "tenant_tier", "must be text, not a mapping"),
    ({"tenant_version": 0.4}, "tenant_version", "YAML reads as a number; write it in quotes"),
    ({"tenant_version": "0.4"}, "tenant_version", "not supported"),
    ({"tenant_version": "9.9.9"}, "tenant_version", "0.2.0"),
    ({"tenant_version": "latest"}, "tenant_version", "not supported"),
    ({"tenant_version": datetime.date(2026, 1, 1)}, "tenant_version", "YAML reads as a date"),
    ({"tenant_state": "stopped"}, "tenant_state", "running, paused, suspended, deleted"),
    ({"tenant_state": "pausd"}, "tenant_state", "did you mean paused?"),
    ({"tenant_state": True}, "tenant_state", "YAML reads as true or false"),
    ({"tenant_hostname": "under_score.example.com"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": "10.0.0.1"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": "a" * 64 + ".example.com"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": ".".join(["a" * 60] * 5)}, "tenant_hostname", "253"),
    ({"tenant_hostname": "*.example.com"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": "{{ x }}"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": "a`) || PathPrefix(`/"}, "tenant_hostname", "no hostname"),
    ({"tenant_hostname": "acme.example.com."}, "tenant_hostname", "no hostname"),
    ({"tenant_secret_epoch": 0}, "tenant_secret_epoch", "at least 1"),
    ({"tenant_secret_epoch": "many"}, "tenant_secret_epoch", "whole number"),
    ({"tenant_secret_epoch": None}, "tenant_secret_epoch", "is missing"),
    ({"tenant_secret_epoch": True}, "tenant_secret_epoch", "whole number"),
    ({"tenant_root_key_version": 2}, "tenant_root_key_version", "has only version 1"),
    ({"tenant_owner": 17}, "tenant_owner", "write it in quotes"),
    ({"tenant_pinned": "perhaps"}, "tenant_pinned", "true or false"),
    ({"tenant_backend": "gcp"}, "tenant_backend", "docker"),
    ({"tenant_limits": ["burst"]}, "tenant_limits", "must be a mapping"),
    ({"tenant_limits": {"brst": 5}}, "tenant_limits", "did you mean burst?"),
    ({"tenant_limits": {"burst": 0}}, "tenant_limits", "at least 1"),
    ({"tenant_limits": {"burst": True}}, "tenant_limits", "at least 1"),
    ({"tenant_limits": {"body_bytes": "huge"}}, "tenant_limits", "at least 1"),
    ({"tenant_api_keys": "mb_secret"}, "tenant_api_keys", "must be a list"),
    ({"tenant_api_keys": ["mb_secret"]}, "tenant_api_keys", "{name: …, sha256: …}"),
    ({"tenant_api_keys": [{"sha256": SHA256}]}, "tenant_api_keys", "without a name"),
    ({"tenant_api_keys": [{"name": "a b", "sha256": SHA256}]}, "tenant_api_keys", "name"),
    ({"tenant_api_keys": [{"name": "a"}]}, "tenant_api_keys", "64 lower-case hex digits"),
    ({"tenant_api_keys": [{"name": "a", "sha256": "mb_x"}]}, "tenant_api_keys", "key itself"),
    (
        {"tenant_api_keys": [{"name": "a", "sha256": SHA256, "expire": "x"}]},
        "tenant_api_keys",
        "did you mean expires?",
    ),
    (
        {"tenant_api_keys": [{"name": "a", "sha256": SHA256, "expires": "soon"}]},
        "tenant_api_keys",
        "no moment",
    ),
    (
        {"tenant_api_keys": [{"name": "a", "sha256": SHA256}] * 2},
        "tenant_api_keys",
        "two keys of the same name",
    ),
    ({"tenant_teir": "free"}, "tenant_teir", "did you mean tenant_tier?"),
    ({"tenant_api_key": "x"}, "tenant_api_key", "did you mean tenant_api_keys?"),
    ({"platform_domian": "x"}, "platform_domian", "did you mean platform_domain?"),
    ({"tenant_colour": "blue"}, "tenant_colour", "another prefix"),
    ({"tenant_model_provider": "openai"}, "tenant_model_api_key", "asks for a key"),
    ({"tenant_model_provider": "opnai"}, "tenant_model_provider", "did you mean openai?"),
    ({"tenant_model_base_url": "ftp://x/v1"}, "tenant_model_base_url", "http://"),
    ({"tenant_model_base_url": "http://u:p@x/v1"}, "tenant_model_base_url", "password"),
    ({"tenant_model_base_url": "http://x:port/v1"}, "tenant_model_base_url", "http://"),
    ({"tenant_model_base_url": "http://x/v1"}, "tenant_embedder_model", "is missing"),
    (
        {"tenant_model_base_url": "http://x/v1", "tenant_embedder_model": "nomic"},
        "tenant_embedder_dimensions",
        "is missing",
    ),
    (
        {
            "tenant_model_base_url": "http://x/v1",
            "tenant_embedder_model": "nomic",
            "tenant_embedder_dimensions": 768,
        },
        "tenant_language_model",
        "is missing",
    ),
    ({"tenant_embedder_dimensions": 0}, "tenant_embedder_dimensions", "1 to 65536"),
    ({"tenant_embedder_dimensions": -5}, "tenant_embedder_dimensions", "1 to 65536"),
    ({"tenant_embedder_dimensions": "big"}, "tenant_embedder_dimensions", "whole number"),
    ({"tenant_embedder_dimensions": 4097}, "tenant_embedder_dimensions", "gives 4096"),
    (
        {"tenant_model_api_key": "k", "tenant_embedder_dimensions": 3072},
        "tenant_embedder_dimensions",
        "gives 1536",
    ),
    ({"tenant_model_api_key": "two words"}, "tenant_model_api_key", "white space"),
    ({"tenant_model_provider": "bedrock"}, "tenant_model_region", "eu-central-1"),
    (
        {"tenant_model_provider": "bedrock", "tenant_model_region": "eu-central-1"},
        "tenant_model_access_key_id",
        "is missing",
    ),
    (
        {"tenant_model_provider": "demo", "tenant_model_base_url": "http://x/v1"},
        "tenant_model_base_url",
        "address of its own",
    ),
    ({"tenant_model_provider": "openai_compatible"}, "tenant_model_base_url", "is missing"),
]


@pytest.mark.parametrize(("changes", "variable", "words"), BAD_TENANTS)
def test_a_tenant_that_cannot_be_used_is_named_with_its_variable(
    changes: dict[str, Any], variable: str, words: str
) -> None:
    with pytest.raises(VariableError) as error:
        tenant(**changes)
    assert error.value.tenant == "acme"
    assert error.value.variable == variable
    assert words in error.value.message
    assert str(error.value).startswith(f"acme: {variable}")
    assert "mb_secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Acme", "no DNS label"),
        ("ac_me", "no DNS label"),
        ("-acme", "no DNS label"),
        ("acme-", "no DNS label"),
        ("acme.corp", "no DNS label"),
        ("", "no DNS label"),
        ("acme\n", "no DNS label"),
        ("a" * 64, "it has 64"),
        ("all", "group of hosts"),
        ("localhost", "group of hosts"),
        ("tenants", "group of hosts"),
        ("blue", "group of hosts"),
        ("node1", "name of a node"),
    ],
)
def test_names_that_a_tenant_cannot_have(name: str, words: str) -> None:
    with pytest.raises(VariableError) as error:
        parse_tenant(name, tenant_variables(), platform(), nodes=NODES, reserved={"blue"})
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["a", "1", "a" * 63, "xn--bcher-kva", "a-b"])
def test_names_that_a_tenant_can_have(name: str) -> None:
    assert tenant(name).name == name


BAD_PLATFORMS: list[tuple[dict[str, Any], str, str]] = [
    ({"platform_root_keys": None}, "platform_root_keys", "is missing"),
    ({"platform_name": ""}, "platform_name", "is missing"),
    ({"platform_name": "toolong"}, "platform_name", "1 to 4 characters"),
    ({"platform_name": "1a"}, "platform_name", "beginning with a letter"),
    ({"platform_domain": "no domain"}, "platform_domain", "no hostname"),
    ({"platform_domain": None}, "platform_domain", "is missing"),
    ({"platform_data_dir": "relative/path"}, "platform_data_dir", "absolute path"),
    ({"platform_data_dir": "/var/../etc"}, "platform_data_dir", "absolute path"),
    ({"platform_data_dir": "/"}, "platform_data_dir", "absolute path"),
    ({"platform_subnet_pool": "10.192.0.0/33"}, "platform_subnet_pool", "no IPv4 network"),
    ({"platform_subnet_pool": "10.192.1.0/14"}, "platform_subnet_pool", "no IPv4 network"),
    ({"platform_subnet_pool": "fd00::/64"}, "platform_subnet_pool", "no IPv4 network"),
    ({"platform_subnet_pool": "8.8.0.0/16"}, "platform_subnet_pool", "RFC 1918"),
    ({"platform_subnet_pool": "10.0.0.0/27"}, "platform_subnet_pool", "too small"),
    ({"platform_subnet_pool": None}, "platform_subnet_pool", "is missing"),
    ({"platform_http_port": 0}, "platform_http_port", "1 to 65535"),
    ({"platform_https_port": 70000}, "platform_https_port", "1 to 65535"),
    ({"platform_https_port": "https"}, "platform_https_port", "whole number"),
    ({"platform_https_port": 80}, "platform_https_port", "platform_http_port has already"),
    ({"platform_gate_port": 9083}, "platform_gate_port", "platform_demo_model_port"),
    ({"platform_metrics_address": "9082"}, "platform_metrics_address", "127.0.0.1:9082"),
    ({"platform_metrics_address": "host:9082"}, "platform_metrics_address", "an address"),
    ({"platform_metrics_address": "127.0.0.1:0"}, "platform_metrics_address", "an address"),
    ({"platform_tls_mode": "letsencrypt"}, "platform_tls_mode", "local_ca, files, acme, off"),
    ({"platform_tls_mode": "files"}, "platform_tls_certificates", "is empty"),
    (
        {"platform_tls_certificates": ["a.pem"]},
        "platform_tls_certificates",
        "{certificate: <path>, key: <path>}",
    ),
    ({"platform_acme_server": "acme"}, "platform_acme_server", "http://"),
    ({"platform_trusted_proxies": ["10.0.0.1/8"]}, "platform_trusted_proxies", "host bits"),
    ({"platform_trusted_proxies": "10.0.0.0/8"}, "platform_trusted_proxies", "must be a list"),
    ({"platform_model_endpoints": ["ollama:11434"]}, "platform_model_endpoints", "an address"),
    ({"platform_image_source": "docker"}, "platform_image_source", "auto, pull, packages"),
    ({"platform_images": {"postgers": "x"}}, "platform_images", "did you mean postgres?"),
    ({"platform_images": {"postgres": "a b"}}, "platform_images", "reference"),
    ({"platform_memmachine_version": 0.4}, "platform_memmachine_version", "in quotes"),
    (
        {"platform_memmachine_version": "0.1.10", "platform_image_source": "packages"},
        "platform_memmachine_version",
        "exists as an image only",
    ),
    ({"platform_parallelism": 0}, "platform_parallelism", "1 to 256"),
    ({"platform_inventory_writer": "svn"}, "platform_inventory_writer", "file, git, awx"),
    ({"platform_manage_hosts_file": None}, "platform_manage_hosts_file", "true or false"),
    ({"platform_dmain": "x"}, "platform_dmain", "did you mean platform_domain?"),
    ({"platform_embedder_dimensions": -1}, "platform_embedder_dimensions", "0 to 65536"),
    ({"platform_model_base_url": "x"}, "platform_model_base_url", "http://"),
]


@pytest.mark.parametrize(("changes", "variable", "words"), BAD_PLATFORMS)
def test_a_platform_that_cannot_be_used_is_told_by_its_variable(
    changes: dict[str, Any], variable: str, words: str
) -> None:
    with pytest.raises(VariableError) as error:
        platform(**changes)
    assert (error.value.tenant, error.value.variable) == ("platform", variable)
    assert words in error.value.message


BAD_TIERS: list[tuple[Any, str]] = [
    (["free"], "must be a mapping"),
    ({"free": "small"}, "free must be a mapping"),
    ({"free": {"memory": "1g"}}, "free.memory is no part of a tier"),
    ({"free": {"ap": {}}}, "did you mean app?"),
    ({"free": {"app": {"memroy": "1g"}}}, "did you mean memory?"),
    ({"free": {"app": "640m"}}, "free.app must be a mapping"),
    ({"free": {"app": {"memory": "640 potatoes"}}}, "write a size as 640m"),
    ({"free": {"app": {"memory": "1m"}}}, "too small"),
    ({"free": {"app": {"cpus": "two"}}}, "number of processors"),
    ({"free": {"app": {"cpus": 0}}}, "number of processors"),
    ({"free": {"app": {"cpu_shares": 1}}}, "at least 2"),
    ({"free": {"app": {"pids": 1.5}}}, "whole number"),
    ({"free": {"neo4j": {"compiler": "c3"}}}, "c1 or full"),
    ({"free": {"neo4j": {"heap": "1g"}}}, "more memory than it has"),
    ({"free": {"postgres": {"shared_buffers": "150MB"}}}, "more than half"),
    ({"free": {"postgres": {"max_connections": None}}}, "max_connections is missing"),
    ({"tiny": {"storage": "1g"}}, "every figure, or `from: pro`"),
    ({"tiny": {"from": "prox"}}, "did you mean pro?"),
    ({"Bad Name": {"from": "pro"}}, "has the name"),
    ({"free": None, "pro": None, "enterprise": None}, "leaves no tier"),
]


@pytest.mark.parametrize(("tiers", "words"), BAD_TIERS)
def test_tiers_that_cannot_be_used(tiers: Any, words: str) -> None:
    with pytest.raises(VariableError) as error:
        platform(platform_tiers=tiers)
    assert error.value.variable == "platform_tiers"
    assert words in error.value.message


def test_a_figure_of_a_shipped_tier_can_be_changed_alone() -> None:
    shipped = platform().tiers["free"]
    changed = platform(platform_tiers={"free": {"app": {"memory": "1g"}}}).tiers
    assert changed["free"].app.memory == 1024**3
    assert changed["free"].app.pids == shipped.app.pids
    assert changed["free"].neo4j == shipped.neo4j
    assert changed["pro"] == platform().tiers["pro"]


def test_a_tier_can_start_from_another_one_and_a_shipped_one_can_be_withdrawn() -> None:
    tiers = platform(
        platform_tiers={"startup": {"from": "pro", "storage": "20g"}, "enterprise": None}
    ).tiers
    assert set(tiers) == {"free", "pro", "startup"}
    assert tiers["startup"].storage == 20 * 1024**3
    assert tiers["startup"].postgres_sizes == tiers["pro"].postgres_sizes


def test_shipped_tiers_keep_the_promises_of_the_product() -> None:
    tiers = platform().tiers
    gib = 1024**3
    promised = {"free": (1, 512, 1), "pro": (4, 2048, 10), "enterprise": (16, 8192, 100)}
    for name, (memory, shares, storage) in promised.items():
        parts = (tiers[name].app, tiers[name].postgres, tiers[name].neo4j)
        assert sum(part.memory for part in parts) <= memory * gib
        assert sum(part.cpu_shares for part in parts) == shares
        assert tiers[name].storage == storage * gib


def test_every_figure_of_the_tier_file_is_known() -> None:
    for figures in load_defaults()["platform_tiers"].values():
        assert set(figures) == {*_tiers.TIER_KEYS, "storage", "wake", "idle_hours"}
        for part, kinds in _tiers.TIER_KEYS.items():
            assert set(figures[part]) == set(kinds)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1k", 1024), ("16MB", 16 * 1024**2), ("1.5g", 1536 * 1024**2), (7, 7), ("2GiB", 2 * 1024**3)],
)
def test_sizes(text: Any, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["", "m", "1 2", "-1m", None, True, 1.5, []])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize("version", [*SUPPORTED_VERSIONS, "0.1.10"])
def test_supported_versions(version: str) -> None:
    assert tenant(tenant_version=version).version == version


def test_an_old_version_needs_a_registry() -> None:
    with pytest.raises(VariableError, match="exists as an image only"):
        tenant(on=platform(platform_image_source="packages"), tenant_version="0.1.10")


@pytest.mark.parametrize(
    ("mode", "http", "https", "endpoint"),
    [
        ("local_ca", 80, 443, "https://acme.memcloud.localhost"),
        ("local_ca", 80, 18443, "https://acme.memcloud.localhost:18443"),
        ("off", 80, 443, "http://acme.memcloud.localhost"),
        (False, 8080, 443, "http://acme.memcloud.localhost:8080"),
    ],
)
def test_endpoint(mode: Any, http: int, https: int, endpoint: str) -> None:
    fleet = platform(platform_tls_mode=mode, platform_http_port=http, platform_https_port=https)
    assert tenant(on=fleet).endpoint == endpoint


def test_hostname_of_its_own_is_lower_cased() -> None:
    acme = tenant(tenant_hostname="Memory.Acme.Example")
    assert acme.hostname == "memory.acme.example"
    assert acme.endpoint == "https://memory.acme.example"


def test_values_given_on_the_command_line_are_text() -> None:
    fleet = platform(platform_https_port="8443", platform_manage_hosts_file="yes")
    assert fleet.https_port == 8443
    assert fleet.manage_hosts_file
    assert not tenant(tenant_pinned="no").pinned


def test_limits_of_a_tenant_are_laid_over_its_tier() -> None:
    acme = tenant(tenant_limits={"burst": 7, "body_bytes": "2m"})
    assert (acme.edge.burst, acme.edge.body_bytes) == (7, 2 * 1024**2)
    assert acme.edge.in_flight == acme.tier.edge.in_flight


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-01 02:00:00+02:00", "2026-12-01T00:00:00Z"),
        ("2026-12-01", "2026-12-01T00:00:00Z"),
        (datetime.date(2026, 12, 1), "2026-12-01T00:00:00Z"),
        (datetime.datetime(2026, 12, 1, 5), "2026-12-01T05:00:00Z"),
    ],
)
def test_moments_of_keys(given: Any, read: str) -> None:
    acme = tenant(tenant_api_keys=[{"name": "a", "sha256": SHA256, "expires": given}])
    assert acme.api_keys[0].expires == read


MODELS: list[tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = [
    ({}, {}, ("demo", "http://10.192.0.1:9083/v1", "demo", "demo-embedding", 384, "demo-chat")),
    (
        {"platform_model_api_key": "k"},
        {},
        (
            "openai",
            "https://api.openai.com/v1",
            "k",
            "text-embedding-3-small",
            1536,
            "gpt-4o-mini",
        ),
    ),
    (
        {
            "platform_model_base_url": "http://ollama:11434/v1/",
            "platform_embedder_model": "nomic",
            "platform_embedder_dimensions": 768,
            "platform_language_model": "llama",
        },
        {},
        ("openai_compatible", "http://ollama:11434/v1", "", "nomic", 768, "llama"),
    ),
    # A key of its own, everything else as the fleet has it.
    (
        {"platform_model_api_key": "k", "platform_language_model": "gpt-5"},
        {"tenant_model_api_key": "own"},
        (
            "openai",
            "https://api.openai.com/v1",
            "own",
            "text-embedding-3-small",
            1536,
            "gpt-5",
        ),
    ),
    # The fleet demonstrates, one tenant pays for itself.
    (
        {"platform_model_provider": "demo"},
        {"tenant_model_api_key": "own"},
        (
            "openai",
            "https://api.openai.com/v1",
            "own",
            "text-embedding-3-small",
            1536,
            "gpt-4o-mini",
        ),
    ),
    # A provider of its own never gets the fleet's key.
    (
        {"platform_model_api_key": "k"},
        {
            "tenant_model_base_url": "http://own/v1",
            "tenant_embedder_model": "e",
            "tenant_embedder_dimensions": 5,
            "tenant_language_model": "l",
        },
        ("openai_compatible", "http://own/v1", "", "e", 5, "l"),
    ),
    ({"platform_model_api_key": "k"}, {"tenant_model_provider": "demo"}, (
        "demo", "http://10.192.0.1:9083/v1", "demo", "demo-embedding", 384, "demo-chat",
    )),
    (
        {
            "platform_model_provider": "bedrock",
            "platform_model_region": "eu-central-1",
            "platform_model_access_key_id": "id",
            "platform_model_secret_access_key": "s",
            "platform_language_model": "nova",
        },
        {},
        ("bedrock", "", "", "amazon.titan-embed-text-v2:0", 1024, "nova"),
    ),
    # Another embedder than the usual one has dimensions of its own.
    (
        {"platform_model_api_key": "k"},
        {"tenant_embedder_model": "text-embedding-3-large", "tenant_embedder_dimensions": 3072},
        (
            "openai",
            "https://api.openai.com/v1",
            "k",
            "text-embedding-3-large",
            3072,
            "gpt-4o-mini",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fleet", "own", "expected"), MODELS)
def test_model(fleet: dict[str, Any], own: dict[str, Any], expected: tuple[Any, ...]) -> None:
    model = tenant(on=platform(**fleet), **own).model
    assert (
        model.provider,
        model.base_url,
        model.api_key,
        model.embedder_model,
        model.embedder_dimensions,
        model.language_model,
    ) == expected


def test_a_fleet_without_a_key_serves_tenants_that_bring_theirs() -> None:
    fleet = platform(platform_model_provider="openai")
    assert tenant(on=fleet, tenant_model_api_key="own").model.api_key == "own"
    with pytest.raises(VariableError) as error:
        tenant(on=fleet)
    assert error.value.variable == "tenant_model_api_key"
    assert "platform_model_api_key" in error.value.message


def test_no_secret_is_in_what_is_printed() -> None:
    fleet = platform(platform_model_api_key="sk-very-secret")
    text = repr(fleet) + repr(tenant(on=fleet))
    assert "sk-very-secret" not in text
    assert ROOT_KEY not in text
    assert repr(bytes(range(32))) not in text


def test_all_errors_of_a_fleet_are_collected_and_the_others_are_there() -> None:
    fleet = {
        "good": tenant_variables(tenant_uid="1" * 16),
        "bad": tenant_variables(tenant_tier="gold"),
        "worse": tenant_variables(tenant_state=1),
    }
    tenants, errors = parse_all(fleet, platform(), nodes=NODES)
    assert [parsed.name for parsed in tenants] == ["good"]
    assert [error.tenant for error in errors] == ["bad", "worse"]


def test_shared_hostnames_and_uids_are_told_for_each_tenant() -> None:
    fleet = [
        tenant("a", tenant_uid="1" * 16, tenant_hostname="x.example.com"),
        tenant("b", tenant_uid="2" * 16, tenant_hostname="X.example.com"),
        tenant("c", tenant_uid="3" * 16),
        tenant("d", tenant_uid="3" * 16),
    ]
    errors = [(error.tenant, error.variable) for error in check_fleet(fleet)]
    assert errors == [
        ("a", "tenant_hostname"),
        ("b", "tenant_hostname"),
        ("c", "tenant_uid"),
        ("d", "tenant_uid"),
    ]


def test_a_deleted_tenant_leaves_its_hostname_to_others() -> None:
    kept = tenant("a", tenant_hostname="x.example.com", tenant_state="deleted")
    new = tenant("b", tenant_hostname="x.example.com", tenant_uid="2" * 16)
    assert check_fleet([kept, new]) == []


def test_defaults_are_not_changed_by_parsing() -> None:
    before = copy.deepcopy(load_defaults())
    platform(platform_tiers={"free": {"app": {"memory": "1g"}}, "x": {"from": "pro"}})
    tenant(tenant_limits={"burst": 7})
    assert load_defaults() == before


def test_a_thousand_tenants_are_read_quickly() -> None:
    fleet = platform()
    entries = [tenant_variables(tenant_uid=f"{number:016x}") for number in range(1000)]
    started = time.process_time()
    for number, entry in enumerate(entries):
        parse_tenant(f"t{number}", entry, fleet, nodes=NODES)
    # 0.05 s measured; the bound leaves room for a busy machine.
    assert time.process_time() - started < 0.3
