#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the configuration of a MemMachine server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memmachine_config
short_description: Write the configuration.yml of a MemMachine server
version_added: 0.1.0
author: "memcloud contributors (@memcloud)"
description:
  - Renders C(configuration.yml) from one description, in the format that the given version of the
    server reads.
  - Refuses what the server would take without a word and not do, such as a C($) in a secret, an
    empty API key, or a password that breaks a URL.
  - A changed text is loaded by the server of O(image), without network, before it replaces the old
    file. The file is replaced atomically.
  - The text is never returned, and a diff shows it without its secrets.
attributes:
  check_mode:
    support: full
    description: Renders and checks, but writes nothing.
  diff_mode:
    support: full
    description: Shows the text before and after with its secrets masked.
options:
  path:
    description: File to write.
    type: path
    required: true
  version:
    description:
      - Version of the server, written in full like V(0.4.0).
      - From 0.1.0 to 0.1.6 and from 0.2.0 to 0.4.x.
    type: str
    required: true
  postgres:
    description: The PostgreSQL database of the tenant.
    type: dict
    required: true
    suboptions:
      host: {description: Name or address., type: str, required: true}
      port: {description: Port., type: int, default: 5432}
      user: {description: Role to connect as., type: str, default: memmachine}
      password: {description: Password of the role., type: str, required: true}
      database: {description: Database., type: str, default: memmachine}
      pool_size: {description: Connections that stay open., type: int, default: 5}
      max_overflow: {description: Further connections at busy times., type: int, default: 10}
      pool_timeout: {description: Seconds to wait for a connection., type: int, default: 30}
      pool_recycle: {description: Seconds after which a connection is renewed., type: int, default: 1800}
      pool_pre_ping: {description: Test a connection before use., type: bool, default: true}
  neo4j:
    description: The Neo4j server of the tenant.
    type: dict
    required: true
    suboptions:
      host: {description: Name or address., type: str, required: true}
      port: {description: Bolt port., type: int, default: 7687}
      user: {description: User to connect as., type: str, default: neo4j}
      password: {description: Password of the user., type: str, required: true}
      max_connection_pool_size: {description: Connections at most., type: int, default: 20}
      connection_acquisition_timeout:
        description: Seconds to wait for a connection.
        type: float
        default: 60.0
      max_connection_lifetime:
        description: Seconds after which a connection is renewed.
        type: float
        default: 1800.0
      liveness_check_timeout:
        description: Seconds of idleness after which a connection is tested before use.
        type: float
        default: 5.0
  embedder:
    description: The model that makes vectors.
    type: dict
    required: true
    suboptions:
      provider:
        description: Whose interface the model has.
        type: str
        choices: [openai, openai_compatible, bedrock, demo]
        required: true
      model: {description: Name of the model., type: str, required: true}
      base_url: {description: Address of the interface; needed for V(openai_compatible)., type: str}
      api_key: {description: Key; needed for V(openai)., type: str}
      region: {description: Region of Amazon Bedrock., type: str}
      access_key_id: {description: Access key of AWS., type: str}
      secret_access_key: {description: Secret of the access key of AWS., type: str}
      session_token: {description: Session token of AWS., type: str}
      max_retry_interval_seconds: {description: Longest wait between tries., type: int, default: 120}
      dimensions: {description: Numbers in a vector., type: int, required: true}
      max_input_length: {description: Characters at most; 0 is the server's own., type: int, default: 0}
      batch_size: {description: Texts a request; 0 is the server's own., type: int, default: 0}
  language_model:
    description: The model that summarises and extracts.
    type: dict
    required: true
    suboptions:
      provider:
        description: Whose interface the model has.
        type: str
        choices: [openai, openai_compatible, bedrock, demo]
        required: true
      model: {description: Name of the model., type: str, required: true}
      base_url: {description: Address of the interface; needed for V(openai_compatible)., type: str}
      api_key: {description: Key; needed for V(openai)., type: str}
      region: {description: Region of Amazon Bedrock., type: str}
      access_key_id: {description: Access key of AWS., type: str}
      secret_access_key: {description: Secret of the access key of AWS., type: str}
      session_token: {description: Session token of AWS., type: str}
      max_retry_interval_seconds: {description: Longest wait between tries., type: int, default: 120}
  rerankers:
    description:
      - Ways to order what a search has found.
      - The usual ones are C(hybrid), which combines C(identity) and C(bm25).
    type: list
    elements: dict
    suboptions:
      name: {description: Name in lower case., type: str, required: true}
      type:
        description: Kind of reranker.
        type: str
        choices: [identity, bm25, rrf-hybrid, embedder, bedrock]
        required: true
      rerankers:
        description: Names of those that an V(rrf-hybrid) combines.
        type: list
        elements: str
      language: {description: Language of V(bm25)., type: str}
      model: {description: Model of V(bedrock)., type: str}
      region: {description: Region of V(bedrock)., type: str}
      access_key_id: {description: Access key of AWS., type: str}
      secret_access_key: {description: Secret of the access key of AWS., type: str}
  reranker:
    description: Name of the reranker that memories use.
    type: str
    default: hybrid
  memory:
    description:
      - Limits of the memories. The role P(memcloud.memmachine.memmachine#role) lists them.
    type: dict
    default: {}
  logging:
    description: What the server logs.
    type: dict
    default: {}
    suboptions:
      level:
        description: Least level that is logged.
        type: str
        choices: [DEBUG, INFO, WARNING, ERROR, CRITICAL]
      format: {description: Format of a line., type: str}
      path: {description: Absolute path of a log file in the container., type: path}
  image:
    description:
      - Image of the server, that loads a changed text before it is written.
      - Left out, only this module checks it. Servers 0.1 cannot load without starting.
    type: str
    default: ""
  owner:
    description: Numeric user and group of the file.
    type: int
    default: 30012
  docker_host:
    description: Address of the Docker Engine.
    type: str
    default: unix:///var/run/docker.sock
requirements:
  - Docker SDK for Python, with O(image)
"""

EXAMPLES = r"""
- name: Configuration of acme
  memcloud.memmachine.memmachine_config:
    path: /var/lib/memcloud/mc/tenants/acme/app/configuration.yml
    version: 0.4.0
    image: memcloud/memmachine:0.4.0-0123456789ab
    postgres:
      host: 10.192.0.34
      password: "{{ postgres_password }}"
    neo4j:
      host: 10.192.0.35
      password: "{{ neo4j_password }}"
    embedder:
      provider: openai_compatible
      base_url: http://10.192.0.1:11434/v1
      model: nomic-embed-text
      dimensions: 768
    language_model:
      provider: openai_compatible
      base_url: http://10.192.0.1:11434/v1
      model: llama3
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: always
sha256:
  description: Hash of the text.
  type: str
  returned: always
format:
  description: First version of the server that reads this format.
  type: str
  returned: always
  sample: "0.2"
"""

import hashlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.memcloud.memmachine.plugins.module_utils import _memmachine_config
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    DEFAULT_HOST,
    docker_client,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._module import run

MODE = 0o600
TIMEOUT = 120


def provider_spec() -> dict[str, Any]:
    """Return the options that both models have."""
    return {
        "provider": {
            "type": "str",
            "choices": ["openai", "openai_compatible", "bedrock", "demo"],
            "required": True,
        },
        "model": {"type": "str", "required": True},
        "base_url": {"type": "str"},
        "api_key": {"type": "str", "no_log": True},
        "region": {"type": "str"},
        "access_key_id": {"type": "str", "no_log": True},
        "secret_access_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "max_retry_interval_seconds": {"type": "int", "default": 120},
    }


def argument_spec() -> dict[str, Any]:
    """Return the options; DOCUMENTATION says what they mean."""
    return {
        "path": {"type": "path", "required": True},
        "version": {"type": "str", "required": True},
        "postgres": {
            "type": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "default": 5432},
                "user": {"type": "str", "default": "memmachine"},
                "password": {"type": "str", "required": True, "no_log": True},
                "database": {"type": "str", "default": "memmachine"},
                "pool_size": {"type": "int", "default": 5},
                "max_overflow": {"type": "int", "default": 10},
                "pool_timeout": {"type": "int", "default": 30},
                "pool_recycle": {"type": "int", "default": 1800},
                "pool_pre_ping": {"type": "bool", "default": True},
            },
        },
        "neo4j": {
            "type": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "default": 7687},
                "user": {"type": "str", "default": "neo4j"},
                "password": {"type": "str", "required": True, "no_log": True},
                "max_connection_pool_size": {"type": "int", "default": 20},
                "connection_acquisition_timeout": {"type": "float", "default": 60.0},
                "max_connection_lifetime": {"type": "float", "default": 1800.0},
                "liveness_check_timeout": {"type": "float", "default": 5.0},
            },
        },
        "embedder": {
            "type": "dict",
            "required": True,
            "options": dict(
                provider_spec(),
                dimensions={"type": "int", "required": True},
                max_input_length={"type": "int", "default": 0},
                batch_size={"type": "int", "default": 0},
            ),
        },
        "language_model": {"type": "dict", "required": True, "options": provider_spec()},
        "rerankers": {
            "type": "list",
            "elements": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "type": {
                    "type": "str",
                    "choices": ["identity", "bm25", "rrf-hybrid", "embedder", "bedrock"],
                    "required": True,
                },
                "rerankers": {"type": "list", "elements": "str"},
                "language": {"type": "str"},
                "model": {"type": "str"},
                "region": {"type": "str"},
                "access_key_id": {"type": "str", "no_log": True},
                "secret_access_key": {"type": "str", "no_log": True},
            },
        },
        "reranker": {"type": "str", "default": "hybrid"},
        "memory": {"type": "dict", "default": {}},
        "logging": {
            "type": "dict",
            "default": {},
            "options": {
                "level": {
                    "type": "str",
                    "choices": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
                },
                "format": {"type": "str"},
                "path": {"type": "path"},
            },
        },
        "image": {"type": "str", "default": ""},
        "owner": {"type": "int", "default": 30012},
        "docker_host": {"type": "str", "default": DEFAULT_HOST},
    }


def read(path: str) -> str:
    """Return the text of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def is_right(path: str, owner: int) -> bool:
    """Say whether the file belongs to its owner alone."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (MODE, owner, owner)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Do what is asked for; name the file where it cannot be read or written."""
    try:
        return keep(module)
    except OSError as error:
        raise MemcloudError(f"Cannot write {module.params['path']}: {error}.") from error


def keep(module: AnsibleModule) -> dict[str, Any]:
    """Render, check and write; return the result of the task."""
    params = module.params
    outside = ("path", "image", "owner", "docker_host")
    given = {name: value for name, value in params.items() if name not in outside}
    text = _memmachine_config.render(_memmachine_config.Description.from_dict(given))
    path, before = params["path"], read(params["path"])
    wire = _memmachine_config.format_of(params["version"])
    if text != before and params["image"] and wire != "0.1":
        with docker_client(params["docker_host"], TIMEOUT) as client:
            _memmachine_config.validate_in_image(client, params["image"], text)
    changed = text != before or not is_right(path, params["owner"])
    if changed and not module.check_mode:
        atomic_write(path, text, MODE, params["owner"], params["owner"])
    diff = _memmachine_config.masked_diff(before, text)
    return {
        "changed": changed,
        "path": path,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "format": wire,
        "diff": dict(diff, before_header=path, after_header=path),
    }


def main() -> None:
    """Module entry."""
    run(AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True), work)


if __name__ == "__main__":
    main()
