# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine of a node, seen through the Docker SDK's low-level client."""

from __future__ import annotations

import calendar
import contextlib
import io
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._inspect import inspect_all
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import (
    LABEL_PLATFORM,
    LABEL_TENANT,
    Container,
    Desired,
    Network,
    Volume,
)

try:
    import docker
    import docker.errors
    import docker.types

    HAS_DOCKER = True
except ImportError:
    HAS_DOCKER = False

DEFAULT_HOST = "unix:///var/run/docker.sock"
MINIMUM_API = (1, 41)
# Containers that are inspected one after the other, by the SDK.
_FEW = 12
_NANO = 1_000_000_000


class EngineError(MemcloudError):
    """The engine cannot be used, or refused something."""


@contextlib.contextmanager
def docker_client(host: str, timeout: int) -> Iterator[Any]:
    """A C(docker.APIClient) of an engine; what it refuses within is told as an EngineError."""
    client = Engine(host, timeout).client
    try:
        yield client
    except docker.errors.DockerException as error:
        raise EngineError(f"the Docker Engine at {host} says: {_reason(error)}") from error


class Engine:
    """Calls to one Docker Engine. Every thread gets a connection of its own.

    :param host: address of the engine's socket, ``unix:///var/run/docker.sock`` by default.
    :param timeout: seconds that one call may take.
    """

    def __init__(self, host: str = DEFAULT_HOST, timeout: int = 60) -> None:
        if not HAS_DOCKER:
            raise EngineError(
                "the Docker SDK for Python is missing in the node's interpreter: run setup_node "
                "for this node, it makes the virtual environment that carries it"
            )
        self.host = host
        self._timeout = timeout
        self._local = threading.local()
        # Of its API, once it was asked: an engine asks its own parts before it answers that.
        self._version = "auto"

    @property
    def client(self) -> Any:
        """This thread's ``docker.APIClient``."""
        found = getattr(self._local, "client", None)
        if found is None:
            try:
                found = docker.APIClient(
                    base_url=self.host, version=self._version, timeout=self._timeout
                )
            except docker.errors.DockerException as error:
                raise EngineError(
                    f"no Docker Engine answers at {self.host} ({error}): run setup_node for this "
                    "node, or start the engine with memcloud-node up"
                ) from error
            version = tuple(int(part) for part in found.api_version.split("."))
            if version < MINIMUM_API:
                minimum = ".".join(str(part) for part in MINIMUM_API)
                raise EngineError(
                    f"the Docker Engine at {self.host} speaks API {found.api_version}, at least "
                    f"{minimum} is needed: update it"
                )
            self._version = found.api_version
            self._local.client = found
        return found

    # -- looking ------------------------------------------------------------------------------

    def containers(
        self, platform: str, owners: Iterable[str] | None = None
    ) -> list[dict[str, Any]]:
        """Every container of a platform, running or not, inspected.

        :param owners: tenants whose containers matter ("" for the node's own); all when None.
        """
        wanted = None if owners is None else set(owners)
        ids = [
            entry["Id"]
            for entry in self.client.containers(all=True, filters=_filters(platform, wanted))
            if wanted is None or entry["Labels"].get(LABEL_TENANT, "") in wanted
        ]
        if len(ids) <= _FEW or not self.host.startswith("unix://"):
            return [found for found in map(self.inspect, ids) if found]
        path = "/" + self.host[len("unix://") :].lstrip("/")
        return inspect_all(path, self.client.api_version, self._timeout, ids)

    def networks(self, platform: str, owners: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Every network of a platform; at least those of the owners, where they are given."""
        return list(self.client.networks(filters=_filters(platform, owners)))

    def volumes(self, platform: str, owners: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Every volume of a platform; at least those of the owners, where they are given."""
        return list(self.client.volumes(filters=_filters(platform, owners)).get("Volumes") or [])

    def image_id(self, reference: str) -> str | None:
        """Id of an image that is present, else None."""
        try:
            return str(self.client.inspect_image(reference)["Id"])
        except docker.errors.ImageNotFound:
            return None

    def volumes_directory(self) -> str:
        """Where the volumes are on the node's disk."""
        return os.path.join(str(self.client.info()["DockerRootDir"]), "volumes")

    def inspect(self, name: str) -> dict[str, Any] | None:
        """One container, or None."""
        try:
            return dict(self.client.inspect_container(name))
        except docker.errors.NotFound:
            return None

    def state(self, name: str) -> dict[str, Any]:
        """What a container is at now; empty where there is none."""
        return (self.inspect(name) or {}).get("State") or {}

    # -- changing -----------------------------------------------------------------------------

    def create_network(self, owner: Desired, network: Network) -> None:
        """Create a bridge network with a fixed subnet, gateway and bridge name."""
        pool = docker.types.IPAMPool(subnet=network.subnet, gateway=network.gateway)
        self._call(
            f"network {network.name}",
            self.client.create_network,
            network.name,
            driver="bridge",
            internal=network.internal,
            check_duplicate=True,
            enable_ipv6=False,
            labels=owner.labels(network.role),
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            options={
                "com.docker.network.bridge.name": network.bridge,
                "com.docker.network.bridge.enable_icc": "true",
            },
        )

    def remove_network(self, name: str) -> None:
        """Remove a network after cutting whatever is still attached to it."""
        try:
            found = self.client.inspect_network(name)
        except docker.errors.NotFound:
            return
        for container in found.get("Containers") or {}:
            with contextlib.suppress(docker.errors.NotFound):
                self.client.disconnect_container_from_network(container, name, force=True)
        try:
            self._call(f"network {name}", self.client.remove_network, name)
        except EngineError:
            if any(n["Name"] == name for n in self.client.networks(names=[name])):
                raise

    def create_volume(self, owner: Desired, volume: Volume) -> None:
        """Create a named volume (no effect on one that exists)."""
        self._call(
            f"volume {volume.name}",
            self.client.create_volume,
            volume.name,
            labels=owner.labels(volume.role),
        )

    def remove_volume(self, name: str) -> None:
        """Remove a volume and what is in it."""
        try:
            self.client.remove_volume(name, force=True)
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError as error:
            raise EngineError(f"volume {name} cannot be removed: {_reason(error)}") from error

    def create_container(self, owner: Desired, container: Container) -> None:
        """Create (not start) a container; a second network is attached afterwards."""
        spec = container.spec_hash()
        networking = None
        if container.networks:
            networking = {"EndpointsConfig": {container.networks[0].name: _endpoint(container, 0)}}
        config: dict[str, Any] = {
            "Image": container.image,
            "Labels": owner.labels(container.role, spec),
            "Env": sorted("{}={}".format(*item) for item in container.environment.items()),
            "HostConfig": host_config(container),
            "NetworkingConfig": networking,
            "StopTimeout": container.stop_timeout,
            "AttachStdout": False,
            "AttachStderr": False,
        }
        if not container.network_mode:
            config["Hostname"] = container.role or container.name
        for key, value in (
            ("User", container.user),
            ("Cmd", list(container.command)),
            ("Entrypoint", list(container.entrypoint)),
            ("StopSignal", container.stop_signal),
        ):
            if value:
                config[key] = value
        what = f"container {container.name}"
        self._call(what, self.client.create_container_from_config, config, container.name)
        for index, attachment in enumerate(container.networks[1:], start=1):
            self.connect(container, attachment.name, index)

    def connect(self, container: Container, network: str, index: int) -> None:
        """Attach a container to a network at its fixed address."""
        self._call(
            f"container {container.name}",
            self.client.connect_container_to_network,
            container.name,
            network,
            ipv4_address=container.networks[index].address or None,
        )

    def update_container(self, container: Container) -> None:
        """Set the limits that Docker changes on a living container."""
        host = host_config(container)
        fields = (
            "Memory",
            "MemorySwap",
            "NanoCpus",
            "CpuShares",
            "PidsLimit",
            "RestartPolicy",
        )
        url = self.client._url("/containers/{0}/update", container.name)
        result = self.client._post_json(url, data={name: host[name] for name in fields})
        if result.status_code >= 400:
            raise EngineError(
                "container {}: its limits cannot be changed: {}".format(
                    container.name, result.json().get("message")
                )
            )

    def start(self, name: str) -> None:
        """Start a container that exists; one that was frozen goes on."""
        act = self.client.unpause if self.state(name).get("Paused") else self.client.start
        self._call(f"container {name}", act, name)

    def stop(self, name: str, timeout: int) -> None:
        """Stop a container, with a bound after which it is killed."""
        try:
            self._call(f"container {name}", self.client.stop, name, timeout=timeout)
        except EngineError:
            if self.inspect(name) is not None:
                raise

    def remove_container(self, name: str, passing: bool = False) -> None:
        """Remove a container, killing it when it still runs.

        :param passing: it was made for one job. Volumes without a name, which the engine makes
            where an image declares one, go with it; of any other container all volumes stay.
        """
        try:
            self._call(
                f"container {name}",
                self.client.remove_container,
                name,
                force=True,
                v=passing,
            )
        except EngineError:
            if self.inspect(name) is not None:
                raise

    def run_once(
        self, owner: Desired, network: Network, container: Container, timeout: int
    ) -> dict[str, Any]:
        """Run a short-lived container on a network of its own and return the JSON it printed."""
        self.remove_container(container.name, passing=True)
        self.remove_network(network.name)
        try:
            self.create_network(owner, network)
            self.create_container(owner, container)
            self.start(container.name)
            try:
                self.client.wait(container.name, timeout=timeout)
            except Exception as error:
                raise EngineError(
                    f"{container.name} did not end within {timeout} s: {error}"
                ) from error
            printed = self.logs(container.name)
        finally:
            self.remove_container(container.name, passing=True)
            self.remove_network(network.name)
        try:
            return dict(json.loads(printed.strip().splitlines()[-1]))
        except (ValueError, IndexError):
            raise EngineError(f"{container.name} ended with: {printed[-800:]}") from None

    def execute(
        self,
        name: str,
        command: list[str],
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        user: str = "",
    ) -> bytes:
        """Run a command in a container that runs, and wait for its end.

        :param stdin: what it reads.
        :param stdout: where what it prints goes; returned when None.
        :raises EngineError: with the end of its standard error when it fails.
        """
        with Execution(self, name, command, user) as running:
            if stdin is not None:
                running.feed(stdin)
            running.close_input()
            printed = io.BytesIO()
            errors = running.read_all(stdout or printed)
            code = running.exit_code()
        if code != 0:
            said = errors.decode("utf-8", "replace").strip()[-800:]
            raise EngineError(f"container {name}: {command[0]} ended with {code}: {said}")
        return printed.getvalue()

    def logs(self, name: str, lines: int = 15, since: str = "") -> str:
        """The last lines a container printed.

        :param since: none of before this moment, which is written as the engine writes them.
        """
        given = {"since": _seconds(since)} if since else {}
        try:
            return str(self.client.logs(name, tail=lines, **given).decode("utf-8", "replace"))
        except docker.errors.DockerException:
            return ""

    def _call(self, what: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except docker.errors.APIError as error:
            raise EngineError(f"{what}: the Docker Engine says: {_reason(error)}") from error


class Execution:
    """A command that runs in a container, with its standard input, output and error."""

    _CHUNK = 1024 * 1024
    _ERRORS_KEPT = 16 * 1024

    def __init__(self, engine: Engine, name: str, command: list[str], user: str = "") -> None:
        self._client = engine.client
        what = f"container {name}"
        created = engine._call(what, self._client.exec_create, name, command, stdin=True, user=user)
        self._id = created["Id"]
        # No time-out: a dump may take as long as it takes.
        stream = engine._call(what, self._client.exec_start, self._id, socket=True)
        self._stream = stream
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        self._socket.settimeout(None)
        self._feeder: threading.Thread | None = None

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *_details: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._stream.close()
        if self._feeder is not None:
            self._feeder.join(5)

    def write(self, data: bytes) -> None:
        """Send something to its standard input now."""
        self._socket.sendall(data)

    def feed(self, source: bytes | BinaryIO) -> None:
        """Send bytes or a file to its standard input while its output is read."""
        stream = io.BytesIO(source) if isinstance(source, bytes) else source

        def send() -> None:
            with contextlib.suppress(OSError):  # it ended early; its exit code says why
                for chunk in iter(lambda: stream.read(self._CHUNK), b""):
                    self._socket.sendall(chunk)
                self._socket.shutdown(socket.SHUT_WR)

        self._feeder = threading.Thread(target=send, daemon=True)
        self._feeder.start()

    def close_input(self) -> None:
        """Tell it that nothing more comes (a feeder does so by itself)."""
        if self._feeder is None:
            self._socket.shutdown(socket.SHUT_WR)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """What it writes: 1 and standard output, or 2 and standard error."""
        while True:
            header = self._exactly(8)
            if len(header) < 8:
                return
            kind, length = struct.unpack(">BxxxL", header)
            yield kind, self._exactly(length)

    def read_all(self, stdout: BinaryIO) -> bytes:
        """Copy its output until it ends; returns the last of its standard error."""
        errors = b""
        for kind, data in self.frames():
            if kind == 2:
                errors = (errors + data)[-self._ERRORS_KEPT :]
            else:
                stdout.write(data)
        return errors

    def exit_code(self) -> int:
        """Its exit code; -1 while it runs."""
        code = self._client.exec_inspect(self._id)["ExitCode"]
        return -1 if code is None else int(code)

    def _exactly(self, length: int) -> bytes:
        parts = []
        while length:
            part = self._socket.recv(min(length, self._CHUNK))
            if not part:
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _filters(platform: str, owners: Iterable[str] | None) -> dict[str, Any]:
    """What the engine is asked for: of a single tenant only what is its own."""
    labels = [f"{LABEL_PLATFORM}={platform}"]
    names = [] if owners is None else list(owners)
    if len(names) == 1 and names[0]:
        labels.append(f"{LABEL_TENANT}={names[0]}")
    return {"label": labels}


def host_config(container: Container) -> dict[str, Any]:
    """Docker's HostConfig for a container."""
    host: dict[str, Any] = {
        "Memory": container.memory,
        "MemorySwap": container.memory,
        "NanoCpus": int(container.cpus * _NANO),
        "CpuShares": container.cpu_shares,
        "PidsLimit": container.pids or None,
        "ReadonlyRootfs": container.read_only,
        "CapDrop": list(container.cap_drop) or None,
        "CapAdd": list(container.cap_add) or None,
        "SecurityOpt": ["no-new-privileges:true"] if container.no_new_privileges else None,
        "RestartPolicy": {"Name": container.restart, "MaximumRetryCount": 0},
        "LogConfig": {
            "Type": "json-file",
            "Config": {
                "max-size": container.log_max_size,
                "max-file": str(container.log_max_file),
            },
        },
        "Mounts": [_mount(mount) for mount in container.mounts if mount.type != "tmpfs"],
        "Tmpfs": {m.target: m.options for m in container.mounts if m.type == "tmpfs"},
        "NetworkMode": container.network_mode
        or (container.networks[0].name if container.networks else "none"),
        "Init": False,
    }
    if container.shm_size:
        host["ShmSize"] = container.shm_size
    return host


def _mount(mount: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Type": mount.type,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.type == "volume":
        # A new volume starts as a copy of what the image has there: the owner's directory.
        entry["VolumeOptions"] = {"NoCopy": False}
    if mount.type == "bind":
        entry["BindOptions"] = {"Propagation": "rprivate"}
    return entry


def _seconds(moment: str) -> float:
    """A moment such as 2026-11-22T16:23:58.530123456Z in seconds since 1970."""
    whole, _dot, fraction = moment.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction}")


def _endpoint(container: Container, index: int) -> dict[str, Any]:
    address = container.networks[index].address
    return {"IPAMConfig": {"IPv4Address": address}} if address else {}


def _reason(error: Any) -> str:
    return str(getattr(error, "explanation", None) or error)
