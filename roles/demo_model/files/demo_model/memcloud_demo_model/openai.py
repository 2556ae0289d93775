# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and replies in OpenAI's form, without HTTP: JSON in, JSON out."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from memcloud_demo_model.embedding import DIMENSIONS, embed
from memcloud_demo_model.prompts import consolidation, feature_update, plain_answer
from memcloud_demo_model.schema import fill

EMBEDDING_MODEL = "demo-embedding"
CHAT_MODEL = "demo-chat"
MODELS = (EMBEDDING_MODEL, CHAT_MODEL)
OWNER = "memcloud-demo"
MIN_DIMENSIONS = 8
MAX_DIMENSIONS = 4096
MAX_INPUTS = 2048
PIECE = re.compile(r"\s*\S+\s*")


class BadRequest(Exception):
    """A request that cannot be answered: HTTP status, OpenAI's error code, what is wrong."""

    def __init__(
        self, message: str, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Answer:
    """What the demo model says: a text, or the arguments of one function."""

    text: str
    function: str | None
    prompt_tokens: int
    identity: str

    @property
    def completion_tokens(self) -> int:
        """How long the answer is."""
        return count_tokens(self.text)


def models() -> dict[str, Any]:
    """Return the list of models."""
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> dict[str, Any]:
    """Return one model, or refuse an unknown name as OpenAI does."""
    if name not in MODELS:
        message = f"The demo model provider has no model {name!r}: it has {', '.join(MODELS)}."
        raise BadRequest(message, "model", 404, "model_not_found")
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def embeddings(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `POST /v1/embeddings`."""
    _check_model(request, EMBEDDING_MODEL)
    texts = _inputs(request.get("input"))
    dimensions = request.get("dimensions", DIMENSIONS)
    if (
        isinstance(dimensions, bool)
        or not isinstance(dimensions, int)
        or not (MIN_DIMENSIONS <= dimensions <= MAX_DIMENSIONS)
    ):
        message = f"dimensions: expected {MIN_DIMENSIONS} to {MAX_DIMENSIONS}"
        raise BadRequest(message, "dimensions")
    encoding = request.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise BadRequest("encoding_format: expected float or base64", "encoding_format")
    data = []
    for index, text in enumerate(texts):
        vector: list[float] | str = embed(text, dimensions)
        if encoding == "base64":
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    used = sum(count_tokens(text) for text in texts)
    return {
        "object": "list",
        "model": EMBEDDING_MODEL,
        "data": data,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def chat_completion(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `POST /v1/chat/completions`."""
    answer = _chat_answer(request)
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.function is not None:
        message["content"] = None
        message["tool_calls"] = [_tool_call(answer, answer.function)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return {
        **_chat_frame(answer, "chat.completion"),
        "choices": [choice],
        "usage": _chat_usage(answer),
    }


def chat_completion_events(request: Mapping[str, Any]) -> Iterator[str]:
    """Answer `POST /v1/chat/completions` with `stream: true`, as data of server-sent events."""
    answer = _chat_answer(request)
    options = request.get("stream_options")
    frame = _chat_frame(answer, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> str:
        return json.dumps(
            {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        )

    yield chunk({"role": "assistant", "content": None if answer.function else ""})
    if answer.function is not None:
        yield chunk({"tool_calls": [{"index": 0, **_tool_call(answer, answer.function)}]})
    else:
        for piece in PIECE.findall(answer.text):
            yield chunk({"content": piece})
    yield chunk({}, _finish(answer))
    if isinstance(options, dict) and options.get("include_usage"):
        yield json.dumps({**frame, "choices": [], "usage": _chat_usage(answer)})
    yield "[DONE]"


def response(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `POST /v1/responses`."""
    answer = _response_answer(request)
    return _response_frame(request, answer, "completed", [_output_item(answer)])


def response_events(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Answer `POST /v1/responses` with `stream: true`: name and data of each event."""
    answer = _response_answer(request)
    item = _output_item(answer)
    started = _response_frame(request, answer, "in_progress", [])
    where = {"item_id": item["id"], "output_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    if answer.function is not None:
        empty = {**item, "status": "in_progress", "arguments": ""}
        events += [
            {"type": "response.output_item.added", "output_index": 0, "item": empty},
            {"type": "response.function_call_arguments.delta", **where, "delta": answer.text},
            {
                "type": "response.function_call_arguments.done",
                **where,
                "name": answer.function,
                "arguments": answer.text,
            },
        ]
    else:
        part = item["content"][0]
        where["content_index"] = 0
        events += [
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "status": "in_progress", "content": []},
            },
            {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        ]
        events += [
            {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            for piece in PIECE.findall(answer.text)
        ]
        events += [
            {"type": "response.output_text.done", **where, "text": answer.text, "logprobs": []},
            {"type": "response.content_part.done", **where, "part": part},
        ]
    events += [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": _response_frame(request, answer, "completed", [item]),
        },
    ]
    for number, event in enumerate(events):
        yield event["type"], json.dumps({**event, "sequence_number": number})


def count_tokens(text: str) -> int:
    """Return about how many tokens a real model would count."""
    return max(1, (len(text) + 3) // 4)


def _chat_answer(request: Mapping[str, Any]) -> Answer:
    _check_model(request, CHAT_MODEL)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: expected a list that is not empty", "messages")
    system, user = _conversation(messages, "messages")
    wanted = request.get("response_format")
    schema = None
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
    functions = [tool.get("function") or {} for tool in _tools(request)]
    as_json = isinstance(wanted, dict) and wanted.get("type") == "json_object"
    return _answer(system, user, schema, as_json, functions, request.get("tool_choice"))


def _response_answer(request: Mapping[str, Any]) -> Answer:
    _check_model(request, CHAT_MODEL)
    given = request.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(messages, list) or not messages:
        raise BadRequest("input: expected a text or a list that is not empty", "input")
    system, user = _conversation(messages, "input")
    instructions = request.get("instructions")
    if isinstance(instructions, str):
        system = f"{instructions}\n{system}"
    text = request.get("text")
    wanted = text.get("format") if isinstance(text, dict) else None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    schema = wanted.get("schema") or {} if wanted and kind == "json_schema" else None
    functions = [tool for tool in _tools(request) if tool.get("type") == "function"]
    return _answer(
        system, user, schema, kind == "json_object", functions, request.get("tool_choice")
    )


def _answer(
    system: str,
    user: str,
    schema: Mapping[str, Any] | None,
    as_json: bool,
    functions: Sequence[Mapping[str, Any]],
    choice: object,
) -> Answer:
    function = _chosen_function(functions, choice)
    if function is not None:
        arguments = _filled(function.get("parameters") or {}, user)
        text = json.dumps(arguments, ensure_ascii=False)
    elif schema is not None:
        text = json.dumps(_structured(schema, system, user), ensure_ascii=False)
    else:
        text = plain_answer(system, user)
        if as_json and not text.startswith(("{", "[")):
            text = json.dumps({"answer": text}, ensure_ascii=False)
    digest = blake2b(f"{system}\0{user}\0{text}".encode(), digest_size=12).hexdigest()
    name = None if function is None else str(function.get("name", ""))
    return Answer(text, name, count_tokens(system + user), digest)


def _tools(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = request.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRequest("tools: expected a list of objects", "tools")
    return tools


def _filled(schema: Mapping[str, Any], text: str) -> Any:
    try:
        return fill(schema, text)
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequest("Invalid schema in response_format, text or tools.") from error


def _structured(schema: Mapping[str, Any], system: str, user: str) -> Any:
    properties = schema.get("properties") or {}
    if "commands" in properties:
        return feature_update(system, user)
    if "keep_memories" in properties:
        return consolidation(user)
    return _filled(schema, user)


def _chosen_function(
    functions: Sequence[Mapping[str, Any]], choice: object
) -> Mapping[str, Any] | None:
    """Return the function the caller insists on; left to itself the demo model answers in words."""
    if choice == "required" and functions:
        return functions[0]
    if isinstance(choice, dict):
        name = choice.get("name") or (choice.get("function") or {}).get("name")
        for function in functions:
            if function.get("name") == name:
                return function
    return None


def _conversation(messages: list[Any], param: str) -> tuple[str, str]:
    system: list[str] = []
    user = ""
    for message in messages:
        if not isinstance(message, dict):
            raise BadRequest(f"{param}: expected objects", param)
        text = _content(message.get("content"))
        if message.get("role") in ("system", "developer"):
            system.append(text)
        elif text:
            user = text
    return "\n".join(system), user


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _inputs(given: object) -> list[str]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise BadRequest("input: expected a text or a list that is not empty", "input")
    if all(isinstance(entry, int) for entry in given):
        given = [given]
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"input: at most {MAX_INPUTS} texts in one request", "input")
    return [_input(entry) for entry in given]


def _input(entry: object) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, list) and all(isinstance(token, int) for token in entry):
        return " ".join(f"token{token}" for token in entry)
    raise BadRequest("input: expected texts or lists of token numbers", "input")


def _check_model(request: Mapping[str, Any], wanted: str) -> None:
    name = request.get("model")
    if not isinstance(name, str):
        raise BadRequest("model: missing", "model")
    model(name)
    if name != wanted:
        raise BadRequest(f"model: {name} cannot do this, {wanted} can", "model")


def _finish(answer: Answer) -> str:
    return "stop" if answer.function is None else "tool_calls"


def _tool_call(answer: Answer, name: str) -> dict[str, Any]:
    return {
        "id": f"call_demo{answer.identity}",
        "type": "function",
        "function": {"name": name, "arguments": answer.text},
    }


def _chat_frame(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-demo{answer.identity}",
        "object": kind,
        "created": int(time.time()),
        "model": CHAT_MODEL,
        "system_fingerprint": OWNER,
    }


def _chat_usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _output_item(answer: Answer) -> dict[str, Any]:
    if answer.function is not None:
        return {
            "type": "function_call",
            "id": f"fc_demo{answer.identity}",
            "call_id": f"call_demo{answer.identity}",
            "name": answer.function,
            "arguments": answer.text,
            "status": "completed",
        }
    return {
        "type": "message",
        "id": f"msg_demo{answer.identity}",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        ],
    }


def _response_frame(
    request: Mapping[str, Any], answer: Answer, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    usage = {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    return {
        "id": f"resp_demo{answer.identity}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": CHAT_MODEL,
        "output": output,
        "parallel_tool_calls": False,
        "temperature": None,
        "top_p": None,
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": request.get("tools") or [],
        "text": request.get("text") or {"format": {"type": "text"}},
        "usage": usage if status == "completed" else None,
    }
