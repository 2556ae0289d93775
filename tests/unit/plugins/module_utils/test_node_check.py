# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import shutil
import socket

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _node_check
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_check import (
    EngineFacts,
    NodeError,
    Wanted,
    check_data_dir,
    check_disk,
    check_engine,
    check_pool,
    check_ports,
    engine_facts,
    engine_get,
    ipv4_routes,
    low_limits,
    missing_packages,
    own_pids,
    survey,
    venv_is_current,
)
from engine_socket import EngineSocket

GIB = 1024**3


@pytest.fixture
def engine(tmp_path):
    server = EngineSocket(tmp_path / "docker.sock")
    server.answers = {
        "/version": {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
        "/info": {"DockerRootDir": str(tmp_path)},
    }
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_engine_says_what_it_is(engine, tmp_path):
    assert engine_facts(engine.host) == EngineFacts("20.10.24", "1.41", "1.12", str(tmp_path))


def test_nobody_answers(tmp_path):
    assert engine_facts(f"unix://{tmp_path}/nothing.sock") is None


def test_engine_over_the_network_is_refused():
    with pytest.raises(NodeError, match="platform_docker_host"):
        engine_get("tcp://10.0.0.1:2375", "/version")


@pytest.mark.parametrize(
    ("api", "works"), [("1.41", True), ("1.52", True), ("2.0", True), ("1.40", False)]
)
def test_engine_must_be_new_enough(api, works):
    facts = EngineFacts("19.03", api, "1.12", "")
    if works:
        check_engine("node1", facts)
    else:
        with pytest.raises(NodeError, match=r"node1: Docker Engine 19\.03 speaks API 1\.40"):
            check_engine("node1", facts)


@pytest.mark.parametrize(
    ("options", "root", "words"),
    [
        (("name=seccomp,profile=builtin", "name=rootless"), "/home/ada/docker", "rootless"),
        (("name=userns",), "/srv/docker/100000.100000", "userns-remap"),
        ((), "/var/snap/docker/common/var-lib-docker", "is a snap"),
    ],
)
def test_an_engine_that_cannot_carry_tenants(options, root, words):
    with pytest.raises(
        NodeError, match=f"node1: its Docker Engine .*{words}.* Nothing was touched"
    ):
        check_engine("node1", EngineFacts("29.0", "1.52", "1.44", root, options))


def test_an_engine_with_the_usual_options():
    options = ("name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns")
    check_engine("node1", EngineFacts("29.0", "1.52", "1.44", "/var/lib/docker", options))


def test_full_disk_is_named_with_its_figure(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=int(1.5 * GIB))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(NodeError, match=r"node1: 1\.5 GiB are free .* 5\.0 GiB are needed"):
        check_disk("node1", [str(tmp_path / "not" / "there" / "yet")], 5 * GIB)


def test_disk_with_room(tmp_path):
    assert check_disk("node1", [str(tmp_path)], 1) > 1


@pytest.mark.parametrize(
    ("route", "overlaps"),
    [
        ({"dst": "10.193.7.0/24", "dev": "eth1"}, True),
        ({"dst": "10.0.0.0/8", "dev": "tun0"}, True),
        ({"dst": "10.192.0.5"}, True),
        ({"dst": "10.192.0.0/28", "dev": "mc-n0"}, False),
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "0.0.0.0/0", "dev": "eth0"}, False),
        ({"dst": "172.17.0.0/16", "dev": "docker0"}, False),
        ({"type": "unreachable", "dst": "fe80::/10"}, False),
    ],
)
def test_pool_that_is_in_use_is_refused(route, overlaps):
    if overlaps:
        with pytest.raises(NodeError, match=r"node1: platform_subnet_pool 10\.192\.0\.0/14"):
            check_pool("node1", "10.192.0.0/14", "mc", [route])
    else:
        check_pool("node1", "10.192.0.0/14", "mc", [route])


def test_routes_of_a_node_without_the_command(monkeypatch):
    def fail(*arguments, **options):
        raise FileNotFoundError

    monkeypatch.setattr(_node_check.subprocess, "run", fail)
    assert ipv4_routes() == []


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_taken_port_names_port_and_process(listener, address):
    with pytest.raises(NodeError) as caught:
        check_ports("node1", [f"{address}:{listener}"], [])
    assert f"node1: port {listener} is taken" in str(caught.value)
    assert f"(process {os.getpid()})" in str(caught.value)


def test_port_of_another_address_is_free(listener):
    check_ports("node1", [f"127.0.0.2:{listener}"], [])


def test_port_that_our_own_container_has_is_fine(listener):
    check_ports("node1", [f"0.0.0.0:{listener}"], [os.getpid()])
    check_ports("node1", [f"0.0.0.0:{listener}"], [os.getppid()])


def test_services_that_outlived_their_engine_are_known_by_their_uid(listener, monkeypatch):
    monkeypatch.setattr(_node_check, "_SERVICE_UIDS", (os.getuid() + 1,))
    assert os.getpid() not in _node_check.pids_without_an_engine()
    monkeypatch.setattr(_node_check, "_SERVICE_UIDS", (os.getuid(),))
    check_ports("node1", [f"0.0.0.0:{listener}"], _node_check.pids_without_an_engine())


def test_port_on_every_ipv6_address_collides():
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with pytest.raises(NodeError, match=f"port {port}"):
            check_ports("node1", [f"127.0.0.1:{port}"], [])


def test_address_of_ipv6_is_compared_without_its_brackets():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with pytest.raises(NodeError, match=f"port {port}"):
            check_ports("node1", [f"[::1]:{port}"], [])


def test_own_processes_are_those_of_our_labelled_containers(engine):
    def container(pid, platform):
        return {
            "State": {"Pid": pid},
            "Config": {"Labels": {"memcloud.platform": platform}},
        }

    engine.answers["/containers/mc-edge/json"] = container(11, "mc")
    engine.answers["/containers/mc-gate/json"] = container(0, "mc")
    engine.answers["/containers/mc-demo-model/json"] = container(13, "someone")
    assert own_pids(engine.host, "mc") == [11]


@pytest.mark.parametrize(
    ("present", "engine", "missing"),
    [
        ([], False, ["nftables", "iproute2", "mmdebstrap", "restic", "docker.io", "iptables"]),
        ([], True, ["nftables", "iproute2", "mmdebstrap", "restic"]),
        (["nft", "ip", "mmdebstrap", "restic"], True, []),
    ],
)
def test_only_what_is_missing_is_installed(monkeypatch, present, engine, missing):
    monkeypatch.setattr(shutil, "which", lambda name, path: name in present or None)
    monkeypatch.setattr(_node_check.os.path, "exists", lambda path: True)
    found = missing_packages(engine=engine)
    assert [name for name in found if name not in ("python3-venv", "apparmor")] == missing


@pytest.mark.parametrize(
    ("kernel", "present", "engine", "missing"),
    [
        ("Y\n", [], False, True),
        ("Y\n", ["apparmor_parser"], False, False),
        ("Y\n", [], True, False),
        ("N\n", [], False, False),
        (None, [], False, False),
    ],
)
def test_an_engine_of_ours_has_apparmor_confine_containers_where_the_kernel_can(
    monkeypatch, tmp_path, kernel, present, engine, missing
):
    if kernel is not None:
        (tmp_path / "enabled").write_text(kernel)
    monkeypatch.setattr(_node_check, "_APPARMOR", str(tmp_path / "enabled"))
    monkeypatch.setattr(shutil, "which", lambda name, path: name in present or None)
    assert ("apparmor" in missing_packages(engine=engine)) == missing


def test_virtual_environment_is_made_again_for_other_requirements(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n")
    mark = tmp_path / ".requirements.sha256"
    assert not venv_is_current(str(tmp_path), "docker==7\n")
    mark.write_text(hashlib.sha256(b"docker==7\n").hexdigest() + "\n")
    assert not venv_is_current(str(tmp_path), "docker==7\n"), "its Python cannot run"
    python.chmod(0o755)
    assert venv_is_current(str(tmp_path), "docker==7\n")
    assert not venv_is_current(str(tmp_path), "docker==8\n")


def test_survey_of_a_node_that_has_all(engine, tmp_path):
    wanted = Wanted(
        node="node1",
        platform="zz",
        docker_host=engine.host,
        data_dir=str(tmp_path),
        venv=str(tmp_path),
        requirements="",
        subnet_pool="198.19.255.0/24",
        min_free=1,
        ports=(),
    )
    found = survey(wanted)
    assert found["engine"]["version"] == "20.10.24"
    assert found["init"] in ("systemd", "none")
    assert found["venv"] is False


def test_tenants_are_not_left_behind_in_another_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(_node_check, "CONFIGURATION", str(tmp_path))
    there, here, link = (str(tmp_path / name) for name in ("there", "here", "link"))
    os.symlink(there, link)
    check_data_dir("node1", "mc", here)
    (tmp_path / "mc.json").write_text('{"platform": "mc", "data_dir": "%s"}' % there)
    check_data_dir("node1", "mc", here)
    os.makedirs(tmp_path / "there/tenants/acme")
    for other in (("mc", there), ("mc", link), ("qs", here)):
        check_data_dir("node1", *other)
    with pytest.raises(NodeError, match=r"node1: platform mc has the files of 1 tenants \(acme\)"):
        check_data_dir("node1", "mc", here)
    (tmp_path / "mc.json").write_text("{")  # as a loss of power left it
    check_data_dir("node1", "mc", here)


def test_limits_that_are_too_low_are_named_and_missing_ones_are_not(tmp_path):
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/pid_max").write_text("32768\n")
    (tmp_path / "kernel/threads-max").write_text("200000\n")
    least = {"kernel.pid_max": 4194304, "kernel.threads-max": 200000, "net.nothing": 5}
    assert low_limits(least, str(tmp_path)) == {"kernel.pid_max": 32768}
