"""The program that brings a node back, and the kernel's limits that it raises."""

from __future__ import annotations

import fcntl
import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[3] / "roles/docker_node/files/memcloud-node"
PIDS, INSTANCES = "kernel/pid_max", "fs/inotify/max_user_instances"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, with a kernel and a platform of the test's own."""
    loader = SourceFileLoader("memcloud_node", str(PROGRAM))
    program = module_from_spec(spec_from_loader("memcloud_node", loader))
    loader.exec_module(program)
    for name, folder in (("CONFIGURATION", "etc"), ("KERNEL", "kernel")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(program, name, str(tmp_path / folder))
    monkeypatch.setattr(program, "RAISED", str(tmp_path / "raised.json"))
    limits = {
        "kernel.pid_max": 4194304,
        "fs.inotify.max_user_instances": 65536,
        "net.ipv4.neigh.default.gc_thresh3": 65536,  # a network namespace has none of it
    }
    settings = {"platform": "mc", "data_dir": "/x", "daemon": [], "service": "docker"}
    settings |= {"docker_host": "unix:///x", "kernel_limits": limits}
    (tmp_path / "etc/mc.json").write_text(json.dumps(settings))
    put(tmp_path, PIDS, 32768)
    put(tmp_path, INSTANCES, 1048576)
    return program


def put(there: Path, name: str, value: int) -> None:
    path = there / "kernel" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def limit(there: Path, name: str) -> int:
    return int((there / "kernel" / name).read_text())


def test_what_is_too_low_is_raised_and_the_rest_left(
    node: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert node.main(["limits", "mc"]) == 0
    assert limit(tmp_path, PIDS) == 4194304
    assert limit(tmp_path, INSTANCES) == 1048576
    words = "mc: kernel limit kernel.pid_max raised from 32768 to 4194304\n"
    assert capsys.readouterr().out == words
    assert node.main(["limits", "mc"]) == 0
    assert capsys.readouterr().out == ""


def test_check_touches_nothing(
    node: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert node.main(["limits", "mc", "--check"]) == 0
    assert limit(tmp_path, PIDS) == 32768
    assert "kernel.pid_max would be raised to 4194304" in capsys.readouterr().out
    assert not (tmp_path / "raised.json").exists()


def test_what_was_raised_is_put_back_but_not_what_somebody_changed_since(
    node: ModuleType, tmp_path: Path
) -> None:
    put(tmp_path, INSTANCES, 128)
    node.main(["limits", "mc"])
    node.main(["limits", "mc"])
    put(tmp_path, INSTANCES, 100000)
    assert node.main(["limits", "--undo"]) == 0
    assert limit(tmp_path, PIDS) == 32768
    assert limit(tmp_path, INSTANCES) == 100000
    assert not (tmp_path / "raised.json").exists()


def test_a_limit_that_may_not_be_raised_stops_nothing(
    node: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(path: str, text: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(node, "write", refused)
    assert node.main(["limits", "mc"]) == 0
    said = capsys.readouterr().out
    assert "kernel.pid_max stays at 32768: Operation not permitted" in said
    assert not (tmp_path / "raised.json").exists()


@pytest.mark.parametrize("words", [[], ["down"], ["up", "--undo"], ["limits", "--force"]])
def test_other_words_are_refused_with_its_help(
    node: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert node.main(words) == 2
    assert "memcloud-node limits [PLATFORM...]" in capsys.readouterr().err


def keep_records(directory: Path, states: dict[str, str]) -> None:
    """The platform has these tenants, in these states."""
    file = directory / "etc/mc.json"
    settings = json.loads(file.read_text()) | {"data_dir": str(directory)}
    file.write_text(json.dumps(settings))
    for tenant, state in states.items():
        (directory / "tenants" / tenant).mkdir(parents=True)
        (directory / "tenants" / tenant / "state.json").write_text(json.dumps({"state": state}))


def test_containers_of_tenants_that_should_run_are_started_but_not_below_a_run(
    node: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    states = {"acme": "running", "busy": "running", "idle": "paused"}
    keep_records(tmp_path, states)
    found = [container("mc-gate", "node-edge", ""), container("mc-acme-scratch", "scratch", "acme")]
    found += [container(f"mc-{tenant}-app", "tenant", tenant) for tenant in states]
    found.append(container("mc-acme-postgres", "tenant", "acme", "running"))
    started = []

    def call(_platform: object, method: str, path: str) -> tuple[int, object]:
        if method == "GET":
            return 200, found
        started.append(path)
        return 204, ""

    monkeypatch.setattr(node.Platform, "_call", call)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/tenant-acme.lock").touch()  # of a run that was killed
    with (tmp_path / "locks/tenant-busy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert node.main(["containers", "mc"]) == 0
    assert started == ["/containers/mc-gate/start", "/containers/mc-acme-app/start"]
    said = capsys.readouterr().out
    assert "mc-busy-app is left to the run that works on busy" in said
    assert "1 containers ran, 2 started" in said


@pytest.mark.parametrize(
    ("seconds", "ends", "said"),
    [
        (300, False, "mc: Docker Engine started"),
        (9999, False, "did not answer within 600 s"),
        (9999, True, "Docker Engine ended"),
    ],
)
def test_an_engine_that_starts_hundreds_of_containers_is_waited_for(
    node: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: int,
    ends: bool,
    said: str,
) -> None:
    clock = [0.0]

    class Daemon:
        def __init__(self, *_arguments: object, **_options: object) -> None:
            pass

        def poll(self) -> int | None:
            return 1 if ends else None

    def wait(pause: float) -> None:
        clock[0] += max(pause, 1.0)

    monkeypatch.setattr(node.subprocess, "Popen", Daemon)
    monkeypatch.setattr(node.os.path, "isdir", lambda path: False)
    monkeypatch.setattr(node.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(node.time, "sleep", wait)
    monkeypatch.setattr(node.Platform, "_answers", lambda _platform: clock[0] > seconds)
    monkeypatch.setattr(node, "LOGS", node.CONFIGURATION)
    code = node.main(["engine", "mc"])
    told = capsys.readouterr()
    assert said in (told.err if code else told.out)
    assert not ends or clock[0] < 60


def test_a_container_that_does_not_start_keeps_no_other_from_it(
    node: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"t{number}" for number in range(20)]
    keep_records(tmp_path, dict.fromkeys(names, "running"))
    found = [container("mc-gate", "node-edge", "")]
    found += [container(f"mc-{tenant}-app", "tenant", tenant) for tenant in names]
    started = []

    def call(_platform: object, method: str, path: str) -> tuple[int, object]:
        if method == "GET":
            return 200, found
        started.append(path.split("/")[2])
        if started[-1] == "mc-t0-app":
            raise TimeoutError("timed out")
        bad = started[-1] in ("mc-gate", "mc-t1-app")
        return (500, {"message": "no such volume"}) if bad else (204, "")

    monkeypatch.setattr(node.Platform, "_call", call)
    assert node.main(["containers", "mc"]) == 1
    assert sorted(started) == sorted(["mc-gate"] + [f"mc-{tenant}-app" for tenant in names])
    said = capsys.readouterr()
    assert "0 containers ran, 18 started" in said.out
    assert "container mc-t0-app does not start: timed out; container mc-t1-app does" in said.err
    assert "container mc-gate does not start: {'message': 'no such volume'}" in said.err


def container(name: str, kind: str, tenant: str, state: str = "exited") -> dict[str, object]:
    labels = {"memcloud.kind": kind} | ({"memcloud.tenant": tenant} if tenant else {})
    return {"Names": [f"/{name}"], "State": state, "Labels": labels}
