# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of PostgreSQL and Neo4j, run as tenants run them, from a client's side.

Runs as root on a node that setup_node has set up: the images are those of its images.json.

    MEMCLOUD_PLATFORM=mc python -m pytest tests/integration/test_databases.py
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path

import docker
import neo4j
import psycopg
import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._neo4j import (
    auth_ini,
    jvm_args,
    neo4j_conf,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import server_arguments
from neo4j.exceptions import AuthError, ServiceUnavailable

PLATFORM = os.environ.get("MEMCLOUD_PLATFORM", "mc")
DATA_DIR = Path(os.environ.get("MEMCLOUD_DATA_DIR", f"/var/lib/memcloud/{PLATFORM}"))
DOCKER_HOST = os.environ.get("MEMCLOUD_DOCKER_HOST", "unix:///var/run/docker.sock")
FREE = load_defaults()["platform_tiers"]["free"]
PATIENCE = 60
STOP_SECONDS = 10

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (DATA_DIR / "images.json").exists(),
    reason=f"no images of {PLATFORM} on this machine",
)


class Server:
    """One database server in a locked-down container, with secrets and a volume of its own."""

    def __init__(self, engine, directory, kind, uid, target, scratch, command=()):
        self.name = f"memcloud-test-{kind}-{uuid.uuid4().hex[:8]}"
        self.secrets = directory
        self.uid = uid
        self.volume = engine.volumes.create(self.name)
        self.container = engine.containers.create(
            json.loads((DATA_DIR / "images.json").read_text())[kind]["id"],
            name=self.name,
            hostname=kind,  # which Neo4j listens at, as a tenant's does
            command=list(command),
            user=f"{uid}:{uid}",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=FREE[kind]["memory"],
            pids_limit=FREE[kind]["pids"],
            tmpfs=dict.fromkeys(scratch, f"size=64m,mode=0700,uid={uid},gid={uid}"),
            volumes={
                self.name: {"bind": target, "mode": "rw"},
                str(directory): {"bind": "/run/memcloud", "mode": "ro"},
            },
        )

    def write(self, name, text):
        path = self.secrets / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, self.uid, self.uid)
        os.chown(self.secrets, self.uid, self.uid)

    def start(self):
        self.container.start()
        self.container.reload()
        return self.container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]

    def stop(self):
        self.container.stop(timeout=STOP_SECONDS)
        self.container.reload()
        return self.container.attrs["State"]["ExitCode"]

    def remove(self):
        self.container.remove(force=True)
        self.volume.remove()


@pytest.fixture
def engine():
    client = docker.DockerClient(base_url=DOCKER_HOST, timeout=60)
    yield client
    client.close()


@pytest.fixture
def postgres(engine, tmp_path):
    server = Server(
        engine,
        tmp_path,
        "postgres",
        30010,
        "/var/lib/postgresql/data",
        ["/tmp", "/run/postgresql"],
        server_arguments(FREE["postgres"]),
    )
    server.write("admin_password", "admin0")
    server.write("app_password", "app0")
    yield server
    server.remove()


@pytest.fixture
def graph(engine, tmp_path):
    server = Server(engine, tmp_path, "neo4j", 30011, "/data", ["/tmp"])
    server.write("neo4j.conf", neo4j_conf(FREE["neo4j"]))
    server.write("jvm.args", jvm_args(FREE["neo4j"]))
    server.write("auth.ini", auth_ini("graph0", b"s" * 32))
    yield server
    server.remove()


def sql(address, statement, password="app0", user="memmachine", database="memmachine"):
    """Answer of one statement, sent as soon as the server takes connections."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with psycopg.connect(
                host=address, user=user, password=password, dbname=database, connect_timeout=5
            ) as connection:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else None
        except psycopg.OperationalError as error:
            starting = "refused" in str(error) or "starting up" in str(error)
            if not starting or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def cypher(address, statement, password="graph0"):
    """Records of one statement, sent as soon as the server takes connections."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with neo4j.GraphDatabase.driver(
                f"bolt://{address}:7687", auth=("neo4j", password)
            ) as driver:
                return [record.data() for record in driver.execute_query(statement).records]
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_server_role_is_unprivileged_and_finds_the_extension(postgres):
    address = postgres.start()
    sql(address, "CREATE EXTENSION IF NOT EXISTS vector")
    sql(address, "CREATE TABLE memory (v vector(3))")
    sql(address, "INSERT INTO memory VALUES ('[1,2,3]'), ('[3,2,1]')")
    sql(address, "CREATE INDEX ON memory USING hnsw (v vector_cosine_ops)")
    nearest = sql(address, "SELECT v::text FROM memory ORDER BY v <=> '[1,2,3]' LIMIT 1")
    assert nearest == [("[1,2,3]",)]
    assert sql(
        address, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = 'memmachine'"
    ) == [(False, False)]
    assert sql(
        address, "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'memmachine'"
    ) == [("b", "C.UTF-8")]


@pytest.mark.parametrize(
    "login",
    [
        {"password": "wrong"},
        {"user": "postgres", "password": "admin0"},
        {"user": "postgres", "password": "admin0", "database": "postgres"},
        {"database": "postgres"},
        {"database": "template1"},
    ],
)
def test_nobody_else_comes_in_by_the_network(postgres, login):
    address = postgres.start()
    sql(address, "SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="authentication failed|no pg_hba.conf"):
        sql(address, "SELECT 1", **login)


def test_admin_comes_in_by_the_socket_with_the_password_only(postgres):
    sql(postgres.start(), "SELECT 1")
    for password, expected in (("admin0", 0), ("wrong", 2), ("", 2)):
        code, _output = postgres.container.exec_run(
            ["psql", "-w", "-U", "postgres", "-Atc", "SELECT 1"],
            environment={"PGPASSWORD": password},
        )
        assert code == expected


def test_changed_password_counts_from_the_next_start_even_after_a_kill(postgres):
    address = postgres.start()
    sql(address, "CREATE TABLE kept AS SELECT 1")
    postgres.container.kill()
    postgres.write("app_password", "app1")
    address = postgres.start()
    assert sql(address, "SELECT count(*) FROM kept", password="app1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        sql(address, "SELECT 1", password="app0")


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.5])
def test_postgres_killed_in_its_first_start_starts_the_next_time(postgres, delay):
    postgres.container.start()
    time.sleep(delay)
    postgres.container.kill()
    assert sql(postgres.start(), "SELECT 1") == [(1,)]


def test_no_password_is_in_the_log_of_postgres(postgres):
    sql(postgres.start(), "SELECT 1")
    log = postgres.container.logs().decode()
    assert "ready to accept connections" in log
    assert "admin0" not in log and "app0" not in log


def test_postgres_stops_cleanly(postgres):
    sql(postgres.start(), "SELECT 1")
    assert postgres.stop() == 0


def test_tenants_password_is_the_only_one(graph):
    address = graph.start()
    assert cypher(address, "RETURN 1 AS one") == [{"one": 1}]
    for password in ("neo4j", "wrong"):
        with pytest.raises(AuthError):
            cypher(address, "RETURN 1", password)


def test_archive_of_classes_is_loaded(graph):
    cypher(graph.start(), "RETURN 1")
    code, _output = graph.container.exec_run(["grep", "-q", "neo4j.jsa", "/proc/1/maps"])
    assert code == 0


def test_graph_survives_a_kill_and_stops_cleanly(graph):
    address = graph.start()
    cypher(address, "CREATE (:Memory {text: 'kept'})")
    graph.container.kill()
    address = graph.start()
    assert cypher(address, "MATCH (m:Memory) RETURN m.text AS text") == [{"text": "kept"}]
    started = time.monotonic()
    assert graph.stop() == 0
    assert time.monotonic() - started < STOP_SECONDS


@pytest.mark.parametrize("delay", [0.05, 0.2])
def test_neo4j_killed_in_its_first_start_starts_the_next_time(graph, delay):
    graph.container.start()
    time.sleep(delay)
    graph.container.kill()
    assert cypher(graph.start(), "RETURN 1 AS one") == [{"one": 1}]
    with pytest.raises(AuthError):
        cypher(graph.start(), "RETURN 1", "neo4j")


def test_every_copy_has_a_store_id_of_its_own(graph, engine, tmp_path):
    other_secrets = tmp_path / "other"
    other_secrets.mkdir()
    other = Server(engine, other_secrets, "neo4j", 30011, "/data", ["/tmp"])
    try:
        for name in ("neo4j.conf", "jvm.args", "auth.ini"):
            other.write(name, (tmp_path / name).read_text())
        ids = [cypher(server.start(), "CALL db.info() YIELD id") for server in (graph, other)]
    finally:
        other.remove()
    assert ids[0] != ids[1]
