# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says about the fleet, checked and typed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._model import (
    Model,
    model_settings,
    resolve_model,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import TLS_MODES
from ansible_collections.memcloud.memmachine.plugins.module_utils._secrets import (
    parse_root_keys,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import (
    can_be_opened,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._tiers import (
    Tier,
    parse_tiers,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    PLATFORM,
    Reader,
    absolute_path,
    endpoint,
    hostname_of,
    known_words,
    networks,
    reject_unknown,
    socket_address,
    url_of,
)

IMAGE_SOURCES = ("auto", "pull", "packages")
IMAGE_KINDS = ("postgres", "neo4j", "memmachine")
_BUILT_KINDS = ("traefik", "gate", "demo_model")
WRITERS = ("file", "git", "awx")
SUPPORTED_VERSIONS = (
    "0.2.0", "0.2.1", "0.2.2", "0.2.3", "0.2.4", "0.2.5", "0.2.6",
    "0.3.0", "0.3.1", "0.3.2", "0.3.4", "0.3.5", "0.3.6", "0.3.7", "0.3.8", "0.3.9",
    "0.4.0",
)  # fmt: skip
_PLATFORM_NAME = re.compile(r"[a-z][a-z0-9]{0,3}\Z")
_REPOSITORY = re.compile(r"(/|(s3|sftp|gs|azure|b2|swift|rest|rclone):)[^\s]+\Z")
_ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_OWN_NAMES = frozenset(
    {"PATH", "HOME", "TZ", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "RESTIC_PASSWORD"}
    | {"RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY"}
)
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_LARGEST_PREFIX = 26  # a pool smaller than two slots carries no tenant: slot 0 is the node's


@dataclass(frozen=True)
class Platform:
    name: str
    domain: str
    data_dir: str
    node_venv: str
    docker_host: str
    subnet_pool: ipaddress.IPv4Network
    root_keys: Mapping[int, bytes] = field(repr=False)
    tiers: Mapping[str, Tier]
    memmachine_version: str
    parallelism: int
    update_keep: int
    http_port: int
    https_port: int
    edge_api_port: int
    gate_port: int
    metrics_address: str
    demo_model_port: int
    tls_mode: str
    tls_certificates: tuple[Mapping[str, str], ...]
    acme_email: str
    acme_server: str
    acme_ca_file: str
    trusted_proxies: tuple[str, ...]
    model_endpoints: tuple[str, ...]
    manage_hosts_file: bool
    keep_deleted_days: int
    dns_hook: tuple[str, ...]
    dns_ttl: int
    public_address: str
    backup_repository: str
    # What opens the place of the repositories: for nodes, and for pruning on the controller.
    backup_environment: Mapping[str, str] = field(repr=False)
    backup_prune_environment: Mapping[str, str] = field(repr=False)
    inventory_writer: str
    keys_dir: str
    # As given, "auto" and empty fields included: a tenant's own settings are laid over them.
    model_settings: Model = field(repr=False)
    model: Model = field(repr=False)
    # What is missing for tenants without settings of their own: (suffix, message).
    model_problem: tuple[str, str] | None

    @property
    def node_address(self) -> str:
        """Address of a node that its tenants can reach, the same on every node."""
        return str(self.subnet_pool[1])

    def endpoint(self, hostname: str) -> str:
        if self.tls_mode == "off":
            scheme, port, usual = "http", self.http_port, 80
        else:
            scheme, port, usual = "https", self.https_port, 443
        return "%s://%s%s" % (scheme, hostname, "" if port == usual else ":%d" % port)


def parse_platform(variables: Mapping[str, Any]) -> Platform:
    """The fleet's variables; raises VariableError for the first that cannot be used."""
    reject_unknown(PLATFORM, (name for name in variables if name.startswith("platform_")))
    reader = Reader(PLATFORM, variables)
    name = reader.text("platform_name", required="a prefix of 1 to 4 characters")
    if not _PLATFORM_NAME.match(name):
        raise reader.bad(
            "platform_name",
            "is %r; it must be 1 to 4 characters of a-z and 0-9, beginning with a letter" % name,
        )
    reader.choice("platform_image_source", IMAGE_SOURCES)
    _check_images(reader)
    pool = _subnet_pool(reader)
    settings = model_settings(reader, PLATFORM)
    demo_port = reader.port("platform_demo_model_port")
    metrics = socket_address(
        reader, "platform_metrics_address", reader.get("platform_metrics_address")
    )
    model, problem = resolve_model(settings, "http://%s:%d/v1" % (pool[1], demo_port))
    return Platform(
        name=name,
        domain=hostname_of(
            reader, "platform_domain", reader.text("platform_domain", "a domain of yours")
        ),
        data_dir=absolute_path(reader, "platform_data_dir") or "/var/lib/memcloud/" + name,
        node_venv=absolute_path(reader, "platform_node_venv") or "/opt/memcloud/venv",
        docker_host=_docker_host(reader),
        subnet_pool=pool,
        root_keys=parse_root_keys(reader.get("platform_root_keys")),
        tiers=parse_tiers(reader),
        memmachine_version=server_version(
            reader,
            "platform_memmachine_version",
            reader.text("platform_memmachine_version", 'a version as "0.4.0"'),
        ),
        parallelism=reader.integer("platform_parallelism", 1, 256),
        update_keep=reader.integer("platform_update_keep", 0, 87600),
        demo_model_port=demo_port,
        metrics_address=metrics,
        tls_mode=reader.choice("platform_tls_mode", TLS_MODES),
        tls_certificates=_certificates(reader),
        acme_email=reader.text("platform_acme_email"),
        acme_server=url_of(reader, "platform_acme_server"),
        acme_ca_file=reader.text("platform_acme_ca_file"),
        trusted_proxies=networks(reader, "platform_trusted_proxies"),
        model_endpoints=tuple(
            endpoint(reader, "platform_model_endpoints", value)
            for value in reader.sequence("platform_model_endpoints")
        ),
        manage_hosts_file=reader.boolean("platform_manage_hosts_file"),
        keep_deleted_days=reader.integer("platform_keep_deleted_days", 0, 36500),
        dns_hook=_dns_hook(reader),
        dns_ttl=reader.integer("platform_dns_ttl", 1, 86400),
        public_address=reader.text("platform_public_address"),
        backup_repository=_backup_repository(reader),
        backup_environment=_environment(reader, "platform_backup_environment"),
        backup_prune_environment=_environment(reader, "platform_backup_prune_environment"),
        inventory_writer=reader.choice("platform_inventory_writer", WRITERS),
        keys_dir=reader.text("platform_keys_dir"),
        model_settings=settings,
        model=model,
        model_problem=problem,
        **_ports(reader, demo_port, metrics),
    )


def _ports(reader: Reader, demo_port: int, metrics: str) -> dict[str, int]:
    ports = {
        name: reader.port("platform_" + name)
        for name in ("http_port", "https_port", "edge_api_port", "gate_port")
    }
    metrics_port = int(metrics.rpartition(":")[2])
    taken: dict[int, str] = {}
    for name, port in {
        "demo_model_port": demo_port,
        **ports,
        "metrics_address": metrics_port,
    }.items():
        variable = "platform_" + name
        if port in taken:
            raise reader.bad(
                variable,
                "is %s, which %s has already: give each a port of its own"
                % (metrics if name == "metrics_address" else port, taken[port]),
            )
        taken[port] = variable
    return ports


def _subnet_pool(reader: Reader) -> ipaddress.IPv4Network:
    variable = "platform_subnet_pool"
    text = reader.text(variable, required="a private network as 10.192.0.0/14")
    try:
        pool = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise reader.bad(variable, "is no IPv4 network (%s); write it as 10.192.0.0/14" % error)\
            from None  # fmt: skip
    if not any(map(pool.subnet_of, _PRIVATE)):
        raise reader.bad(
            variable,
            "is %s, which is no private network (RFC 1918): take one in %s"
            % (pool, ", ".join(map(str, _PRIVATE))),
        )
    if pool.prefixlen > _LARGEST_PREFIX:
        raise reader.bad(
            variable, "is %s, too small: a tenant takes a /27 and the node one too" % pool
        )
    return pool


def _docker_host(reader: Reader) -> str:
    variable = "platform_docker_host"
    address = reader.text(variable, required="give the address of the engine's socket")
    if not address.startswith("unix:///") or any(map(str.isspace, address)):
        raise reader.bad(
            variable,
            "is %r; the engine of a node is reached by a socket of its own, such as "
            "unix:///var/run/docker.sock" % address,
        )
    return address


def _dns_hook(reader: Reader) -> tuple[str, ...]:
    variable = "platform_dns_hook"
    words = tuple(reader.sequence(variable))
    if not all(isinstance(word, str) and word and "\0" not in word for word in words):
        raise reader.bad(variable, "must be a list of words: a command and its arguments")
    return tuple(str(word) for word in words)


def _check_images(reader: Reader) -> None:
    for kind, reference in reader.mapping("platform_images").items():
        if kind in _BUILT_KINDS:
            raise reader.bad(
                "platform_images",
                "has %s, whose image is built from packages on every node: leave it out" % kind,
            )
        if kind not in IMAGE_KINDS:
            raise reader.bad(
                "platform_images", "has %r%s" % (kind, known_words(str(kind), IMAGE_KINDS))
            )
        if not isinstance(reference, str) or not reference or any(map(str.isspace, reference)):
            raise reader.bad("platform_images", "%s must be an image's reference" % kind)


def _backup_repository(reader: Reader) -> str:
    variable = "platform_backup_repository"
    text = reader.text(variable).rstrip("/")
    if text and not _REPOSITORY.match(text):
        raise reader.bad(
            variable,
            "is %r; write an absolute path, or a place that restic knows, such as "
            "s3:https://s3.example.com/bucket, sftp:user@host:/path or gs:bucket:/path" % text,
        )
    if not can_be_opened(text):
        raise reader.bad(
            variable,
            "is %r; write sftp:user@host:/path, with a port sftp://user@host:2222//path" % text,
        )
    if re.search(r"//[^/]*:[^/]*@", text):
        raise reader.bad(variable, "has a password in it: put it into platform_backup_environment")
    return text


def _environment(reader: Reader, variable: str) -> dict[str, str]:
    environment = reader.mapping(variable)
    for name, value in environment.items():
        if not _ENVIRONMENT_NAME.match(str(name)) or str(name) in _OWN_NAMES:
            raise reader.bad(
                variable, "has the name %r, which is no credential of a storage place" % (name,)
            )
        if not isinstance(value, str) or "\0" in value:
            raise reader.bad(variable, "%s must be text" % name)
    return {str(name): str(value) for name, value in environment.items()}


def _certificates(reader: Reader) -> tuple[Mapping[str, str], ...]:
    variable = "platform_tls_certificates"
    certificates = tuple(reader.sequence(variable))
    for certificate in certificates:
        if (
            not isinstance(certificate, Mapping)
            or set(certificate) != {"certificate", "key"}
            or not all(isinstance(path, str) and path for path in certificate.values())
        ):
            raise reader.bad(
                variable, "needs entries of the form {certificate: <path>, key: <path>}"
            )
    if not certificates and reader.get("platform_tls_mode") == "files":
        raise reader.bad(
            variable,
            "is empty, but platform_tls_mode is files: name at least one "
            "{certificate: <path>, key: <path>}",
        )
    return certificates


def server_version(reader: Reader, variable: str, text: str) -> str:
    if text in SUPPORTED_VERSIONS:
        return text
    if text.startswith("0.1."):
        raise reader.bad(
            variable,
            "is %s, but servers before 0.2 have no /api/v2, at which tenants answer: take one of "
            "%s to %s" % (text, SUPPORTED_VERSIONS[0], SUPPORTED_VERSIONS[-1]),
        )
    raise reader.bad(
        variable, "is %r, which is not supported: %s" % (text, ", ".join(SUPPORTED_VERSIONS))
    )
