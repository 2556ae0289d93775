# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic needs to open a place of restore points: variables, files and options.

Bucket keys are variables of restic's own environment. What has to be a file (a Google key, an SSH
key) is given by its content, and is a file of root's while restic works.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping

# Google's client wants a file; a variable may hold its path or its content.
_GOOGLE_KEY = "GOOGLE_APPLICATION_CREDENTIALS"
# Ours, for sftp: the contents of an OpenSSH private key and of a known_hosts file.
SSH_KEY = "SSH_PRIVATE_KEY"
SSH_HOSTS = "SSH_KNOWN_HOSTS"
_SFTP = re.compile(
    r"sftp:(?://(?:(?P<user>[^@/]+)@)?(?P<host>\[[^\]]+\]|[^:/]+)(?::(?P<port>\d+))?/"
    r"|(?:(?P<scp_user>[^@/]+)@)?(?P<scp_host>\[[^\]]+\]|[^:/]+):)"
)


def is_local(url: str) -> bool:
    """Whether a place is a folder of the node."""
    return url.startswith("/")


def is_sftp(url: str) -> bool:
    """Whether a place is reached over SSH."""
    return url.startswith("sftp:")


def can_be_opened(url: str) -> bool:
    """Whether the form of an sftp place is one that restic knows."""
    return not is_sftp(url) or _SFTP.match(url) is not None


class Place:
    """What opens a place, for restic: ``options`` of its command and ``variables`` around it.

    :param environment: ``platform_backup_environment``.
    :param scratch: a directory of root's, which the caller removes.
    """

    def __init__(self, url: str, environment: Mapping[str, str], scratch: str) -> None:
        self._scratch = scratch
        self.options: list[str] = []
        self.variables = {
            name: str(value)
            for name, value in environment.items()
            if name not in (SSH_KEY, SSH_HOSTS)
        }
        if self.variables.get(_GOOGLE_KEY, "").lstrip().startswith("{"):
            key = self._private_file("google.json", self.variables[_GOOGLE_KEY])
            self.variables[_GOOGLE_KEY] = key
        self._ssh: list[str] = []
        if is_sftp(url):
            self._ssh = self._ssh_command(url, environment)
            self.options = ["-o", "sftp.command=" + " ".join(map(shlex.quote, self._ssh))]

    def why_closed(self) -> str:
        """Why ssh gives no session; restic's own words often come without it."""
        try:
            done = subprocess.run(
                self._ssh,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stderr.decode("utf-8", "replace")

    def _ssh_command(self, url: str, environment: Mapping[str, str]) -> list[str]:
        """What restic speaks SFTP through. It never asks, and never waits for ever."""
        found = _SFTP.match(url)
        if found is None:  # said by the inventory's check
            raise ValueError(url)
        user, host = found["user"] or found["scp_user"], found["host"] or found["scp_host"]
        command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        command += ["-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=3"]
        if environment.get(SSH_KEY):
            key = self._private_file("ssh_key", environment[SSH_KEY])
            command += ["-i", key, "-o", "IdentitiesOnly=yes"]
        if environment.get(SSH_HOSTS):
            hosts = self._private_file("known_hosts", environment[SSH_HOSTS])
            command += ["-o", "UserKnownHostsFile=" + hosts, "-o", "GlobalKnownHostsFile=/dev/null"]
            command += ["-o", "StrictHostKeyChecking=yes"]
        if found["port"]:
            command += ["-p", found["port"]]
        if user:
            command += ["-l", user]
        return [*command, "-s", "--", host.strip("[]"), "sftp"]

    def _private_file(self, name: str, text: str) -> str:
        path = os.path.join(self._scratch, name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            # OpenSSH takes no key without a line end.
            stream.write(text.rstrip("\n") + "\n")
        return path
