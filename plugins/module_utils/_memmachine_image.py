# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MemMachine image of a node: published and patched, or built from packages.

Either way the server's own interpreter does the work inside the build, imports psycopg2 before the
image gets its name, and afterwards tells the versions that the labels carry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._images import (
    PULL_DOCKERFILE,
    Image,
    ImageError,
    Request,
    provide,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import INTERPRETER

NAME = "memmachine"
FACTS = "/opt/memcloud/image.json"
VERSION = re.compile(r"^0\.([1-4])\.\d+(?:(?:a|b|rc)\d+)?$")
# What published images before 0.2.3 and builds without git call themselves, whatever they hold.
PLACEHOLDERS = ("0.1.0", "0.0.0")
_RELEASE = re.compile(r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?")
LOCK = "locks/memmachine-%s.txt"
FILES = (
    "Dockerfile",
    PULL_DOCKERFILE,
    "launch.py",
    "lean.py",
    "nltk.txt",
    "prepare.py",
    "psycopg2.txt",
)
# What the labels say that the build itself writes.
LABELS = {
    "memmachine": "memcloud.memmachine",
    "python": "memcloud.python",
    "psycopg2": "memcloud.psycopg2",
}
Log = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What an operator wants: a server version, and where it may come from.

    :param reference: a published image, by tag or digest, for the sources C(pull) and C(auto).
    :param interpreter: the server's Python in the published image.
    """

    version: str
    source: str = "auto"
    reference: str = ""
    interpreter: str = INTERPRETER
    mirror: str = ""
    revision: str = ""


@dataclass(frozen=True)
class Built:
    """The image, where it came from and why, and what its interpreter says about itself."""

    image: Image
    source: str
    reason: str
    versions: Mapping[str, str]
    warning: str = ""


def ensure_memmachine(
    client: Any,
    wanted: Wanted,
    files: Mapping[str, bytes],
    *,
    check_mode: bool = False,
    log: Log | None = None,
) -> Built:
    """Return the image of a server version, making it where the node does not have it.

    :param client: a C(docker.APIClient).
    :param files: the files of the role's C(image) directory by their path in it.
    """
    source = source_of(wanted)
    locked = LOCK % wanted.version in files
    provided = provide(
        client,
        Request(
            name=NAME,
            version=wanted.version,
            context=context_of(wanted, files),
            source=source,
            reference=wanted.reference,
            mirror=wanted.mirror,
            revision=wanted.revision,
            build_args={
                "VERSION": wanted.version,
                "INTERPRETER": wanted.interpreter,
                "PIP_OPTIONS": "--require-hashes --no-deps" if locked else "",
            },
            measured=FACTS,
        ),
        check_mode=check_mode,
        log=log,
    )
    labels = provided.image.labels
    versions = {name: labels[label] for name, label in LABELS.items() if label in labels}
    _check_version(wanted, versions.get("memmachine", ""))
    return Built(
        image=provided.image,
        source=provided.source,
        reason=provided.reason,
        versions=versions,
        warning="" if locked or provided.source == "pull" else _unlocked(wanted.version),
    )


def _check_version(wanted: Wanted, found: str) -> None:
    """Stop where a reference leads to another version, which would run under the wanted name.

    :param found: the version that the server in the image says it is, empty without an image.
    """
    match = _RELEASE.match(found)
    if match is None or match.group() in (wanted.version, *PLACEHOLDERS):
        return
    raise ImageError(
        f"The image {wanted.reference} holds MemMachine {found}, not {wanted.version}: write "
        "{version} in place of the version in platform_images.memmachine, give each version its "
        f"own reference in memmachine_image_references, or set tenant_version to {match.group()} "
        "(platform_memmachine_version for tenants without one)."
    )


def source_of(wanted: Wanted) -> str:
    """Return the source that can have the version, or say why none can."""
    match = VERSION.match(wanted.version)
    if match is None:
        raise ImageError(
            f"MemMachine version {wanted.version!r} is not supported: this release knows 0.1 to "
            "0.4, written in full like 0.4.0."
        )
    packaged = int(match.group(1)) > 1
    if not packaged and (wanted.source == "packages" or not wanted.reference):
        raise ImageError(
            f"MemMachine {wanted.version} was never published as a package: give the reference "
            "of a published image in platform_images, and image source pull."
        )
    if not packaged:
        return "pull"
    return "packages" if wanted.source == "auto" and not wanted.reference else wanted.source


def context_of(wanted: Wanted, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the build context of a version."""
    missing = [name for name in FILES if name not in files]
    if missing:
        raise ImageError(
            "The build context of the MemMachine image lacks %s: give all files of the role "
            "memmachine_image's directory files/image." % ", ".join(missing)
        )
    unlocked = f"memmachine-server=={wanted.version}\npsycopg2-binary\n".encode()
    requirements = files.get(LOCK % wanted.version, unlocked)
    return dict({name: files[name] for name in FILES}, **{"requirements.txt": requirements})


def _unlocked(version: str) -> str:
    return (
        f"MemMachine {version} has no lock file in this release of the collection: its image takes "
        "the newest versions of the packages it depends on."
    )
