"""Restore points of several tenants, looked after with the real restic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._repository_care import care
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    Refused,
    Repository,
)

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


def test_points_that_a_node_knows_of_and_that_are_gone_are_an_error(
    repositories: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    for name, url in (("globex", str(tmp_path / "globex")), ("initech", "/elsewhere")):
        repositories.setdefault(name, {**repositories["globex"], "url": str(tmp_path / name)})
        repositories[name]["data_dir"] = str(tmp_path)
        record = tmp_path / "tenants" / name / "state.json"
        record.parent.mkdir(parents=True)
        point = {"id": "4ec480f2", "taken": "2026-11-20T03:00:00Z", "url": url}
        record.write_text(json.dumps({"restore_point": point}))
    found = answers("check", repositories)
    assert found["globex"]["error"].endswith(
        "They are gone: its node stored 4ec480f2 there at 2026-11-20T03:00:00Z. Find out who "
        "removed them, or put the place back; backup_tenant begins anew"
    )
    assert "error" not in found["initech"]  # whose place is another one now
    assert "error" not in found["acme"]
    (tmp_path / "tenants/globex/state.json").write_text("{")
    found = answers("check", repositories)
    assert "state.json" in found["globex"]["error"]
    assert "error" not in found["acme"]


def test_they_are_opened_with_the_present_root_key(
    repositories: dict[str, dict[str, Any]],
) -> None:
    for access in repositories.values():
        access["passwords"] = ["two", "one"]
    found = answers("open", repositories)
    assert found["acme"]["changed"]
    assert found["acme"]["message"] == "its restore points take the password of the new root key"
    assert not found["globex"]["changed"]
    assert found["globex"]["message"] == "has no restore points"
    for access in repositories.values():
        access["passwords"] = ["two"]
    again = answers("open", repositories)["acme"]
    assert not again["changed"]
    assert again["message"] == "its restore points open with its present root key"


@pytest.mark.parametrize(
    ("action", "advice"),
    [
        ("open", "reading, and adding a password, is what platform_backup_environment must allow"),
        (
            "prune",
            "removing needs platform_backup_prune_environment, and nothing under object lock goes "
            "before its time",
        ),
    ],
)
def test_what_the_place_refuses_is_said_with_the_variable_to_correct(
    repositories: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    advice: str,
) -> None:
    def refuse(_repository: Repository, _dry_run: bool) -> None:
        raise Refused("acme: restic cat: access denied")

    monkeypatch.setattr(Repository, "open", refuse)
    assert answers(action, repositories)["acme"]["error"] == (
        f"acme: restic cat: access denied. These credentials may not do this: {advice}"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No room", "/tmp/x"), "acme: No room: make room on the disk (/tmp/x)"),
        (KeyError("id"), "acme: unexpected KeyError: 'id' ("),
    ],
)
def test_what_goes_wrong_with_one_is_told_for_it_alone(
    repositories: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    def points(repository: Repository) -> list[dict[str, Any]]:
        raise error

    monkeypatch.setattr(Repository, "points", points)
    found = answers("list", repositories)
    assert found["acme"]["error"].startswith(words)
    assert "error" not in found["globex"]


def test_a_check_mode_prunes_nothing(repositories: dict[str, dict[str, Any]]) -> None:
    assert len(answers("prune", repositories, dry_run=True)["acme"]["removed"]) == 2
    assert len(answers("list", repositories)["acme"]["points"]) == 3


def test_check_mode_gives_no_password_and_says_that_it_would(
    repositories: dict[str, dict[str, Any]],
) -> None:
    """Whatever is done next gives it, and is a change."""
    access = repositories["acme"]
    access["passwords"] = ["two", "one"]
    keys = Path(access["url"]) / "keys"
    for action, words in (("list", "3 restore points"), ("open", "would take the password")):
        told = answers(action, repositories, dry_run=True)["acme"]
        assert told["changed"] and words in told["message"]
    assert len(list(keys.iterdir())) == 1
    assert answers("list", repositories)["acme"]["changed"]
    assert len(list(keys.iterdir())) == 2
    assert not answers("list", repositories)["acme"]["changed"]


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
