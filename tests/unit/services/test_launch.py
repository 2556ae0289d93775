# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server waits for a PostgreSQL that is still starting, and for nothing else."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

PROGRAM = Path(__file__).parents[3] / "roles/memmachine_image/files/image/launch.py"
STARTING = b"E\0\0\0\x5aSFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
REFUSED = b"E\0\0\0\x40SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0"
ASKS_FOR_PASSWORD = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("memcloud_launch", PROGRAM)
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def asked(
    launch: ModuleType, answers: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """How often a PostgreSQL with these answers was asked, of which the last one stays."""
    times = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal times
        hello = await reader.read(1024)
        assert len(hello) == int.from_bytes(hello[:4], "big") and b"user\0memmachine\0" in hello
        writer.write(answers[min(times, len(answers) - 1)])
        times += 1
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        config = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        neo4j = {"provider": "neo4j", "config": {"uri": "bolt://127.0.0.1:1"}}
        databases = {"postgres": {"provider": "postgres", "config": config}, "neo4j": neo4j}
        path = tmp_path / "configuration.yml"
        path.write_text(yaml.safe_dump({"resources": {"databases": databases}}))
        monkeypatch.setenv("MEMORY_CONFIG", str(path))
        async with server:
            await launch.wait_for_databases()

    asyncio.run(scene())
    return times


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        ([ASKS_FOR_PASSWORD], 1),
        ([STARTING, STARTING, ASKS_FOR_PASSWORD], 3),
        ([b"", ASKS_FOR_PASSWORD], 2),
        ([REFUSED], 1),  # waiting would not help
    ],
)
def test_it_asks_until_clients_are_let_in(
    launch: ModuleType,
    answers: list[bytes],
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(launch, answers, tmp_path, monkeypatch) == times


def test_it_does_not_wait_for_ever(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "DATABASE_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        asked(launch, [STARTING], tmp_path, monkeypatch)


def test_both_formats_of_a_configuration_name_their_database(launch: ModuleType) -> None:
    old = {"sessiondb": {"uri": "postgresql://memmachine:secret@10.0.0.2:5433/memmachine"}}
    new = {"databases": [{"provider": "postgres", "config": {"host": "10.0.0.3"}}]}
    assert set(launch.postgres_of(old)) == {("10.0.0.2", 5433)}
    assert set(launch.postgres_of(new)) == {("10.0.0.3", 5432)}
