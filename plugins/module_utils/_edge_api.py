# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking Traefik's own API, on the node's loopback, what it has loaded."""

from __future__ import annotations

import http.client
import json
import time

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError


def wait_for_router(port: int, router: str, tenant: str, seconds: float = 15.0) -> None:
    """Wait until Traefik shows a router as enabled.

    :raises MemcloudError: with what Traefik says instead.
    """
    deadline = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", f"/api/http/routers/{router}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                found = json.loads(body)
                if found.get("status") == "enabled":
                    return
                last = f"{found.get('status')}: {found.get('error')}"
            else:
                last = f"{answer.status}: it does not know the route"
        except (OSError, ValueError, http.client.HTTPException) as error:
            last = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    raise MemcloudError(
        f"{tenant}: Traefik does not serve its route after {seconds:.0f} s ({last}): see the log "
        "of the edge container; one broken file in its directory makes it refuse all changes"
    )
