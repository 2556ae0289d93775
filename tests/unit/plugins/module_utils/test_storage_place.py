"""Places of restore points: with the real restic and ssh, an SFTP server and an emulator."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import (
    NoRepository,
    Refused,
    Repository,
    RepositoryError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import (
    Place,
    can_be_opened,
)
from cryptography.hazmat.primitives.asymmetric import rsa
from support.google_storage import GoogleStorage, google_storage, service_account
from support.sftp import Sftp, sftp

_OPTIONS = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=30"
_OPTIONS += " -o ServerAliveCountMax=3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with sftp(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleStorage]:
    with google_storage(tmp_path_factory.mktemp("google")) as running:
        yield running


def repository(server: Sftp | GoogleStorage, scratch: Path, **environment: str) -> Repository:
    access = {
        "url": server.url + "/acme-01234567",
        "passwords": ["one"],
        "environment": environment,
    }
    return Repository("acme", access, str(scratch))


def stores_and_gives_back(place: Repository, directory: Path) -> None:
    """All that is done with restore points, from the first one to the last."""
    point, target = directory / "point", directory / "target"
    point.mkdir()
    (point / "manifest.json").write_text("{}")
    with pytest.raises(NoRepository):
        place.open()
    place.ensure()
    stored = place.store(str(point), "2026-11-21T03:00:00Z", {"reason": "manual"})
    assert [found["id"] for found in place.points()] == [stored["id"]]
    place.check("100%")
    place.restore(stored["id"], str(target))
    assert (target / "manifest.json").read_text() == "{}"
    place.forget([stored["id"]])
    assert place.points() == []


def test_restore_points_over_sftp(server: Sftp, tmp_path: Path) -> None:
    keys = {"SSH_PRIVATE_KEY": server.key, "SSH_KNOWN_HOSTS": server.known_hosts}
    stores_and_gives_back(repository(server, tmp_path, **keys), tmp_path)
    assert (server.folder / "restore-points/acme-01234567/config").is_file()
    for name in ("ssh_key", "known_hosts"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_restore_points_at_google(google: GoogleStorage, tmp_path: Path) -> None:
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": google.key, **google.environment}
    place = repository(google, tmp_path, **environment)
    stores_and_gives_back(place, tmp_path)
    assert place.remove() == [
        f"an empty repository (its configuration and key, no data) in {place.url}"
    ]
    assert stat.S_IMODE((tmp_path / "google.json").stat().st_mode) == 0o600


def test_google_refuses_the_key_of_another(google: GoogleStorage, tmp_path: Path) -> None:
    other = service_account(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": other, **google.environment}
    with pytest.raises(Refused, match="Invalid JWT Signature"):
        repository(google, tmp_path, **environment).open()


def test_an_unknown_host_key_is_refused_with_what_to_do(server: Sftp, tmp_path: Path) -> None:
    other = server.known_hosts.split()[0] + " ssh-ed25519 " + "A" * 68
    with pytest.raises(RepositoryError) as caught:
        repository(server, tmp_path, SSH_PRIVATE_KEY=server.key, SSH_KNOWN_HOSTS=other).open()
    assert not isinstance(caught.value, (NoRepository, Refused))
    assert str(caught.value).endswith(
        "Give the server's host key as SSH_KNOWN_HOSTS in platform_backup_environment: what "
        "ssh-keyscan prints, once you have compared it with the server's own"
    )


def test_without_the_key_the_place_refuses(server: Sftp, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="SSH_PRIVATE_KEY in platform_backup_environment"):
        repository(server, tmp_path, SSH_KNOWN_HOSTS=server.known_hosts).open()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("sftp:backup@host:/srv/x", "-l backup -s -- host sftp"),
        ("sftp:host:x", "-s -- host sftp"),
        ("sftp://backup@host:2222//srv", "-p 2222 -l backup -s -- host sftp"),
        ("sftp://backup@[fd00::1]:2222//srv", "-p 2222 -l backup -s -- fd00::1 sftp"),
        ("sftp:[fd00::1]:/srv", "-s -- fd00::1 sftp"),
    ],
)
def test_the_command_for_a_place(url: str, target: str, tmp_path: Path) -> None:
    assert can_be_opened(url)
    place = Place(url, {}, str(tmp_path))
    assert place.options == ["-o", f"sftp.command={_OPTIONS} {target}"]
    assert place.variables == {}
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", ["sftp:/srv/x", "sftp:host/srv", "sftp://host:port//srv", "sftp:"])
def test_places_that_restic_does_not_know(url: str) -> None:
    assert not can_be_opened(url)


def test_keys_given_by_content_are_files_and_no_variables(tmp_path: Path) -> None:
    given = {
        "GOOGLE_PROJECT_ID": "42",
        "GOOGLE_APPLICATION_CREDENTIALS": '{"type": "service_account"}',
        "SSH_PRIVATE_KEY": "unused",
    }
    place = Place("gs:bucket:/x", given, str(tmp_path))
    key = tmp_path / "google.json"
    assert place.options == []
    assert place.variables == {
        "GOOGLE_PROJECT_ID": "42",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
    }
    assert key.read_text() == '{"type": "service_account"}\n'
    assert os.listdir(tmp_path) == ["google.json"]
