# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images are found by what went into them, built once, pulled or built, and noted."""

from __future__ import annotations

import io
import json
import os
import urllib.error

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _images
from fake_images import FakeImages

CONTEXT = {"Dockerfile": b"ARG BASE\nFROM ${BASE}\n", "run": b"#!/bin/sh\n", "conf": b"x"}
DIGEST = "sha256:" + "1" * 64


@pytest.fixture(autouse=True)
def mmdebstrap(tmp_path, monkeypatch):
    """A mmdebstrap that writes its arguments where the tarball should be."""
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor a; do case $a in *.tar) echo "$*" > "$a";; esac; done\necho working\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return program


def build(client, **changes):
    options = {"name": "thing", "version": "1", "context": CONTEXT, "build_args": {"A": "b"}}
    return _images.ensure_image(client, **{**options, **changes})


@pytest.mark.parametrize(
    "context, arguments",
    [
        ({**CONTEXT, "conf": b"y"}, {"A": "b"}),
        ({**CONTEXT, "conf2": b"x"}, {"A": "b"}),
        ({"Dockerfile": CONTEXT["Dockerfile"], "run": b"#!/bin/sh\n"}, {"A": "b"}),
        (CONTEXT, {"A": "c"}),
        (CONTEXT, {}),
    ],
)
def test_hash_changes_with_everything_that_goes_in(context, arguments):
    assert _images.context_hash(context, arguments) != _images.context_hash(CONTEXT, {"A": "b"})


def test_hash_does_not_depend_on_order():
    turned = dict(reversed(CONTEXT.items()))
    assert _images.context_hash(turned, {}) == _images.context_hash(CONTEXT, {})


def test_hash_tells_a_file_from_the_next_ones_name():
    assert _images.context_hash({"a": b"bc"}, {}) != _images.context_hash({"ab": b"c"}, {})


def test_context_is_read_with_folders_and_without_caches(tmp_path):
    directory = tmp_path / "context"
    (directory / "sub" / "__pycache__").mkdir(parents=True)
    (directory / "Dockerfile").write_bytes(b"FROM scratch\n")
    (directory / "sub" / "a.py").write_bytes(b"1")
    (directory / "sub" / "__pycache__" / "a.pyc").write_bytes(b"2")
    assert _images.read_context(str(directory)) == {
        "Dockerfile": b"FROM scratch\n",
        "sub/a.py": b"1",
    }


def test_missing_context_is_an_error(tmp_path):
    with pytest.raises(_images.ImageError, match="missing or empty"):
        _images.read_context(str(tmp_path / "nowhere"))


def test_image_is_built_once():
    client = FakeImages()
    first = build(client)
    second = build(client)
    assert (first.changed, second.changed) == (True, False)
    assert first.ref == second.ref and first.id == second.id
    assert len(client.builds) == 1
    assert first.ref.startswith("memcloud/thing:1-")
    assert first.labels["memcloud.context"].startswith(first.ref.rpartition("-")[2])


def test_build_says_what_it_does():
    lines = []
    build(FakeImages(), log=lines.append)
    assert lines == ["Step 1/1 : FROM ${BASE}", "Successfully built"]


def test_check_mode_builds_nothing():
    client = FakeImages()
    image = build(client, check_mode=True)
    assert image.changed and image.id == "" and not client.builds


def test_build_gets_the_nodes_authorities_and_scripts_are_executable():
    client = FakeImages()
    build(client)
    members = client.contexts[0]
    assert b"BEGIN CERTIFICATE" in members[".trust/ca-certificates.crt"][0]
    assert members["run"][1] == 0o755
    assert members["conf"][1] == 0o644


def test_authorities_do_not_change_the_hash(monkeypatch):
    first = build(FakeImages())
    monkeypatch.setattr(_images, "build_trust", lambda: b"others")
    assert build(FakeImages()).ref == first.ref


def test_builder_stages_are_taken_away():
    client = FakeImages()
    build(client)
    assert client.pruned == [{"dangling": True, "label": "memcloud.stage=builder"}]


@pytest.mark.parametrize("line", ["COPY .trust/ca-certificates.crt /x", "  add .trust /x"])
def test_authorities_cannot_stay_in_the_image(line):
    recipe = f"FROM a AS b\nCOPY .trust/c /c\nFROM a\n{line}\n".encode()
    with pytest.raises(_images.ImageError, match="builder stage"):
        build(FakeImages(), context={"Dockerfile": recipe})


def test_authorities_may_be_in_a_builder_stage():
    recipe = b"FROM a AS b\nCOPY .trust/c /c\nFROM a\n# not .trust\nCOPY --from=b /x /x\n"
    assert build(FakeImages(), context={"Dockerfile": recipe}).changed


def test_context_without_recipe_is_an_error():
    with pytest.raises(_images.ImageError, match="no file Dockerfile"):
        build(FakeImages(), context={"a": b""})


def test_failed_build_shows_its_last_lines():
    with pytest.raises(_images.ImageError, match="(?s)memcloud/thing.*Step 1/1.*no space"):
        build(FakeImages(failure="no space"))


def test_proxy_of_the_node_is_used_and_does_not_change_the_name(monkeypatch):
    before = build(FakeImages()).ref
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    client = FakeImages()
    assert build(client).ref == before
    assert client.builds[0]["args"] == {"HTTPS_PROXY": "http://proxy:1", "A": "b"} | {
        name: os.environ[name] for name in _images.PROXY_VARIABLES if name in os.environ
    }


def test_what_the_build_measured_becomes_labels():
    client = FakeImages(files={"/facts.json": {"version": "17.4"}})
    image = build(client, measured="/facts.json", labels={"x": "y"})
    assert image.labels["version"] == "17.4"
    assert image.labels["x"] == "y"
    assert build(client, measured="/facts.json").id == image.id


@pytest.mark.parametrize("files", [{}, {"/facts.json": b"not json"}])
def test_image_without_its_facts_is_not_kept(files):
    client = FakeImages(files=files)
    with pytest.raises(_images.ImageError, match="no readable /facts.json"):
        build(client, measured="/facts.json")
    assert not client.store


def test_base_is_made_once():
    client = FakeImages()
    first = _images.ensure_base(client)
    assert first.changed and first.ref.startswith("memcloud/base:trixie-")
    assert b"--variant=minbase" in client.imports[0]
    assert not _images.ensure_base(client).changed
    assert len(client.imports) == 1


def test_base_comes_from_the_mirror_that_is_named():
    client = FakeImages()
    _images.ensure_base(client, mirror="http://debian.example.com/debian")
    assert client.imports[0].rstrip().endswith(b".tar http://debian.example.com/debian")


@pytest.mark.parametrize("change", [{"revision": "2"}, {"suite": "forky"}, {"packages": ["x"]}])
def test_another_base_has_another_name(change):
    options = {"suite": "trixie", **change}
    assert _images.ensure_base(FakeImages(), **options).ref != _images.ensure_base(FakeImages()).ref


def test_base_in_check_mode():
    client = FakeImages()
    assert _images.ensure_base(client, check_mode=True).id == ""
    assert not client.imports


def test_missing_mmdebstrap_says_what_to_install(mmdebstrap, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_images.ImageError, match="Install the package mmdebstrap") as caught:
        _images.ensure_base(FakeImages())
    # The edge is built from packages with this source, too.
    assert "platform_image_source" not in str(caught.value)


def test_failed_mmdebstrap_shows_its_last_lines(mmdebstrap):
    mmdebstrap.write_text("#!/bin/sh\necho cannot reach the mirror\nexit 3\n")
    lines = []
    with pytest.raises(_images.ImageError, match="(?s)code 3:.*cannot reach the mirror"):
        _images.ensure_base(FakeImages(), log=lines.append)
    assert lines == ["cannot reach the mirror"]


@pytest.mark.parametrize(
    "reference", ["example.com:5000/a/b:1", f"a/b@{DIGEST}", f"a/b:1@{DIGEST}"]
)
def test_image_is_pulled_once(reference):
    wanted = reference if "@" not in reference else f"a/b@{DIGEST}"
    client = FakeImages(registry=[wanted])
    first = _images.ensure_pulled(client, wanted)
    assert first.changed and client.pulls == [wanted]
    assert not _images.ensure_pulled(client, wanted).changed
    assert _images.split_reference(reference) == tuple(
        wanted.split("@") if "@" in wanted else wanted.rsplit(":", 1)
    )


def test_pull_in_check_mode():
    client = FakeImages()
    assert _images.ensure_pulled(client, "a:1", check_mode=True).changed
    assert not client.pulls


def test_refused_pull_says_why_and_what_else_to_do():
    with pytest.raises(_images.ImageError, match="manifest unknown.*packages"):
        _images.ensure_pulled(FakeImages(), "a:1")


def test_reference_without_a_version_is_refused():
    with pytest.raises(_images.ImageError, match="neither tag nor digest"):
        _images.ensure_pulled(FakeImages(), "example.com:5000/a/b")


@pytest.mark.parametrize(
    "reference, host",
    [
        ("postgres:17", "registry-1.docker.io"),
        ("pgvector/pgvector:pg17", "registry-1.docker.io"),
        ("docker.io/a/b:1", "registry-1.docker.io"),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("localhost/a:1", "localhost"),
        ("node:5000/a:1", "node:5000"),
    ],
)
def test_registry_of_a_reference(reference, host):
    assert _images.registry_of(reference) == host


def answering(code, headers=None):
    def open_url(url, timeout):
        if code == 200:
            return io.BytesIO()
        if code == 0:
            raise urllib.error.URLError("no route")
        raise urllib.error.HTTPError(url, code, "", headers or {}, None)

    return open_url


@pytest.mark.parametrize(
    "answer, expected",
    [
        (answering(200), True),
        (answering(401), True),
        (answering(403), False),
        (answering(403, {"Docker-Distribution-Api-Version": "registry/2.0"}), True),
        (answering(0), False),
    ],
)
@pytest.mark.parametrize("reference", ["a:1", "localhost:5000/a:1"])
def test_whether_a_registry_answers(answer, expected, reference, monkeypatch):
    monkeypatch.setattr(_images, "open_url", answer)
    assert _images.registry_answers(reference) is expected


def request(**changes):
    options = {"name": "thing", "version": "1", "context": CONTEXT, "reference": "hub/thing:1"}
    return _images.Request(**{**options, **changes})


def test_packages_are_built_on_the_base():
    client = FakeImages()
    provided = _images.provide(client, request(source="packages"))
    assert (provided.source, provided.reason) == ("packages", "asked for")
    assert client.builds[0]["args"]["BASE"].startswith("memcloud/base:trixie-")


def test_an_image_that_is_there_needs_no_base():
    client = FakeImages()
    built = _images.provide(client, request(source="packages"))
    (base,) = [ref for ref in client.store if ref.startswith("memcloud/base:")]
    del client.store[base]  # as docker image prune does
    again = _images.provide(client, request(source="packages"))
    assert again.image.id == built.image.id and not again.image.changed
    assert base not in client.store


def test_pulled_image_gets_the_layer_of_its_own_recipe():
    client = FakeImages(registry=["hub/thing:1"])
    context = {**CONTEXT, "Dockerfile.pull": b"ARG BASE\nFROM ${BASE}\n"}
    provided = _images.provide(client, request(source="pull", context=context))
    assert provided.source == "pull"
    assert provided.image.ref.startswith("memcloud/thing:1-")
    assert client.builds[0]["file"] == "Dockerfile.pull"
    assert client.builds[0]["args"]["BASE"] == client.store["hub/thing:1"]["Id"]


def test_pulled_image_without_a_recipe_is_used_as_it_is():
    provided = _images.provide(FakeImages(registry=["hub/thing:1"]), request(source="pull"))
    assert provided.image.ref == "hub/thing:1"


def test_pull_needs_a_reference():
    with pytest.raises(_images.ImageError, match="platform_images"):
        _images.provide(FakeImages(), request(source="pull", reference=""))


@pytest.mark.parametrize(
    "answers, registry, source, reason",
    [
        (True, ["hub/thing:1"], "pull", "answers"),
        (False, [], "packages", "does not answer"),
        (True, [], "packages", "manifest unknown"),
    ],
)
def test_auto_takes_what_answers(answers, registry, source, reason, monkeypatch):
    monkeypatch.setattr(_images, "registry_answers", lambda reference: answers)
    provided = _images.provide(FakeImages(registry=registry), request(source="auto"))
    assert provided.source == source
    assert reason in provided.reason


@pytest.mark.parametrize("source", ["pull", "packages"])
def test_auto_stays_with_what_the_node_has(source, monkeypatch):
    client = FakeImages(registry=["hub/thing:1"])
    _images.provide(client, request(source=source))
    monkeypatch.setattr(_images, "registry_answers", None)
    again = _images.provide(client, request(source="auto"))
    assert again.source == source
    assert not again.image.changed


def test_image_is_noted_once(tmp_path):
    image = _images.Image("memcloud/thing:1-a", "sha256:1")
    directory = str(tmp_path / "data")
    assert _images.record_image(directory, "thing", image, "1.2", {"source": "pull"})
    assert not _images.record_image(directory, "thing", image, "1.2", {"source": "pull"})
    assert _images.read_images(directory) == {
        "thing": {"ref": image.ref, "id": "sha256:1", "version": "1.2", "source": "pull"}
    }
    assert oct(os.stat(os.path.join(directory, "images.json")).st_mode & 0o777) == "0o644"


def test_several_versions_of_the_server_are_noted_beside_each_other(tmp_path):
    for version in ("0.3.9", "0.4.0"):
        _images.record_image(str(tmp_path), "memmachine", _images.Image(version, version), version)
    assert sorted(_images.read_images(str(tmp_path))["memmachine"]) == ["0.3.9", "0.4.0"]


def test_note_in_check_mode_writes_nothing(tmp_path):
    image = _images.Image("a", "b")
    assert _images.record_image(str(tmp_path / "x"), "thing", image, "1", check_mode=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", ["{", json.dumps([])])
def test_damaged_note_says_what_to_do(tmp_path, content):
    (tmp_path / "images.json").write_text(content)
    with pytest.raises(_images.ImageError, match="run setup_node again"):
        _images.read_images(str(tmp_path))


def test_trust_prefers_the_file_that_the_environment_names(tmp_path, monkeypatch):
    authority = "-----BEGIN CERTIFICATE-----\n"
    (tmp_path / "own.crt").write_text(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.crt"))
    assert _images.build_trust() == authority.encode()


def test_trust_without_any_file_is_what_python_knows(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert _images.build_trust(files=()).count(b"BEGIN") >= 0


def test_build_that_failed_before_is_tried_again():
    client = FakeImages(failure="broken")
    with pytest.raises(_images.ImageError):
        build(client)
    client.failure = ""
    assert build(client).changed
