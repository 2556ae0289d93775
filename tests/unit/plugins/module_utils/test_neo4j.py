# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tier's figures become the files of a Neo4j server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _neo4j
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)

REHEARSAL = Path(__file__).parents[4] / "roles/neo4j/files/image/rehearsal"
SALT = bytes(range(32))


def settings_of(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_first_password_is_a_salted_hash_of_1024_rounds():
    user, rest = _neo4j.auth_ini("secret", SALT).rstrip("\n").split(":", 1)
    algorithm, digest, salt, rounds = rest.rstrip(":").split(",")
    expected = SALT + b"secret"
    for _round in range(1024):
        expected = hashlib.sha256(expected).digest()
    assert (user, algorithm, salt, rounds) == ("neo4j", "SHA-256", SALT.hex(), "1024")
    assert digest == expected.hex()


def test_first_password_is_not_in_the_file():
    assert "secret" not in _neo4j.auth_ini("secret", SALT)


def test_salt_of_another_length_is_refused():
    with pytest.raises(MemcloudError, match="16 bytes, not 32"):
        _neo4j.auth_ini("secret", SALT[:16])


def test_the_archive_of_classes_is_recorded_with_the_settings_of_the_small_tier():
    # Where an image is built no host has the container's name.
    conf = _neo4j.neo4j_conf({}).replace(f"={_neo4j.HOSTNAME}", "=0.0.0.0")
    assert (REHEARSAL / "neo4j.conf").read_text() == conf
    assert (REHEARSAL / "jvm.args").read_text() == _neo4j.jvm_args({})


@pytest.mark.parametrize(
    "tier, expected, absent",
    [
        ("free", ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"], "-XX:+UseG1GC"),
        ("pro", ["-Xmx768m", "-XX:+UseSerialGC"], "-XX:TieredStopAtLevel=1"),
        ("enterprise", ["-Xmx3g", "-XX:+UseG1GC"], "-XX:TieredStopAtLevel=1"),
    ],
)
def test_jvm_of_the_tiers_that_are_shipped(tier, expected, absent):
    arguments = _neo4j.jvm_args(load_defaults()["platform_tiers"][tier]["neo4j"]).splitlines()
    assert set(expected) <= set(arguments)
    assert absent not in arguments


def test_settings_follow_the_figures():
    settings = settings_of(
        _neo4j.neo4j_conf({"pagecache": "1g", "tx_log_size": "8m", "tx_log_retention": "16m"})
    )
    assert settings["server.memory.pagecache.size"] == "1g"
    assert settings["db.tx_log.rotation.size"] == "8m"
    assert settings["db.tx_log.rotation.retention_policy"] == "16m size"


def test_nothing_but_bolt_is_open_and_nothing_is_reported():
    settings = settings_of(_neo4j.neo4j_conf({}))
    assert settings["server.http.enabled"] == "false"
    assert settings["server.https.enabled"] == "false"
    assert settings["dbms.usage_report.enabled"] == "false"
    assert "dbms.security.auth_enabled" not in settings


@pytest.mark.parametrize("pids, threads", [(10, 16), (256, 128), (5000, 400)])
def test_threads_stay_below_the_containers_limit(pids, threads):
    settings = settings_of(_neo4j.neo4j_conf({"pids": pids}))
    assert settings["server.bolt.thread_pool_max_size"] == str(threads)


@pytest.mark.parametrize(
    "sizes",
    [
        {"heep": "1g"},
        {"heap": "1 g"},
        {"heap": "1g\n-XX:OnError=x"},
        {"collector": "zgc"},
        {"compiler": "c2"},
    ],
)
@pytest.mark.parametrize("render", [_neo4j.neo4j_conf, _neo4j.jvm_args])
def test_figure_that_cannot_be_used_is_refused(render, sizes):
    with pytest.raises(VariableError, match=f"neo4j.{next(iter(sizes))}"):
        render(sizes)
