# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's configuration.yml, from one typed description, in the format of its version.

The server takes much without a word that then works otherwise than meant: keys of its own
environment, empty keys, unescaped passwords. What would be taken so is refused here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import scratch_directory
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import (
    CommandFailed,
    run_in_image,
)

HEADER = "# Configuration of MemMachine {version}, written by memcloud.memmachine.\n"
# The launcher of the image puts a link to /dev/null there: the server insists on a log file.
LOG_FILE = "/tmp/memmachine.log"
LOG_FORMAT = "%(asctime)s [%(levelname)s] %(name)s - %(message)s"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PROVIDERS = ("openai", "openai_compatible", "bedrock")
# The demo provider speaks OpenAI's protocol at an address of its own.
SYNONYMS = {"demo": "openai_compatible"}
RERANKERS = ("identity", "bm25", "rrf-hybrid", "embedder", "bedrock")
CATEGORIES = (
    "profile_prompt",
    "coding_prompt",
    "writing_assistant_prompt",
    "financial_analyst_prompt",
    "health_assistant_prompt",
    "crm_prompt",
)
CONFIG_FILE = "/run/memcloud/configuration.yml"
OWNER = 30012
MASK = "********"

_VERSION = re.compile(r"^0\.(\d+)\.(\d+)(?:(?:a|b|rc)\d+)?$")
_LAST_OF_FIRST_FORMAT = 6
_LAST_MINOR = 4
# The models of servers 0.1, and the dimensions that they are asked for.
_FIRST_EMBEDDERS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
# Servers before hand an empty key to OpenAI's library, which refuses to start without one.
_KEYLESS_SINCE = (3, 8)
# A project is a session to servers before, and they extract facts for sessions alone.
_PROJECTS_SINCE = (3, 0)
# The first server that knows an option; those before take another value without a word.
_SINCE = {
    "embedder.max_input_length": (2, 2),
    "embedder.batch_size": (3, 7),
    "memory.ingestion_trigger_messages": (2, 2),
    "memory.ingestion_trigger_seconds": (2, 2),
    "memory.max_features_per_update": (3, 3),
    "memory.instance_cache_size": (4, 0),
    "memory.organization_categories": _PROJECTS_SINCE,
    "memory.user_categories": _PROJECTS_SINCE,
}
_HOST = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$")
# The server builds the database's URL without escaping anything.
_IN_URL = re.compile(r"^[A-Za-z0-9._~-]+$")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")
_URL = re.compile(r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$")
_SECRET_KEY = re.compile(
    r"(?i)(?P<key>\b(?:password|api_key|cohere_key|aws_[a-z_]+|token)[\"']?\s*:[ \t]*)"
    r"(?P<value>[^\n]*)"
)
_SECRET_IN_URL = re.compile(r"(?P<before>://[^\s:/@]*:)[^\s@]+(?P<after>@)")


class ConfigError(MemcloudError):
    """A description that the server would not take, or would take for something else."""

    def __init__(self, option: str, reason: str) -> None:
        self.option = option
        self.reason = reason
        super().__init__(f"MemMachine configuration: {option} {reason}")


@dataclass(frozen=True)
class Postgres:
    """The tenant's PostgreSQL, and how the server keeps connections to it."""

    host: str
    password: str = field(repr=False)
    user: str = "memmachine"
    database: str = "memmachine"
    port: int = 5432
    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: int = 30
    pool_recycle: int = 1800
    pool_pre_ping: bool = True


@dataclass(frozen=True)
class Neo4j:
    """The tenant's Neo4j, and how the server keeps connections to it."""

    host: str
    password: str = field(repr=False)
    user: str = "neo4j"
    port: int = 7687
    max_connection_pool_size: int = 20
    connection_acquisition_timeout: float = 60.0
    max_connection_lifetime: float = 1800.0
    liveness_check_timeout: float = 5.0


@dataclass(frozen=True)
class Embedder:
    """The model that makes vectors; their number of dimensions is fixed by the first memory.

    :param max_input_length: characters; 0 leaves it to the server, as for batch_size.
    """

    provider: str
    model: str
    dimensions: int
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    region: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    max_input_length: int = 0
    batch_size: int = 0
    max_retry_interval_seconds: int = 120


@dataclass(frozen=True)
class LanguageModel:
    """The model that summarises and extracts."""

    provider: str
    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    region: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    max_retry_interval_seconds: int = 120


@dataclass(frozen=True)
class Reranker:
    """One way to order what a search has found.

    :param rerankers: names of those that a C(rrf-hybrid) combines.
    """

    name: str
    type: str
    rerankers: tuple[str, ...] = ()
    language: str = "english"
    model: str = ""
    region: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)


USUAL_RERANKERS = (
    Reranker(name="hybrid", type="rrf-hybrid", rerankers=("identity", "bm25")),
    Reranker(name="identity", type="identity"),
    Reranker(name="bm25", type="bm25"),
)


@dataclass(frozen=True)
class Memory:
    """Limits of the memories.

    :param message_capacity: characters that short-term memory holds before it is summarised.
    :param max_message_length: for servers 0.1 only, as is max_token_num.
    :param instance_cache_size: projects kept in memory between requests; 0 is the server's own.
    """

    message_capacity: int = 64000
    max_message_length: int = 16000
    max_token_num: int = 8000
    ingestion_trigger_messages: int = 5
    ingestion_trigger_seconds: int = 300
    max_features_per_update: int = 50
    instance_cache_size: int = 0
    project_categories: tuple[str, ...] = ("profile_prompt",)
    organization_categories: tuple[str, ...] = ()
    user_categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Logging:
    """What the server logs; it always logs to its standard error too."""

    level: str = "INFO"
    format: str = LOG_FORMAT
    path: str = LOG_FILE


@dataclass(frozen=True)
class Description:
    """Everything that a configuration says, whatever the version of the server."""

    version: str
    postgres: Postgres
    neo4j: Neo4j
    embedder: Embedder
    language_model: LanguageModel
    rerankers: tuple[Reranker, ...] = USUAL_RERANKERS
    reranker: str = "hybrid"
    memory: Memory = field(default_factory=Memory)
    logging: Logging = field(default_factory=Logging)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Description:
        """Return the description that nested mappings hold, as a task gives them."""
        description: Description = _typed(cls, data, "")
        return description


def tenant_configuration(
    *,
    version: str,
    postgres_host: str,
    neo4j_host: str,
    model: Mapping[str, Any],
    secrets: Mapping[str, str],
) -> str:
    """Return the configuration of a tenant.

    :param model: the tenant's model provider, without its secrets.
    :param secrets: what the tenant needs to know, or fingerprints in their place.
    """
    provider = {
        "provider": model["provider"],
        "base_url": model["base_url"],
        "region": model["region"],
        "api_key": secrets["model_api_key"],
        "access_key_id": secrets["model_access_key_id"],
        "secret_access_key": secrets["model_secret_access_key"],
        "session_token": secrets["model_session_token"],
    }
    description = {
        "version": version,
        "postgres": {"host": postgres_host, "password": secrets["postgres_app"]},
        "neo4j": {"host": neo4j_host, "password": secrets["neo4j"]},
        "embedder": {
            **provider,
            "model": model["embedder_model"],
            "dimensions": model["embedder_dimensions"],
        },
        "language_model": {**provider, "model": model["language_model"]},
    }
    return render(Description.from_dict(description))


def render(description: Description) -> str:
    """Return the text of configuration.yml, or raise ConfigError."""
    wire = format_of(description.version)
    validate(description)
    document = _first_format(description) if wire == "0.1" else _format(description)
    return HEADER.format(version=description.version) + "\n".join(_yaml(document)) + "\n"


def format_of(version: str) -> str:
    """Return C(0.1) or C(0.2): the first version with the format that this one reads."""
    minor, patch = _release(version)
    if minor == 1 and patch <= _LAST_OF_FIRST_FORMAT:
        return "0.1"
    if 2 <= minor <= _LAST_MINOR:
        return "0.2"
    raise ConfigError(
        "version",
        f"is {version!r}, but configurations are known for MemMachine 0.1.0 to 0.1.6 and 0.2.0 to "
        f"0.{_LAST_MINOR}.x, written in full like 0.4.0.",
    )


def _release(version: str) -> tuple[int, int]:
    match = _VERSION.match(version)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def validate(description: Description) -> None:
    """Refuse what the server would take without a word and not do."""
    _check_postgres(description.postgres)
    _check_neo4j(description.neo4j)
    _check_provider("embedder", description.embedder)
    _check_provider("language_model", description.language_model)
    _check_numbers("embedder", description.embedder, ("dimensions",), 1)
    _check_numbers("embedder", description.embedder, ("max_input_length", "batch_size"), 0)
    _check_rerankers(description)
    _check_memory(description.memory)
    _check_logging(description.logging)
    _check_known(description)


def mask(text: str) -> str:
    """Return a configuration without its secrets, for people to read."""
    lines: list[str] = []
    hidden_below: int | None = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if hidden_below is not None and (not line.strip() or indent > hidden_below):
            continue
        hidden_below = None
        # A secret may go on below its key, as a block.
        if _SECRET_KEY.search(line):
            hidden_below = indent
        shown = _SECRET_IN_URL.sub(r"\g<before>" + MASK + r"\g<after>", line)
        lines.append(_SECRET_KEY.sub(_masked, shown))
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def masked_diff(before: str, after: str) -> dict[str, str]:
    """Return both texts without secrets; a change of a secret alone is said in words."""
    shown = {"before": mask(before), "after": mask(after)}
    if before != after and shown["before"] == shown["after"]:
        shown["after"] += "# a secret differs\n"
    return shown


def validate_in_image(client: Any, image: str, text: str) -> None:
    """Let the server of an image load the text, without network; raise what it says.

    :param client: a C(docker.APIClient) of the engine on this machine.
    """
    with scratch_directory("memcloud-config-") as scratch:
        path = os.path.join(scratch, "configuration.yml")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
        os.chown(path, OWNER, OWNER)
        os.chmod(scratch, 0o711)
        try:
            run_in_image(client, image, ["check", CONFIG_FILE], binds=[f"{path}:{CONFIG_FILE}:ro"])
        except CommandFailed as error:
            raise ConfigError(
                "is refused by the server itself:", _without_secrets(error.output, text)
            ) from None


@functools.cache
def _types_of(kind: Any) -> dict[str, Any]:
    """The resolved types of a dataclass; resolving them takes longer than a whole description."""
    return typing.get_type_hints(kind)


def _typed(kind: Any, data: Any, path: str) -> Any:
    """Return data as an instance of a dataclass, checking names and types on the way."""
    if not isinstance(data, Mapping):
        raise ConfigError(path or "the description", "must be a mapping.")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for name in data:
        if name not in fields:
            raise ConfigError(f"{path}{name}", f"is unknown; known are {', '.join(fields)}.")
    types = _types_of(kind)
    values = {}
    for name, entry in fields.items():
        given = data.get(name)
        if given is not None:
            values[name] = _value(types[name], given, f"{path}{name}")
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path}{name}", "is missing.")
    return kind(**values)


def _value(kind: Any, given: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _typed(kind, given, path + ".")
    if typing.get_origin(kind) is tuple:
        if not isinstance(given, (list, tuple)):
            raise ConfigError(path, "must be a list.")
        element = typing.get_args(kind)[0]
        return tuple(_value(element, item, f"{path}[{i}]") for i, item in enumerate(given))
    return _scalar(kind, given, path)


def _scalar(kind: type, given: Any, path: str) -> Any:
    if kind is str and isinstance(given, str):
        return str(given)
    if kind is bool and isinstance(given, bool):
        return given
    if kind is int and isinstance(given, int) and not isinstance(given, bool):
        return int(given)
    if kind is float and isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    words = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    raise ConfigError(path, f"must be {words[kind]}.")


def _check_postgres(postgres: Postgres) -> None:
    _check_host("postgres.host", postgres.host)
    for name in ("user", "database", "password"):
        if not _IN_URL.match(getattr(postgres, name)):
            raise ConfigError(
                f"postgres.{name}",
                "must be letters, digits, and . _ ~ - only: the server puts it into a URL as is.",
            )
    _check_numbers("postgres", postgres, ("port", "pool_size", "pool_timeout", "pool_recycle"), 1)
    _check_numbers("postgres", postgres, ("max_overflow",), 0)


def _check_neo4j(neo4j: Neo4j) -> None:
    _check_host("neo4j.host", neo4j.host)
    _check_text("neo4j.user", neo4j.user)
    _check_secret("neo4j.password", neo4j.password)
    if not neo4j.password:
        raise ConfigError("neo4j.password", "is empty.")
    positive = (
        "port",
        "max_connection_pool_size",
        "connection_acquisition_timeout",
        "max_connection_lifetime",
    )
    _check_numbers("neo4j", neo4j, positive, 1)
    _check_numbers("neo4j", neo4j, ("liveness_check_timeout",), 0)


def _check_provider(path: str, given: Embedder | LanguageModel) -> None:
    provider = SYNONYMS.get(given.provider, given.provider)
    if provider not in PROVIDERS:
        raise ConfigError(
            f"{path}.provider", f"is {given.provider!r}, but must be one of {', '.join(PROVIDERS)}."
        )
    _check_text(f"{path}.model", given.model)
    for name in ("api_key", "access_key_id", "secret_access_key", "session_token"):
        _check_secret(f"{path}.{name}", getattr(given, name))
    if given.base_url and not _URL.match(given.base_url):
        raise ConfigError(
            f"{path}.base_url", "must be http:// or https:// and a host, without key or query."
        )
    if provider == "openai" and not given.api_key:
        raise ConfigError(
            f"{path}.api_key",
            "is empty: the server would switch its memories off and still call itself healthy.",
        )
    if provider == "openai_compatible" and not given.base_url:
        raise ConfigError(f"{path}.base_url", "is missing: name the provider's address.")
    if provider == "bedrock":
        _check_bedrock(path, given)
    _check_numbers(path, given, ("max_retry_interval_seconds",), 1)


def _check_bedrock(path: str, given: Embedder | LanguageModel | Reranker) -> None:
    _check_text(f"{path}.region", given.region)
    for name in ("access_key_id", "secret_access_key"):
        if not getattr(given, name):
            raise ConfigError(f"{path}.{name}", "is missing: a tenant has no other way to AWS.")


def _check_rerankers(description: Description) -> None:
    names = [reranker.name for reranker in description.rerankers]
    for i, reranker in enumerate(description.rerankers):
        path = f"rerankers[{i}]"
        if not _NAME.match(reranker.name):
            raise ConfigError(
                f"{path}.name",
                "must be lower-case letters, digits, _ and -: the server lower-cases it in one "
                "place and not in the other.",
            )
        if names.count(reranker.name) > 1:
            raise ConfigError(f"{path}.name", f"{reranker.name!r} is given twice.")
        if reranker.type not in RERANKERS:
            raise ConfigError(
                f"{path}.type", f"is {reranker.type!r}, but must be one of {', '.join(RERANKERS)}."
            )
        if reranker.type == "bedrock":
            _check_text(f"{path}.model", reranker.model)
            _check_bedrock(path, reranker)
        _check_combination(path, reranker, names)
    if description.reranker not in names:
        raise ConfigError(
            "reranker",
            f"is {description.reranker!r}, but rerankers has {', '.join(names) or 'none'}.",
        )


def _check_combination(path: str, reranker: Reranker, names: list[str]) -> None:
    if reranker.type != "rrf-hybrid":
        return
    if not reranker.rerankers:
        raise ConfigError(f"{path}.rerankers", "is empty: name what it combines.")
    for name in reranker.rerankers:
        if name == reranker.name or name not in names:
            raise ConfigError(f"{path}.rerankers", f"names {name!r}, which is no other one.")


def _check_memory(memory: Memory) -> None:
    names = (
        "message_capacity",
        "max_message_length",
        "max_token_num",
        "ingestion_trigger_messages",
        "ingestion_trigger_seconds",
        "max_features_per_update",
    )
    _check_numbers("memory", memory, names, 1)
    _check_numbers("memory", memory, ("instance_cache_size",), 0)
    for name in ("project_categories", "organization_categories", "user_categories"):
        for category in getattr(memory, name):
            if category not in CATEGORIES:
                raise ConfigError(
                    f"memory.{name}", f"has {category!r}; known are {', '.join(CATEGORIES)}."
                )


def _check_known(description: Description) -> None:
    for path, since in _SINCE.items():
        section, _dot, name = path.partition(".")
        given = getattr(description, section)
        changed = getattr(given, name) != getattr(type(given), name)
        if changed and _release(description.version) < since:
            raise ConfigError(
                path, "is unknown to servers before 0.%d.%d: leave it out or update." % since
            )


def _check_logging(logging: Logging) -> None:
    if logging.level.upper() not in LOG_LEVELS:
        raise ConfigError(
            "logging.level", f"is {logging.level!r}, but must be one of {', '.join(LOG_LEVELS)}."
        )
    if not logging.path.startswith("/"):
        raise ConfigError(
            "logging.path", "must be an absolute path: the server fails on an empty one."
        )
    for token in ("%(asctime)s", "%(levelname)s", "%(message)s"):
        if token not in logging.format:
            raise ConfigError("logging.format", f"must hold {token}.")


def _check_host(path: str, host: str) -> None:
    if not _HOST.match(host):
        raise ConfigError(path, "must be a host name or an IPv4 address.")


def _check_text(path: str, text: str) -> None:
    if not text or text != text.strip() or not text.isprintable():
        raise ConfigError(path, "must not be empty, nor hold line breaks or spaces at its ends.")


def _check_secret(path: str, secret: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in secret):
        raise ConfigError(path, "must not hold white space: was a line break read along with it?")
    if "$" in secret:
        raise ConfigError(
            path,
            "must not hold a $: the server would put a variable of its environment there, or "
            "leave the name of an unset one as the secret.",
        )


def _check_numbers(path: str, given: Any, names: tuple[str, ...], least: int) -> None:
    for name in names:
        if getattr(given, name) < least:
            raise ConfigError(f"{path}.{name}", f"must be {least} or more.")


def _format(description: Description) -> dict[str, Any]:
    """Return the document that servers from 0.2 on read."""
    memory = description.memory
    return {
        "logging": _logging(description.logging),
        "episode_store": {"database": "postgres"},
        "session_manager": _given(
            database="postgres", instance_cache_size=memory.instance_cache_size
        ),
        "episodic_memory": {
            "long_term_memory": {
                "embedder": "embedder",
                "reranker": description.reranker,
                "vector_graph_store": "neo4j",
            },
            "short_term_memory": {
                "llm_model": "language_model",
                "message_capacity": memory.message_capacity,
            },
        },
        "semantic_memory": {
            "database": "postgres",
            "config_database": "postgres",
            "embedding_model": "embedder",
            "llm_model": "language_model",
            "ingestion_trigger_messages": memory.ingestion_trigger_messages,
            "ingestion_trigger_age": memory.ingestion_trigger_seconds,
            "max_features_per_update": memory.max_features_per_update,
        },
        "retrieval_agent": {"llm_model": "language_model", "reranker": description.reranker},
        "prompt": _prompt(description),
        "resources": {
            "databases": {
                "postgres": {"provider": "postgres", "config": _postgres(description.postgres)},
                "neo4j": {"provider": "neo4j", "config": _neo4j(description.neo4j)},
            },
            "embedders": {"embedder": _embedder(description)},
            "language_models": {"language_model": _language_model(description)},
            "rerankers": {entry.name: _reranker(entry) for entry in description.rerankers},
        },
    }


def _prompt(description: Description) -> dict[str, Any]:
    memory = description.memory
    if _release(description.version) < _PROJECTS_SINCE:
        return {"session": list(memory.project_categories)}
    return {
        "default_project_categories": list(memory.project_categories),
        "default_org_categories": list(memory.organization_categories),
        "default_user_categories": list(memory.user_categories),
    }


def _logging(logging: Logging) -> dict[str, Any]:
    return {"level": logging.level.upper(), "format": logging.format, "path": logging.path}


def _postgres(postgres: Postgres) -> dict[str, Any]:
    values = dataclasses.asdict(postgres)
    values["db_name"] = values.pop("database")
    return values


def _neo4j(neo4j: Neo4j) -> dict[str, Any]:
    values = dataclasses.asdict(neo4j)
    return dict(uri="bolt://{}:{}".format(values.pop("host"), values.pop("port")), **values)


def _embedder(description: Description) -> dict[str, Any]:
    embedder = description.embedder
    common = _given(
        max_input_length=embedder.max_input_length or None,
        batch_size=embedder.batch_size or None,
        max_retry_interval_seconds=embedder.max_retry_interval_seconds,
    )
    if embedder.provider == "bedrock":
        return {"provider": "amazon-bedrock", "config": dict(_bedrock(embedder), **common)}
    openai = dict(_openai(embedder, description.version), dimensions=embedder.dimensions)
    return {"provider": "openai", "config": dict(openai, **common)}


def _language_model(description: Description) -> dict[str, Any]:
    model = description.language_model
    common = {"max_retry_interval_seconds": model.max_retry_interval_seconds}
    if model.provider == "bedrock":
        return {"provider": "amazon-bedrock", "config": dict(_bedrock(model), **common)}
    # Only OpenAI itself is sure to have the Responses API.
    provider = "openai-responses" if model.provider == "openai" else "openai-chat-completions"
    return {"provider": provider, "config": dict(_openai(model, description.version), **common)}


def _openai(given: Embedder | LanguageModel, version: str) -> dict[str, Any]:
    no_key = "" if _release(version) >= _KEYLESS_SINCE else "EMPTY"
    return _given(
        model=given.model, base_url=given.base_url or None, api_key=given.api_key or no_key
    )


def _bedrock(given: Embedder | LanguageModel | Reranker) -> dict[str, Any]:
    return _given(
        model_id=given.model,
        region=given.region,
        aws_access_key_id=given.access_key_id,
        aws_secret_access_key=given.secret_access_key,
        aws_session_token=getattr(given, "session_token", "") or None,
    )


def _reranker(reranker: Reranker) -> dict[str, Any]:
    if reranker.type == "rrf-hybrid":
        config: dict[str, Any] = {"reranker_ids": list(reranker.rerankers)}
    elif reranker.type == "bm25":
        config = {"language": reranker.language}
    elif reranker.type == "embedder":
        config = {"embedder_id": "embedder"}
    elif reranker.type == "bedrock":
        return {"provider": "amazon-bedrock", "config": _bedrock(reranker)}
    else:
        config = {}
    return {"provider": reranker.type, "config": config}


def _first_format(description: Description) -> dict[str, Any]:
    """Return the document that servers 0.1.0 to 0.1.6 read."""
    _check_first_models(description)
    postgres, memory = description.postgres, description.memory
    model, embedder = description.language_model, description.embedder
    return {
        "logging": dict(_logging(description.logging), level=description.logging.level.lower()),
        "long_term_memory": {
            "derivative_deriver": "sentence",
            "embedder": "embedder",
            "reranker": description.reranker,
            "vector_graph_store": "neo4j",
        },
        "sessiondb": {
            "uri": f"postgresql://{postgres.user}:{postgres.password}@{postgres.host}:"
            f"{postgres.port}/{postgres.database}"
        },
        "sessionmemory": {
            "model_name": "language_model",
            "message_capacity": memory.message_capacity,
            "max_message_length": memory.max_message_length,
            "max_token_num": memory.max_token_num,
        },
        "prompt": {"profile": memory.project_categories[0] if memory.project_categories else ""},
        "model": {
            # Short-term memory reads `model`, and would use one of its own without it.
            "language_model": {
                "model_vendor": "openai",
                "model": model.model,
                "model_name": model.model,
                "api_key": model.api_key,
            }
        },
        "embedder": {"embedder": {"model_name": embedder.model, "api_key": embedder.api_key}},
        "reranker": {entry.name: _first_reranker(entry) for entry in description.rerankers},
        "storage": {
            "neo4j": {
                "vendor_name": "neo4j",
                "host": description.neo4j.host,
                "port": description.neo4j.port,
                "user": description.neo4j.user,
                "password": description.neo4j.password,
            }
        },
    }


def _check_first_models(description: Description) -> None:
    """Refuse what would make a server 0.1 send memories and key to OpenAI all the same."""
    server = f"MemMachine {description.version}"
    for name in ("embedder", "language_model"):
        given = getattr(description, name)
        if given.provider != "openai":
            raise ConfigError(
                f"{name}.provider", f"is {given.provider!r}, but {server} knows openai alone."
            )
        if given.base_url:
            raise ConfigError(
                f"{name}.base_url",
                f"must be left out: {server} does not read it and sends all to OpenAI.",
            )
    embedder = description.embedder
    dimensions = _FIRST_EMBEDDERS.get(embedder.model)
    if dimensions is None:
        raise ConfigError(
            "embedder.model",
            f"is {embedder.model!r}, but {server} knows {', '.join(_FIRST_EMBEDDERS)}.",
        )
    if embedder.dimensions != dimensions:
        raise ConfigError(
            "embedder.dimensions",
            f"must be {dimensions}: {server} takes what {embedder.model} gives.",
        )


def _first_reranker(reranker: Reranker) -> dict[str, Any]:
    if reranker.type not in ("identity", "bm25", "rrf-hybrid"):
        raise ConfigError("rerankers", f"type {reranker.type} is unknown to servers 0.1.")
    combined = {"reranker_ids": list(reranker.rerankers)} if reranker.rerankers else {}
    return dict(type=reranker.type, **combined)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_PLAIN = re.compile(r"^[A-Za-z][A-Za-z0-9_./-]*$")
_NOT_STRINGS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of a mapping as YAML, as a person would write it."""
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            yield f"{indent}{key}:"
            yield from _yaml(entry, indent + "  ")
        elif isinstance(entry, list) and entry:
            yield f"{indent}{key}:"
            for item in entry:
                yield f"{indent}  - {_yaml_scalar(item)}"
        else:
            yield f"{indent}{key}: {_yaml_scalar(entry)}"


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.match(value) and value.lower() not in _NOT_STRINGS:
            return value
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return json.dumps(value)


def _masked(match: re.Match[str]) -> str:
    value = match.group("value").strip()
    return match.group("key") + (MASK if value not in ("", '""', "''") else value)


def _without_secrets(output: str, text: str) -> str:
    """Return what the server said without any secret of the configuration in it."""
    secrets = [match.group("value").strip().strip("\"'") for match in _SECRET_KEY.finditer(text)]
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            output = output.replace(secret, MASK)
    return "\n".join(output.splitlines()[-12:])
