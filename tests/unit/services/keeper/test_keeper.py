# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the keeper does with signals, records and sizes, with an engine in memory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _desired,
    _journal,
    _locks,
    _node_state,
    _route,
)
from memcloud_keeper import wake as wake_module
from memcloud_keeper.engine import EngineError
from memcloud_keeper.node import Busy, Node
from memcloud_keeper.storage import Measurer
from memcloud_keeper.wake import Waker

UID = "0123456789abcdef"
ASLEEP = {"state": "paused", "asleep": {"since": "x"}}
PAUSED = {"state": "paused"}


class FakeEngine:
    """Remembers what it was told; containers belong to acme."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.labels = {
            "memcloud.platform": "mc",
            "memcloud.tenant": "acme",
            "memcloud.uid": UID,
        }
        self.failure: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def inspect(self, name: str) -> dict[str, Any]:
        return {"Config": {"Labels": self.labels}}

    def start(self, name: str) -> None:
        self.calls.append(("start", name))

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))

    def run(self, name: str, command: list[str], seconds: float) -> int:
        self.calls.append(("answers", f"{name}:{command[-1]}"))
        if self.failure.get(name, 0):
            self.failure[name] -= 1
            raise EngineError("it ended")
        return 0

    def volumes(self) -> list[dict[str, Any]]:
        return [
            {"Name": name, "UsageData": {"Size": size}}
            for name, size in {
                "somebody-elses": 10**12,
                "ci-acme-01234567-postgres": 10**12,
                _desired.volume_name("mc", "acme", UID, "postgres", 2): 10**12,
                _desired.volume_name("mc", "acme", UID, "neo4j", 2): 10**12,
                **{_desired.volume_name("mc", "acme", UID, r): s for r, s in self.sizes.items()},
            }.items()
        ]


class World:
    """A node's files, an engine, and the keeper's two parts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("wake", "gate", "tenants/acme", "locks", "notes"):
            (root / name).mkdir(parents=True)
        self.engine = FakeEngine()
        self.node = Node(root)
        self.waker = Waker(self.node, self.engine, "mc")  # type: ignore[arg-type]
        self.measurer = Measurer(self.node, self.engine, "mc")  # type: ignore[arg-type]

    def write(self, **record: Any) -> None:
        state = _node_state.NodeState(str(self.root))
        state.write_tenant("acme", {"uid": UID, "wake": True, "files": {}, **record})
        (self.root / "gate/acme.json").write_text(self.gate_text(str(record["state"])))

    @staticmethod
    def gate_text(state: str, writes: str = "open") -> str:
        """The gate's entry as the collection writes it."""
        return _route.gate_entry(
            tenant="acme",
            uid=UID,
            state=state,
            keys=[{"name": "default", "sha256": "ab" * 32}],
            probe_sha256="cd" * 32,
            app="10.192.0.50:8080",
            writes=writes,
            hold_seconds=20,
            wake=True,
        )

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "tenants/acme/state.json").read_text()))

    @property
    def gate(self) -> str:
        return (self.root / "gate/acme.json").read_text()

    def noted(self) -> list[tuple[str, str, str]]:
        """What stands in the node's journal: operation, change, result. No note is left."""
        rows = _journal.Journal(_node_state.NodeState(str(self.root)), {}).entries()
        assert {(row["who"], row["tenant"], row["uid"]) for row in rows} <= {
            ("keeper", "acme", UID)
        }
        assert list((self.root / "notes").iterdir()) == []
        return [(row["operation"], row["change"], row["result"]) for row in rows]

    def signal(self, name: str = "acme") -> Path:
        path = self.root / "wake" / name
        path.touch()
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(("record", "woken"), [(PAUSED, True), (ASLEEP, False)])
def test_a_sleeping_tenant_is_started_and_its_requests_pass(
    world: World, record: dict[str, Any], woken: bool
) -> None:
    world.write(**record)
    signal = world.signal()
    assert world.waker.wake("acme")
    started = sorted(name for call, name in world.engine.calls if call == "start")
    assert started == ["mc-acme-app", "mc-acme-neo4j", "mc-acme-postgres"]
    answered = sorted(name for call, name in world.engine.calls if call == "answers")
    assert answered == ["mc-acme-app:8080", "mc-acme-neo4j:7687"]
    assert world.gate == World.gate_text("running")
    assert world.record["state"] == "running" and "asleep" not in world.record
    assert ("woken" in world.record) is woken
    assert not signal.exists()
    assert world.noted() == [("wake", "a request came", "done")]


@pytest.mark.parametrize(
    "record",
    [
        {"state": "running"},
        {"state": "suspended"},
        {"state": "deleted"},
        {"state": "deploying"},
        {"state": "paused", "wake": False},
        {"state": "paused", "wake": "yes"},
        {"state": "paused", "operation": {"name": "backup"}},
    ],
)
def test_nobody_else_is_touched(world: World, record: dict[str, Any]) -> None:
    world.write(**record)
    before, signal = world.record, world.signal()
    assert not world.waker.wake("acme")
    assert world.engine.calls == [] and world.record == before
    assert not signal.exists()
    assert world.noted() == []


def test_a_container_of_another_identity_is_not_started(world: World) -> None:
    world.write(**PAUSED)
    world.engine.labels["memcloud.uid"] = "f" * 16
    assert not world.waker.wake("acme")
    assert world.engine.calls == [] and world.record["state"] == "paused"


def test_names_that_are_no_tenants_are_taken_away(world: World) -> None:
    world.signal("..x")
    world.signal("A b")
    world.signal("acme")
    (world.root / "wake/directory").mkdir()
    assert world.node.signals() == ["acme", "directory"]
    assert not world.waker.wake("directory")
    assert sorted(path.name for path in (world.root / "wake").iterdir()) == ["acme", "directory"]


def test_a_container_that_ends_at_first_is_waited_for(world: World) -> None:
    world.write(**PAUSED)
    world.engine.failure["mc-acme-app"] = 2
    assert world.waker.wake("acme")


def test_a_failed_wake_leaves_the_tenant_as_it_was_and_is_not_tried_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_module, "START_SECONDS", 0)
    world.write(**PAUSED)
    world.engine.failure["mc-acme-neo4j"] = 1000
    assert not world.waker.wake("acme")
    assert world.record["state"] == "paused" and world.gate == World.gate_text("paused")
    assert {name for call, name in world.engine.calls if call == "stop"} == {
        "mc-acme-app",
        "mc-acme-neo4j",
        "mc-acme-postgres",
    }
    world.engine.calls.clear()
    assert not world.waker.wake("acme")
    assert world.engine.calls == []
    assert world.noted() == [("wake", "a request came", "failed")]


def test_both_sides_respect_each_others_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake_module, "BUSY_SECONDS", 0.0)
    locks = str(world.root / "locks")
    world.write(**PAUSED)
    with _locks.locked(locks, "tenant-acme", "ann@desk"):
        assert not world.waker.wake("acme")
        assert world.engine.calls == []
        with pytest.raises(Busy), world.node.locked("acme", 0.0):
            pass
    with (
        world.node.locked("acme", 0.0),
        pytest.raises(_locks.LockedError, match="the node's keeper since"),
        _locks.locked(locks, "tenant-acme", "ann@desk", 0.0),
    ):
        pass
    assert world.waker.wake("acme")
    assert list((world.root / "locks").iterdir()) == []


def test_a_signal_waits_for_another_run_and_nobody_waits_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = world.root / "wake/acme"
    world.write(**PAUSED)
    signal.touch()
    with _locks.locked(str(world.root / "locks"), "tenant-acme", "ann@desk"):
        began = time.monotonic()
        assert not world.waker.wake("acme")
        assert time.monotonic() - began < 5 and signal.exists()
        monkeypatch.setattr(wake_module, "BUSY_SECONDS", 0.0)
        assert not world.waker.wake("acme") and not signal.exists()
    signal.touch()
    assert world.waker.wake("acme") and not signal.exists()


@pytest.mark.parametrize(
    ("sizes", "storage", "before", "after"),
    [
        ({"postgres": 60, "neo4j": 39}, {"limit": 100, "uncounted": 0}, "open", "open"),
        ({"postgres": 60, "neo4j": 40}, {"limit": 100, "uncounted": 0}, "open", "closed"),
        ({"postgres": 60, "neo4j": 40}, {"limit": 100, "uncounted": 1}, "open", "open"),
        ({"postgres": 60, "neo4j": 40}, {"limit": 100, "uncounted": 1}, "closed", "closed"),
        ({"postgres": 60, "neo4j": 40}, {"limit": 200, "uncounted": 0}, "closed", "open"),
        ({"postgres": 60, "neo4j": 49}, {"limit": 100, "log_room": 10}, "open", "open"),
        ({"postgres": 60, "neo4j": 50}, {"limit": 100, "log_room": 10}, "open", "closed"),
        ({"postgres": 55, "neo4j": 40}, {"limit": 100, "log_room": 10}, "closed", "closed"),
        ({"postgres": 60, "neo4j": 40}, {}, "open", "open"),
        ({"postgres": -1}, {"limit": 1, "uncounted": 0}, "open", "open"),
    ],
)
def test_writes_follow_the_sizes(
    world: World, sizes: dict[str, int], storage: dict[str, int], before: str, after: str
) -> None:
    world.write(state="running", storage=storage, writes=before)
    world.node.change_gate("acme", writes=before)
    world.engine.sizes = sizes
    world.measurer.measure()
    assert world.record["writes"] == after
    assert world.gate == World.gate_text("running", after)
    size = f"{sum(sizes.values()) / 1e6:.0f} MB"
    changed = [("storage", f"writes {after} at {size}", "done")]
    assert world.noted() == ([] if before == after else changed)


def test_only_the_present_generation_counts(world: World) -> None:
    storage = {"limit": 100, "uncounted": 0}
    world.write(state="running", storage=storage, writes="open", generation=2)
    world.engine.sizes = {"postgres": 1, "neo4j": 1}
    world.measurer.measure()
    assert world.record["writes"] == "closed"


def test_storage_is_left_to_a_run_that_works_on_the_tenant(world: World) -> None:
    world.write(state="running", storage={"limit": 1, "uncounted": 0}, writes="open")
    world.engine.sizes = {"postgres": 100, "neo4j": 0}
    with _locks.locked(str(world.root / "locks"), "tenant-acme", "ann@desk"):
        world.measurer.measure()
    assert world.record["writes"] == "open"


def test_answers_whose_clients_went_away_are_taken_away(world: World) -> None:
    world.node.sweep()  # of an edge that was set up before
    spool = world.root / "spool"
    spool.mkdir()
    for name, seconds in (("temp-multibuf-1", 3600), ("temp-multibuf-2", 0), ("other", 3600)):
        (spool / name).write_text("an answer")
        os.utime(spool / name, (time.time() - seconds, time.time() - seconds))
    world.node.sweep()
    assert sorted(path.name for path in spool.iterdir()) == ["other", "temp-multibuf-2"]
