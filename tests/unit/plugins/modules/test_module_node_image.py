# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module node_image, from its arguments to its result, with a client that knows images only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import docker
import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.memcloud.memmachine.plugins.module_utils import _engine
from ansible_collections.memcloud.memmachine.plugins.modules import node_image

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils"))
from fake_images import FakeImages

CONTEXT = {"Dockerfile": "ARG BASE\nFROM ${BASE}\n"}


@pytest.fixture
def engine(monkeypatch):
    client = FakeImages(registry=["hub/thing:1"], files={"/facts.json": {"thing.version": "1.2.3"}})
    monkeypatch.setattr(docker, "APIClient", lambda **_options: client)
    return client


def run(capsys, tmp_path, **arguments):
    options = {
        "name": "thing",
        "version": "1",
        "context": CONTEXT,
        "platform_data_dir": str(tmp_path / "data"),
        "source": "pull",
        "reference": "hub/thing:1",
    }
    with patch_module_args({**options, **arguments}), pytest.raises(SystemExit):
        node_image.main()
    return json.loads(capsys.readouterr().out)


def noted(tmp_path):
    path = tmp_path / "data" / "images.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_check_run_and_run_again(engine, capsys, tmp_path):
    assert run(capsys, tmp_path, _ansible_check_mode=True)["changed"] is True
    assert (noted(tmp_path), engine.pulls) == ({}, [])
    first = run(capsys, tmp_path)
    assert first["changed"] is True
    assert first["diff"]["before"] == {"thing": {}}
    assert first["diff"]["after"]["thing"] == noted(tmp_path)["thing"]
    assert noted(tmp_path)["thing"]["id"] == engine.store["hub/thing:1"]["Id"]
    assert run(capsys, tmp_path)["changed"] is False
    assert run(capsys, tmp_path, _ansible_check_mode=True)["changed"] is False


def test_exact_version_comes_from_the_image(engine, capsys, tmp_path):
    result = run(
        capsys,
        tmp_path,
        context={"Dockerfile.pull": CONTEXT["Dockerfile"]},
        measured="/facts.json",
        version_label="thing.version",
        kind="kind_of_thing",
    )
    assert result["version"] == "1.2.3"
    assert noted(tmp_path)["kind_of_thing"]["version"] == "1.2.3"


def test_error_says_what_to_do(engine, capsys, tmp_path):
    result = run(capsys, tmp_path, reference="hub/other:1")
    assert result["failed"] is True
    assert "Cannot pull hub/other:1: manifest unknown" in result["msg"]


def test_engine_that_does_not_answer(monkeypatch, capsys, tmp_path):
    def refuse(**_options):
        raise docker.errors.DockerException("connection refused")

    monkeypatch.setattr(docker, "APIClient", refuse)
    result = run(capsys, tmp_path)
    assert "connection refused" in result["msg"] and "setup_node" in result["msg"]


def test_missing_library(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_engine, "HAS_DOCKER", False)
    assert "Docker SDK" in run(capsys, tmp_path)["msg"]


def test_documentation_names_every_option():
    import yaml

    options = yaml.safe_load(node_image.DOCUMENTATION)["options"]
    assert set(options) == set(node_image.argument_spec())
    assert basic.AnsibleModule is node_image.AnsibleModule
