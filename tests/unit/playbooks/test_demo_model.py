# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model stays on a node as long as memories are of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.memcloud.memmachine.plugins.module_utils._node_state import NodeState
from support import controller

TASKS = controller.TOP / "roles/demo_model/tasks/main.yml"
DEMO = {"model": "demo-embedding", "dimensions": 384}
OTHER = {"model": "text-embedding-3-small", "dimensions": 1536}


RECORDS = {
    "acme": {"state": "running", "embedder": DEMO},
    "asleep": {"state": "paused", "embedder": DEMO, "operation": {"state": "deleted"}},
    "away": {"state": "deleted", "embedder": DEMO},
    "moved": {"state": "running", "embedder": OTHER, "previous": {"embedder": DEMO}},
    "new": {"state": "deploying"},
}


@pytest.mark.parametrize(
    ("tenants", "said"),
    [
        (RECORDS, "memories of acme, asleep were stored with it"),
        (["away", "moved", "new"], "skipping: [localhost]"),
    ],
)
def test_the_demo_model_stays_for_memories_that_are_of_it(
    tmp_path: Path, tenants: list[str], said: str
) -> None:
    state = NodeState(str(tmp_path))
    for tenant in tenants:
        (tmp_path / "tenants" / tenant).mkdir(parents=True)
        state.write_tenant(tenant, RECORDS[tenant])
    tasks = yaml.safe_load(TASKS.read_text())[:2]
    variables = {"demo_model_enabled": False, "demo_model_data_dir": str(tmp_path)}
    code, output = controller.play_tasks(tmp_path, tasks, variables)
    assert code == 0, output
    assert said in " ".join(output.split())
