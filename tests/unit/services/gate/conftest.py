# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the gate's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gate_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A gate that knows one tenant, acme."""
    result = World(tmp_path)
    result.write("acme")
    return result
