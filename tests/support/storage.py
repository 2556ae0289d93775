"""An S3-speaking server that asks for credentials, and its users: a node's, a pruner's.

Two more have less rights than a pruner needs. One of its buckets keeps versions, one locks them
for a day.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests

BUCKET = "backups"
VERSIONED_BUCKET = "backups-versioned"
LOCKED_BUCKET = "backups-locked"
_ARN = f"arn:aws:s3:::{BUCKET}*"
# What docs/backups.md gives a node: it reads and adds, and deletes nothing but restic's locks.
NODE_POLICY = [
    {
        "Effect": "Allow",
        "Action": [
            "s3:ListBucket",
            "s3:HeadBucket",  # a right of its own for this server alone
            "s3:GetBucketLocation",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "Resource": [_ARN, f"{_ARN}/*"],
    },
    {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"{_ARN}/*/locks/*"},
]
PRUNE_POLICY = [{"Effect": "Allow", "Action": "s3:*", "Resource": [_ARN, f"{_ARN}/*"]}]
# May delete, as a pruner had to before versions were looked at: it does not see them.
BLIND_POLICY = [
    *NODE_POLICY,
    {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"{_ARN}/*"},
]
# Sees versions, too, but may not delete them for good.
WEAK_POLICY = [
    *BLIND_POLICY,
    {
        "Effect": "Allow",
        "Action": ["s3:ListBucketVersions", "s3:GetObjectVersion"],
        "Resource": [_ARN, f"{_ARN}/*"],
    },
]


@dataclass
class Storage:
    """The server while it runs."""

    port: int
    node: dict[str, str]
    pruner: dict[str, str]
    blind: dict[str, str]
    weak: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, Any]:
        """What the inventory of a fleet that backs up to it says."""
        return self.variables_for(BUCKET)

    def variables_for(self, bucket: str) -> dict[str, Any]:
        return {
            "platform_backup_repository": f"s3:{self.url}/{bucket}/memcloud",
            "platform_backup_environment": self.node,
            "platform_backup_prune_environment": self.pruner,
        }

    def client(self, user: dict[str, str]) -> Any:
        return _client("s3", self.url, user)

    def objects(self, part: str) -> list[str]:
        """Keys of the objects of one kind: data, snapshots, locks …"""
        found = self.client(self.pruner).list_objects_v2(Bucket=BUCKET).get("Contents") or []
        return [entry["Key"] for entry in found if f"/{part}/" in entry["Key"]]


@contextmanager
def storage(port: int, log: Path) -> Iterator[Storage]:
    """Start the server, make bucket and users, then let it ask for credentials."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("moto_server"), "-p", str(port)],
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url)
        anybody = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything"}
        _make_buckets(_client("s3", url, anybody))
        iam = _client("iam", url, anybody)
        users = [
            _user(iam, name, policy)
            for name, policy in (
                ("node", NODE_POLICY),
                ("pruner", PRUNE_POLICY),
                ("blind", BLIND_POLICY),
                ("weak", WEAK_POLICY),
            )
        ]
        requests.post(f"{url}/moto-api/reset-auth", data="0", timeout=10).raise_for_status()
        yield Storage(port, *users)
    finally:
        process.kill()
        process.wait()


def _make_buckets(s3: Any) -> None:
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=VERSIONED_BUCKET)
    s3.put_bucket_versioning(Bucket=VERSIONED_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.create_bucket(Bucket=LOCKED_BUCKET, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(
        Bucket=LOCKED_BUCKET,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )


def _client(service: str, url: str, user: dict[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=user["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=user["AWS_SECRET_ACCESS_KEY"],
    )


def _user(iam: Any, name: str, statements: list[dict[str, Any]]) -> dict[str, str]:
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def _wait(url: str) -> None:
    for _try in range(150):
        try:
            requests.get(f"{url}/moto-api/data.json", timeout=1)
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"{url} does not answer")
