"""An SFTP server on loopback, with a host key and a user's key of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

USER = "backup"


@dataclass(frozen=True)
class Sftp:
    """Where it is, and what opens it."""

    url: str
    key: str
    known_hosts: str
    folder: Path


class _Folder(asyncssh.SFTPServer):
    """A session of it; its end is told as sshd tells it."""

    def exit(self) -> None:
        self.channel.exit(0)


@contextlib.contextmanager
def sftp(folder: Path) -> Iterator[Sftp]:
    """Serve a folder, for one key alone."""
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _owner in range(2))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=asyncssh.import_authorized_keys(
                user.export_public_key().decode()
            ),
            sftp_factory=lambda channel: _Folder(channel, chroot=str(folder)),
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    port = server.get_port()
    try:
        yield Sftp(
            f"sftp://{USER}@127.0.0.1:{port}//restore-points",
            user.export_private_key().decode(),
            f"[127.0.0.1]:{port} {host.export_public_key().decode()}",
            folder,
        )
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
