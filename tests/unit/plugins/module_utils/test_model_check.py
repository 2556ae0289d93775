"""What the answer of a model provider means for the operator."""

from __future__ import annotations

import os
import sys

import pytest
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
        platform, tenant, secrets = tenant_data.make(
            tmp_path,
            platform_model_base_url=URL,
            platform_model_api_key="sk-secret-of-the-model",
            platform_embedder_model="embed",
            platform_embedder_dimensions=768,
            platform_language_model="chat",
            **variables,
        )
        engine = Engine(answer)
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
    assert os.listdir(tmp_path / "checked") == []
