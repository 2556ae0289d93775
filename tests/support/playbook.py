"""Playbooks of the collection, run as an operator runs them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
_RECAP = re.compile(
    r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Run:
    """A finished run: its output, its return code, and the recap."""

    command: list[str]
    returncode: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """Changes by host, of hosts that had some."""
        return {host: int(changed) for host, changed, _, _ in self._recap() if int(changed)}

    @property
    def failed(self) -> list[str]:
        """Hosts that failed or could not be reached."""
        return [host for host, _, lost, failed in self._recap() if int(lost) or int(failed)]

    def _recap(self) -> list[tuple[str, str, str, str]]:
        return _RECAP.findall(self.output)


def _with_descendants(root: int) -> list[int]:
    """A process and everything that it started."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            parents[int(status.parent.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _kill_with_descendants(root: int) -> None:
    """SIGKILL for a process and everything that it started; what it starts meanwhile, too."""
    stopped: set[int] = set()
    while new := set(_with_descendants(root)) - stopped:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= new
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Playbooks:
    """Runs playbooks against one inventory."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self.environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "NO_COLOR": "1",
        }

    def command(self, name: str, *arguments: str, **variables: Any) -> list[str]:
        """The command line; keyword arguments become extra variables."""
        command = ["ansible-playbook", "-i", str(self.inventory), f"playbooks/{name}.yml"]
        if variables:
            command += ["--extra-vars", json.dumps(variables)]
        return [*command, *arguments]

    def run(self, name: str, *arguments: str, timeout: int = 600, **variables: Any) -> Run:
        """Run to the end and give back what happened, whatever it was."""
        command = self.command(name, *arguments, **variables)
        finished = subprocess.run(
            command,
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Run(command, finished.returncode, finished.stdout)

    def ok(self, name: str, *arguments: str, timeout: int = 600, **variables: Any) -> Run:
        """Run; it must succeed."""
        run = self.run(name, *arguments, timeout=timeout, **variables)
        assert run.returncode == 0, f"{' '.join(run.command)}\n{run.output}"
        return run

    def refused(self, name: str, *arguments: str, **variables: Any) -> Run:
        """Run; it must fail."""
        run = self.run(name, *arguments, **variables)
        assert run.returncode != 0, f"{' '.join(run.command)}\n{run.output}"
        return run

    def start(self, name: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a run in a process group of its own, and do not wait for it."""
        return subprocess.Popen(
            self.command(name, *arguments, **variables),
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill_after(self, seconds: float, name: str, *arguments: str, **variables: Any) -> bool:
        """Kill a run after a time; False when it had ended."""
        deadline = time.monotonic() + seconds
        return self.kill_when(lambda: time.monotonic() > deadline, name, *arguments, **variables)

    def kill_when(
        self, moment: Callable[[], bool], name: str, *arguments: str, **variables: Any
    ) -> bool:
        """Kill a run and everything that it started, modules too, at a moment that is waited for.

        False when it had ended before. It is killed as well when the moment cannot be found out.
        """
        process = self.start(name, *arguments, **variables)
        try:
            while process.poll() is None and not moment():
                time.sleep(0.02)
        finally:
            alive = process.poll() is None
            if alive:
                # Its workers have sessions of their own, and modules outlive their controller.
                _kill_with_descendants(process.pid)
            output, _ = process.communicate(timeout=60)
        if not alive:
            print(output)  # for whoever wonders why it ended so soon
        return alive
