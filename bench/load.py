"""Load from loopback by hey and wrk, in a container on the host's network."""

from __future__ import annotations

import csv
import re
import subprocess
from dataclasses import dataclass

from measure import percentile, run

_CONNECTIONS = 4
# hey starts all its connections at the same moment and so asks in bursts of as many requests, which
# wait for each other. Independent clients do not: one hey a connection, one after the other.
_EVENLY = """
pause=$1; shift
for number in $(seq $CONNECTIONS); do "$@" > /tmp/$number & sleep $pause; done
wait
for number in $(seq $CONNECTIONS); do cat /tmp/$number; done
""".replace("$CONNECTIONS", str(_CONNECTIONS))


@dataclass
class Latency:
    """Milliseconds of the answers of one run."""

    median: float
    p99: float
    answers: int


class Load:
    """Load generators.

    :param image: an image with hey and wrk.
    :param hostnames: what is to be found on this machine's loopback.
    """

    def __init__(self, image: str, hostnames: list[str]) -> None:
        names = [part for name in hostnames for part in ("--add-host", f"{name}:127.0.0.1")]
        self._command = ["docker", "run", "--rm", "--network", "host", *names, image]

    def latency(self, url: str, key: str, rate: int, seconds: int) -> Latency:
        """Ask at a rate, on connections that are kept; every answer must be a 200.

        :raises RuntimeError: not every answer is one, or three times in a row the machine was
            too busy for four fifths of the rate.
        """
        for _try in range(3):
            taken = self.ask(url, key, rate, seconds)
            if len(taken) >= 0.8 * rate * seconds:
                return Latency(percentile(taken, 0.5), percentile(taken, 0.99), len(taken))
        raise RuntimeError(f"{url}: {len(taken)} answers in {seconds} s instead of {rate} a second")

    def ask(self, url: str, key: str, rate: int, seconds: int) -> list[float]:
        """The milliseconds of each answer, of as many as the machine has time for."""
        evenly = ["sh", "-c", _EVENLY, "sh", str(1 / rate)]
        hey = self._hey(key, rate // _CONNECTIONS, seconds, connections=1)
        printed = run(*self._command, *evenly, *hey, "-o", "csv", url)
        header, *lines = printed.splitlines()
        rows = list(csv.DictReader([header, *(line for line in lines if line != header)]))
        bad = [row["status-code"] for row in rows if row["status-code"] != "200"]
        if bad or not rows:
            raise RuntimeError(f"{url}: {len(rows)} answers, of which not 200: {bad[:5]}")
        return [float(row["response-time"]) * 1000 for row in rows]

    def watch(self, url: str, key: str, rate: int, seconds: int) -> subprocess.Popen[str]:
        """The same in the background, for :func:`failures`."""
        hey = self._hey(key, rate // _CONNECTIONS, seconds, _CONNECTIONS)
        return subprocess.Popen([*self._command, *hey, url], stdout=subprocess.PIPE, text=True)

    def most(self, url: str, key: str, seconds: int) -> float:
        """Answers a second, as many as there can be, on 32 connections."""
        command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", f"Authorization: Bearer {key}"]
        printed = run(*self._command, *command, url)
        if "Non-2xx" in printed:
            raise RuntimeError(f"{url}: {printed}")
        found = re.search(r"(\d+) requests in ([0-9.]+)s", printed)
        if not found:
            raise RuntimeError(printed)
        return int(found[1]) / float(found[2])

    def _hey(self, key: str, rate: int, seconds: int, connections: int) -> list[str]:
        """The command; `rate` is that of one connection."""
        return [
            "hey", "-z", f"{seconds}s", "-c", str(connections), "-q", str(rate),
            "-H", f"Authorization: Bearer {key}",
        ]  # fmt: skip


def failures(watch: subprocess.Popen[str]) -> tuple[int, int]:
    """How many requests were answered by a 200, and how many not."""
    printed, _nothing = watch.communicate(timeout=600)
    codes = {int(c): int(n) for c, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", printed)}
    errors = printed.partition("Error distribution:")[2]
    lost = sum(int(count) for count in re.findall(r"^\s*\[(\d+)\]", errors, re.MULTILINE))
    good = codes.pop(200, 0)
    if not good:
        raise RuntimeError(f"no request was answered:\n{printed}")
    return good, sum(codes.values()) + lost
