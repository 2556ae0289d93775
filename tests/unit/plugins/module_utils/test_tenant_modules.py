"""What the modules that work on a node return."""

from __future__ import annotations

import json
import os
import sys
import types

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _calls, _module
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.modules import node_services

sys.path.insert(0, os.path.dirname(__file__))
import tenant_data
import test_deploy
from fake_engine import FakeEngine

node = test_deploy.node  # a fixture


def module(check_mode=False, **params):
    return types.SimpleNamespace(params=params, check_mode=check_mode)


def params_of(data_dir):
    platform, tenant, secrets = tenant_data.make(data_dir, platform_tls_mode="off")
    return {
        "platform": json.dumps(platform),
        "tenants": json.dumps([tenant]),
        "secrets": json.dumps({"acme": secrets}),
        "purge": False,
        "settle": False,
        "owner": "ann@desk",
    }


def test_plan_converge_plan(node):
    params = params_of(node.data_dir)
    first = _calls.answer("tenant_plan", params, False)
    assert first["changed"] is False
    assert (first["checked"], len(first["tenants"])) == (1, 1)
    assert _calls.answer("tenant_converge", params, True)["changed"] is False  # check mode
    done = _calls.answer("tenant_converge", params, False)
    assert done["changed"] is True
    assert done["tenants"][0]["error"] == ""
    again = _calls.answer("tenant_plan", params, False)
    assert again["tenants"] == []
    required = {name: params[name] for name in ("platform", "tenants")}
    assert _calls.answer("tenant_plan", required, False) == again
    secrets = json.loads(params["secrets"])["acme"].values()
    said = json.dumps([first, done, again])
    assert not any(secret in said for secret in secrets if secret)


@pytest.fixture
def services(monkeypatch, tmp_path):
    engine = FakeEngine(dict(test_deploy.IMAGES))
    monkeypatch.setattr(node_services, "Engine", lambda host: engine)
    me = {"uid": os.getuid(), "gid": os.getgid()}
    params = {
        "platform": "mc",
        "group": "edge",
        "docker_host": "unix:///x",
        "networks": [
            {
                "name": "mc-node",
                "bridge": "mc-n0",
                "subnet": "10.0.0.0/28",
                "gateway": "10.0.0.1",
                "internal": False,
            }
        ],
        "directories": [{"path": str(tmp_path / "d"), "mode": "0750", **me}],
        "files": [{"path": str(tmp_path / "d" / "f"), "content": "x", "mode": "0640", **me}],
        "containers": [{"name": "mc-edge", "role": "edge", "image": "sha256:p", "memory": "64m"}],
    }
    return engine, params


def test_node_services_check_run_run_again(services, tmp_path):
    engine, params = services
    checked = node_services.work(module(check_mode=True, **params))
    assert checked["changed"] is True
    assert engine.calls == []
    assert not (tmp_path / "d").exists()
    ran = node_services.work(module(**params))
    assert ran["drift"] == checked["drift"]
    assert node_services.work(module(**params))["changed"] is False


def test_node_services_of_another_group_are_left_alone(services):
    engine, params = services
    node_services.work(module(**params))
    other = {**params, "group": "gate", "containers": [], "networks": [], "files": []}
    assert node_services.work(module(**other))["changed"] is False
    assert "mc-edge" in engine.found_containers


def test_an_error_of_ours_becomes_the_modules_failure():
    said = {}

    class Module:
        def fail_json(self, **result):
            said.update(result)

        def exit_json(self, **result):
            said.update(result)

    def fail(_module):
        raise MemcloudError("node1: no engine")

    _module.run(Module(), fail)
    assert said == {"msg": "node1: no engine"}
    said.clear()
    _module.run(Module(), lambda _module: {"changed": False})
    assert said == {"changed": False}
