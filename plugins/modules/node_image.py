#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide one image on a node and note it in the node's images.json."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_image
short_description: Provide an image on a node, built from packages or pulled
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Builds an image from a small build context on a base made from Debian's packages, or pulls it
    from a registry and puts the layer of C(Dockerfile.pull) on top of it.
  - The image carries the hash of everything that went into it, so that a build that was done
    before is found and not done again.
  - The node's certificate authorities are handed to builder stages at
    C(.trust/ca-certificates.crt). They never stay in the image.
  - The result is noted in C(images.json) in the platform's data directory.
attributes:
  check_mode:
    support: full
    description: Says whether the image would be built or pulled, and changes nothing.
  diff_mode:
    support: full
    description: Shows the entry of C(images.json) before and after.
options:
  name:
    description: Name of the image; it becomes C(memcloud/<name>:<version>-<hash>).
    type: str
    required: true
  kind:
    description:
      - Under which key the image is noted in C(images.json).
      - The value of O(name) by default.
    type: str
  version:
    description: Version of the software inside, for the tag and C(images.json).
    type: str
    required: true
  context_dir:
    description:
      - Directory with the build context on the controller, relative to the role's C(files).
      - All its files must be text. The one that begins with C(#!) becomes executable.
      - One of O(context_dir) and O(context) is needed.
    type: str
  context:
    description: Build context as a mapping from path to text; wins over files of O(context_dir).
    type: dict
    default: {}
  build_args:
    description: Build arguments. C(BASE) is set to the image to start from.
    type: dict
    default: {}
  labels:
    description: Labels of the image.
    type: dict
    default: {}
  measured:
    description: JSON file in the image, written by its build, whose entries become labels.
    type: str
    default: ""
  version_label:
    description:
      - Label that holds the exact version that was built.
      - Noted as the version in C(images.json) in place of O(version).
    type: str
    default: ""
  source:
    description:
      - Where the image comes from.
      - V(auto) pulls where the registry answers within a few seconds, else builds from packages.
    type: str
    choices: [auto, pull, packages]
    default: packages
  reference:
    description: Image of a registry with tag or digest, for O(source=pull) and O(source=auto).
    type: str
    default: ""
  suite:
    description: Debian release of the base image.
    type: str
    default: trixie
  mirror:
    description: Debian archive to make the base image from, in place of Debian's own.
    type: str
    default: ""
  revision:
    description:
      - Any text. A new one makes new base and images from the packages of that day.
    type: str
    default: ""
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
- name: PostgreSQL with pgvector is on the node
  memcloud.memmachine.node_image:
    name: postgres
    version: "17"
    context_dir: image
    source: auto
    reference: pgvector/pgvector:0.8.1-pg17
    platform_data_dir: /var/lib/memcloud/mc
"""

RETURN = r"""
ref:
  description: Name of the image on the node.
  type: str
  returned: always
  sample: memcloud/postgres:17-0123456789ab
id:
  description: Id of the image; empty in check mode when it is not there yet.
  type: str
  returned: always
version:
  description: Version that was noted.
  type: str
  returned: always
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
image_labels:
  description: Labels of the image.
  type: dict
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils import _images
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    DEFAULT_HOST,
    docker_client,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run

BUILD_TIMEOUT = 1800


def argument_spec() -> dict[str, Any]:
    """Return the options; DOCUMENTATION says what they mean."""
    return {
        "name": {"type": "str", "required": True},
        "kind": {"type": "str"},
        "version": {"type": "str", "required": True},
        "context_dir": {"type": "str"},
        "context": {"type": "dict", "default": {}},
        "build_args": {"type": "dict", "default": {}},
        "labels": {"type": "dict", "default": {}},
        "measured": {"type": "str", "default": ""},
        "version_label": {"type": "str", "default": ""},
        "source": {
            "type": "str",
            "choices": ["auto", "pull", "packages"],
            "default": "packages",
        },
        "reference": {"type": "str", "default": ""},
        "suite": {"type": "str", "default": "trixie"},
        "mirror": {"type": "str", "default": ""},
        "revision": {"type": "str", "default": ""},
        "platform_data_dir": {"type": "path", "required": True},
        "docker_host": {"type": "str", "default": DEFAULT_HOST},
    }


def request_of(params: dict[str, Any]) -> _images.Request:
    """Return what the task asks for."""
    return _images.Request(
        name=params["name"],
        version=params["version"],
        context={path: str(text).encode() for path, text in params["context"].items()},
        source=params["source"],
        reference=params["reference"],
        suite=params["suite"],
        mirror=params["mirror"],
        revision=params["revision"],
        build_args={name: str(value) for name, value in params["build_args"].items()},
        labels={name: str(value) for name, value in params["labels"].items()},
        measured=params["measured"],
    )


def work(module: AnsibleModule) -> dict[str, Any]:
    """Provide the image, note it, and return the result of the task."""
    params = module.params
    kind = params["kind"] or params["name"]
    data_dir = params["platform_data_dir"]
    with docker_client(params["docker_host"], BUILD_TIMEOUT) as client:
        provided = _images.provide(client, request_of(params), check_mode=module.check_mode)
    image = provided.image
    version = image.labels.get(params["version_label"]) or params["version"]
    before = _images.read_images(data_dir).get(kind, {})
    noted = _images.record_image(
        data_dir, kind, image, version, {"source": provided.source}, check_mode=module.check_mode
    )
    after = {"ref": image.ref, "id": image.id, "version": version, "source": provided.source}
    return {
        "changed": image.changed or noted,
        "ref": image.ref,
        "id": image.id,
        "version": version,
        "source": provided.source,
        "reason": provided.reason,
        "image_labels": dict(image.labels),
        "diff": {"before": {kind: before}, "after": {kind: after}},
    }


def main() -> None:
    """Module entry."""
    run(AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
