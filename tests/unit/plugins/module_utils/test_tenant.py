# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables in, tenants or errors out. Every error names its owner and its variable."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils import _tiers
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import (
    LABEL,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._neo4j import jvm_args, neo4j_conf
from ansible_collections.memcloud.memmachine.plugins.module_utils._platform import (
    Platform,
    parse_platform,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import server_arguments
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant import (
    Tenant,
    parse_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import KNOWN_VARIABLES

ROOT_KEY = base64.b64encode(bytes(range(32))).decode()
SHA256 = "ab" * 32
NODES = ("node1", "node2")
ROLES = Path(__file__).parents[4] / "roles"
SPECS = ROLES / "tenant" / "meta" / "argument_specs.yml"


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


def test_model_endpoints_are_addresses_and_networks() -> None:
    given = ("192.168.1.20:11434", "192.168.1.0/24:11434", "192.168.1.7/24:80", "[fd00::/8]:443")
    assert platform(platform_model_endpoints=list(given)).model_endpoints == given


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
    (
        {"tenant_version": "0.1.5"},
        "tenant_version",
        "is 0.1.5, but servers before 0.2 have no /api/v2",
    ),
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
    (
        {"tenant_hostname": "Memcloud.localhost"},
        "tenant_hostname",
        "is memcloud.localhost, which is platform_domain: its certificate is the edge's own for "
        "hostnames that no tenant has. Give the tenant another hostname",
    ),
    (
        {"tenant_hostname": "platform-0"},
        "tenant_hostname",
        "is platform-0, which is the name of a certificate file of the edge itself. Give the "
        "tenant another hostname",
    ),
    ({"tenant_hostname": "acme-server-ca"}, "tenant_hostname", "certificate file of the edge"),
    ({"tenant_secret_epoch": 0}, "tenant_secret_epoch", "at least 1"),
    ({"tenant_secret_epoch": "²"}, "tenant_secret_epoch", "must be a whole number, not text"),
    ({"tenant_secret_epoch": "٣"}, "tenant_secret_epoch", "must be a whole number, not text"),
    ({"tenant_secret_epoch": "9" * 5000}, "tenant_secret_epoch", "whole number, not text"),
    (
        {"tenant_owner": "a\nb"},
        "tenant_owner",
        "has a line break or another control character in it",
    ),
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
    (
        {"tenant_limits": {"burst": 99999999999999999999}},
        "tenant_limits",
        "burst is 99999999999999999999; it must be at least 1 and at most 1000000",
    ),
    (
        {"tenant_limits": {"body_bytes": "2g"}},
        "tenant_limits",
        "body_bytes is '2g'; it must be at least 1 and at most 1g",
    ),
    ({"tenant_limits": {"burst": "²"}}, "tenant_limits", "burst is '²'; it must be"),
    ({"tenant_limits": ""}, "tenant_limits", "must be a mapping, not text"),
    ({"tenant_limits": []}, "tenant_limits", "must be a mapping, not a list"),
    ({"tenant_limits": 0}, "tenant_limits", "must be a mapping, not a number"),
    ({"tenant_limits": False}, "tenant_limits", "must be a mapping, not true or false"),
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
    (
        {"tenant_api_keys": [{"name": "a", "sha256": SHA256}, {"name": "b", "sha256": SHA256}]},
        "tenant_api_keys",
        "has one sha256 under two names, a and b: whoever revokes one leaves the other. Give each "
        "its own key",
    ),
    (
        {
            "tenant_api_keys": [
                {"name": "a", "sha256": SHA256, "expires": "0001-01-01T00:00:00+02:00"}
            ]
        },
        "tenant_api_keys",
        "a: expires is no moment; write 2026-12-01T00:00:00Z",
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


@pytest.mark.parametrize(
    ("shared", "own"),
    [
        ({"platform_model_api_key": ""}, {}),
        ({"platform_model_api_key": " \n"}, {"tenant_language_model": "other"}),
        ({}, {"tenant_model_api_key": ""}),
        ({"platform_model_api_key": "k"}, {"tenant_model_api_key": ""}),
        ({"platform_model_provider": "demo"}, {"tenant_model_api_key": ""}),
    ],
)
def test_a_key_that_is_set_and_empty_is_not_the_demo_provider(
    shared: dict[str, Any], own: dict[str, Any]
) -> None:
    with pytest.raises(VariableError, match=r"set and empty: .* environment .*platform_model_api"):
        tenant(on=platform(**shared), **own)


@pytest.mark.parametrize(
    ("shared", "own", "provider"),
    [
        ({"platform_model_api_key": None}, {"tenant_model_api_key": None}, "demo"),
        ({"platform_model_provider": "demo", "platform_model_api_key": ""}, {}, "demo"),
        ({"platform_model_api_key": ""}, {"tenant_model_api_key": "k"}, "openai"),
        ({"platform_model_api_key": ""}, {"tenant_model_provider": "demo"}, "demo"),
        (
            {
                "platform_model_base_url": "http://x/v1",
                "platform_model_api_key": "",
                "platform_embedder_model": "nomic",
                "platform_embedder_dimensions": 768,
                "platform_language_model": "llama",
            },
            {},
            "openai_compatible",
        ),
    ],
)
def test_an_empty_key_is_no_hindrance_where_another_provider_is_meant(
    shared: dict[str, Any], own: dict[str, Any], provider: str
) -> None:
    assert tenant(on=platform(**shared), **own).model.provider == provider


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
        ("localhost", "name of the controller"),
        ("tenants", "group of hosts"),
        ("blue", "group of hosts"),
        ("node1", "name of a node"),
        (
            "node",
            "node: name: is the name of the edge's own file (node.yml), which the tenant's route "
            "would replace; choose another one",
        ),
    ],
)
def test_names_that_a_tenant_cannot_have(name: str, words: str) -> None:
    with pytest.raises(VariableError) as error:
        parse_tenant(name, tenant_variables(), platform(), nodes=NODES, reserved={"blue"})
    assert words in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["a", "1", "3com", "1e5", "a" * 63, "xn--bcher-kva", "a-b", "node-1", "gate", "acme-verify"],
)
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
    ({"platform_data_dir": "/srv/my data"}, "platform_data_dir", "letters, digits and '._@+-'"),
    ({"platform_docker_host": "tcp://10.0.0.1:2375"}, "platform_docker_host", "a socket of its"),
    ({"platform_subnet_pool": "8.8.0.0/16"}, "platform_subnet_pool", "RFC 1918"),
    ({"platform_subnet_pool": "127.0.0.0/16"}, "platform_subnet_pool", "RFC 1918"),
    ({"platform_subnet_pool": "240.0.0.0/16"}, "platform_subnet_pool", "RFC 1918"),
    ({"platform_subnet_pool": "8.0.0.0/5"}, "platform_subnet_pool", "RFC 1918"),
    (
        {"platform_subnet_pool": "169.254.0.0/16"},
        "platform_subnet_pool",
        "is 169.254.0.0/16, which is no private network (RFC 1918): take one in 10.0.0.0/8, "
        "172.16.0.0/12, 192.168.0.0/16",
    ),
    ({"platform_subnet_pool": "10.0.0.0/27"}, "platform_subnet_pool", "too small"),
    ({"platform_subnet_pool": None}, "platform_subnet_pool", "is missing"),
    ({"platform_http_port": 0}, "platform_http_port", "1 to 65535"),
    ({"platform_https_port": 70000}, "platform_https_port", "1 to 65535"),
    ({"platform_https_port": "https"}, "platform_https_port", "whole number"),
    ({"platform_https_port": 80}, "platform_https_port", "platform_http_port has already"),
    ({"platform_gate_port": 9083}, "platform_gate_port", "platform_demo_model_port"),
    ({"platform_http_port": "²"}, "platform_http_port", "must be a whole number, not text"),
    (
        {"platform_metrics_address": "127.0.0.1:9081"},
        "platform_metrics_address",
        "is 127.0.0.1:9081, which platform_gate_port has already: give each a port of its own",
    ),
    ({"platform_metrics_address": "127.0.0.1:²"}, "platform_metrics_address", "an address"),
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
    (
        {"platform_tls_certificates": [{"certificate": "a.pem", "key": None}]},
        "platform_tls_certificates",
        "needs entries of the form {certificate: <path>, key: <path>}",
    ),
    ({"platform_dns_hook": ["hook", "a\0b"]}, "platform_dns_hook", "must be a list of words"),
    (
        {"platform_backup_environment": {"AWS_ACCESS_KEY_ID": 5}},
        "platform_backup_environment",
        "AWS_ACCESS_KEY_ID must be text",
    ),
    ({"platform_acme_server": "acme"}, "platform_acme_server", "http://"),
    ({"platform_trusted_proxies": ["10.0.0.1/8"]}, "platform_trusted_proxies", "host bits"),
    (
        {"platform_trusted_proxies": [10]},
        "platform_trusted_proxies",
        "has 10; write a network as text, such as 10.0.0.0/8",
    ),
    ({"platform_trusted_proxies": "10.0.0.0/8"}, "platform_trusted_proxies", "must be a list"),
    ({"platform_model_endpoints": ["ollama:11434"]}, "platform_model_endpoints", "an address"),
    ({"platform_model_endpoints": ["10.0.0.0/24"]}, "platform_model_endpoints", "a network, and a"),
    ({"platform_model_endpoints": ["10.0.0.0/33:80"]}, "platform_model_endpoints", "10.0.0.0/33"),
    ({"platform_image_source": "docker"}, "platform_image_source", "auto, pull, packages"),
    ({"platform_images": {"postgers": "x"}}, "platform_images", "did you mean postgres?"),
    ({"platform_images": {"postgres": "a b"}}, "platform_images", "reference"),
    (
        {"platform_images": {"traefik": "traefik:3"}},
        "platform_images",
        "has traefik, whose image is built from packages on every node",
    ),
    ({"platform_memmachine_version": 0.4}, "platform_memmachine_version", "in quotes"),
    ({"platform_memmachine_version": "0.1.5"}, "platform_memmachine_version", "before 0.2"),
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
    (
        {"free": {"app": {"memory": "1m"}}},
        "free.app.memory is '1m', too small: it must be at least 16m",
    ),
    (
        {"free": {"app": {"memory": "9t"}}},
        "free.app.memory is '9t', too large: it must be at most 8t",
    ),
    ({"free": {"app": {"memory": "9" * 400}}}, "write a size as 640m or 1g"),
    (
        {"free": {"app": {"cpus": float("nan")}}},
        "free.app.cpus is nan; it must be a number of processors, 0.01 to 1024",
    ),
    ({"free": {"app": {"cpus": float("inf")}}}, "free.app.cpus is inf; it must be a number"),
    (
        {"free": {"app": {"cpu_shares": 262145}}},
        "free.app.cpu_shares is 262145; it must be at most 262144",
    ),
    ({"free": {"app": {"pids": 4194305}}}, "free.app.pids is 4194305; it must be at most 4194304"),
    ({"free": {"edge": {"burst": 2**63}}}, "free.edge.burst is 9223372036854775808; it must be at"),
    ({"free": {"postgres": {"work_mem": 2}}}, "work_mem is 2, too small: it must be at least 64k"),
    (
        {"free": {"postgres": {"work_mem": "1g"}}},
        "free.postgres.work_mem is more than its memory",
    ),
    (
        {"free": {"postgres": {"maintenance_work_mem": "193MB"}}},
        "free.postgres.maintenance_work_mem is more than its memory",
    ),
    (
        {"free": {"postgres": {"min_wal_size": "65MB"}}},
        "free.postgres.max_wal_size is less than min_wal_size",
    ),
    ({"free": {"postgres": {"min_wal_size": "7MB"}}}, "it must be at least 8m"),
    ({"free": {"postgres": {"shared_buffers": "16kB"}}}, "it must be at least 128k"),
    ({"free": {"neo4j": {"tx_log_size": "64k"}}}, "it must be at least 128k"),
    ({"free": {"neo4j": {"code_cache": "3g"}}}, "it must be at most 2g"),
    ({"tiny": {"from": []}}, "tiny.from is []; it can be free, pro, enterprise"),
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


def test_sizes_of_shipped_tiers_reach_the_servers_as_they_are_written() -> None:
    # Another spelling would make the containers of every tenant anew.
    for name, figures in load_defaults()["platform_tiers"].items():
        tier = platform(platform_tiers={name: {"storage": "2g"}}).tiers[name]
        for part, sizes in (("postgres", tier.postgres_sizes), ("neo4j", tier.neo4j_sizes)):
            assert list(sizes.items()) == list(figures[part].items())
        assert server_arguments(tier.postgres_sizes) == server_arguments(figures["postgres"])
        assert neo4j_conf(tier.neo4j_sizes) == neo4j_conf(figures["neo4j"])
        assert jvm_args(tier.neo4j_sizes) == jvm_args(figures["neo4j"])


@pytest.mark.parametrize(
    ("written", "for_postgres", "for_neo4j"),
    [
        (32 * 1024**2, "32MB", "32m"),
        ("32m", "32MB", "32m"),
        ("32 MiB", "32MB", "32m"),
        ("32.5m", "33280kB", "33280k"),
        ("33554433", "32MB", "32m"),
        ("0.0625g", "64MB", "64m"),
        ("65536k", "64MB", "64m"),
    ],
)
def test_a_size_means_the_same_to_every_server(
    written: Any, for_postgres: str, for_neo4j: str
) -> None:
    tier = platform(
        platform_tiers={
            "free": {"postgres": {"work_mem": written}, "neo4j": {"tx_log_size": written}}
        }
    ).tiers["free"]
    assert f"work_mem={for_postgres}" in server_arguments(tier.postgres_sizes)
    assert f"db.tx_log.rotation.size={for_neo4j}\n" in neo4j_conf(tier.neo4j_sizes)


def test_the_smallest_log_of_a_tier_is_two_segments_of_the_cluster() -> None:
    prepare = ROLES / "postgres_pgvector" / "files" / "image" / "prepare-cluster"
    assert "--wal-segsize=4 " in prepare.read_text()
    assert _tiers.TIER_KEYS["postgres"]["min_wal_size"].least == 2 * 4 * 1024**2


@pytest.mark.parametrize("service", ["memcloud_gate/record.py", "memcloud_keeper/node.py"])
def test_the_services_of_the_edge_know_the_same_names(service: str) -> None:
    text = (ROLES / "edge" / "files" / "gate" / service).read_text()
    pattern = LABEL.pattern.replace("(", "(?:").replace(r"\Z", "")
    assert f'TENANT_NAME = re.compile(r"{pattern}")' in text
