"""What is asked of the Docker Engine, and what its refusals become."""

from __future__ import annotations

import json
import types
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import docker.errors
import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _engine, _spec
from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    Engine,
    EngineError,
    host_config,
)

OWNER = _spec.Desired("mc", "tenant", "acme", "0123456789abcdef")
NETWORK = _spec.Network("mc-acme-data", "mc-d1", "10.0.0.0/28", "10.0.0.1", "data", True)
CONTAINER = _spec.Container(
    name="mc-acme-app",
    role="app",
    image="sha256:m",
    user="30012:30012",
    command=("serve",),
    stop_signal="SIGINT",
    mounts=(
        _spec.Mount("bind", "/run/memcloud", "/srv/acme", read_only=True),
        _spec.Mount("volume", "/data", "mc-acme-data"),
        _spec.Mount("tmpfs", "/tmp", options="size=1m"),
    ),
    networks=(_spec.Attachment("mc-acme-app", "10.0.0.18"), _spec.Attachment("mc-acme-data", "")),
    memory=64 * 1024**2,
    cpus=0.5,
    cpu_shares=128,
    pids=10,
    shm_size=1024**2,
)


@pytest.fixture
def client():
    return mock.Mock(api_version="1.41")


@pytest.fixture
def engine(client, monkeypatch):
    monkeypatch.setattr(_engine.docker, "APIClient", lambda **options: client)
    return Engine()


def refusal(status=409, text="no"):
    response = types.SimpleNamespace(status_code=status, reason="x", url="http://x")
    return docker.errors.APIError("x", response=response, explanation=text)


def missing():
    response = types.SimpleNamespace(status_code=404, reason="x", url="http://x")
    return docker.errors.NotFound("x", response=response, explanation="gone")


def test_a_container_is_created_with_all_its_limits(engine, client):
    engine.create_container(OWNER, CONTAINER)
    ((config, name), _options) = client.create_container_from_config.call_args
    assert name == "mc-acme-app"
    assert (config["User"], config["Cmd"], config["StopSignal"]) == (
        "30012:30012",
        ["serve"],
        "SIGINT",
    )
    assert config["Labels"]["memcloud.tenant"] == "acme"
    assert config["Labels"]["memcloud.spec"] == CONTAINER.spec_hash()
    host = config["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
    assert (host["NanoCpus"], host["CpuShares"], host["PidsLimit"]) == (500_000_000, 128, 10)
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["Tmpfs"] == {"/tmp": "size=1m"}
    assert [m["Type"] for m in host["Mounts"]] == ["bind", "volume"]
    assert "PortBindings" not in host
    endpoints = config["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints == {"mc-acme-app": {"IPAMConfig": {"IPv4Address": "10.0.0.18"}}}
    client.connect_container_to_network.assert_called_once_with(
        "mc-acme-app", "mc-acme-data", ipv4_address=None
    )


def test_a_service_on_the_hosts_network_has_no_network_of_its_own(engine, client):
    service = _spec.Container(name="mc-edge", image="i", network_mode="host")
    assert host_config(service)["NetworkMode"] == "host"
    engine.create_container(_spec.Desired("mc", "node-edge"), service)
    ((config, _name), _options) = client.create_container_from_config.call_args
    assert config["NetworkingConfig"] is None
    assert "Hostname" not in config


def test_a_network_has_its_bridge_and_subnet(engine, client):
    engine.create_network(OWNER, NETWORK)
    options = client.create_network.call_args.kwargs
    assert options["internal"] is True
    assert options["options"]["com.docker.network.bridge.name"] == "mc-d1"
    assert options["ipam"]["Config"][0]["Subnet"] == "10.0.0.0/28"


def test_a_network_is_cut_off_before_it_is_removed(engine, client):
    client.inspect_network.return_value = {"Containers": {"abc": {}, "def": {}}}
    client.disconnect_container_from_network.side_effect = [None, missing()]
    engine.remove_network("n")
    assert client.disconnect_container_from_network.call_count == 2
    client.remove_network.assert_called_once_with("n")


def test_volumes_without_a_name_stay_but_for_a_passing_container(engine, client):
    engine.remove_container("c")
    client.remove_container.assert_called_with("c", force=True, v=False)
    engine.remove_container("c", passing=True)
    client.remove_container.assert_called_with("c", force=True, v=True)


def test_what_is_gone_already_is_no_error(engine, client):
    client.inspect_network.side_effect = missing()
    engine.remove_network("n")
    client.remove_volume.side_effect = missing()
    engine.remove_volume("v")
    client.remove_container.side_effect = missing()
    client.stop.side_effect = missing()
    client.inspect_container.side_effect = missing()
    engine.remove_container("c")
    engine.stop("c", 5)
    assert engine.inspect("c") is None


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (lambda e: e.start("c"), "start"),
        (lambda e: e.stop("c", 1), "stop"),
        (lambda e: e.remove_container("c"), "remove_container"),
        (lambda e: e.remove_volume("c"), "remove_volume"),
        (lambda e: e.create_network(OWNER, NETWORK), "create_network"),
        (lambda e: e.create_volume(OWNER, _spec.Volume("v")), "create_volume"),
    ],
)
def test_a_refusal_says_what_and_why(engine, client, call, method):
    getattr(client, method).side_effect = refusal(text="disk full")
    client.inspect_container.return_value = {"Id": "c"}
    with pytest.raises(EngineError, match="disk full"):
        call(engine)


def test_a_frozen_container_goes_on(engine, client):
    client.inspect_container.return_value = {"State": {"Paused": True}}
    engine.start("c")
    client.unpause.assert_called_once_with("c")
    client.start.assert_not_called()


def test_limits_are_changed_live(engine, client):
    client._url.return_value = "u"
    client._post_json.return_value = types.SimpleNamespace(status_code=200)
    engine.update_container(CONTAINER)
    data = client._post_json.call_args.kwargs["data"]
    assert set(data) == {
        "Memory",
        "MemorySwap",
        "NanoCpus",
        "CpuShares",
        "PidsLimit",
        "RestartPolicy",
    }
    answer = types.SimpleNamespace(status_code=409, json=lambda: {"message": "too small"})
    client._post_json.return_value = answer
    with pytest.raises(EngineError, match="mc-acme-app: its limits cannot be changed: too small"):
        engine.update_container(CONTAINER)


def test_looking_passes_over_what_vanishes(engine, client):
    client.containers.return_value = [
        {"Id": "1", "Labels": {"memcloud.tenant": "acme"}},
        {"Id": "2", "Labels": {"memcloud.tenant": "acme"}},
        {"Id": "3", "Labels": {"memcloud.tenant": "globex"}},
    ]
    client.inspect_container.side_effect = [{"Id": "1"}, missing()]
    assert engine.containers("mc", ["acme"]) == [{"Id": "1"}]
    client.networks.return_value = [{"Name": "n"}]
    assert engine.networks("mc") == [{"Name": "n"}]
    client.volumes.return_value = {"Volumes": None}
    assert engine.volumes("mc") == []


def test_images(engine, client):
    client.inspect_image.return_value = {"Id": "sha256:1"}
    assert engine.image_id("x") == "sha256:1"
    client.inspect_image.side_effect = docker.errors.ImageNotFound("x")
    assert engine.image_id("x") is None


def test_a_short_lived_container_gives_its_json_and_leaves_nothing(engine, client):
    client.inspect_network.return_value = client.inspect_container.return_value = {}
    client.logs.return_value = b"noise\n" + json.dumps({"status": 200}).encode() + b"\n"
    assert engine.run_once(OWNER, NETWORK, CONTAINER, 5) == {"status": 200}
    assert client.remove_container.call_count == 2
    assert all(call.kwargs["v"] for call in client.remove_container.call_args_list)
    client.logs.return_value = b"Traceback"
    with pytest.raises(EngineError, match="ended with: Traceback"):
        engine.run_once(OWNER, NETWORK, CONTAINER, 5)
    client.wait.side_effect = TimeoutError("5 s")
    with pytest.raises(EngineError, match="did not end within 5 s"):
        engine.run_once(OWNER, NETWORK, CONTAINER, 5)


def test_a_log_begins_where_it_is_told(engine, client):
    client.logs.return_value = b"Started.\n"
    assert engine.logs("mc-acme-neo4j", 9) == "Started.\n"
    client.logs.assert_called_with("mc-acme-neo4j", tail=9)
    for moment, seconds in (
        ("2026-11-22T16:23:58.530123456Z", 1795364638.5301235),
        ("2026-11-22T16:23:58Z", 1795364638.0),
    ):
        engine.logs("mc-acme-neo4j", 9, moment)
        client.logs.assert_called_with("mc-acme-neo4j", tail=9, since=seconds)


def test_no_engine_says_what_to_do(monkeypatch):
    def refuse(**options):
        raise docker.errors.DockerException("connection refused")

    monkeypatch.setattr(_engine.docker, "APIClient", refuse)
    with pytest.raises(EngineError, match="no Docker Engine answers .* run setup_node"):
        Engine().image_id("x")


def test_an_old_engine_is_named(engine, client):
    client.api_version = "1.24"
    with pytest.raises(EngineError, match=r"speaks API 1\.24, at least 1\.41 is needed"):
        engine.image_id("x")


def test_each_thread_has_a_connection_and_one_of_them_asks_for_the_version(client, monkeypatch):
    asked = []

    def connect(**options):
        asked.append(options["version"])
        return client

    monkeypatch.setattr(_engine.docker, "APIClient", connect)
    engine = Engine()
    for _thread in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: engine.client).result()
    assert asked == ["auto", "1.41", "1.41"]


def test_without_the_sdk_it_says_what_to_run(monkeypatch):
    monkeypatch.setattr(_engine, "HAS_DOCKER", False)
    with pytest.raises(EngineError, match="Docker SDK for Python is missing"):
        Engine()
