"""What several tests of the module utilities share."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import Repository
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local


@pytest.fixture(scope="session")
def _new_repositories(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def made_once(password: str) -> Path:
        directory = tmp_path_factory.mktemp("repository")
        access = {"url": str(directory / "new"), "passwords": [password]}
        Repository("template", access, str(directory)).ensure()
        return directory / "new"

    return made_once


@pytest.fixture
def quick_repositories(_new_repositories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy what C(restic init) made once for a password: it spends seconds on its key each time."""
    run = Repository._run

    def run_or_copy(self: Repository, *arguments: str, **options: Any) -> str:
        if arguments != ("init",) or not is_local(self.url):
            return run(self, *arguments, **options)
        with pytest.MonkeyPatch.context() as original:
            original.setattr(Repository, "_run", run)
            template = _new_repositories(self._password)
        shutil.copytree(template, self.url, dirs_exist_ok=True)
        return ""

    monkeypatch.setattr(Repository, "_run", run_or_copy)
