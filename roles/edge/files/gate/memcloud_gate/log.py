# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines as JSON on stdout, written by a thread of their own: a stuck reader of the log must
never hold up a decision. Requests are not logged, they are counted."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
import time

QUEUE_LINES = 1000


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Render time, level, message and the fields given with it."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _DroppingHandler(logging.handlers.QueueHandler):
    """Loses a line rather than wait for room."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


class Log:
    """The gate's log; keyword arguments become fields of the line."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("memcloud_gate")

    def info(self, message: str, **fields: object) -> None:
        """Something that happened as it should."""
        self._logger.info(message, extra={"fields": fields})

    def error(self, message: str, **fields: object) -> None:
        """Something a person should look at."""
        self._logger.error(message, extra={"fields": fields})


def start_logging() -> logging.handlers.QueueListener:
    """Send all logging of the process, uvicorn's too, through the queue to stdout."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LINES)
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [_DroppingHandler(lines)]
    root.setLevel(logging.INFO)
    listener = logging.handlers.QueueListener(lines, stdout)
    listener.start()
    return listener
