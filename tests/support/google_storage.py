"""Google Cloud Storage as restic meets it: an emulator, under the names that are Google's.

restic takes no other address for it, so it comes through a proxy of ours, which has a certificate
for those names. A request without the token that the service account's key gets is refused.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from .authority import certificate

_BUCKET = "restore-points"
_TOKENS = "oauth2.googleapis.com"
_NAMES = ("storage.googleapis.com", _TOKENS)
_TOKEN = "given-to-the-service-account"


@dataclass(frozen=True)
class GoogleStorage:
    """Where it is, and what opens it."""

    url: str
    key: str
    """Of the service account: the content of the file that Google gives out."""
    environment: dict[str, str]
    """What makes restic find it."""


@contextlib.contextmanager
def google_storage(directory: Path) -> Iterator[GoogleStorage]:
    """Serve a bucket, for one service account alone."""
    account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    storage = Storage(use_memory_fs=True)
    create_bucket(_BUCKET, storage)
    contexts = {name: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for name in _NAMES}
    for name, context in contexts.items():
        ours, ca = certificate(directory, name)
        context.load_cert_chain(ours)
    google = partial(_Google, account.public_key(), storage)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Proxy, contexts, google))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        proxy = f"http://127.0.0.1:{server.server_port}"
        environment = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(ca)}
        yield GoogleStorage(f"gs:{_BUCKET}:/memcloud", service_account(account), environment)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def service_account(key: rsa.RSAPrivateKey) -> str:
    """The file of a service account with this key."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "backup@example.com",
            "client_id": "1",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "token_uri": f"https://{_TOKENS}/token",
        }
    )


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Answers for Google, whose names alone it knows."""

    def __init__(self, contexts: dict[str, ssl.SSLContext], google: Any, *args: Any) -> None:
        self._contexts = contexts
        self._google = google
        super().__init__(*args)

    def do_CONNECT(self) -> None:
        context = self._contexts[self.path.rpartition(":")[0]]
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with context.wrap_socket(self.connection, server_side=True) as secured:
            self._google(secured, self.client_address, self.server)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class _Google(RequestHandler):
    """The emulator, for who has a token; and the place that gives it out."""

    protocol_version = "HTTP/1.1"

    def __init__(self, account: rsa.RSAPublicKey, *args: Any) -> None:
        self._account = account
        super().__init__(*args)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.headers["Host"] == _TOKENS:
            self._give_token()
            return False
        if self.headers["Authorization"] == f"Bearer {_TOKEN}":
            return True
        self._answer(401, {"error": {"code": 401, "message": "Invalid Credentials"}})
        return False

    def do_POST(self) -> None:
        super().do_POST()
        if self.headers["Transfer-Encoding"] == "chunked":
            self.rfile.readline()  # the end of a body, which the emulator leaves

    def _give_token(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            jwt.decode(
                urllib.parse.parse_qs(form)["assertion"][0],
                self._account,
                algorithms=["RS256"],
                audience=f"https://{_TOKENS}/token",
            )
        except jwt.InvalidTokenError:
            said = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            self._answer(400, said)
        else:
            self._answer(200, {"access_token": _TOKEN, "token_type": "Bearer", "expires_in": 3600})

    def _answer(self, status: int, what: dict[str, Any]) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
