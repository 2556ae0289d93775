# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading typed values from the variables of the inventory, and saying what is wrong with them."""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._names import is_hostname

PLATFORM = "platform"
# Suffixes shared by platform_* and tenant_*, in the order of the fields of Model.
MODEL_SUFFIXES = (
    "model_provider",
    "model_base_url",
    "model_api_key",
    "model_region",
    "model_access_key_id",
    "model_secret_access_key",
    "model_session_token",
    "embedder_model",
    "embedder_dimensions",
    "language_model",
)
TENANT_VARIABLES = frozenset(
    {
        "tenant_uid",
        "tenant_node",
        "tenant_tier",
        "tenant_hostname",
        "tenant_version",
        "tenant_state",
        "tenant_wake",
        "tenant_api_keys",
        "tenant_secret_epoch",
        "tenant_root_key_version",
        "tenant_owner",
        "tenant_limits",
        "tenant_node_group",
        "tenant_pinned",
        "tenant_canary",
        "tenant_backend",
    }
) | {"tenant_" + suffix for suffix in MODEL_SUFFIXES}
PLATFORM_VARIABLES = frozenset(
    {
        "platform_name",
        "platform_domain",
        "platform_data_dir",
        "platform_node_venv",
        "platform_docker_host",
        "platform_subnet_pool",
        "platform_root_keys",
        "platform_tiers",
        "platform_memmachine_version",
        "platform_image_source",
        "platform_images",
        "platform_parallelism",
        "platform_update_keep",
        "platform_update_waves",
        "platform_http_port",
        "platform_https_port",
        "platform_edge_api_port",
        "platform_gate_port",
        "platform_metrics_address",
        "platform_demo_model_port",
        "platform_tls_mode",
        "platform_tls_certificates",
        "platform_acme_email",
        "platform_acme_server",
        "platform_acme_ca_file",
        "platform_trusted_proxies",
        "platform_model_endpoints",
        "platform_manage_hosts_file",
        "platform_keep_deleted_days",
        "platform_dns_hook",
        "platform_dns_ttl",
        "platform_public_address",
        "platform_backup_repository",
        "platform_backup_environment",
        "platform_backup_prune_environment",
        "platform_inventory_writer",
        "platform_keys_dir",
        "platform_git_remote",
        "platform_git_branch",
        "platform_git_author",
        "platform_git_inventory",
        "platform_awx_url",
        "platform_awx_token",
        "platform_awx_inventory",
        "platform_awx_ca_file",
    }
) | {"platform_" + suffix for suffix in MODEL_SUFFIXES}
KNOWN_VARIABLES = TENANT_VARIABLES | PLATFORM_VARIABLES
# What a backend reports as facts of the host; tenant_state and tenant_node are variables too.
OUTPUT_VARIABLES = frozenset({"tenant_endpoint", "tenant_health", "tenant_ca_file"})
_SIZE_TEXT = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([kmgt]?)(?:i?b)?\Z", re.IGNORECASE | re.ASCII
)
_LONGEST_NUMBER = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TEMPLATE = re.compile(r"\{[{%#]")
# What needs no quotes in a unit of systemd, a mount or a shell.
_PATH = re.compile(r"/[\w.@+/-]+\Z")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def reject_unknown(owner: str, variables: Iterable[str]) -> None:
    """Raise for a tenant_* or platform_* variable that does not exist: it would do nothing."""
    for name in variables:
        if (
            name.startswith(("tenant_", "platform_"))
            and name not in KNOWN_VARIABLES
            and name not in OUTPUT_VARIABLES
        ):
            raise VariableError(
                owner,
                name,
                "is no variable of this collection%s. Names of your own need another prefix than "
                "tenant_ and platform_" % suggestion(name, KNOWN_VARIABLES),
            )


def reject_bare(owner: str, variables: Iterable[str]) -> None:
    """Raise for what is to go into an entry under the name that it has in playbooks' heads."""
    for name in variables:
        if "tenant_" + name in TENANT_VARIABLES:
            raise VariableError(
                owner,
                name,
                "would stand in the entry and do nothing (did you mean tenant_%s?). Nothing was "
                "touched" % name,
            )


def reject_templates(owner: str, variables: Mapping[str, Any]) -> None:
    """Raise for what Ansible would evaluate once it stands in an entry.

    What a survey asked for reaches a run as plain text, and is often a customer's.
    """
    for name, value in variables.items():
        if _has_template(value):
            raise VariableError(
                owner,
                name,
                "has {{, {% or {# in it, and in the entry every later run would evaluate it, as "
                "a template. Nothing was touched: give it without them",
            )


def _has_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_template, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_template, value))
    return isinstance(value, str) and _TEMPLATE.search(value) is not None


def split_names(text: str) -> list[str]:
    """The names in a text with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_size(value: Any) -> int:
    """Bytes of a size like 640m, 1g, 16MB or 1048576; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE_TEXT.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(value)
    return int(float(match.group(1)) * _UNITS[match.group(2).lower()])


def whole_number(value: Any) -> int | None:
    """A whole number or its digits, which a command line gives as text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    digits = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if digits else None


class Reader:
    """Reads typed variables of one owner and says what is wrong with those that are not."""

    def __init__(self, owner: str, variables: Mapping[str, Any]) -> None:
        self._owner = owner
        self._variables = variables

    def get(self, variable: str) -> Any:
        return self._variables.get(variable)

    def bad(self, variable: str, message: str) -> VariableError:
        return VariableError(self._owner, variable, message)

    def text(self, variable: str, required: str = "") -> str:
        value = self._variables.get(variable)
        if isinstance(value, str) and value.strip():
            if _CONTROL.search(value.strip()):
                raise self.bad(variable, "has a line break or another control character in it")
            return value.strip()
        if value is None or (isinstance(value, str) and not value.strip()):
            if required:
                raise self.bad(variable, "is missing: " + required)
            return ""
        if isinstance(value, (int, float, datetime.date)):
            raise self.bad(
                variable, "is %s, which YAML reads as %s; write it in quotes"
                % (value, kind_of(value))
            )  # fmt: skip
        raise self.bad(variable, "must be text, not %s" % kind_of(value))

    def choice(self, variable: str, choices: Sequence[str]) -> str:
        value = self._variables.get(variable)
        if isinstance(value, bool) and ("off" if value is False else "on") in choices:
            return "off" if value is False else "on"
        text = self.text(variable, required="one of " + ", ".join(choices))
        if text not in choices:
            raise self.bad(variable, "is %r%s" % (text, known_words(text, choices)))
        return text

    def integer(self, variable: str, least: int, most: int | None = None) -> int:
        value = self._variables.get(variable)
        number = whole_number(value)
        if number is None:
            raise self.bad(
                variable,
                "is missing"
                if value is None
                else "must be a whole number, not %s" % (kind_of(value),),
            )
        if number < least or (most is not None and number > most):
            raise self.bad(
                variable,
                "is %d; it must be %s"
                % (number, "at least %d" % least if most is None else "%d to %d" % (least, most)),
            )
        return number

    def port(self, variable: str) -> int:
        return self.integer(variable, 1, 65535)

    def boolean(self, variable: str) -> bool:
        value = self._variables.get(variable)
        if isinstance(value, bool):
            return bool(value)
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in _TRUE and word not in _FALSE:
            raise self.bad(variable, "must be true or false, not %s" % kind_of(value))
        return word in _TRUE

    def mapping(self, variable: str) -> Mapping[str, Any]:
        value = self._variables.get(variable)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.bad(variable, "must be a mapping, not %s" % kind_of(value))
        return value

    def sequence(self, variable: str) -> Sequence[Any]:
        value = self._variables.get(variable)
        if value is None:
            return ()
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise self.bad(variable, "must be a list, not %s" % kind_of(value))
        return value


def networks(reader: Reader, variable: str) -> tuple[str, ...]:
    networks = []
    for text in reader.sequence(variable):
        # A number would be an address, too: 10 is 0.0.0.10.
        if not isinstance(text, str):
            raise reader.bad(
                variable, "has %r; write a network as text, such as 10.0.0.0/8" % (text,)
            )
        try:
            networks.append(str(ipaddress.ip_network(text.strip())))
        except ValueError as error:
            raise reader.bad(variable, "has %r: %s" % (text, error)) from None
    return tuple(networks)


def socket_address(reader: Reader, variable: str, value: Any) -> str:
    if not _has_port(value, ipaddress.ip_address):
        raise reader.bad(
            variable, "has %r; write an address and a port as 127.0.0.1:9082" % (value,)
        )
    return str(value)


def endpoint(reader: Reader, variable: str, value: Any) -> str:
    """An address or a network, with a port."""
    if not _has_port(value, lambda host: ipaddress.ip_network(host, strict=False)):
        raise reader.bad(
            variable,
            "has %r; write an address, or a network, and a port as 192.168.1.20:11434 or "
            "192.168.1.0/24:11434" % (value,),
        )
    return str(value)


def _has_port(value: Any, parse: Callable[[str], Any]) -> bool:
    host, _colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    try:
        parse(host.strip("[]"))
    except ValueError:
        return False
    return port.isdigit() and 0 < (whole_number(port) or 0) < 65536


def absolute_path(reader: Reader, variable: str) -> str:
    path = reader.text(variable)
    if path and (not _PATH.match(path) or ".." in path.split("/") or path.count("/") < 2):
        raise reader.bad(
            variable,
            "is %r; it must be an absolute path of its own, of letters, digits and '._@+-'" % path,
        )
    return path.rstrip("/")


def url_of(reader: Reader, variable: str) -> str:
    text = reader.text(variable)
    if text:
        try:
            parts = urlsplit(text)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            valid = valid and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = False
        if not valid or any(map(str.isspace, text)):
            raise reader.bad(variable, "must be a URL that begins with http:// or https://")
        if parts.username or parts.password:
            raise reader.bad(variable, "must not contain a user or a password")
    return text.rstrip("/")


def hostname_of(reader: Reader, variable: str, text: str) -> str:
    hostname = text.lower()
    if not is_hostname(hostname):
        raise reader.bad(
            variable,
            "is %r, which is no hostname: labels of a-z, 0-9 and '-', 63 characters each, "
            "253 in all, separated by dots" % text,
        )
    return hostname


def known_words(value: Any, known: Iterable[Any]) -> str:
    """ "; did you mean …? It can be a, b, c" for a message about a word that is not among them."""
    words = [str(word) for word in known]
    listed = "it can be %s" % ", ".join(words) if words else "there is none yet"
    return "%s; %s" % (suggestion(str(value), words), listed)


def suggestion(value: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(known), n=1, cutoff=0.75)
    return " (did you mean %s?)" % close[0] if close else ""


def kind_of(value: Any) -> str:
    """A word for the type of a value, never the value: it might be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, datetime.date):
        return "a date"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    return type(value).__name__
