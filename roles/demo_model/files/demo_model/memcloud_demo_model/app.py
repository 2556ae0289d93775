# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model provider's HTTP interface, as a raw ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from memcloud_demo_model import __version__, openai

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 16 * 1024 * 1024
# Below this a request is answered sooner than a thread would be handed the work.
INLINE_BODY_BYTES = 4096
BANNER = {
    "service": "memcloud demo model provider",
    "version": __version__,
    "note": "A demo without any real model. Set platform_model_* to use a real provider.",
    "models": list(openai.MODELS),
}
WRONG_KEY = openai.BadRequest(
    "Incorrect API key provided to the demo model provider.", status=401, code="invalid_api_key"
)
HEADERS = [(b"x-model-provider", b"memcloud-demo")]


class DemoModel:
    """The ASGI application."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await self._route(scope, receive, send)
            except openai.BadRequest as error:
                await _answer(send, error.status, _error(error))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/") or "/"
        if path in ("/", "/health") and method in ("GET", "HEAD"):
            await _answer(send, 200, BANNER)
            return
        self._check_key(scope)
        if method == "GET" and path == "/v1/models":
            await _answer(send, 200, openai.models())
        elif method == "GET" and path.startswith("/v1/models/"):
            await _answer(send, 200, openai.model(path.removeprefix("/v1/models/")))
        elif method == "POST" and path in POSTS:
            request, size = await _read_json(receive)
            await POSTS[path](send, request, size)
        else:
            raise openai.BadRequest(f"No such address: {method} {path}", status=404)

    def _check_key(self, scope: Scope) -> None:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, blank, key = (values[0] if len(values) == 1 else b"").strip().partition(b" ")
        # Also a key of one's own, to see where it goes: the usual one, a hyphen, and anything.
        key, end = key.strip(), len(self._api_key)
        known = hmac.compare_digest(key[:end], self._api_key) and key[end : end + 1] in (b"", b"-")
        if scheme.lower() != b"bearer" or not known:
            raise WRONG_KEY


async def _embeddings(send: Send, request: Mapping[str, Any], size: int) -> None:
    await _answer(send, 200, await _work(openai.embeddings, request, size))


async def _chat_completions(send: Send, request: Mapping[str, Any], size: int) -> None:
    if request.get("stream") is True:
        events = openai.chat_completion_events(request)
        await _stream(send, (f"data: {data}\n\n" for data in events))
    else:
        await _answer(send, 200, await _work(openai.chat_completion, request, size))


async def _responses(send: Send, request: Mapping[str, Any], size: int) -> None:
    if request.get("stream") is True:
        events = openai.response_events(request)
        await _stream(send, (f"event: {name}\ndata: {data}\n\n" for name, data in events))
    else:
        await _answer(send, 200, await _work(openai.response, request, size))


POSTS: dict[str, Callable[[Send, Mapping[str, Any], int], Awaitable[None]]] = {
    "/v1/embeddings": _embeddings,
    "/v1/chat/completions": _chat_completions,
    "/v1/responses": _responses,
}


async def _work(
    function: Callable[[Mapping[str, Any]], dict[str, Any]], request: Mapping[str, Any], size: int
) -> dict[str, Any]:
    if size <= INLINE_BODY_BYTES:
        return function(request)
    return await asyncio.to_thread(function, request)


async def _read_json(receive: Receive) -> tuple[Mapping[str, Any], int]:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise openai.BadRequest("The request ended early.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise openai.BadRequest(
                f"The request is larger than {MAX_BODY_BYTES} bytes.", None, 413
            )
    try:
        data = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise openai.BadRequest("The request is not JSON.") from error
    if not isinstance(data, dict):
        raise openai.BadRequest("The request is not a JSON object.")
    return data, len(body)


async def _answer(send: Send, status: int, content: object) -> None:
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send, events: Iterator[str]) -> None:
    # The first event decides whether the request can be answered at all.
    first = next(events)
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), *HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
    for event in events:
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _error(error: openai.BadRequest) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    }


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
