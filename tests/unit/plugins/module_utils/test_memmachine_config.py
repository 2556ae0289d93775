# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils import _memmachine_config
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_config import (
    ConfigError,
    Description,
    format_of,
    mask,
    masked_diff,
    render,
    tenant_configuration,
    validate_in_image,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import (
    CommandFailed,
)

OLLAMA = {
    "provider": "openai_compatible",
    "base_url": "http://10.192.0.1:11434/v1",
    "api_key": "s3cr3t-m0del",
}
BEDROCK = {
    "provider": "bedrock",
    "region": "eu-central-1",
    "access_key_id": "AKIA0EXAMPLE",
    "secret_access_key": "aws/s3cr3t",
}
OPENAI = {"provider": "openai", "api_key": "s3cr3t-m0del"}
FIRST: dict[str, Any] = {
    "version": "0.1.5",
    "embedder": {**OPENAI, "model": "text-embedding-3-large", "dimensions": 3072},
    "language_model": {**OPENAI, "model": "gpt-4o-mini"},
}
BASIC: dict[str, Any] = {
    "version": "0.4.0",
    "postgres": {"host": "10.192.0.34", "password": "s3cr3tpg"},
    "neo4j": {"host": "10.192.0.35", "password": "s3cr3tneo"},
    "embedder": {**OLLAMA, "model": "nomic-embed-text", "dimensions": 768},
    "language_model": {**OLLAMA, "model": "llama3"},
}


def described(**changes: Any) -> dict[str, Any]:
    """The basic description with changes; a name with __ reaches into a section."""
    data = copy.deepcopy(BASIC)
    for name, value in changes.items():
        section, _mark, option = name.partition("__")
        if option:
            data.setdefault(section, {})[option] = value
        else:
            data[section] = value
    return data


def text_of(**changes: Any) -> str:
    return render(Description.from_dict(described(**changes)))


def document(**changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text_of(**changes))
    return loaded


@pytest.mark.parametrize(
    ("version", "wire"),
    [
        ("0.1.0", "0.1"),
        ("0.1.6", "0.1"),
        ("0.2.0", "0.2"),
        ("0.3.9", "0.2"),
        ("0.4.0", "0.2"),
        ("0.4.0rc1", "0.2"),
    ],
)
def test_the_version_decides_the_format(version: str, wire: str) -> None:
    assert format_of(version) == wire


@pytest.mark.parametrize("version", ["", "latest", "0.4", "v0.4.0", "0.1.7", "0.5.0", "1.0.0"])
def test_an_unsupported_version_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=r"0\.1\.0 to 0\.1\.6 and 0\.2\.0"):
        render(Description.from_dict(described(version=version)))


def test_databases_are_named_where_the_server_looks_for_them() -> None:
    databases = document()["resources"]["databases"]
    assert databases["postgres"]["provider"] == "postgres"
    assert databases["postgres"]["config"]["db_name"] == "memmachine"
    assert databases["postgres"]["config"]["pool_pre_ping"] is True
    # `user`: the server ignores `username` without a word.
    assert databases["neo4j"]["config"]["user"] == "neo4j"
    assert databases["neo4j"]["config"]["uri"] == "bolt://10.192.0.35:7687"


def test_every_reference_names_a_resource() -> None:
    told = document()
    resources = told["resources"]
    long_term = told["episodic_memory"]["long_term_memory"]
    assert long_term["embedder"] in resources["embedders"]
    assert long_term["reranker"] in resources["rerankers"]
    assert long_term["vector_graph_store"] in resources["databases"]
    assert told["semantic_memory"]["llm_model"] in resources["language_models"]
    assert told["semantic_memory"]["config_database"] in resources["databases"]
    assert told["session_manager"]["database"] in resources["databases"]


@pytest.mark.parametrize(
    ("provider", "embedder", "language_model"),
    [
        ({"provider": "openai", "api_key": "sk-1"}, "openai", "openai-responses"),
        (OLLAMA, "openai", "openai-chat-completions"),
        ({**OLLAMA, "provider": "demo"}, "openai", "openai-chat-completions"),
        (BEDROCK, "amazon-bedrock", "amazon-bedrock"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["provider"],
)
def test_providers(provider: dict[str, Any], embedder: str, language_model: str) -> None:
    resources = document(
        embedder={**provider, "model": "e", "dimensions": 8},
        language_model={**provider, "model": "m"},
    )["resources"]
    assert resources["embedders"]["embedder"]["provider"] == embedder
    assert resources["language_models"]["language_model"]["provider"] == language_model


def test_openai_without_an_address_leaves_it_to_the_server() -> None:
    openai = {"provider": "openai", "api_key": "sk-1", "model": "m"}
    resources = document(language_model=openai)["resources"]
    assert "base_url" not in resources["language_models"]["language_model"]["config"]


@pytest.mark.parametrize(
    ("version", "key"),
    [("0.2.0", "EMPTY"), ("0.3.7", "EMPTY"), ("0.3.8", ""), ("0.3.10", ""), ("0.4.0", "")],
)
def test_servers_that_refuse_an_empty_key_get_another(version: str, key: str) -> None:
    resources = document(version=version, embedder__api_key="", language_model__api_key="")[
        "resources"
    ]
    assert resources["embedders"]["embedder"]["config"]["api_key"] == key
    assert resources["language_models"]["language_model"]["config"]["api_key"] == key


def test_bedrock_gives_credentials_and_no_dimensions() -> None:
    config = document(embedder={**BEDROCK, "model": "titan", "dimensions": 1024})["resources"][
        "embedders"
    ]["embedder"]["config"]
    assert config == {
        "model_id": "titan",
        "region": "eu-central-1",
        "aws_access_key_id": "AKIA0EXAMPLE",
        "aws_secret_access_key": "aws/s3cr3t",
        "max_retry_interval_seconds": 120,
    }


def test_rerankers_of_every_kind() -> None:
    rerankers = [
        {"name": "all", "type": "rrf-hybrid", "rerankers": ["same", "words", "vectors", "cloud"]},
        {"name": "same", "type": "identity"},
        {"name": "words", "type": "bm25", "language": "german"},
        {"name": "vectors", "type": "embedder"},
        {"name": "cloud", "type": "bedrock", "model": "amazon.rerank-v1:0", **BEDROCK_KEYS},
    ]
    told = document(rerankers=rerankers, reranker="all")["resources"]["rerankers"]
    assert told["all"]["config"]["reranker_ids"] == ["same", "words", "vectors", "cloud"]
    assert told["same"] == {"provider": "identity", "config": {}}
    assert told["words"]["config"] == {"language": "german"}
    assert told["vectors"]["config"] == {"embedder_id": "embedder"}
    assert told["cloud"]["config"]["model_id"] == "amazon.rerank-v1:0"


BEDROCK_KEYS = {name: value for name, value in BEDROCK.items() if name != "provider"}


def test_memory_limits_arrive() -> None:
    told = document(
        memory={
            "message_capacity": 1000,
            "ingestion_trigger_messages": 2,
            "ingestion_trigger_seconds": 60,
            "instance_cache_size": 7,
            "user_categories": ["crm_prompt"],
        }
    )
    assert told["episodic_memory"]["short_term_memory"]["message_capacity"] == 1000
    assert told["semantic_memory"]["ingestion_trigger_messages"] == 2
    assert told["semantic_memory"]["ingestion_trigger_age"] == 60
    assert told["session_manager"]["instance_cache_size"] == 7
    assert told["prompt"]["default_user_categories"] == ["crm_prompt"]


def test_a_server_0_2_extracts_facts_of_a_project_from_its_session() -> None:
    told = document(version="0.2.0", memory={"project_categories": ["crm_prompt"]})
    assert told["prompt"] == {"session": ["crm_prompt"]}
    assert document(version="0.2.6")["prompt"] == {"session": ["profile_prompt"]}


@pytest.mark.parametrize(
    ("before", "since", "section", "option", "value"),
    [
        ("0.2.1", "0.2.2", "embedder", "max_input_length", 100),
        ("0.3.6", "0.3.7", "embedder", "batch_size", 8),
        ("0.2.1", "0.2.2", "memory", "ingestion_trigger_messages", 2),
        ("0.2.1", "0.2.2", "memory", "ingestion_trigger_seconds", 60),
        ("0.3.2", "0.3.3", "memory", "max_features_per_update", 20),
        ("0.3.9", "0.4.0", "memory", "instance_cache_size", 7),
        ("0.2.6", "0.3.0", "memory", "organization_categories", ["crm_prompt"]),
        ("0.2.6", "0.3.0", "memory", "user_categories", ["crm_prompt"]),
    ],
)
def test_what_a_server_does_not_know_yet_is_refused(
    before: str, since: str, section: str, option: str, value: Any
) -> None:
    given = {f"{section}__{option}": value}
    with pytest.raises(ConfigError, match=f"unknown to servers before {since}") as caught:
        text_of(version=before, **given)
    assert caught.value.option == f"{section}.{option}"
    text_of(version=since, **given)


def test_the_first_format() -> None:
    told = document(**FIRST)
    assert told["sessiondb"]["uri"] == (
        "postgresql://memmachine:s3cr3tpg@10.192.0.34:5432/memmachine"
    )
    assert told["model"]["language_model"] == {
        "model_vendor": "openai",
        "model": "gpt-4o-mini",
        "model_name": "gpt-4o-mini",
        "api_key": "s3cr3t-m0del",
    }
    assert told["embedder"]["embedder"] == {
        "model_name": "text-embedding-3-large",
        "api_key": "s3cr3t-m0del",
    }
    assert told["storage"]["neo4j"]["vendor_name"] == "neo4j"
    assert told["reranker"]["hybrid"]["reranker_ids"] == ["identity", "bm25"]
    assert told["sessionmemory"]["model_name"] in told["model"]
    assert told["logging"]["level"] == "info"


@pytest.mark.parametrize(
    "secret", ["12345", "1e5", "0x1f", "true", "null", "~", "yes", "a: b"[:1], "#x", "-", "über"]
)
def test_secrets_stay_strings_in_yaml(secret: str) -> None:
    config = document(neo4j__password=secret)["resources"]["databases"]["neo4j"]["config"]
    assert config["password"] == secret


@pytest.mark.parametrize(
    ("changes", "option", "reason"),
    [
        ({"postgres__password": "a@b"}, "postgres.password", "URL"),
        ({"postgres__password": "pa$s"}, "postgres.password", "URL"),
        ({"postgres__password": ""}, "postgres.password", "URL"),
        ({"postgres__user": "a:b"}, "postgres.user", "URL"),
        ({"postgres__host": "10.0.0.1:5432"}, "postgres.host", "host name"),
        ({"postgres__port": 0}, "postgres.port", "1 or more"),
        ({"neo4j__password": "$NEO4J"}, "neo4j.password", "environment"),
        ({"neo4j__password": "${NEO4J}"}, "neo4j.password", "environment"),
        ({"neo4j__password": ""}, "neo4j.password", "empty"),
        ({"neo4j__password": "line\n"}, "neo4j.password", "white space"),
        ({"neo4j__user": ""}, "neo4j.user", "empty"),
        ({"embedder__dimensions": 0}, "embedder.dimensions", "1 or more"),
        ({"embedder__dimensions": -3}, "embedder.dimensions", "1 or more"),
        ({"embedder__dimensions": "768"}, "embedder.dimensions", "whole number"),
        ({"embedder__dimensions": True}, "embedder.dimensions", "whole number"),
        ({"embedder__provider": "cohere"}, "embedder.provider", "openai_compatible, bedrock"),
        ({"embedder__provider": "openai", "embedder__api_key": ""}, "embedder.api_key", "healthy"),
        ({"embedder__base_url": ""}, "embedder.base_url", "missing"),
        ({"embedder__base_url": "10.0.0.1:11434"}, "embedder.base_url", "http"),
        ({"embedder__base_url": "http://k@h/v1"}, "embedder.base_url", "without key"),
        ({"embedder__model": " "}, "embedder.model", "empty"),
        ({"embedder__api_key": "sk-$KEY"}, "embedder.api_key", "environment"),
        ({"embedder__api_key": "sk-1\n"}, "embedder.api_key", "line break"),
        ({"embedder__size": 3}, "embedder.size", "unknown"),
        ({"language_model__provider": "bedrock"}, "language_model.region", "empty"),
        ({"language_model": {"provider": "openai"}}, "language_model.model", "missing"),
        ({"language_model": "gpt"}, "language_model.", "mapping"),
        ({"reranker": "best"}, "reranker", "hybrid, identity, bm25"),
        ({"rerankers": [{"name": "Best", "type": "identity"}]}, "rerankers[0].name", "lower-case"),
        ({"rerankers": [{"name": "hybrid", "type": "magic"}]}, "rerankers[0].type", "magic"),
        (
            {"rerankers": [{"name": "hybrid", "type": "rrf-hybrid", "rerankers": ["gone"]}]},
            "rerankers[0].rerankers",
            "gone",
        ),
        (
            {"rerankers": [{"name": "hybrid", "type": "rrf-hybrid"}]},
            "rerankers[0].rerankers",
            "empty",
        ),
        ({"rerankers": [{"name": "a", "type": "identity"}] * 2}, "rerankers[0].name", "twice"),
        ({"rerankers": "identity"}, "rerankers", "a list"),
        ({"memory__message_capacity": 0}, "memory.message_capacity", "1 or more"),
        ({"memory__project_categories": ["cats"]}, "memory.project_categories", "cats"),
        ({"logging__path": ""}, "logging.path", "absolute"),
        ({"logging__path": "server.log"}, "logging.path", "absolute"),
        ({"logging__level": "loud"}, "logging.level", "loud"),
        ({"logging__format": "%(message)s"}, "logging.format", "asctime"),
        (
            {**FIRST, "embedder": {**BEDROCK, "model": "t", "dimensions": 8}},
            "embedder.provider",
            "0.1.5",
        ),
        (
            {**FIRST, "language_model": {**OLLAMA, "model": "llama3"}},
            "language_model.provider",
            "openai alone",
        ),
        (
            {**FIRST, "language_model": {**FIRST["language_model"], "base_url": "https://g/v1"}},
            "language_model.base_url",
            "sends all to OpenAI",
        ),
        (
            {**FIRST, "embedder": {**FIRST["embedder"], "model": "e"}},
            "embedder.model",
            "text-embedding-3-small, ",
        ),
        (
            {**FIRST, "embedder": {**FIRST["embedder"], "dimensions": 1024}},
            "embedder.dimensions",
            "must be 3072",
        ),
        ({"postgres": {"host": "h"}}, "postgres.password", "missing"),
        ({"postgres__pool_pre_ping": "yes"}, "postgres.pool_pre_ping", "true or false"),
        ({"neo4j__max_connection_lifetime": "1h"}, "neo4j.max_connection_lifetime", "a number"),
    ],
)  # fmt: skip
def test_what_would_not_work_is_refused(changes: dict[str, Any], option: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        text_of(**changes)
    assert caught.value.option == option
    assert reason in caught.value.reason


def test_no_error_names_a_secret() -> None:
    for option in ("postgres__password", "neo4j__password", "embedder__api_key"):
        with pytest.raises(ConfigError) as caught:
            text_of(**{option: "s3cr3t $x"})
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("changes", [FIRST, {}])
def test_a_masked_text_holds_no_secret(changes: dict[str, Any]) -> None:
    masked = mask(text_of(**changes))
    assert "s3cr3t" not in masked
    assert "********" in masked


def test_a_masked_text_holds_no_aws_secret() -> None:
    text = text_of(embedder={**BEDROCK, "model": "titan", "dimensions": 1024})
    assert "AKIA" not in mask(text)
    assert "aws/s3cr3t" not in mask(text)


@pytest.mark.parametrize(
    "line",
    [
        "password: 's3cr3t'",
        '"api_key" : s3cr3t',
        "API_KEY: s3cr3t",
        "config: {user: x, password: s3cr3t}",
        "password: >-\n  s3cr3t\n  s3cr3t\nuser: x",
        "password:\n  s3cr3t",
        "uri: postgresql://u:s3cr3t@h/d",
    ],
)
def test_edits_by_hand_are_masked_too(line: str) -> None:
    assert "s3cr3t" not in mask(line)


def test_a_change_of_a_secret_alone_shows_in_the_diff() -> None:
    shown = masked_diff(text_of(), text_of(neo4j__password="other"))
    assert shown["before"] != shown["after"]
    assert "other" not in shown["after"]


def test_a_tenants_configuration_is_the_rendered_description() -> None:
    model = {
        "provider": "demo",
        "base_url": OLLAMA["base_url"],
        "region": "",
        "embedder_model": "nomic-embed-text",
        "embedder_dimensions": 768,
        "language_model": "llama3",
    }
    secrets = {
        "postgres_app": "s3cr3tpg",
        "neo4j": "s3cr3tneo",
        "model_api_key": OLLAMA["api_key"],
        "model_access_key_id": "",
        "model_secret_access_key": "",
        "model_session_token": "",
    }
    text = tenant_configuration(
        version="0.4.0",
        postgres_host="10.192.0.34",
        neo4j_host="10.192.0.35",
        model=model,
        secrets=secrets,
    )
    assert text == text_of()


def test_a_description_shows_no_secret() -> None:
    assert "s3cr3t" not in repr(Description.from_dict(described()))


def test_the_servers_refusal_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(client: Any, image: str, arguments: list[str], *, binds: list[str]) -> str:
        source = binds[0].split(":")[0]
        with open(source, encoding="utf-8") as stream:
            seen["text"] = stream.read()
        seen["mode"] = os.stat(source).st_mode & 0o777
        raise CommandFailed(image, 1, "ValueError: bad password s3cr3tneo")

    monkeypatch.setattr(_memmachine_config, "run_in_image", run)
    monkeypatch.setattr(os, "chown", lambda *arguments: None)
    with pytest.raises(ConfigError, match="bad password") as caught:
        validate_in_image(None, "image", text_of())
    assert "s3cr3t" not in str(caught.value)
    assert seen == {"text": text_of(), "mode": 0o600}
