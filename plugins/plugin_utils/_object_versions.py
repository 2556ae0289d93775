# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket with versioning keeps of a repository after restic removed it.

There a delete only puts a marker over an object, and its versions stay. A purge deletes them for
good, but for those under a retention or a legal hold: a lock is told and never passed by.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import RepositoryError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._report import size

_S3 = "s3:"
_THREADS = 8
_SECONDS = 60
# The version of an object that was written while its bucket had no versioning.
_NO_VERSION = "null"
_REGION = re.compile(r"s3[.-](?:dualstack\.)?([a-z]+-[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_CERTIFICATES = ("AWS_CA_BUNDLE", "RESTIC_CACERT", "SSL_CERT_FILE")
# restic trusts what the system trusts; boto3 has a list of its own.
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_MAY_NOT = (403, 405, 501)
_LATER = (408, 429)


class NotAllowed(RepositoryError):
    """The credentials may not see it, or the place does not know the question."""


@dataclass(frozen=True)
class Place:
    """Where in which bucket a repository is, read as restic reads it."""

    endpoint: str
    bucket: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The place of C(s3:https://host/bucket/prefix) or C(s3:host/bucket/prefix)."""
        rest = url[len(_S3) :]
        if rest.startswith("http"):
            parts = urlsplit(rest)
            endpoint, path = f"{parts.scheme}://{parts.netloc}", unquote(parts.path[1:])
        else:
            host, _slash, path = rest.removeprefix("//").partition("/")
            endpoint = f"https://{host}"
        bucket, _slash, prefix = path.partition("/")
        return cls(endpoint, bucket, posixpath.normpath(prefix) + "/" if prefix else "")


@dataclass(frozen=True)
class Version:
    """A version of an object, or the marker that a delete put over it."""

    key: str
    id: str
    bytes: int
    latest: bool
    marker: bool


@dataclass(frozen=True)
class Outcome:
    """What was deleted for good, and what is left."""

    deleted: int = 0
    deleted_bytes: int = 0
    left: int = 0
    left_bytes: int = 0
    until: str = ""
    """When the last retention ends."""
    held: int = 0
    """How many are under a legal hold."""
    free: int = 0
    """How many are left without a lock that can be seen."""
    refusal: str = ""
    """What the place said to the attempt to delete one of them."""

    def in_words(self) -> str:
        """What is left, and why."""
        words = [f"{self.left} object versions ({size(self.left_bytes)}) stay"]
        if self.until:
            words.append(f"the last retention ends {self.until}")
        if self.held:
            words.append(f"under legal hold, which has no end: {self.held}")
        if self.free:
            words.append(
                f"refused without a lock that these credentials see: {self.free} "
                f"({self.refusal or 'no answer'}; docs/backups.md has the rights that are needed)"
            )
        return ", ".join(words)


def is_s3(url: str) -> bool:
    """Whether a repository is in a bucket."""
    return url.startswith(_S3)


class ObjectVersions:
    """The object versions of one repository in a bucket.

    :param owner: whose it is, for error texts.
    :param access: C(url) and C(environment), as restic gets them.
    """

    def __init__(self, owner: str, access: Mapping[str, Any]) -> None:
        self._owner = owner
        self._url = str(access["url"])
        self._place = Place.of(self._url)
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise RepositoryError(
                f"{owner}: boto3 is missing on the controller, so nobody looked whether older "
                f"object versions remain in {self._url}: install the collection's "
                "requirements.txt, or boto3, into the environment of Ansible"
            ) from None
        self._answer = ClientError
        self._errors = (BotoCoreError, ClientError, ValueError)
        try:
            self._client = _client(self._place.endpoint, dict(access.get("environment") or {}))
        except self._errors as error:
            raise self._error(error) from error

    def are_kept(self) -> bool:
        """Whether the bucket keeps older versions.

        :raises NotAllowed: when that cannot be seen.
        """
        try:
            found = self._client.get_bucket_versioning(Bucket=self._place.bucket)
        except self._errors as error:
            raise self._error(error) from error
        return bool(found.get("Status"))

    def remove(self) -> Outcome:
        """Delete for good what no lock protects, then look again.

        Does nothing in a bucket without versions.

        :raises NotAllowed: when the versions cannot be seen.
        """
        try:
            return self._remove()
        except self._errors as error:
            raise self._error(error) from error

    def _remove(self) -> Outcome:
        before = self._look()
        if all(v.id == _NO_VERSION and v.latest and not v.marker for v in before):
            return Outcome()
        by_key = defaultdict(list)
        for version in before:
            by_key[version.key].append(version)
        with ThreadPoolExecutor(_THREADS) as pool:
            refusals = [said for said in pool.map(self._clear, by_key.values()) if said]
            left = [version for version in self._look() if not version.marker]
            locks = list(pool.map(self._lock, left))
        stored = [version for version in before if not version.marker]
        ends = [until for until, _held in locks if until]
        return Outcome(
            deleted=len(stored) - len(left),
            deleted_bytes=_bytes(stored) - _bytes(left),
            left=len(left),
            left_bytes=_bytes(left),
            until=max(ends).strftime(MOMENT) if ends else "",
            held=sum(held for _until, held in locks),
            free=sum(not until and not held for until, held in locks),
            refusal=refusals[0] if refusals else "",
        )

    def _look(self) -> list[Version]:
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._place.bucket, Prefix=self._place.prefix
        )
        return [
            Version(
                entry["Key"],
                entry.get("VersionId") or _NO_VERSION,
                int(entry.get("Size") or 0),
                bool(entry.get("IsLatest")),
                kind == "DeleteMarkers",
            )
            for page in pages
            for kind in ("Versions", "DeleteMarkers")
            for entry in page.get(kind) or ()
        ]

    def _clear(self, versions: list[Version]) -> str:
        """Delete the versions of one object; the first refusal.

        Markers go last, and stay over what is left: without them it would be there again.
        """
        refusals = [self._delete(version) for version in versions if not version.marker]
        said = next((refusal for refusal in refusals if refusal), "")
        if not said:
            for version in versions:
                if version.marker:
                    said = said or self._delete(version)
        elif not any(version.marker and version.latest for version in versions):
            self._delete(Version(versions[0].key, "", 0, True, False))
        return said

    def _delete(self, version: Version) -> str:
        """Delete one version for good, or put a marker where none is named; the refusal."""
        which = {"VersionId": version.id} if version.id else {}
        try:
            self._client.delete_object(Bucket=self._place.bucket, Key=version.key, **which)
        except self._answer as error:
            status = _status(error)
            if status == 404:
                return ""
            if 400 <= status < 500 and status not in _LATER:
                return _said(error)
            raise
        return ""

    def _lock(self, version: Version) -> tuple[datetime | None, bool]:
        """Until when a version is retained, and whether it is under legal hold."""
        try:
            head = self._client.head_object(
                Bucket=self._place.bucket, Key=version.key, VersionId=version.id
            )
        except self._answer as error:
            if 400 <= _status(error) < 500 and _status(error) not in _LATER:
                return None, False
            raise
        until = head.get("ObjectLockRetainUntilDate")
        if until is not None:
            until = until.astimezone(timezone.utc)
            until = until if until > datetime.now(timezone.utc) else None
        return until, head.get("ObjectLockLegalHoldStatus") == "ON"

    def _error(self, error: Exception) -> RepositoryError:
        text = f"{self._owner}: object versions in {self._url}: {_said(error)}"
        if isinstance(error, self._answer) and _status(error) in _MAY_NOT:
            return NotAllowed(text)
        return RepositoryError(text)


def _client(endpoint: str, environment: Mapping[str, str]) -> Any:
    """A client that finds and trusts what restic does, as far as both can."""
    import boto3
    from botocore.config import Config

    host = urlsplit(endpoint).hostname or ""
    region = _REGION.fullmatch(host)
    proxies = {
        scheme: environment.get(f"{scheme}_proxy") or environment.get(f"{scheme.upper()}_PROXY")
        for scheme in ("http", "https")
    }
    session = boto3.Session(
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        profile_name=environment.get("AWS_PROFILE"),
        region_name=environment.get("AWS_DEFAULT_REGION")
        or environment.get("AWS_REGION")
        or (region.group(1) if region else "us-east-1"),
    )
    return session.client(
        "s3",
        # Amazon's address for all regions is left to boto3, which finds that of the bucket's.
        endpoint_url=None if host == "s3.amazonaws.com" else endpoint,
        verify=_certificates(environment),
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=_SECONDS / 4,
            read_timeout=_SECONDS,
            retries={"mode": "standard", "max_attempts": 4},
            max_pool_connections=_THREADS,
            proxies={scheme: proxy for scheme, proxy in proxies.items() if proxy},
            ignore_configured_endpoint_urls=True,
        ),
    )


def _certificates(environment: Mapping[str, str]) -> str | None:
    for variables in (environment, os.environ):
        for name in _CERTIFICATES:
            if variables.get(name):
                return variables[name]
    return _SYSTEM_CERTIFICATES if os.path.exists(_SYSTEM_CERTIFICATES) else None


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[-600:]


def _bytes(versions: Iterable[Version]) -> int:
    return sum(version.bytes for version in versions)
