# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a purge finds in a bucket with versions, with an S3 server that enforces locks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import RepositoryError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._object_versions import (
    NotAllowed,
    ObjectVersions,
    Outcome,
    Place,
)
from botocore.exceptions import ClientError
from support.storage import BUCKET, LOCKED_BUCKET, VERSIONED_BUCKET, Storage, storage

PATH = "memcloud/acme-01234567"
KEY = f"{PATH}/data/00/00aa"
OTHER = "memcloud/acme-012345678/data/00/00aa"


# So many versions does the server tell at once; others tell 1000.
PAGE = 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    port = 20000 + os.getpid() % 10000
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))
        with storage(port, tmp_path_factory.mktemp("s3") / "server.log") as running:
            yield running


class Bucket:
    """A bucket of the server, with no version in it when the test is over."""

    def __init__(self, s3: Storage, name: str) -> None:
        self.name = name
        self.client = s3.client(s3.pruner)
        self.url = f"s3:{s3.url}/{name}/{PATH}"
        self.environment = s3.pruner

    def put(self, key: str = KEY, body: bytes = b"12345", **options: Any) -> str:
        put = self.client.put_object(Bucket=self.name, Key=key, Body=body, **options)
        return str(put.get("VersionId"))

    def delete(self, key: str = KEY) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def versions(self, kind: str = "Versions", prefix: str = "") -> list[tuple[str, str]]:
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [(e["Key"], e["VersionId"]) for page in pages for e in page.get(kind) or ()]

    def listed(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents") or []
        return [entry["Key"] for entry in found]

    def look_after(self, environment: dict[str, str] | None = None) -> ObjectVersions:
        access = {"url": self.url, "environment": environment or self.environment}
        return ObjectVersions("acme", access)

    def empty(self) -> None:
        for kind in ("Versions", "DeleteMarkers"):
            for key, version in self.versions(kind):
                which = {"Bucket": self.name, "Key": key, "VersionId": version}
                if kind == "Versions" and self.name == LOCKED_BUCKET:
                    self.client.put_object_legal_hold(**which, LegalHold={"Status": "OFF"})
                self.client.delete_object(**which, BypassGovernanceRetention=True)


@pytest.fixture
def plain(s3: Storage) -> Iterator[Bucket]:
    bucket = Bucket(s3, BUCKET)
    yield bucket
    bucket.empty()


@pytest.fixture
def versioned(s3: Storage) -> Iterator[Bucket]:
    bucket = Bucket(s3, VERSIONED_BUCKET)
    yield bucket
    bucket.empty()


@pytest.fixture
def locked(s3: Storage) -> Iterator[Bucket]:
    bucket = Bucket(s3, LOCKED_BUCKET)
    yield bucket
    bucket.empty()


def test_without_versioning_nothing_is_done(plain: Bucket) -> None:
    plain.put(f"{PATH}/config")
    assert plain.look_after().remove() == Outcome()
    assert plain.listed() == [f"{PATH}/config"]
    assert not plain.look_after().are_kept()


def test_versions_below_the_repository_go_for_good(versioned: Bucket) -> None:
    versioned.put()
    versioned.put()
    versioned.delete()
    versioned.put(f"{PATH}/config")
    versioned.put(OTHER)
    versioned.delete(OTHER)
    assert versioned.look_after().are_kept()
    assert versioned.look_after().remove() == Outcome(deleted=3, deleted_bytes=15)
    assert [key for key, _id in versioned.versions()] == [OTHER]
    assert [key for key, _id in versioned.versions("DeleteMarkers")] == [OTHER]
    assert versioned.look_after().remove() == Outcome()


def test_what_was_written_before_versioning_goes_too(s3: Storage) -> None:
    early = Bucket(s3, f"{BUCKET}-early")
    early.client.create_bucket(Bucket=early.name)
    early.put()
    early.client.put_bucket_versioning(
        Bucket=early.name, VersioningConfiguration={"Status": "Enabled"}
    )
    early.delete()
    assert early.versions() == [(KEY, "null")]
    assert early.look_after().remove() == Outcome(deleted=1, deleted_bytes=5)
    assert early.versions() == early.versions("DeleteMarkers") == []


def test_more_versions_than_one_answer_has(versioned: Bucket) -> None:
    many = 2 * PAGE + 3
    for number in range(many):
        versioned.put(f"{PATH}/data/{number % (PAGE + 5):02}", b"1")
    first = versioned.client.list_object_versions(Bucket=versioned.name)
    assert first["IsTruncated"]
    assert versioned.look_after().remove() == Outcome(deleted=many, deleted_bytes=many)
    assert versioned.versions() == []


def test_a_retention_is_told_and_not_passed_by(locked: Bucket) -> None:
    version = locked.put()
    with pytest.raises(ClientError, match="AccessDenied"):
        locked.client.delete_object(Bucket=locked.name, Key=KEY, VersionId=version)
    later = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=9)
    locked.put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=later)
    locked.delete()
    outcome = locked.look_after().remove()
    assert (outcome.deleted, outcome.left, outcome.left_bytes) == (0, 2, 10)
    assert outcome.until == later.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (outcome.held, outcome.free) == (0, 0)
    assert f"the last retention ends {outcome.until}" in outcome.in_words()
    # Or what was removed would be there again.
    assert locked.listed() == []


def test_a_legal_hold_is_told(locked: Bucket) -> None:
    past = datetime.now(timezone.utc) - timedelta(days=1)
    over = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": past}
    locked.put(**over)
    locked.put(f"{PATH}/keys/1", ObjectLockLegalHoldStatus="ON", **over)
    outcome = locked.look_after().remove()
    assert (outcome.deleted, outcome.left, outcome.held, outcome.until) == (1, 1, 1, "")
    assert "under legal hold, which has no end: 1" in outcome.in_words()
    # Hidden like everything else, so that a rule for noncurrent versions takes it one day.
    assert locked.listed() == []


def test_credentials_that_may_not_see_versions(s3: Storage, versioned: Bucket) -> None:
    versioned.put()
    with pytest.raises(NotAllowed, match="AccessDenied"):
        versioned.look_after(s3.blind).remove()
    with pytest.raises(NotAllowed, match="AccessDenied"):
        versioned.look_after(s3.blind).are_kept()


def test_credentials_that_may_not_delete_versions(s3: Storage, versioned: Bucket) -> None:
    versioned.put()
    outcome = versioned.look_after(s3.weak).remove()
    assert (outcome.deleted, outcome.left, outcome.free) == (0, 1, 1)
    assert "AccessDenied" in outcome.in_words()


def test_a_place_that_does_not_answer(s3: Storage) -> None:
    access = {"url": f"s3:http://127.0.0.1:1/{BUCKET}/{PATH}", "environment": s3.pruner}
    with pytest.raises(RepositoryError, match="127.0.0.1:1") as caught:
        ObjectVersions("acme", access).remove()
    assert not isinstance(caught.value, NotAllowed)
    assert s3.pruner["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_missing_boto3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(RepositoryError, match="boto3 is missing on the controller"):
        ObjectVersions("acme", {"url": "s3:http://127.0.0.1:1/b/acme"})


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3:https://host:9/bucket/a/b", Place("https://host:9", "bucket", "a/b/")),
        ("s3:http://host/bucket//a/", Place("http://host", "bucket", "/a/")),
        ("s3:host/bucket/a", Place("https://host", "bucket", "a/")),
        ("s3://host/bucket/a", Place("https://host", "bucket", "a/")),
        ("s3:host/acme-01234567", Place("https://host", "acme-01234567", "")),
    ],
)
def test_a_place_is_read_as_restic_reads_it(url: str, place: Place) -> None:
    assert Place.of(url) == place


def test_certificates_are_those_of_the_environment(tmp_path: Path) -> None:
    access = {"url": f"s3:https://s3.eu-central-1.amazonaws.com/{BUCKET}/x"}
    access["environment"] = {"AWS_CA_BUNDLE": "/ca.pem", "AWS_ACCESS_KEY_ID": "a"}
    access["environment"]["AWS_SECRET_ACCESS_KEY"] = "b"
    client = ObjectVersions("acme", access)._client
    assert client.meta.region_name == "eu-central-1"
    assert client._endpoint.http_session._verify == "/ca.pem"
