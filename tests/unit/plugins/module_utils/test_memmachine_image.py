# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _memmachine_image
from ansible_collections.memcloud.memmachine.plugins.module_utils._images import (
    Image,
    ImageError,
    Provided,
    Request,
    read_context,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._memmachine_image import (
    Wanted,
    context_of,
    ensure_memmachine,
    source_of,
)

FILES = read_context(str(Path(__file__).parents[4] / "roles/memmachine_image/files/image"))
LABELS = {
    "memcloud.memmachine": "0.4.0",
    "memcloud.python": "3.13.5",
    "memcloud.psycopg2": "2.9.13",
    "memcloud.context": "abc",
}


@pytest.mark.parametrize(
    ("version", "source", "reference", "expected"),
    [
        ("0.4.0", "packages", "", "packages"),
        ("0.4.0", "auto", "", "packages"),
        ("0.4.0", "auto", "r.example.org/m:1", "auto"),
        ("0.4.0", "pull", "r.example.org/m:1", "pull"),
        ("0.1.5", "auto", "r.example.org/m:1", "pull"),
        ("0.1.5", "pull", "r.example.org/m:1", "pull"),
    ],
)
def test_the_source_that_can_have_a_version(
    version: str, source: str, reference: str, expected: str
) -> None:
    assert source_of(Wanted(version, source, reference)) == expected


@pytest.mark.parametrize(
    ("version", "source", "reference", "reason"),
    [
        ("0.5.0", "auto", "", "0.1 to 0.4"),
        ("latest", "auto", "", "0.1 to 0.4"),
        ("0.4", "auto", "", "0.1 to 0.4"),
        ("0.1.5", "auto", "", "never published as a package"),
        ("0.1.5", "packages", "r.example.org/m:1", "never published as a package"),
    ],
)
def test_a_version_that_no_source_has(
    version: str, source: str, reference: str, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        source_of(Wanted(version, source, reference))


@pytest.mark.parametrize("version", ["0.4.0", "0.3.9"])
def test_a_locked_version_is_pinned_with_hashes(version: str) -> None:
    requirements = context_of(Wanted(version), FILES)["requirements.txt"].decode()
    assert f"memmachine-server=={version} \\" in requirements
    assert "psycopg2-binary==" in requirements
    pinned = [line for line in requirements.splitlines() if "==" in line]
    assert all(line.endswith("\\") for line in pinned)
    assert requirements.count("--hash=sha256:") >= len(pinned)


def test_an_unlocked_version_asks_for_itself() -> None:
    requirements = context_of(Wanted("0.3.5"), FILES)["requirements.txt"]
    assert requirements == b"memmachine-server==0.3.5\npsycopg2-binary\n"


def test_a_context_that_is_not_whole_is_refused() -> None:
    with pytest.raises(ImageError, match=r"lacks .*launch\.py"):
        context_of(Wanted("0.4.0"), {"Dockerfile": b"FROM x"})


class Requests:
    """Stands in for the images of a node, and remembers what it was asked for."""

    def __init__(self, source: str = "packages", labels: dict[str, str] | None = None) -> None:
        self.source = source
        self.labels = LABELS if labels is None else labels
        self.request: Request | None = None
        self.check_mode: bool | None = None

    def __call__(self, client: Any, request: Request, *, check_mode: bool, log: Any) -> Provided:
        self.request, self.check_mode = request, check_mode
        image = Image("memcloud/memmachine:x", "sha256:1", self.labels, changed=True)
        return Provided(image, self.source, "asked for")


def test_versions_come_from_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memmachine_image, "provide", Requests())
    built = ensure_memmachine(None, Wanted("0.4.0", "packages"), FILES)
    assert built.versions == {"memmachine": "0.4.0", "python": "3.13.5", "psycopg2": "2.9.13"}
    assert built.warning == ""


def test_an_image_that_is_not_there_yet_has_no_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = Requests(labels={})
    monkeypatch.setattr(_memmachine_image, "provide", requests)
    built = ensure_memmachine(None, Wanted("0.4.0"), FILES, check_mode=True)
    assert built.versions == {}
    assert requests.check_mode is True


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("0.3.9", "0.3.9"),
        ("0.3.9", "0.3.9.dev4+g1a2b3c4"),
        ("0.4.0rc1", "0.4.0rc1"),
        # Placeholders, which say nothing.
        ("0.2.1", "0.1.0"),
        ("0.1.5", "0.1.0"),
    ],
)
def test_an_image_of_the_version_is_taken(
    version: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _memmachine_image, "provide", Requests("pull", {"memcloud.memmachine": found})
    )
    built = ensure_memmachine(None, Wanted(version, "pull", "r.example.org/m:1"), FILES)
    assert built.versions == {"memmachine": found}


@pytest.mark.parametrize(
    ("version", "found"), [("0.3.9", "0.3.8"), ("0.3.9", "0.3.90"), ("0.4.0", "0.4.0rc1")]
)
def test_an_image_of_another_version_is_refused(
    version: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _memmachine_image, "provide", Requests("pull", {"memcloud.memmachine": found})
    )
    with pytest.raises(ImageError) as caught:
        ensure_memmachine(None, Wanted(version, "pull", "r.example.org/m:1"), FILES)
    assert f"r.example.org/m:1 holds MemMachine {found}, not {version}" in str(caught.value)
    assert "platform_images.memmachine" in str(caught.value)
    assert f"set tenant_version to {found}" in str(caught.value)


def test_the_build_knows_what_to_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = Requests()
    monkeypatch.setattr(_memmachine_image, "provide", requests)
    ensure_memmachine(None, Wanted("0.4.0", "packages", interpreter="/venv/bin/python"), FILES)
    assert requests.request is not None
    assert requests.request.build_args == {
        "VERSION": "0.4.0",
        "INTERPRETER": "/venv/bin/python",
        "PIP_OPTIONS": "--require-hashes --no-deps",
    }
    assert requests.request.measured == "/opt/memcloud/image.json"


@pytest.mark.parametrize(("source", "warned"), [("packages", True), ("pull", False)])
def test_an_unlocked_build_warns(
    source: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memmachine_image, "provide", Requests(source, {}))
    built = ensure_memmachine(None, Wanted("0.3.5", "auto", "r.example.org/m:1"), FILES)
    assert ("no lock file" in built.warning) is warned
