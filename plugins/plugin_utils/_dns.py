# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hook that sets and removes DNS records: a command of the operator's, on the controller."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

_SECONDS = 120


def dns_command(
    hook: Sequence[str], state: str, tenant: str, hostname: str, address: str, ttl: int
) -> list[str]:
    """The command line: the hook's own words, then what is to be done.

    :param state: ``present`` or ``absent``.
    :param address: where the record leads to; empty for ``absent``.
    """
    return [*hook, state, tenant, hostname, *([address, str(ttl)] if state == "present" else [])]


def call_hook(tenant: str, command: Sequence[str], seconds: float = _SECONDS) -> str:
    """Run the hook; what it printed.

    :raises MemcloudError: with its last words, when it cannot be run, fails, or does not end.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(tenant, command, f"did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise _failed(tenant, command, f"cannot be run: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-600:] or "nothing"
        raise _failed(tenant, command, f"ended with {done.returncode} and said: {said}")
    return done.stdout.strip()


def _failed(tenant: str, command: Sequence[str], what: str) -> MemcloudError:
    return MemcloudError(
        f"{tenant}: platform_dns_hook: {' '.join(command)} {what}. The tenant itself is as it "
        "should be: correct the hook and run this again, or set the record by hand"
    )
