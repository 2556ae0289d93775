"""Run the tests: all of them, or the named scenarios.

    tools/test.py                    everything (make test)
    tools/test.py drift default      these scenarios alone (make molecule SCENARIO=…)

Scenarios run in lanes, side by side. Each lane is a platform of its own on this machine, set up once
and taken away at the end: lane 1 is inventories/ci, the others are copies of it with other names,
ports and networks below .cache/lanes. The checks that need no container have a lane too. KEEP=1
leaves the platforms for the next run. There are two lanes, up to four where processors and memory
allow; LANES=1 runs one scenario at a time. The output of each part is kept in .cache/test; of a
part that failed, its errors and its end are shown. What was skipped is said with its reason, and a
part of which all was skipped has failed; a quickstart that is in use on this machine is the one
excuse.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
LOGS = CHECKOUT / ".cache/test"
CHECKS = ("lint", "unit", "build", "sanity")
# The longest first, so that the lanes end together. Two more, lifecycle and portability, would make it
# longer than half an hour: they run when they are named (make molecule).
JOBS = (
    "update",
    "backup_restore",
    "drift",
    "remote_node",
    "whole_life",
    "two_tenants",
    "fleet",
    "quickstart",
    "bench-small",
    "pause",
    "default",
)
# Those that are no scenario: the README's commands as a new user has them, in a fresh clone; and the
# benches on their smallest sizes, since nobody runs the large ones each time.
COMMANDS = {
    "quickstart": ("pytest", "-p", "no:cacheprovider", "tests/quickstart"),
    "bench-small": ("python", "bench/bench.py", "--small"),
}
# Of the output of a part that failed: its end, and before that the lines that say what is wrong.
SHOWN_LINES = 60
LAST_ERRORS = 15
ERRORS = ("E   ", "FAILED ", "ERROR ", "fatal: ", "[ERROR]")
PLAYBOOKS = CHECKOUT / "playbooks"
# What pytest says of tests that it skipped, and of those that it ran.
SKIPPED = re.compile(r"^SKIPPED \[\d+\] [^ ]+: (.+)$", re.MULTILINE)
PASSED = re.compile(r"\b\d+ passed\b")
EXCUSE = "a quickstart is in use on this machine"

_started = time.monotonic()
_printing = threading.Lock()


def say(text: str) -> None:
    with _printing:
        print(f"==> [{time.monotonic() - _started:4.0f} s] {text}", flush=True)


class Runs:
    """Parts that were run, which of them failed, and why something in them was skipped."""

    def __init__(self) -> None:
        self.failed: dict[str, list[str]] = {}
        self.skipped: dict[str, str] = {}

    def run(self, name: str, command: Sequence[str | Path], **environment: str) -> bool:
        """Run a part with its output in a file; show the end of it when it fails."""
        say(f"{name} started")
        began = time.monotonic()
        log = LOGS / f"{name}.log"
        with log.open("wb") as output:
            code = subprocess.run(
                [str(word) for word in command],
                cwd=CHECKOUT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        seconds = time.monotonic() - began
        text = log.read_text(errors="replace")
        if code == 0:
            return self._judge(name, f"{seconds:.0f} s", text)
        lines = text.splitlines()
        errors = [line[:600] for line in lines if line.startswith(ERRORS)]
        self.failed[name] = errors[-LAST_ERRORS:]
        shown = [*errors[-SHOWN_LINES:], f"-- the end of {log}:", *lines[-SHOWN_LINES:]]
        say("\n".join([f"{name} FAILED ({seconds:.0f} s):", *shown]))
        return False

    def _judge(self, name: str, spent: str, text: str) -> bool:
        """Say whether a part that ended well has proven anything."""
        reasons = "; ".join(dict.fromkeys(SKIPPED.findall(text)))
        if not reasons:
            say(f"{name} passed ({spent})")
            return True
        self.skipped[name] = reasons
        if PASSED.search(text):
            say(f"{name} passed ({spent}), but for what was skipped: {reasons}")
            return True
        say(f"{name} SKIPPED: {reasons}")
        if EXCUSE not in reasons:
            self.failed[name] = []
        return EXCUSE in reasons

    def end(self) -> int:
        """The last words, and the exit code. Errors are said again: their part may be long past."""
        for name, reasons in self.skipped.items():
            say(f"SKIPPED in {name}: {reasons}")
        for name, errors in self.failed.items():
            if errors:
                say("\n".join([f"why {name} failed:", *errors]))
        if self.failed:
            say(f"FAILED: {', '.join(self.failed)}")
            return 1
        say("all passed but what was SKIPPED, see above" if self.skipped else "all passed")
        return 0


class Lane:
    """A platform of its own that scenarios run on, one after the other."""

    def __init__(self, number: int, runs: Runs) -> None:
        self.name = f"lane{number}"
        self.inventory = CHECKOUT / "inventories/ci"
        if number > 1:
            self.inventory = CHECKOUT / f".cache/lanes/ci{number}"
            _copy_inventory(CHECKOUT / "inventories/ci", self.inventory, number)
        self._runs = runs

    def set_up(self) -> bool:
        """Set the node up. One that a killed run left, whose root key is gone, goes first."""
        platform = yaml.safe_load((self.inventory / "group_vars/all.yml").read_text())
        left = Path("/var/lib/memcloud", platform["platform_name"]).is_dir()
        if left and not (self.inventory / ".secrets/root_key").exists():
            say(f"{self.name}: taking away the node that an earlier run left")
            subprocess.run(["/usr/local/sbin/memcloud-node", "up"], check=False, timeout=120)
            if not self.tear_down():
                return False
        return self._playbooks("set-up", "init_inventory", "setup_node")

    def work(self, jobs: queue.SimpleQueue[str]) -> None:
        """Run scenarios until there are none left."""
        while True:
            try:
                name = jobs.get_nowait()
            except queue.Empty:
                return
            command = COMMANDS.get(name, ("molecule", "test", "--scenario-name", name))
            self._runs.run(name, command, CI_INVENTORY=str(self.inventory))

    def tear_down(self) -> bool:
        done = self._playbooks("removal", "remove_node", "-e", "remove_data=true")
        left = [self.inventory / name for name in (".secrets", ".reports")]
        for path in [*left, *(self.inventory / "host_vars").glob("*.yml")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return done

    def _playbooks(self, what: str, *words: str) -> bool:
        playbooks = [
            word if "=" in word or word == "-e" else PLAYBOOKS / f"{word}.yml" for word in words
        ]
        command = ["ansible-playbook", "-i", self.inventory, *playbooks]
        return self._runs.run(f"{self.name}-{what}", command)


def _copy_inventory(source: Path, target: Path, number: int) -> None:
    """An inventory like the first lane's, apart from it in names, ports and networks."""
    shutil.copytree(
        source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("host_vars", ".secrets")
    )
    (target / "host_vars").mkdir(exist_ok=True)
    file = target / "group_vars/all.yml"
    settings = yaml.safe_load(file.read_text())
    name = settings["platform_name"] = f"ci{number}"
    settings["platform_domain"] = f"{name}.memcloud.localhost"
    settings["platform_subnet_pool"] = f"10.{204 + number}.0.0/16"
    for variable, value in settings.items():
        if variable.endswith("_port"):
            settings[variable] = value + 200 * number
        elif variable == "platform_metrics_address":
            host, _colon, port = value.partition(":")
            settings[variable] = f"{host}:{int(port) + 200 * number}"
    file.write_text(yaml.safe_dump(settings))


def _lanes() -> int:
    """As many as the machine carries. The checks want a processor, a lane one and 6 GB of memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(2, min(4, (os.cpu_count() or 2) - 1, round(memory / 6e9)))


def run_jobs(names: list[str], runs: Runs) -> None:
    """Run scenarios and commands in lanes; the first lane's set-up builds the images for all."""
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        jobs.put(name)
    count = min(len(names), int(os.environ.get("LANES") or _lanes()))
    lanes = [Lane(number, runs) for number in range(1, count + 1)]
    try:
        if not lanes[0].set_up():
            return
        workers = [threading.Thread(target=lanes[0].work, args=(jobs,))]
        workers[0].start()
        for lane in lanes[1:]:
            if lane.set_up():
                workers.append(threading.Thread(target=lane.work, args=(jobs,)))
                workers[-1].start()
        for worker in workers:
            worker.join()
    finally:
        if not os.environ.get("KEEP"):
            for lane in lanes:
                lane.tear_down()


def run_checks(runs: Runs) -> None:
    for check in CHECKS:
        runs.run(check, [CHECKOUT / f"tools/{check}.sh"])


def main(names: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(
        ANSIBLE_CONFIG=str(CHECKOUT / "ansible.cfg"),
        MOLECULE_GLOB="molecule/*/molecule.yml",
        ANSIBLE_FORCE_COLOR="0",
        NO_COLOR="1",
        PYTEST_ADDOPTS="-rs",
    )
    runs = Runs()
    if names:
        run_jobs(names, runs)
    else:
        checks = threading.Thread(target=run_checks, args=(runs,))
        checks.start()
        run_jobs(list(JOBS), runs)
        checks.join()
    return runs.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
