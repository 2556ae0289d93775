# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tier's figures become arguments of the PostgreSQL server."""

from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError
from ansible_collections.memcloud.memmachine.plugins.module_utils._postgres import server_arguments


def settings_of(arguments):
    assert arguments[::2] == ["-c"] * (len(arguments) // 2)
    return dict(argument.split("=", 1) for argument in arguments[1::2])


@pytest.mark.parametrize("tier", ["free", "pro", "enterprise"])
def test_every_tier_that_is_shipped_can_be_used(tier):
    sizes = load_defaults()["platform_tiers"][tier]["postgres"]
    settings = settings_of(server_arguments(sizes))
    assert settings["shared_buffers"] == sizes["shared_buffers"]
    assert settings["max_connections"] == str(sizes["max_connections"])


def test_limits_of_the_container_are_not_the_servers():
    settings = settings_of(
        server_arguments({"memory": "1g", "cpus": 1, "cpu_shares": 2, "pids": 3})
    )
    assert not {"memory", "cpus", "cpu_shares", "pids"} & set(settings)


def test_nothing_that_would_lose_data_is_set():
    assert not {"fsync", "synchronous_commit", "full_page_writes"} & set(
        settings_of(server_arguments({}))
    )


def test_a_statement_with_a_password_is_never_logged():
    assert settings_of(server_arguments({}))["log_min_error_statement"] == "panic"


@pytest.mark.parametrize("sizes", [{"fsync": "off"}, {"shared_bufers": "1MB"}])
def test_unknown_figure_is_refused(sizes):
    with pytest.raises(VariableError, match=f"postgres.{next(iter(sizes))}"):
        server_arguments(sizes)


@pytest.mark.parametrize("value", ["16 MB", "16mb", "-1", "1MB -c fsync=off", "", None])
def test_value_that_is_no_number_is_refused(value):
    with pytest.raises(VariableError, match="shared_buffers"):
        server_arguments({"shared_buffers": value})
