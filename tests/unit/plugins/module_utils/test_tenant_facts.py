# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _tenant_facts
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import disk_usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._plan import Found
from ansible_collections.memcloud.memmachine.plugins.module_utils._tenant_facts import (
    is_healthy,
    memory_in_use,
    state_of,
    tenant_facts,
)

DOCUMENTED = Path(__file__).parents[4] / "docs/registry.md"
UP = {"running": True, "health": "answers"}
DOWN = {"running": False, "health": "exited (0)"}
ALL_UP = dict.fromkeys(("postgres", "neo4j", "app"), UP)
ALL_DOWN = dict.fromkeys(("postgres", "neo4j", "app"), DOWN)


@pytest.mark.parametrize(
    ("wanted", "recorded", "containers", "state"),
    [
        ("running", "running", ALL_UP, "running"),
        ("running", "running", {**ALL_UP, "app": DOWN}, "error"),
        ("running", "running", {}, "error"),
        ("running", None, {}, "deploying"),
        ("running", "deploying", ALL_UP, "deploying"),
        ("running", "deleted", {}, "deploying"),
        ("paused", "paused", ALL_DOWN, "paused"),
        ("paused", "paused", ALL_UP, "error"),
        ("suspended", "suspended", ALL_UP, "suspended"),
        ("deleted", "running", ALL_UP, "deleting"),
        ("deleted", "deleted", {}, "deleted"),
        ("running", "updating", ALL_UP, "updating"),
    ],
)
def test_state(wanted: str, recorded: str | None, containers: Any, state: str) -> None:
    assert state_of(wanted, recorded, containers) == state


def test_health_is_that_all_three_answer() -> None:
    assert is_healthy(ALL_UP)
    assert not is_healthy({**ALL_UP, "neo4j": DOWN})
    assert not is_healthy({"app": UP})


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ({"usage": 100, "stats": {"inactive_file": 30}}, 70),
        ({"usage": 100, "stats": {"total_inactive_file": 40}}, 60),
        ({"usage": 100}, 100),
        ({}, 0),
    ],
)
def test_memory_without_the_cache(memory: dict[str, Any], used: int) -> None:
    assert memory_in_use({"memory_stats": memory}) == used


def test_disk_usage_counts_blocks(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 10_000)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10 * 1024**2)
    assert 8192 <= disk_usage(str(tmp_path)) < 100_000
    assert disk_usage(str(tmp_path / "missing")) == 0


class FakeEngine:
    def __init__(self, _host: str) -> None:
        self.client = self

    def stats(self, _container: str, **_options: object) -> dict[str, Any]:
        return {"memory_stats": {"usage": 50}}


def described(role: str, address: str, **state: Any) -> dict[str, Any]:
    return {
        "Id": role,
        "Name": f"/mc-acme-{role}",
        "Image": "sha256:1",
        "Config": {"Labels": {"memcloud.role": role, "memcloud.memmachine": "0.4.0"}},
        "State": {"Running": True, "Status": "running", "ExitCode": 0, **state},
        "NetworkSettings": {"Networks": {"n": {"IPAddress": address}, "gone": {"IPAddress": ""}}},
        "HostConfig": {"Memory": 100},
    }


def test_facts_of_a_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_bytes(b"x" * 5000)
    home = tmp_path / "tenants" / "acme"
    home.mkdir(parents=True)
    (home / "state.json").write_text(json.dumps({"state": "running", "created": "then"}))
    (tmp_path / "node.json").write_text(json.dumps({"slots": {"u1": {"slot": 2}}}))
    images = {"neo4j": {"id": "sha256:2"}, "memmachine": {"0.4.0": {"id": "sha256:1"}}}
    (tmp_path / "images.json").write_text(json.dumps(images))
    (tmp_path / "gate" / "activity").mkdir(parents=True)
    activity = {"uid": "u1", "last_activity": "now"}
    (tmp_path / "gate" / "activity" / "acme.json").write_text(json.dumps(activity))
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setitem(_tenant_facts.PORTS, "app", server.getsockname()[1])
        monkeypatch.setitem(_tenant_facts.PORTS, "neo4j", 1)
        found = Found(
            containers={
                "a": described("app", "127.0.0.1"),
                "b": described("neo4j", "127.0.0.1"),
                "c": described("postgres", "", Running=False, Status="exited", ExitCode=3),
            },
            volumes={
                "v": {
                    "Mountpoint": str(volume),
                    "Labels": {"memcloud.uid": "u1", "memcloud.role": "postgres"},
                },
                "w": {"Mountpoint": str(volume), "Labels": {"memcloud.uid": "other"}},
            },
        )
        monkeypatch.setattr(_tenant_facts, "Engine", FakeEngine)
        monkeypatch.setattr(_tenant_facts, "observe", lambda *_arguments: {"acme": found})
        platform = {
            "docker_host": "x",
            "name": "mc",
            "data_dir": str(tmp_path),
            "subnet_pool": "10.0.0.0/16",
            "keep_deleted_days": 30,
        }
        tenants = [
            {"tenant": "acme", "uid": "u1", "state": "running", "version": "0.4.0"},
            {"tenant": "new", "uid": "u2", "state": "running", "version": "0.4.0"},
        ]
        acme, new = tenant_facts(platform, tenants)
    assert acme["containers"]["app"]["health"] == "answers"
    assert acme["containers"]["neo4j"]["health"] == "no answer"
    assert acme["containers"]["postgres"]["health"] == "exited (3)"
    assert acme["state"] == "error"
    assert not acme["healthy"]
    assert acme["memory_bytes"] == 100
    assert acme["disk_bytes"] == 8192
    assert acme["running_version"] == "0.4.0"
    assert acme["addresses"]["app"] == "10.0.0.82"
    assert (acme["created"], acme["last_activity"]) == ("then", "now")
    assert acme["outdated"] == ["neo4j"]
    assert new["outdated"] == []
    assert new["state"] == "deploying"
    assert new["slot"] is None
    assert new["containers"] == {}
    # What programs read is told to who writes them.
    assert set(acme) <= set(re.findall(r"`(\w+)`", DOCUMENTED.read_text()))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("[1]", "state.json is not valid JSON (it is no object)"),
        ('{"deleted": "yesterday"}', "acme: unexpected "),
    ],
)
def test_a_damaged_record_hides_no_other_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str, words: str
) -> None:
    home = tmp_path / "tenants" / "acme"
    home.mkdir(parents=True)
    (home / "state.json").write_text(record)
    monkeypatch.setattr(_tenant_facts, "Engine", FakeEngine)
    monkeypatch.setattr(_tenant_facts, "observe", lambda *_arguments: {})
    platform = {"docker_host": "x", "name": "mc", "data_dir": str(tmp_path)}
    platform |= {"subnet_pool": "10.0.0.0/16", "keep_deleted_days": 30}
    tenant = {"uid": "u1", "state": "running", "version": "0.4.0"}
    tenants = [{"tenant": name, **tenant} for name in ("acme", "globex")]
    acme, globex = tenant_facts(platform, tenants)
    assert acme["state"] == "unknown" and words in acme["error"]
    assert globex["state"] == "deploying" and "error" not in globex


def test_a_purge_that_is_to_be_finished_stays_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is gone, and its entry is there until all of its nodes were asked."""
    monkeypatch.setattr(_tenant_facts, "Engine", FakeEngine)
    monkeypatch.setattr(_tenant_facts, "observe", lambda *_arguments: {})
    platform = {"docker_host": "x", "name": "mc", "data_dir": str(tmp_path)}
    platform |= {"subnet_pool": "10.0.0.0/16", "keep_deleted_days": 30}
    tenant = {"tenant": "acme", "uid": "u1", "state": "deleted", "version": "0.4.0"}
    home = tmp_path / "tenants" / "acme"
    home.mkdir(parents=True)
    record = {"uid": "u1", "state": "deleted", "deleted": "2026-01-01T00:00:00Z"}
    (home / "state.json").write_text(json.dumps(record))
    (acme,) = tenant_facts(platform, [tenant])
    shutil.rmtree(home)
    (again,) = tenant_facts(platform, [tenant])
    assert acme["purge_after"] == again["purge_after"] == "2026-01-31T00:00:00Z"


def test_a_paused_container_is_said_to_be_paused() -> None:
    engine = FakeEngine("x")
    told = _tenant_facts._container(engine, described("app", "", Paused=True))  # type: ignore[arg-type]
    assert told["health"] == "paused"
