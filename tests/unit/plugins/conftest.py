"""What several tests of plugins share."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._restic import Repository
from ansible_collections.memcloud.memmachine.plugins.module_utils._storage_place import is_local
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

S3 = re.compile(r"s3:(?P<url>http://[^/]+)/(?P<bucket>[^/]+)/(?P<name>.+)")
_NONCE = 16
_MAC = 16


@pytest.fixture(scope="session")
def _new_repositories(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def made_once(password: str) -> Path:
        directory = tmp_path_factory.mktemp("repository")
        access = {"url": str(directory / "new"), "passwords": [password]}
        Repository("template", access, str(directory)).ensure()
        (path,) = (directory / "new/keys").iterdir()
        _make_quick(path, password)
        return directory / "new"

    return made_once


@pytest.fixture
def quick_repositories(_new_repositories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy what C(restic init) made once for a password, with a key that opens at once.

    Keys that are added do so, too.
    """
    run = Repository._run

    def run_or_copy(self: Repository, *arguments: str, **options: Any) -> str:
        if arguments[:2] == ("key", "add") and is_local(self.url):
            keys = Path(self.url, "keys")
            before = set(keys.iterdir())
            said = run(self, *arguments, **options)
            for path in set(keys.iterdir()) - before:
                _make_quick(path, self._passwords[0])
            return said
        in_bucket = S3.fullmatch(self.url)
        if arguments != ("init",) or not (in_bucket or is_local(self.url)):
            return run(self, *arguments, **options)
        with pytest.MonkeyPatch.context() as original:
            original.setattr(Repository, "_run", run)
            template = _new_repositories(self._password)
        if in_bucket:
            _upload(template, self._environment, **in_bucket.groupdict())
        else:
            shutil.copytree(template, self.url, dirs_exist_ok=True)
        return ""

    monkeypatch.setattr(Repository, "_run", run_or_copy)


def _upload(template: Path, user: Mapping[str, str], url: str, bucket: str, name: str) -> None:
    access, secret = user["AWS_ACCESS_KEY_ID"], user["AWS_SECRET_ACCESS_KEY"]
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    for path in filter(Path.is_file, template.rglob("*")):
        key = f"{name}/{path.relative_to(template)}"
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def _make_quick(path: Path, password: str) -> None:
    """Encrypt a repository's key anew with the least work; restic wants half a second to open one.

    What it looks like is in restic's design document (Keys, Encryption and MAC).
    """
    key = json.loads(path.read_text())
    sealed = base64.b64decode(key["data"])
    nonce, text = sealed[:_NONCE], sealed[_NONCE:-_MAC]

    def derived() -> tuple[bytes, bytes, bytes]:
        """The keys of AES, of the MAC's own AES, and of the MAC."""
        numbers = {"n": key["N"], "r": key["r"], "p": key["p"]}
        salt, most = base64.b64decode(key["salt"]), 1024**3
        made = hashlib.scrypt(password.encode(), salt=salt, maxmem=most, dklen=64, **numbers)
        return made[:32], made[32:48], made[48:]

    def coded(text: bytes) -> bytes:
        return Cipher(algorithms.AES(derived()[0]), modes.CTR(nonce)).encryptor().update(text)

    def mac(text: bytes) -> bytes:
        _, other, own = derived()
        mask = Cipher(algorithms.AES(other), modes.ECB()).encryptor().update(nonce)
        return Poly1305.generate_tag(own + mask, text)

    assert mac(text) == sealed[-_MAC:]
    plain = coded(text)
    key.update(N=2, r=1, p=1)
    text = coded(plain)
    key["data"] = base64.b64encode(nonce + text + mac(text)).decode()
    content = json.dumps(key).encode()
    path.unlink()
    path.with_name(hashlib.sha256(content).hexdigest()).write_bytes(content)
