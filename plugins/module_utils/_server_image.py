# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an image of the server something, in a container that is thrown away."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

try:
    from docker.errors import DockerException
except ImportError:  # reported by docker_client
    DockerException = Exception

# The server's own interpreter, and whom it runs as.
INTERPRETER = "/app/.venv/bin/python"
USER = "30012:30012"


class CommandFailed(MemcloudError):
    """A command in an image that ended with an error."""

    def __init__(self, image: str, code: int, output: str) -> None:
        self.code = code
        self.output = output.strip()
        super().__init__(f"A command in image {image} ended with code {code}: {self.output}")


def run_in_image(
    client: Any,
    image: str,
    arguments: list[str],
    *,
    entrypoint: list[str] | None = None,
    binds: list[str] | None = None,
    timeout: int = 120,
) -> str:
    """Run the image's launcher in a throw-away container without network; return its output.

    An error holds the output too, or the log where there is none.

    :param arguments: for the launcher, in place of starting the server.
    :param entrypoint: another program of the image in place of the launcher.
    :param binds: mounts as C(source:target:options).
    """
    limits = client.create_host_config(
        network_mode="none",
        read_only=True,
        tmpfs={"/tmp": "mode=1777,size=16m"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        binds=binds or [],
        mem_limit="1g",
        pids_limit=256,
    )
    try:
        created = client.create_container(
            image, arguments, user=USER, host_config=limits, entrypoint=entrypoint
        )
    except DockerException as error:
        raise MemcloudError(f"Cannot start a container of image {image}: {error}") from error
    try:
        client.start(created["Id"])
        code = client.wait(created["Id"], timeout=timeout)["StatusCode"]
        output = client.logs(created["Id"], stderr=False).decode("utf-8", "replace")
        if code != 0 and not output.strip():
            output = client.logs(created["Id"]).decode("utf-8", "replace")
    except DockerException as error:
        raise MemcloudError(f"Cannot run a container of image {image}: {error}") from error
    finally:
        client.remove_container(created["Id"], force=True, v=True)
    if code != 0:
        raise CommandFailed(image, code, output)
    return str(output)
