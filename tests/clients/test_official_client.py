# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official MemMachine client, library and command line, with nothing but address and key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Door, Story, eventually
from memmachine_client import MemMachineClient
from memmachine_client.project import Project


@pytest.fixture
def client(door: Door) -> Iterator[MemMachineClient]:
    """The library's client."""
    with MemMachineClient(api_key=door.key, base_url=door.url) as result:
        yield result


@pytest.fixture
def project(client: MemMachineClient, story: Story) -> Iterator[Project]:
    """A project that is deleted afterwards."""
    result = client.create_project(org_id=story.org, project_id=story.project)
    yield result
    result.delete()


def contents(found: Any) -> list[str]:
    """Return the sentences of a search's or a list's answer."""
    memory = json.loads(found.model_dump_json())["content"]["episodic_memory"]
    if isinstance(memory, list):
        return [episode["content"] for episode in memory]
    parts = (memory["long_term_memory"], memory["short_term_memory"])
    return [episode["content"] for part in parts for episode in part["episodes"]]


def test_the_library_adds_searches_lists_and_deletes(project: Project, story: Story) -> None:
    memory = project.memory(metadata={"user_id": "u1"})
    added = memory.add(story.sentence)
    memory.add("An unrelated sentence about tomatoes.")
    assert len(added) == 1
    assert story.sentence in contents(memory.search(story.question))
    assert sorted(contents(memory.list())) == sorted(
        [story.sentence, "An unrelated sentence about tomatoes."]
    )
    assert memory.delete_episodic(added[0].uid)
    assert eventually(lambda: story.sentence not in contents(memory.list()))
    assert story.sentence not in contents(memory.search(story.question))


def test_projects_are_listed(client: MemMachineClient, project: Project, story: Story) -> None:
    listed = [(entry.org_id, entry.project_id) for entry in client.list_projects()]
    assert (story.org, story.project) in listed
    assert client.health_check()["status"] == "healthy"


@pytest.mark.parametrize(("key", "status"), [("mb_" + "x" * 43, 403), (None, 401)])
def test_the_library_is_refused_without_the_right_key(
    door: Door, key: str | None, status: int
) -> None:
    client = MemMachineClient(api_key=key, base_url=door.url)
    with client, pytest.raises(requests.HTTPError) as caught:
        client.list_projects()
    assert caught.value.response.status_code == status


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "anything"])
def test_a_key_in_the_query_is_refused(door: Door, name: str) -> None:
    headers = {"Authorization": f"Bearer {door.key}"}
    url = f"{door.url}/api/v2/projects/list"
    alone = requests.post(url, params={name: door.key}, timeout=30)
    both = requests.post(url, params={name: door.key}, headers=headers, timeout=30)
    assert alone.status_code == 401
    # A key of the caller's own making cannot be told from other values of any parameter.
    if door.key.startswith("mb_") or name != "anything":
        assert both.status_code == 401


def command_line(door: Door, *arguments: str) -> Any:
    """Run mem-cli; the key is in its environment, as its documentation tells."""
    environment = {
        **os.environ,
        "MEMORY_BACKEND_URL": door.url,
        "MEMMACHINE_API_KEY": door.key,
    }
    program = Path(sys.executable).with_name("mem-cli")
    done = subprocess.run(
        [str(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert door.key not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_command_line_adds_searches_lists_and_deletes(door: Door, story: Story) -> None:
    where = ("--org-id", story.org, "--project-id", story.project)
    command_line(door, "projects", "create", *where)
    try:
        added = command_line(door, "memory", "add", story.sentence, *where)
        found = command_line(door, "memory", "search", story.question, *where)
        assert story.sentence in json.dumps(found["content"]["episodic_memory"])
        listed = command_line(door, "memory", "list", *where)
        assert [e["content"] for e in listed["content"]["episodic_memory"]] == [story.sentence]
        command_line(door, "memory", "delete-episodic", "--id", str(added[0]["uid"]), *where)
        assert eventually(
            lambda: not command_line(door, "memory", "list", *where)["content"]["episodic_memory"]
        )
    finally:
        command_line(door, "projects", "delete", *where)
