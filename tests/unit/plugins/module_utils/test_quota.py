"""What a tenant stores against what its tier allows, and the same rule in the node's keeper."""

from __future__ import annotations

import pathlib
import sys

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import REOPEN, Usage

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "roles/edge/files/gate"))
from memcloud_keeper.storage import writes_for

MIB = 1024**2


@pytest.mark.parametrize(
    ("used", "before", "after", "words"),
    [
        (0, "open", "open", "stores 0 of 100 MiB (0%)"),
        (79, "open", "open", "stores 79 of 100 MiB (79%)"),
        (80, "open", "open", "more than 80%"),
        (99, "open", "open", "more than 80%"),
        (100, "open", "closed", "writes are closed"),
        (250, "open", "closed", "writes are closed"),
        (99, "closed", "closed", "writes are closed"),
        (95, "closed", "closed", "writes are closed"),
        (94, "closed", "open", "more than 80%"),
        (10, "closed", "open", "(10%)"),
    ],
)
def test_writes_close_at_the_limit_and_open_below_it(used, before, after, words):
    usage = Usage(used * MIB, 0, 100 * MIB)
    assert usage.writes(before) == after
    assert words in usage.words(after)
    assert writes_for(used * MIB, 100 * MIB, before) == after


def test_logs_and_freed_space_do_not_count():
    usage = Usage(180 * MIB, 120 * MIB, 100 * MIB)
    assert usage.used == 60 * MIB and usage.writes("closed") == "open"
    assert Usage(MIB, 2 * MIB, 100 * MIB).used == 0


def test_the_keeper_leaves_tenants_without_a_limit_alone():
    assert writes_for(10**12, 0, "closed") == "open"
    assert 0.9 < REOPEN < 1
