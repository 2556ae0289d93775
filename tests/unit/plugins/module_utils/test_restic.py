"""A tenant's repository, with the real restic."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _restic
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    Damaged,
    Locked,
    NoRepository,
    Refused,
    Repository,
    RepositoryError,
)

pytestmark = pytest.mark.usefixtures("quick_repositories")
TAGS = {"tenant": "acme", "uid": "u", "reason": "manual"}


class Place:
    """A folder with a repository and something to store."""

    def __init__(self, directory: Path, folder: str = "acme-1") -> None:
        self.url = str(directory / "backups" / folder)
        self.point = directory / "point"
        self.scratch = directory / "scratch"
        self.target = directory / "target"
        (self.point / "neo4j").mkdir(parents=True)
        self.scratch.mkdir()
        (self.point / "manifest.json").write_text("{}")
        (self.point / "neo4j/store").write_text("data " * 1000)

    def repository(self, *passwords: str) -> Repository:
        access = {"url": self.url, "passwords": passwords or ("one",), "environment": {}}
        return Repository("acme", access, str(self.scratch))

    def stored(self, taken: str = "2026-11-21T03:00:00Z") -> str:
        repository = self.repository()
        repository.ensure()
        return str(repository.store(str(self.point), taken, TAGS)["id"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_was_stored_comes_back(place: Place) -> None:
    point = place.stored()
    repository = place.repository()
    assert repository.manifest(point) == b"{}"
    repository.restore(point, str(place.target))
    assert (place.target / "neo4j/store").read_text() == "data " * 1000
    repository.check("100%")


def test_points_are_listed_with_their_moment_and_reason(place: Place) -> None:
    later, earlier = place.stored("2026-11-21T04:00:00Z"), place.stored("2026-11-21T03:00:00Z")
    repository = place.repository()
    points = repository.points()
    assert [point["id"] for point in points] == [earlier, later]
    assert points[0]["taken"] == "2026-11-21T03:00:00Z"
    assert points[0]["reason"] == "manual"
    assert repository.point("latest")["id"] == later
    assert repository.point(earlier)["id"] == earlier


def test_a_point_that_a_wrong_clock_dated_is_not_the_latest(place: Place) -> None:
    ahead = place.stored("2099-01-01T00:00:00Z")
    assert place.repository().point("latest")["id"] == ahead
    point = place.stored("2026-11-21T03:00:00Z")
    assert place.repository().point("latest")["id"] == point


def test_an_unknown_point_is_refused_with_those_that_there_are(place: Place) -> None:
    known = place.stored()
    with pytest.raises(RepositoryError, match=known):
        place.repository().point("beef1234")


def test_no_repository(place: Place) -> None:
    with pytest.raises(NoRepository):
        place.repository().open()


def test_what_a_killed_run_began_to_make_is_made_by_the_next(place: Place) -> None:
    left = Path(place.url, "keys", "f" * 64)
    left.parent.mkdir(parents=True)
    left.write_text("a key of another repository with the same password")
    place.stored()
    assert not left.exists()
    assert len(place.repository().points()) == 1


def test_points_whose_configuration_is_gone_are_left_as_they_are(place: Place) -> None:
    place.stored()
    config = Path(place.url, "config")
    config.rename(place.scratch / "config")
    with pytest.raises(RepositoryError, match="holds restore points, but no file config"):
        place.repository().ensure()
    (place.scratch / "config").rename(config)
    assert len(place.repository().points()) == 1


def test_the_name_of_a_tenant_says_nothing_of_its_repository(tmp_path: Path) -> None:
    place = Place(tmp_path, "forbidden-404-retention-1")
    with pytest.raises(NoRepository):
        place.repository().open()
    place.stored()
    Path(place.url, "config").chmod(0o600)
    Path(place.url, "config").write_text("damaged")
    with pytest.raises(RepositoryError) as caught:
        place.repository().open()
    assert not isinstance(caught.value, (NoRepository, Refused)), caught.value


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('Get "https://s3.example.com/retention-404/?location=": i/o timeout', RepositoryError),
        ('Delete "https://s3.example.com/retention-404/memcloud/x": Access Denied.', Refused),
        ("client.RemoveObject: Access Denied: the object is under retention", Locked),
    ],
)
def test_nor_does_the_name_of_a_bucket(
    place: Place, said: str, kind: type[RepositoryError]
) -> None:
    place.url = "s3:https://s3.example.com/retention-404/memcloud/acme-1"
    assert type(place.repository()._error("forget", said)) is kind


def test_another_root_key_is_named_and_nothing_is_made(place: Place) -> None:
    place.stored()
    for use in (place.repository("two").open, place.repository("two").ensure):
        with pytest.raises(RepositoryError, match="platform_root_keys"):
            use()


def test_after_a_new_root_key_the_repository_opens_with_it_alone(place: Place) -> None:
    place.stored()
    place.repository("two", "one").open()
    place.repository("two").open()


def test_a_damaged_repository_is_found(place: Place) -> None:
    point = place.stored()
    for pack in Path(place.url, "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(b"x" * pack.stat().st_size)
    repository = place.repository()
    with pytest.raises(Damaged):
        repository.restore(point, str(place.target))
    with pytest.raises(Damaged):
        repository.manifest(point)
    with pytest.raises(RepositoryError):
        repository.check("100%")


def test_a_point_without_a_manifest_is_incomplete(place: Place) -> None:
    (place.point / "manifest.json").unlink()
    point = place.stored()
    with pytest.raises(RepositoryError, match="is incomplete: it has no manifest"):
        place.repository().manifest(point)


# What restic 0.14 says.
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ignoring error for /store: ciphertext verification failed", Damaged),
        ("Fatal: load <index/0fd2c1da69>: invalid data returned", Damaged),
        ("ignoring error for /: id 218217d8ed not found in repository", Damaged),
        ("ignoring error for /store: write /w/point/store: no space left on device", None),
        ("Load(<data/9ad2>, 9, 0) failed: Get http://s3/x: dial tcp: i/o timeout", None),
        ("cannot dump file: client.GetObject: dial tcp: lookup s3: no such host", None),
        ("client.GetObject: The request signature we calculated does not match", None),
        ("ignoring error for /store: StreamPack: Access Denied.", Refused),
    ],
)
def test_what_cannot_be_read_now_is_not_called_damaged(
    place: Place, said: str, kind: type[RepositoryError] | None
) -> None:
    error = place.repository()._error("restore", f"{said}\nFatal: There were 1 errors\n")
    assert type(error) is (kind or RepositoryError)


def test_forgotten_points_are_gone(place: Place) -> None:
    first, second = place.stored("2026-11-20T03:00:00Z"), place.stored()
    repository = place.repository()
    repository.forget([first])
    assert [point["id"] for point in repository.points()] == [second]
    assert repository.remove() == []
    assert not Path(place.url).exists()


def test_data_whose_points_a_killed_run_removed_goes_too(place: Place) -> None:
    point, data = place.stored(), Path(place.url, "data")
    assert any(path.is_file() for path in data.rglob("*"))
    place.repository()._run("forget", point)
    place.url = f"local:{place.url}"  # for us no folder of the node
    assert "an empty repository" in place.repository().remove()[0]
    assert not any(path.is_file() for path in data.rglob("*"))


def test_neither_password_nor_credential_is_on_a_command_line_or_in_an_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = _restic.subprocess.run

    def run(command: list[str], **options: object) -> object:
        seen.append(command)
        return real(command, **options)

    monkeypatch.setattr(_restic.subprocess, "run", run)
    access = {
        "url": "s3:http://127.0.0.1:1/bucket/acme",
        "passwords": ["the-password"],
        "environment": {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "the-secret"},
    }
    monkeypatch.setattr(_restic, "_OPEN_SECONDS", 3)
    with pytest.raises(RepositoryError, match="did not answer within 3 s|connection refused") as e:
        Repository("acme", access, str(place.scratch)).open()
    assert seen
    for text in (str(e.value), *(word for command in seen for word in command)):
        assert "the-password" not in text
        assert "the-secret" not in text
