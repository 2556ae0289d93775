# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recipes of the images share."""

from __future__ import annotations

import re
from pathlib import Path

ROLES = Path(__file__).resolve().parents[3] / "roles"
STAGE = re.compile(r"^FROM \$\{BASE\} AS python\n(?:.+\n)+", re.MULTILINE)


def test_images_share_one_layer_of_python() -> None:
    # An engine finds the layer again by the text of its lines: one other space, and a node
    # builds and keeps it twice.
    recipes = {path.parent.name: path.read_text() for path in ROLES.rglob("Dockerfile")}
    stages = [stage for recipe in recipes.values() for stage in STAGE.findall(recipe)]
    assert len(stages) == sum("python3" in recipe for recipe in recipes.values()) - 1, (
        "every image with Python but Neo4j's, which has it while it is built only"
    )
    assert len(set(stages)) == 1
