# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._hosts_file import ensure_hosts

OTHERS = "127.0.0.1 localhost\n# BEGIN tenants of ci (memcloud)\n# END tenants of ci (memcloud)\n"
BLOCK = """\
# BEGIN tenants of mc (memcloud)
127.0.0.1 acme.memcloud.localhost
127.0.0.1 globex.memcloud.localhost
# END tenants of mc (memcloud)
"""
NAMES = ["globex.memcloud.localhost", "acme.memcloud.localhost"]


@pytest.mark.parametrize(
    ("before", "names", "after"),
    [
        (OTHERS, NAMES, OTHERS + BLOCK),
        (OTHERS + BLOCK, NAMES, OTHERS + BLOCK),
        (BLOCK + OTHERS, NAMES, BLOCK + OTHERS),
        (OTHERS + BLOCK, [], OTHERS),
        (OTHERS, [], OTHERS),
        ("", NAMES, BLOCK),
    ],
)
def test_block_holds_exactly_the_hostnames(tmp_path, before, names, after):
    path = tmp_path / "hosts"
    path.write_text(before)
    assert ensure_hosts("mc", names, path=str(path)) is (before != after)
    assert path.read_text() == after
    assert ensure_hosts("mc", names, path=str(path)) is False


def test_check_mode_only_says_so(tmp_path):
    path = tmp_path / "hosts"
    path.write_text(OTHERS)
    assert ensure_hosts("mc", NAMES, path=str(path), check_mode=True)
    assert path.read_text() == OTHERS


def test_platforms_on_one_machine_leave_each_other_alone(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    for platform in ("one", "two", "three"):
        ensure_hosts(platform, [f"acme.{platform}"], path=str(path))
    for platform in ("one", "two", "three"):
        assert not ensure_hosts(platform, [f"acme.{platform}"], path=str(path))
    assert ensure_hosts("two", ["globex.two"], path=str(path))
    assert not ensure_hosts("one", ["acme.one"], path=str(path))
    assert path.read_text().count("BEGIN") == 3
