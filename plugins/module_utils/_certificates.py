# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's own certificate authority, and the certificates of its hostnames.

The authority is made once and kept by root alone. A certificate, its key and nothing else stand in
one file, which is replaced whole: Traefik never sees a certificate with another one's key.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
from dataclasses import dataclass

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import atomic_write
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import MOMENT

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    HAS_CRYPTOGRAPHY = True
except ImportError:  # pragma: no cover
    HAS_CRYPTOGRAPHY = False

TRAEFIK_GID = 30013
_CA_LIFE = datetime.timedelta(days=3650)
_LEAF_LIFE = datetime.timedelta(days=397)
_RENEW_BEFORE = datetime.timedelta(days=60)
_CLOCK_SKEW = datetime.timedelta(hours=1)
# Nobody makes an authority anew because the node's clock was some hours ahead when it was set up.
_CA_SKEW = datetime.timedelta(days=1)


class CertificateError(MemcloudError):
    """An authority or certificate that cannot be used as it is."""


@dataclass(frozen=True)
class Ensured:
    """What was found or made.

    :param path: file of the certificate.
    :param changed: whether it was made or renewed (would be, in check mode).
    :param reason: why, in words; empty when nothing changed.
    :param expires: when the certificate ends, in ISO 8601; empty when there is none yet.
    """

    path: str
    changed: bool
    reason: str
    expires: str


def leaf_path(certs_dir: str, hostname: str) -> str:
    """The file that holds certificate and key of a hostname."""
    return os.path.join(certs_dir, f"{hostname}.pem")


def ensure_ca(ca_dir: str, name: str, *, check_mode: bool = False) -> Ensured:
    """Make the authority if there is none; one that exists is never replaced.

    :param ca_dir: directory of ``ca.key`` (0600) and ``ca.crt``; made 0700.
    :param name: common name of a new authority.
    """
    _need_cryptography()
    key_path, path = os.path.join(ca_dir, "ca.key"), os.path.join(ca_dir, "ca.crt")
    if os.path.exists(path) and os.path.exists(key_path):
        certificate = _read_ca(ca_dir)[1]
        _check_valid(ca_dir, certificate)
        return Ensured(path, False, "", _iso(certificate))
    if os.path.exists(path) or os.path.exists(key_path):
        raise CertificateError(
            f"{ca_dir} holds only one of ca.key and ca.crt. Bring the other one back, or remove "
            "the directory to have a new authority made"
        )
    reason = "there is no certificate authority yet"
    if check_mode:
        return Ensured(path, True, reason, "")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _ca_certificate(key, name)
    os.makedirs(ca_dir, mode=0o700, exist_ok=True)
    _write(key_path, _pem_of_key(key), 0o600, 0)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644, 0)
    return Ensured(path, True, reason, _iso(certificate))


def ensure_ca_copy(source: str, path: str, *, check_mode: bool = False) -> Ensured:
    """Put the authority's certificate where everybody can read it."""
    wanted = _content(source)
    changed = wanted is None or _content(path) != wanted
    if changed and not check_mode and wanted is not None:
        _write(path, wanted, 0o644, 0)
    return Ensured(path, changed, "the copy differs or is missing" if changed else "", "")


def ensure_leaf(
    ca_dir: str,
    certs_dir: str,
    hostname: str,
    *,
    gid: int = TRAEFIK_GID,
    check_mode: bool = False,
) -> Ensured:
    """Make or renew the certificate of a hostname, signed by the node's authority.

    It is renewed 60 days before its end, unless that is the authority's; when a clock that was
    ahead made it; and when it is not this authority's or not this hostname's. Traefik, which
    watches the directory ``dynamic`` beside ``certs_dir``, is told.

    :param gid: group that may read the file: the edge's.
    """
    _need_cryptography()
    path = leaf_path(certs_dir, hostname)
    if not os.path.exists(os.path.join(ca_dir, "ca.crt")):
        if check_mode:
            return Ensured(path, True, "there is no certificate authority yet", "")
        raise CertificateError(
            f"{hostname}: there is no certificate authority in {ca_dir}: run setup_node for this "
            "node first"
        )
    ca_key, ca = _known_ca(ca_dir, _changed(ca_dir))
    reason, expires = _fault(path, hostname, ca)
    if not reason or check_mode:
        return Ensured(path, bool(reason), reason, expires)
    _check_valid(ca_dir, ca)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _leaf_certificate(ca_key, ca, key, hostname)
    text = certificate.public_bytes(serialization.Encoding.PEM) + _pem_of_key(key)
    os.makedirs(certs_dir, mode=0o750, exist_ok=True)
    _write(path, text, 0o640, gid)
    _announce(os.path.join(os.path.dirname(certs_dir), "dynamic"))
    return Ensured(path, True, reason, _iso(certificate))


def _announce(directory: str) -> None:
    """Have Traefik read the certificates again: it does so when its directory is touched."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(directory)


def _need_cryptography() -> None:
    if not HAS_CRYPTOGRAPHY:
        raise CertificateError(
            "the Python library cryptography is missing; the node's virtual environment "
            "(platform_node_venv) carries it: run setup_node for this node first"
        )


def _fault(path: str, hostname: str, ca: x509.Certificate) -> tuple[str, str]:
    """Why the certificate at path has to be made anew, and when it ends."""
    text = _content(path)
    if text is None:
        return "there is no certificate yet", ""
    try:
        certificate = x509.load_pem_x509_certificate(text)
        key = serialization.load_pem_private_key(text, None)
    except ValueError:
        return "the file cannot be read", ""
    expires = _iso(certificate)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # One that ends with its authority cannot be made better.
    if ends - _now() < _RENEW_BEFORE and ends < ca.not_valid_after_utc:
        return f"the certificate ends on {ends:%Y-%m-%d}", expires
    if begins > _now():
        return f"the certificate begins on {begins:{MOMENT}}: the clock was wrong", expires
    if _names(certificate) != [hostname]:
        return "the certificate is for another hostname", expires
    if key.public_key() != certificate.public_key():
        return "the key belongs to another certificate", expires
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return "the certificate is another authority's", expires
    return "", expires


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(names.value.get_values_for_type(x509.DNSName))


def _read_ca(ca_dir: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        with open(os.path.join(ca_dir, "ca.key"), "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        with open(os.path.join(ca_dir, "ca.crt"), "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
    except (OSError, ValueError) as error:
        raise CertificateError(f"the certificate authority in {ca_dir}: {error}") from error
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise CertificateError(f"ca.key and ca.crt in {ca_dir} do not belong together")
    return key, certificate


def authority_ends(ca_dir: str) -> datetime.datetime:
    """When the authority ends."""
    _need_cryptography()
    return _read_ca(ca_dir)[1].not_valid_after_utc


def _check_valid(ca_dir: str, ca: x509.Certificate) -> None:
    begins, ends = ca.not_valid_before_utc, ca.not_valid_after_utc
    if begins <= _now() < ends:
        return
    when = f"ended on {ends:%Y-%m-%d}"
    if begins > _now():
        when = f"begins on {begins:%Y-%m-%d} only, made by a clock that was wrong"
    raise CertificateError(
        f"{os.path.join(ca_dir, 'ca.crt')} {when}. Remove {ca_dir} and run setup_node, then "
        "deploy_tenant: a new authority is made, which your clients have to be given"
    )


def _changed(ca_dir: str) -> int:
    """When the authority was last changed."""
    paths = (os.path.join(ca_dir, name) for name in ("ca.key", "ca.crt"))
    return max(os.stat(path).st_mtime_ns for path in paths if os.path.exists(path))


@functools.lru_cache(maxsize=4)
def _known_ca(ca_dir: str, changed: int) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The authority, read once for all certificates of a run."""
    return _read_ca(ca_dir)


def _ca_certificate(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = _builder(subject, subject, key.public_key(), _CA_LIFE, _CA_SKEW)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(ca=True), critical=True)
    return builder.sign(key, hashes.SHA256())


def _leaf_certificate(
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    hostname: str,
) -> x509.Certificate:
    # A common name has 64 characters at most; clients look at the alternative names alone.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    life = min(_LEAF_LIFE, ca.not_valid_after_utc - _now())
    builder = _builder(subject, ca.subject, key.public_key(), life)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(ca=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(hostname)]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    life: datetime.timedelta,
    skew: datetime.timedelta = _CLOCK_SKEW,
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - skew)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _iso(certificate: x509.Certificate) -> str:
    return certificate.not_valid_after_utc.strftime(MOMENT)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes, mode: int, gid: int) -> None:
    """Replace a file; only root can give it to others."""
    atomic_write(path, content, mode, gid=gid if os.geteuid() == 0 else -1)
