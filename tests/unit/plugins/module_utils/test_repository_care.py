"""Restore points of several tenants, looked after with the real restic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._repository_care import care
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import Repository

pytestmark = pytest.mark.usefixtures("quick_repositories")
KEEP = {"hourly": 0, "daily": 1, "weekly": 0, "monthly": 0}


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """acme has three restore points of two days, globex has none."""
    access = {
        name: {"url": str(tmp_path / name), "passwords": ["one"], "keep": KEEP}
        for name in ("acme", "globex")
    }
    point = tmp_path / "point"
    point.mkdir()
    (point / "manifest.json").write_text("{}")
    repository = Repository("acme", access["acme"], str(tmp_path))
    repository.ensure()
    for taken in ("2026-11-20T03:00:00Z", "2026-11-21T03:00:00Z", "2026-11-21T04:00:00Z"):
        repository.store(str(point), taken, {"reason": "manual"})
    return access


def answers(action: str, repositories: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {entry["tenant"]: entry for entry in care(action, repositories, **options)}


def test_they_are_listed(repositories: dict[str, dict[str, Any]]) -> None:
    found = answers("list", repositories)
    assert len(found["acme"]["points"]) == 3
    assert found["globex"]["points"] == []
    assert "error" not in found["globex"]


def test_a_check_mode_prunes_nothing(repositories: dict[str, dict[str, Any]]) -> None:
    assert len(answers("prune", repositories, dry_run=True)["acme"]["removed"]) == 2
    assert len(answers("list", repositories)["acme"]["points"]) == 3


def test_they_are_pruned_as_the_tier_says(repositories: dict[str, dict[str, Any]]) -> None:
    found = answers("prune", repositories)["acme"]
    assert found["changed"]
    assert [point["taken"] for point in found["points"]] == ["2026-11-21T04:00:00Z"]
    assert not answers("prune", repositories)["acme"]["changed"]
    assert "error" not in answers("check", repositories)["acme"]


def test_they_are_removed(repositories: dict[str, dict[str, Any]]) -> None:
    found = answers("remove", repositories)
    assert len(found["acme"]["removed"]) == 3
    assert not found["globex"]["changed"]
    assert not Path(repositories["acme"]["url"]).exists()
    assert not answers("remove", repositories)["acme"]["changed"]


def test_a_folder_is_removed_whatever_its_key_was(
    repositories: dict[str, dict[str, Any]],
) -> None:
    repositories["acme"]["passwords"] = ["another"]
    assert "platform_root_keys" in answers("list", repositories)["acme"]["error"]
    assert answers("remove", repositories)["acme"]["changed"]
    assert not Path(repositories["acme"]["url"]).exists()
