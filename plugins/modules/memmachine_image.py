#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide the image of one MemMachine version on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memmachine_image
short_description: Provide the image of a MemMachine version, with psycopg2, on a node
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Builds the image from Debian's and PyPI's packages, with the versions that a lock file of this
    collection names, or takes a published image and puts psycopg2 and this collection's launcher
    on top of it.
  - The server's own interpreter says where its packages are, whatever its version and whether its
    virtual environment is a real one or a set of links, and imports psycopg2 from there before
    the image gets its name.
  - The image carries labels with the hash of everything that went into it and with the versions of
    MemMachine, Python and psycopg2. An image with the same hash is not built again.
  - The result is noted in C(images.json) in the platform's data directory.
attributes:
  check_mode:
    support: full
    description: Says whether the image would be built or pulled, and changes nothing.
  diff_mode:
    support: full
    description: Shows the entry of C(images.json) before and after.
options:
  version:
    description: Version of the MemMachine server, written in full like V(0.4.0).
    type: str
    required: true
  source:
    description:
      - Where the image comes from.
      - V(auto) pulls where O(reference) is given and its registry answers, else builds from
        packages.
    type: str
    choices: [auto, pull, packages]
    default: auto
  reference:
    description: Published image of this version with tag or, better, digest.
    type: str
    default: ""
  interpreter:
    description: The server's Python in the published image.
    type: path
    default: /app/.venv/bin/python
  mirror:
    description: Debian archive to build from, in place of Debian's own.
    type: str
    default: ""
  revision:
    description:
      - Any text. A new one makes a new base and image from Debian's packages of that day.
    type: str
    default: ""
  context:
    description:
      - Build context as a mapping from path to text.
      - The files of the role P(memcloud.memmachine.memmachine_image#role) by default.
    type: dict
    default: {}
  platform_data_dir:
    description: Directory of the platform on the node, that holds C(images.json).
    type: path
    required: true
  docker_host:
    description: Address of the Docker Engine.
    type: str
    default: unix:///var/run/docker.sock
requirements:
  - Docker SDK for Python
  - mmdebstrap, to build from packages
"""

EXAMPLES = r"""
- name: MemMachine 0.4.0 is on the node
  memcloud.memmachine.memmachine_image:
    version: 0.4.0
    platform_data_dir: /var/lib/memcloud/mc

- name: A published image by its digest, patched
  memcloud.memmachine.memmachine_image:
    version: 0.3.9
    source: pull
    reference: registry.example.org/memmachine@sha256:6f0e5c1d3f5b0a9f7c0e9e3a1b2c3d4e5f60718293a4b5c6d7e8f90123456789
    platform_data_dir: /var/lib/memcloud/mc
"""

RETURN = r"""
ref:
  description: Name of the image on the node.
  type: str
  returned: always
  sample: memcloud/memmachine:0.4.0-0123456789ab
id:
  description: Digest of the image on the node; empty in check mode when it is not there yet.
  type: str
  returned: always
  sample: sha256:87cb8b71c4c358e8eb870608b8242e39424182caefaaca9ecdb5d22fcd986350
source:
  description: Where the image came from.
  type: str
  returned: always
  sample: packages
reason:
  description: Why it came from there.
  type: str
  returned: always
  sample: the registry does not answer
versions:
  description: Versions of C(memmachine), C(python) and C(psycopg2) in the image, as it says itself.
  type: dict
  returned: when the image is on the node
  sample: {"memmachine": "0.4.0", "python": "3.13.5", "psycopg2": "2.9.13"}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _images,
    _memmachine_image,
    _server_image,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    DEFAULT_HOST,
    docker_client,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run

BUILD_TIMEOUT = 1800


def argument_spec() -> dict[str, Any]:
    """Return the options; DOCUMENTATION says what they mean."""
    return {
        "version": {"type": "str", "required": True},
        "source": {"type": "str", "choices": ["auto", "pull", "packages"], "default": "auto"},
        "reference": {"type": "str", "default": ""},
        "interpreter": {"type": "path", "default": _server_image.INTERPRETER},
        "mirror": {"type": "str", "default": ""},
        "revision": {"type": "str", "default": ""},
        "context": {"type": "dict", "default": {}},
        "platform_data_dir": {"type": "path", "required": True},
        "docker_host": {"type": "str", "default": DEFAULT_HOST},
    }


def work(module: AnsibleModule) -> dict[str, Any]:
    """Provide the image, note it, and return the result of the task."""
    params = module.params
    names = ("version", "source", "reference", "interpreter", "mirror", "revision")
    with docker_client(params["docker_host"], BUILD_TIMEOUT) as client:
        built = _memmachine_image.ensure_memmachine(
            client,
            _memmachine_image.Wanted(**{name: params[name] for name in names}),
            {path: str(text).encode() for path, text in params["context"].items()},
            check_mode=module.check_mode,
        )
    if built.warning:
        module.warn(built.warning)
    return dict(note(module, built), **outputs(built))


def note(module: AnsibleModule, built: _memmachine_image.Built) -> dict[str, Any]:
    """Note the image in images.json; return whether anything changed, and what."""
    data_dir, version = module.params["platform_data_dir"], module.params["version"]
    before = _images.read_images(data_dir).get(_memmachine_image.NAME, {}).get(version, {})
    extra = {"source": built.source}
    extra.update((name, built.versions[name]) for name in built.versions if name != "memmachine")
    noted = _images.record_image(
        data_dir,
        _memmachine_image.NAME,
        built.image,
        version,
        extra,
        check_mode=module.check_mode,
    )
    after = dict(extra, ref=built.image.ref, id=built.image.id, version=version)
    return {
        "changed": built.image.changed or noted,
        "diff": {"before": {version: before}, "after": {version: after}},
    }


def outputs(built: _memmachine_image.Built) -> dict[str, Any]:
    """Return what RETURN says of the image."""
    return {
        "ref": built.image.ref,
        "id": built.image.id,
        "source": built.source,
        "reason": built.reason,
        "versions": dict(built.versions),
    }


def main() -> None:
    """Module entry."""
    run(AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
