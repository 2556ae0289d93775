"""Load from loopback, in a container on the host's network.

h2load takes latencies: its connections ask one after the other. Those of hey all ask at the same
moment, so that its figures are those of four requests that wait for each other; hey connects again
when it is cut off, and watches for that. wrk asks as much as it can.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from measure import percentile, run

_CONNECTIONS = 4
_WARM_UP = 1  # seconds


@dataclass
class Latency:
    """Milliseconds of the answers of one run, its first second left out."""

    median: float
    p99: float
    answers: int


class Load:
    """Load generators.

    :param image: an image with h2load, hey and wrk.
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
            asked, taken = self._ask(url, key, rate, rate * (_WARM_UP + seconds))
            if len(asked) >= 0.8 * rate * (max(asked) - min(asked)):
                return Latency(percentile(taken, 0.5), percentile(taken, 0.99), len(taken))
        span = max(asked) - min(asked)
        raise RuntimeError(
            f"{url}: {len(asked)} answers in {span:.1f} s instead of {rate} a second"
        )

    def _ask(self, url: str, key: str, rate: int, count: int) -> tuple[list[float], list[float]]:
        """When each request was sent (seconds), and the milliseconds to its answer."""
        # One connection after the other, each a fraction of the time between two of its requests
        # later; some whole times more, or their handshakes end together and they all ask at once.
        between = 1000 // rate * (1 + _CONNECTIONS * (rate // 20))
        printed = run(
            *self._command, "sh", "-c", 'h2load --log-file=/tmp/log "$@" >&2 && cat /tmp/log', "sh",
            "--h1", "-t", "1", "-c", str(_CONNECTIONS), "-n", str(count),
            "--rps", str(rate // _CONNECTIONS), "-r", "1", f"--rate-period={between}ms",
            "-H", f"Authorization: Bearer {key}", url,
        )  # fmt: skip
        rows = [[int(field) for field in line.split("\t")[:3]] for line in printed.splitlines()]
        bad = [status for _sent, status, _taken in rows if status != 200]
        if bad or len(rows) != count:
            raise RuntimeError(f"{url}: {len(rows)} of {count} answers, not 200: {bad[:5]}")
        began = min(row[0] for row in rows)
        warm = [row for row in rows if row[0] >= began + _WARM_UP * 1_000_000]
        return [row[0] / 1e6 for row in warm], [row[2] / 1000 for row in warm]

    def watch(self, url: str, key: str, rate: int, seconds: int) -> subprocess.Popen[str]:
        """Ask at a rate in the background, for :func:`failures`."""
        hey = [
            "hey", "-z", f"{seconds}s", "-c", str(_CONNECTIONS), "-q", str(rate // _CONNECTIONS),
            "-H", f"Authorization: Bearer {key}", url,
        ]  # fmt: skip
        return subprocess.Popen([*self._command, *hey], stdout=subprocess.PIPE, text=True)

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
