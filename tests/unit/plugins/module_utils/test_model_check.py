"""What the answer of a model provider means for the operator."""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _model_check
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    ensure_ca,
    ensure_leaf,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._model_check import check_model
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data

URL = "http://192.168.1.20:11434/v1"


class Engine:
    """Answers as told, and keeps what it was asked to run."""

    def __init__(self, answer):
        self.answer = answer
        self.runs = []

    def run_once(self, owner, network, container, timeout):
        self.runs.append((owner, network, container))
        (mount,) = container.mounts
        with open(os.path.join(mount.source, "request.json")) as request:
            self.request = request.read()
        return self.answer


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chown", lambda *args: None)
    (tmp_path / "checked").mkdir()

    def run(answer, **variables):
        usual = {
            "platform_model_base_url": URL,
            "platform_model_api_key": "sk-secret-of-the-model",
            "platform_embedder_model": "embed",
            "platform_embedder_dimensions": 768,
            "platform_language_model": "chat",
        }
        platform, tenant, secrets = tenant_data.make(tmp_path, **{**usual, **variables})
        engine = Engine(answer) if isinstance(answer, dict) else answer
        check_model(engine, NodeState(str(tmp_path)), platform, tenant, secrets, "image")
        return engine

    return run


def test_a_provider_that_answers_is_tried_once(check, tmp_path):
    engine = check({"status": 200, "size": 768})
    ((owner, network, container),) = engine.runs
    assert (network.bridge, container.role) == ("mc-a0", "check")
    assert "sk-secret-of-the-model" in engine.request
    assert "sk-secret" not in repr(container)
    assert check({"status": 0}).runs == []
    (left,) = os.listdir(tmp_path / "checked")
    assert left.startswith("model-")


def test_the_request_of_a_killed_run_goes_though_nothing_is_asked(check, tmp_path):
    check({"status": 200, "size": 768})
    for name in ("request", "tmpab_1cd2e"):
        (tmp_path / "checked" / name).mkdir()
        (tmp_path / "checked" / name / "request.json").write_text("sk-secret-of-the-model")
    (tmp_path / "checked/schema-0123.json").write_text("{}")
    assert check({"status": 0}).runs == []
    assert sorted(name[:6] for name in os.listdir(tmp_path / "checked")) == ["model-", "schema"]


@pytest.mark.parametrize(
    ("answer", "variable", "words"),
    [
        ({"status": 401, "path": "/embeddings"}, "platform_model_api_key", "is refused by " + URL),
        ({"status": 200, "size": 384}, "platform_embedder_dimensions", "gives vectors of 384"),
        (
            {"status": 0, "text": "timed out", "path": "/embeddings"},
            "platform_model_base_url",
            "platform_model_endpoints",
        ),
        (
            {"status": 404, "text": "no such model", "path": "/embeddings"},
            "platform_embedder_model",
            "no such model",
        ),
        (
            {"status": 404, "text": "no such model", "path": "/chat/completions"},
            "platform_language_model",
            "no such model",
        ),
    ],
)
def test_a_refusal_names_the_variable(check, tmp_path, answer, variable, words):
    with pytest.raises(VariableError) as caught:
        check(answer)
    assert caught.value.tenant == "acme"
    assert caught.value.variable == variable
    assert words in str(caught.value)
    # Whose entry has one of its own is not told to change that of all others.
    assert variable.replace("platform", "tenant") in caught.value.message
    assert os.listdir(tmp_path / "checked") == []


ALLOW = "It is on the node: allow TCP {} from 10.192.0.0/14 in the node's own firewall"
LISTED = "must be listed in platform_model_endpoints"


@pytest.mark.parametrize(
    ("provider", "url", "words", "others"),
    [
        ("demo", None, ALLOW.format(9083), LISTED),
        ("auto", "http://10.192.0.1:11434/v1", ALLOW.format(11434), None),
        ("auto", "https://10.192.0.1/v1", ALLOW.format(443) + ". A server on the node", None),
        ("auto", "https://models.example.com/v1", LISTED, "allow TCP"),
        ("auto", "http://127.0.0.1:11434/v1", LISTED, "allow TCP"),
    ],
)
def test_what_is_on_the_node_is_judged_by_its_firewall(
    check, monkeypatch, provider, url, words, others
):
    # The address that every node has is given to this machine.
    known = {"10.192.0.1": "0.0.0.0", "models.example.com": "192.0.2.7"}

    def addresses(host, port):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known.get(host, host), port))]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    with pytest.raises(VariableError) as caught:
        check(
            {"status": 0, "text": "timed out", "path": "/embeddings"},
            platform_model_provider=provider,
            platform_model_base_url=url,
        )
    variable = "platform_demo_model_port" if provider == "demo" else "platform_model_base_url"
    assert caught.value.variable == variable
    assert words in str(caught.value)
    assert others is None or others not in str(caught.value)


KEY = "sk-secret-of-the-model"
VECTOR = json.dumps({"data": [{"embedding": [0.5] * 768}]})
CHAT = json.dumps({"choices": [{"message": {"content": "b"}}]})
RESPONSE = json.dumps({"output": [], "status": "incomplete"})


class Provider(http.server.BaseHTTPRequestHandler):
    """A model provider whose answer to each path is told, or found by a function of the request."""

    answers: dict[str, Any] = {}
    asked: list[tuple[str, dict[str, Any]]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path.removeprefix("/v1"), body))
        answer = self.answers.get(self.path, (404, "no such path"))
        status, text = answer(body) if callable(answer) else answer
        if self.headers["Authorization"] != f"Bearer {KEY}":
            status, text = 500, "the key did not arrive"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words):
        pass


class Interpreter:
    """Runs what the container would run, with this Python, and reads it as the engine does."""

    def run_once(self, owner, network, container, timeout):
        (mount,) = container.mounts
        *options, program = container.entrypoint[1:]
        assert program.count('"/run/memcloud/') == 1
        program = program.replace('"/run/memcloud/', f'"{mount.source}/')
        done = subprocess.run(
            [sys.executable, *options, program],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
        assert done.stderr == ""
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def provider(monkeypatch):
    """Its address, until the end of the test."""
    answers = {"/v1/embeddings": (200, VECTOR), "/v1/chat/completions": (200, CHAT)}
    monkeypatch.setattr(Provider, "answers", answers)
    monkeypatch.setattr(Provider, "asked", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server, scheme="http"):
    return f"{scheme}://127.0.0.1:{server.server_address[1]}/v1"


def refusal(check, url, **variables):
    """The variable and the words of what the check says of a provider."""
    with pytest.raises(VariableError) as caught:
        check(Interpreter(), platform_model_base_url=url, **variables)
    assert KEY not in str(caught.value)
    return caught.value.variable, fleets(caught.value)


def fleets(error):
    """What is said of the fleet's variable, before that of a tenant's own is named."""
    return error.message.partition(". Where its entry has tenant_")[0]


def test_a_real_provider_passes(check, provider, tmp_path):
    check(Interpreter(), platform_model_base_url=url_of(provider))
    assert len(os.listdir(tmp_path / "checked")) == 1


@pytest.mark.parametrize(
    ("path", "status", "text", "variable", "words"),
    [
        (
            "/embeddings",
            401,
            f"no such key: {KEY}",
            "platform_model_api_key",
            "is refused by {url}/embeddings (401): give a key that is valid there. "
            "no such key: ***",
        ),
        (
            "/embeddings",
            404,
            "no such model",
            "platform_embedder_model",
            "{url}/embeddings answers 404: no such model",
        ),
        (
            "/chat/completions",
            404,
            "no such model",
            "platform_language_model",
            "{url}/chat/completions answers 404: no such model",
        ),
        (
            "/embeddings",
            200,
            VECTOR.replace(", 0.5", "", 384),
            "platform_embedder_dimensions",
            "is 768, but embed at {url} gives vectors of 384: set it (or "
            "tenant_embedder_dimensions) to 384",
        ),
        (
            "/embeddings",
            200,
            "<html>Welcome</html>",
            "platform_model_base_url",
            "{url}/embeddings answers, but not as OpenAI's API does: <html>Welcome</html>. "
            "Give the address that this API begins at; it often ends in /v1",
        ),
        (
            "/chat/completions",
            200,
            '{"ok": true}',
            "platform_model_base_url",
            "{url}/chat/completions answers, but not as OpenAI's API does: "
            '{{"ok": true}}. Give the address that this API begins at; it often ends in /v1',
        ),
    ],
)
def test_what_a_real_provider_answers(check, provider, path, status, text, variable, words):
    provider.RequestHandlerClass.answers["/v1" + path] = (status, text)
    url = url_of(provider)
    assert refusal(check, url) == (variable, words.format(url=url))


def vectors(body):
    """As many numbers as are asked for, or as the model has."""
    return 200, json.dumps({"data": [{"embedding": [0.5] * body.get("dimensions", 3072)}]})


def without(name, words, answer):
    """A provider that refuses one member of a request in words of its own."""
    return lambda body: (400, words) if name in body else (200, answer)


@pytest.mark.parametrize("name", ["openai", "openai_compatible"])
@pytest.mark.parametrize(
    "answer",
    [vectors, without("dimensions", "This model does not support specifying Dimensions.", VECTOR)],
)
def test_dimensions_are_asked_for_as_the_server_does(check, provider, name, answer):
    provider.RequestHandlerClass.answers["/v1/embeddings"] = answer
    provider.RequestHandlerClass.answers["/v1/responses"] = (200, RESPONSE)
    check(
        Interpreter(),
        platform_model_base_url=url_of(provider),
        platform_model_provider=name,
    )


def test_another_refusal_of_the_dimensions_request_is_told(check, provider):
    answers = provider.RequestHandlerClass.answers
    answers["/v1/embeddings"] = without("dimensions", "no such model", VECTOR)
    assert refusal(check, url_of(provider))[0] == "platform_embedder_model"


def test_openai_is_asked_where_the_server_will_ask_it(check, provider):
    asked, url = provider.RequestHandlerClass.asked, url_of(provider)
    provider.RequestHandlerClass.answers["/v1/responses"] = (200, RESPONSE)
    check(Interpreter(), platform_model_base_url=url, platform_model_provider="openai")
    assert [path for path, _body in asked] == ["/embeddings", "/responses"]
    assert asked[-1][1] == {"model": "chat", "input": "a", "max_output_tokens": 16}


def test_a_gateway_without_responses_is_none_for_openai(check, provider):
    url = url_of(provider)
    assert refusal(check, url, platform_model_provider="openai") == (
        "platform_language_model",
        f"{url}/responses answers 404: no such path. The server asks OpenAI there: for a gateway "
        "that has chat completions alone, set platform_model_provider to openai_compatible",
    )


def test_a_chat_model_is_asked_for_few_words(check, provider):
    asked = provider.RequestHandlerClass.asked
    answers = provider.RequestHandlerClass.answers
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    answers["/v1/chat/completions"] = without("max_tokens", words, CHAT)
    check(Interpreter(), platform_model_base_url=url_of(provider))
    chats = [body for path, body in asked if path == "/chat/completions"]
    assert [body.get("max_tokens") for body in chats] == [8, None]


def test_a_model_that_is_slow_is_not_taken_for_out_of_reach(check, provider, monkeypatch):
    left = threading.Event()

    def slow(body):
        left.wait(60)
        return 200, CHAT

    provider.RequestHandlerClass.answers["/v1/chat/completions"] = slow
    monkeypatch.setattr(_model_check, "_PATIENCE", (60, 1))
    url = url_of(provider)
    try:
        variable, words = refusal(check, url)
    finally:
        left.set()
    assert variable == "platform_language_model"
    assert words == (
        f"is chat, for which {url}/chat/completions did not answer within 1 s: have it loaded "
        "there, or name a faster one, and run this again"
    )


def test_nobody_listens(check, provider):
    url = url_of(provider)
    provider.shutdown()
    provider.server_close()
    assert refusal(check, url) == (
        "platform_model_base_url",
        f"{url}/embeddings cannot be reached from a tenant's network: "
        "[Errno 111] Connection refused. A server on the node or in its LAN must be listed in "
        "platform_model_endpoints",
    )


def test_a_certificate_that_nobody_knows(check, provider, tmp_path):
    (tmp_path / "certs").mkdir()
    ensure_ca(str(tmp_path / "ca"), "nobody's")
    leaf = ensure_leaf(str(tmp_path / "ca"), str(tmp_path / "certs"), "model.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.path)
    provider.socket = context.wrap_socket(provider.socket, server_side=True)
    variable, words = refusal(check, url_of(provider, "https"))
    assert variable == "platform_model_base_url"
    assert "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed" in words


BEDROCK = {
    "platform_model_provider": "bedrock",
    "platform_model_base_url": "",
    "platform_model_api_key": "",
    "platform_model_region": "eu-central-1",
    "platform_model_access_key_id": "AKIA0",
    "platform_model_secret_access_key": "secret-of-bedrock",
    "platform_embedder_model": "amazon.titan-embed-text-v2:0",
    "platform_embedder_dimensions": 1024,
    "platform_language_model": "eu.amazon.nova-lite-v1:0",
}


def test_bedrock_is_tried_once_with_its_keys_in_a_file(check):
    engine = check({"status": 200, "size": 1024}, **BEDROCK)
    ((_owner, _network, container),) = engine.runs
    assert json.loads(engine.request)["secret_access_key"] == "secret-of-bedrock"
    assert "secret-of-bedrock" not in repr(container)
    assert check({"status": 0}, **BEDROCK).runs == []


@pytest.mark.parametrize(
    ("answer", "variable", "words"),
    [
        (
            {"status": 200, "size": 512, "step": "language"},
            "platform_embedder_dimensions",
            "is 1024, but amazon.titan-embed-text-v2:0 gives vectors of 512: set it (or "
            "tenant_embedder_dimensions) to 512",
        ),
        (
            {"status": 403, "text": "The security token is invalid.", "step": "embedder"},
            "platform_model_access_key_id",
            "Amazon Bedrock in eu-central-1 refuses amazon.titan-embed-text-v2:0: The security "
            "token is invalid. Give keys that are valid there and may invoke it",
        ),
        (
            {"status": 0, "text": "Could not connect", "step": "embedder"},
            "platform_model_region",
            "Amazon Bedrock in eu-central-1 cannot be reached from a tenant's network: Could not "
            "connect",
        ),
        (
            {"status": 404, "text": "no such model", "step": "embedder"},
            "platform_embedder_model",
            "Amazon Bedrock in eu-central-1 answers for amazon.titan-embed-text-v2:0: no such "
            "model",
        ),
        (
            {"status": 404, "text": "no such model", "step": "language"},
            "platform_language_model",
            "Amazon Bedrock in eu-central-1 answers for eu.amazon.nova-lite-v1:0: no such model",
        ),
    ],
)
def test_what_bedrock_answers(check, answer, variable, words):
    with pytest.raises(VariableError) as caught:
        check(answer, **BEDROCK)
    assert (caught.value.variable, fleets(caught.value)) == (variable, words)
