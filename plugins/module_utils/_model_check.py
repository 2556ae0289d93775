# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trying a model provider the way a tenant will reach it, before anything is deployed.

The request is made by the server's own image in a container on a network like a tenant's (slot 0
belongs to the node), so that firewall, name service and certificates are those of a tenant.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.memcloud.memmachine.plugins.module_utils import _bedrock_check
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import Engine
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    names_in,
    remove_tree,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import (
    NodeState,
    addresses_of,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    Attachment,
    Container,
    Desired,
    Mount,
    Network,
    canonical_json,
    sha256,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    TENANT_VARIABLES,
)

_OPENAI_URL = "https://api.openai.com/v1"
_UID = 30012
_TIMEOUT_SECONDS = 90
_MEMORY = 512 * 1024**2
# Below the directory of what was found out: where the request waits, with the provider's key in it.
_SCRATCH = "request"
# As earlier versions named it: a killed run left one each time.
_SCRATCHES = re.compile(_SCRATCH + r"|tmp[a-z0-9_]{8}")
# Seconds since the start at which the embedder, and then the language model, must have answered: a
# local one may have to be loaded first.
_PATIENCE = (30, _TIMEOUT_SECONDS - 10)
# Runs inside the server's image, with its interpreter and the standard library alone. As the server
# does, it asks again without what is limited when a refusal names that.
_SCRIPT = """
import json, time, urllib.error, urllib.request
start = time.monotonic()
given = json.load(open("/run/memcloud/request.json"))
def stop(status, text, path, **more):
    text = text.replace(given["api_key"], "***")
    print(json.dumps({"status": status, "text": text, "path": path, **more}))
    raise SystemExit(0)
def post(path, body, limit, word, until, read):
    left = max(1, start + until - time.monotonic())
    request = urllib.request.Request(
        given["base_url"].rstrip("/") + path, json.dumps({**body, **limit}).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + given["api_key"]})
    try:
        with urllib.request.urlopen(request, timeout=left) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode("utf-8", "replace")
        if error.code == 400 and limit and word in text.lower():
            return post(path, body, {}, word, until, read)
        stop(error.code, text, path)
    except TimeoutError:  # connected: to be unable to connect is an URLError
        stop(0, "", path, seconds=round(left))
    except Exception as error:
        stop(0, str(getattr(error, "reason", error)), path)
    try:
        return read(json.loads(text))
    except (ValueError, LookupError, TypeError):
        stop(200, text[:2000], path)
until_embedder, until_language_model = given["patience"]
size = post("/embeddings", {
    "model": given["embedder_model"], "input": ["a"], "encoding_format": "float"},
    {"dimensions": given["embedder_dimensions"]}, "dimension", until_embedder,
    lambda answer: len(answer["data"][0]["embedding"]))
if given["provider"] == "openai":
    post("/responses", {"model": given["language_model"], "input": "a"},
        {"max_output_tokens": 16}, "max_output_tokens", until_language_model,
        lambda answer: answer["output"])
else:
    post("/chat/completions", {
        "model": given["language_model"], "messages": [{"role": "user", "content": "a"}]},
        {"max_tokens": 8}, "max_tokens", until_language_model,
        lambda answer: answer["choices"][0])
print(json.dumps({"status": 200, "size": size}))
"""


def check_model(
    engine: Engine,
    state: NodeState,
    platform: Mapping[str, Any],
    tenant: Mapping[str, Any],
    secrets: Mapping[str, str],
    image: str,
) -> None:
    """Try embedder and language model; a success is remembered on the node.

    The caller holds the lock of checks, so that what is found of another request is a killed run's.

    :raises VariableError: naming the variable at fault, the fleet's and the tenant's.
    """
    _remove_requests(state)
    model = tenant["model"]
    if model["provider"] == "bedrock":
        names = ("access_key_id", "secret_access_key", "session_token")
        request = {**model, **{name: secrets["model_" + name] for name in names}}
        script, at = _bedrock_check.SCRIPT, ""
        judge: Callable[..., None] = _bedrock_check.judge
    else:
        request = {
            **model,
            "base_url": model["base_url"] or _OPENAI_URL,
            "api_key": secrets["model_api_key"] or "EMPTY",
            "patience": _PATIENCE,
        }
        script, at = _SCRIPT, f" at {request['base_url']}"
        judge = functools.partial(_judge, platform["subnet_pool"])
    remembered = state.path("checked", "model-" + sha256(canonical_json(request))[:32])
    if os.path.exists(remembered):
        return
    answer = _ask(engine, state, platform, request, script, image)
    try:
        judge(tenant["tenant"], request, answer)
    except VariableError as error:
        own = error.variable.replace("platform_", "tenant_", 1)
        if own not in TENANT_VARIABLES:
            raise
        raise VariableError(
            error.tenant,
            error.variable,
            f"{error.message.rstrip('.')}. Where its entry has {own}, it is that one",
        ) from None
    size, wanted = answer["size"], model["embedder_dimensions"]
    if size != wanted:
        raise VariableError(
            tenant["tenant"],
            "platform_embedder_dimensions",
            f"is {wanted}, but {model['embedder_model']}{at} gives vectors of {size}: set it "
            f"(or tenant_embedder_dimensions) to {size}",
        )
    with open(remembered, "w", encoding="utf-8"):
        pass


def _ask(
    engine: Engine,
    state: NodeState,
    platform: Mapping[str, Any],
    request: Mapping[str, Any],
    script: str,
    image: str,
) -> Mapping[str, Any]:
    owner = Desired(platform["name"], "check")
    addresses = addresses_of(platform["subnet_pool"], 0)
    network = Network(
        name=f"{platform['name']}-check",
        bridge=f"{platform['name']}-a0",
        subnet=addresses.app_subnet,
        gateway=addresses.app_gateway,
        role="check",
    )
    container = Container(
        name=f"{platform['name']}-check",
        role="check",
        image=image,
        user=f"{_UID}:{_UID}",
        entrypoint=("/app/.venv/bin/python", "-I", "-c", script),
        networks=(Attachment(network.name),),
        memory=_MEMORY,
        pids=32,
        restart="no",
    )
    scratch = state.path("checked", _SCRATCH)
    os.mkdir(scratch, 0o700)
    try:
        os.chown(scratch, _UID, _UID)
        path = os.path.join(scratch, "request.json")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(request, stream)
        os.chown(path, _UID, _UID)
        mounted = Mount("bind", "/run/memcloud", scratch, read_only=True)
        return engine.run_once(owner, network, container.with_mount(mounted), _TIMEOUT_SECONDS)
    finally:
        _remove_requests(state)


def _remove_requests(state: NodeState) -> None:
    for name in names_in(state.path("checked")):
        if _SCRATCHES.fullmatch(name):
            remove_tree(state.path("checked", name))


def _judge(pool: str, tenant: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    status, text = answer.get("status"), str(answer.get("text", ""))[:300]
    path = str(answer.get("path", ""))
    where = request["base_url"].rstrip("/") + path
    kind = "embedder_model" if path == "/embeddings" else "language_model"
    if status == 200 and "size" not in answer:
        raise VariableError(
            tenant,
            "platform_model_base_url",
            f"{where} answers, but not as OpenAI's API does: {text}. Give the address that this "
            "API begins at; it often ends in /v1",
        )
    if status == 200:
        return
    if status in (401, 403):
        raise VariableError(
            tenant,
            "platform_model_api_key",
            f"is refused by {where} ({status}): give a key that is valid there. {text}".rstrip(),
        )
    if status == 0 and "seconds" in answer:
        raise VariableError(
            tenant,
            f"platform_{kind}",
            f"is {request[kind]}, for which {where} did not answer within {answer['seconds']} s: "
            "have it loaded there, or name a faster one, and run this again",
        )
    if status == 0:
        of_demo = request["provider"] == "demo"
        raise VariableError(
            tenant,
            "platform_demo_model_port" if of_demo else "platform_model_base_url",
            f"{where} cannot be reached from a tenant's network: {text}. {_way(pool, request)}",
        )
    if status in (404, 405, 501) and path == "/responses":
        text = text.rstrip(".") + (
            ". The server asks OpenAI there: for a gateway that has chat completions alone, set "
            "platform_model_provider to openai_compatible"
        )
    raise VariableError(tenant, f"platform_{kind}", f"{where} answers {status}: {text}")


def _way(pool: str, request: Mapping[str, Any]) -> str:
    """What may be in the way of a tenant's request to a provider."""
    listed = "A server on the node or in its LAN must be listed in platform_model_endpoints"
    parts = urlsplit(request["base_url"])
    if not _is_here(parts.hostname or ""):
        return listed
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # The demo provider is let through by our table without being named.
    also = "" if request["provider"] == "demo" else f". {listed}"
    return f"It is on the node: allow TCP {port} from {pool} in the node's own firewall{also}"


def _is_here(host: str) -> bool:
    """Whether an address is the node's; its loopback is none that a tenant could reach."""
    with contextlib.suppress(OSError):
        for family, kind, _protocol, _name, address in socket.getaddrinfo(host, 0):
            if kind == socket.SOCK_STREAM and not str(address[0]).startswith(("127.", "::1")):
                with socket.socket(family, kind) as probe:
                    probe.bind(address)
                    return True
    return False
