# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model provider through its ASGI door, as an OpenAI client sees it."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest
from memcloud_demo_model.app import MAX_BODY_BYTES, DemoModel
from memcloud_demo_model.embedding import embed
from memcloud_demo_model.settings import SettingsError, read_settings

CHAT = {"model": "demo-chat", "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"model": "demo-chat", "input": "hello"}
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}


def call(method: str, path: str, body: Any = None, key: str | None = "demo") -> httpx.Response:
    """Ask the provider once."""

    async def scene() -> httpx.Response:
        transport = httpx.ASGITransport(app=DemoModel("demo"))  # type: ignore[arg-type]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
            content = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            return await client.request(method, path, content=content, headers=headers)

    return asyncio.run(scene())


def events(answer: httpx.Response) -> list[str]:
    """Return the data of each server-sent event."""
    return [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("key", [None, "", "wrong", "Demo", "dem", "demo1"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/anything"])
def test_a_wrong_key_is_refused_as_by_a_real_provider(key: str | None, path: str) -> None:
    answer = call("GET", path, key=key)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_key_of_ones_own_is_taken() -> None:
    assert call("GET", "/v1/models", key="demo-1-of-mine").status_code == 200


def test_health_needs_no_key_and_says_demo() -> None:
    answer = call("GET", "/health", key=None)
    assert answer.status_code == 200 and "demo" in answer.json()["service"]
    assert answer.headers["x-model-provider"] == "memcloud-demo"


def test_models_are_listed() -> None:
    assert [model["id"] for model in call("GET", "/v1/models").json()["data"]] == [
        "demo-embedding",
        "demo-chat",
    ]
    assert call("GET", "/v1/models/demo-chat").json()["owned_by"] == "memcloud-demo"
    assert call("GET", "/v1/models/gpt-5").status_code == 404


def test_embeddings_come_as_numbers_and_as_base64() -> None:
    body = {"model": "demo-embedding", "input": ["one", "two"], "dimensions": 64}
    plain = call("POST", "/v1/embeddings", body).json()
    packed = call("POST", "/v1/embeddings", {**body, "encoding_format": "base64"}).json()
    assert [entry["index"] for entry in plain["data"]] == [0, 1]
    assert plain["data"][0]["embedding"] == embed("one", 64)
    numbers = struct.unpack("<64f", base64.b64decode(packed["data"][1]["embedding"]))
    assert numbers == pytest.approx(embed("two", 64), abs=1e-6)
    assert plain["usage"]["prompt_tokens"] == plain["usage"]["total_tokens"] == 2


@pytest.mark.parametrize("given", ["text", [1, 2, 3], [[1, 2], [3]], ["x"] * 2048])
def test_every_form_of_input_is_taken(given: Any) -> None:
    body = {"model": "demo-embedding", "input": given, "dimensions": 8}
    assert call("POST", "/v1/embeddings", body).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/v1/embeddings", {"input": "x"}, 400, "model"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"}, 404, "no model"),
        ("/v1/embeddings", {"model": "demo-chat", "input": "x"}, 400, "demo-embedding"),
        ("/v1/embeddings", {"model": "demo-embedding"}, 400, "input"),
        ("/v1/embeddings", {"model": "demo-embedding", "input": []}, 400, "input"),
        ("/v1/embeddings", {"model": "demo-embedding", "input": [{}]}, 400, "input"),
        ("/v1/embeddings", {"model": "demo-embedding", "input": ["x"] * 2049}, 400, "2048"),
        (
            "/v1/embeddings",
            {"model": "demo-embedding", "input": "x", "dimensions": 5000},
            400,
            "dimensions",
        ),
        (
            "/v1/embeddings",
            {"model": "demo-embedding", "input": "x", "encoding_format": "hex"},
            400,
            "encoding_format",
        ),
        ("/v1/chat/completions", {**CHAT, "messages": []}, 400, "messages"),
        ("/v1/chat/completions", {**CHAT, "messages": ["x"]}, 400, "messages"),
        ("/v1/chat/completions", {**CHAT, "stream": True, "messages": []}, 400, "messages"),
        ("/v1/responses", {**RESPONSE, "input": None}, 400, "input"),
        ("/v1/chat/completions", {**CHAT, "tools": "x"}, 400, "tools"),
        ("/v1/responses", {**RESPONSE, "tools": [1]}, 400, "tools"),
        (
            "/v1/responses",
            {**RESPONSE, "text": {"format": {"type": "json_schema", "schema": {"enum": 5}}}},
            400,
            "schema",
        ),
        ("/v1/chat/completions", b"{", 400, "JSON"),
        ("/v1/chat/completions", b"[]", 400, "object"),
        ("/v1/chat/completions", b" " * (MAX_BODY_BYTES + 1), 413, "larger"),
        ("/v1/other", {}, 404, "No such address"),
    ],
)
def test_a_bad_request_is_explained(path: str, body: Any, status: int, word: str) -> None:
    answer = call("POST", path, body)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]


def test_chat_has_what_clients_read() -> None:
    answer = call("POST", "/v1/chat/completions", CHAT).json()
    assert answer["object"] == "chat.completion" and answer["model"] == "demo-chat"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == (
        answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    )


def test_a_streamed_chat_says_the_same() -> None:
    whole = call("POST", "/v1/chat/completions", CHAT).json()["choices"][0]["message"]["content"]
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    parts = events(call("POST", "/v1/chat/completions", body))
    assert parts[-1] == "[DONE]"
    chunks = [json.loads(part) for part in parts[:-1]]
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert said == whole
    assert chunks[-1]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_a_forced_tool_is_called(choice: Any) -> None:
    body = {**CHAT, "tools": [{"type": "function", "function": TOOL}], "tool_choice": choice}
    message = call("POST", "/v1/chat/completions", body).json()["choices"][0]["message"]
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("look", {"q": "hello"})
    streamed = events(call("POST", "/v1/chat/completions", {**body, "stream": True}))
    assert json.loads(streamed[1])["choices"][0]["delta"]["tool_calls"][0]["function"] == function


def test_json_mode_gives_json() -> None:
    body = {**CHAT, "response_format": {"type": "json_object"}}
    answer = call("POST", "/v1/chat/completions", body).json()
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"]), dict)


def test_responses_say_the_same_whole_and_streamed() -> None:
    body = {**RESPONSE, "instructions": "be brief"}
    whole = call("POST", "/v1/responses", body).json()
    text = whole["output"][0]["content"][0]["text"]
    stream = [
        json.loads(part) for part in events(call("POST", "/v1/responses", {**body, "stream": True}))
    ]
    said = "".join(e["delta"] for e in stream if e["type"] == "response.output_text.delta")
    assert said == text
    assert stream[-1]["type"] == "response.completed"
    assert stream[-1]["response"]["output"] == whole["output"]
    assert [e["sequence_number"] for e in stream] == list(range(len(stream)))


def test_responses_take_schemas_tools_and_parts() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "a title"}]}]
    body = {
        **RESPONSE,
        "input": parts,
        "text": {"format": {"type": "json_schema", "name": "t", "schema": schema}},
    }
    answer = call("POST", "/v1/responses", body).json()
    assert json.loads(answer["output"][0]["content"][0]["text"]) == {"title": "a title"}
    forced = {**RESPONSE, "tools": [{"type": "function", **TOOL}], "tool_choice": "required"}
    call_item = call("POST", "/v1/responses", forced).json()["output"][0]
    assert (call_item["type"], call_item["name"]) == ("function_call", "look")
    streamed = events(call("POST", "/v1/responses", {**forced, "stream": True}))
    assert json.loads(streamed[-1])["response"]["output"] == [call_item]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "settings.json"),
        ("{", "not JSON"),
        ("[]", "object"),
        ('{"listen": "9083", "api_key": "demo"}', "listen"),
        ('{"listen": "127.0.0.1:9083"}', "api_key"),
        ('{"listen": "127.0.0.1:9083", "api_key": " "}', "api_key"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content, encoding="ascii")
    with pytest.raises(SettingsError, match=message):
        read_settings(path)


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"listen": "127.0.0.1:9083", "api_key": "quite-secret"}', encoding="ascii")
    settings = read_settings(path)
    assert "quite-secret" not in repr(settings) and settings.api_key == "quite-secret"
