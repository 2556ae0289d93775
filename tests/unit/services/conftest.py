# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of a node are importable as they are in their images."""

from __future__ import annotations

import sys
from pathlib import Path

ROLES = Path(__file__).parents[3] / "roles"
sys.path[:0] = [str(ROLES / "edge/files/gate"), str(ROLES / "demo_model/files/demo_model")]
