# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import ssl
import stat

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _certificates
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import (
    CertificateError,
    ensure_ca,
    ensure_ca_copy,
    ensure_leaf,
    leaf_path,
)

HOSTNAME = "acme.memcloud.localhost"


@pytest.fixture
def dirs(tmp_path):
    ca, certs = str(tmp_path / "ca"), str(tmp_path / "certs")
    ensure_ca(ca, "test CA")
    return ca, certs


def leaf(dirs, hostname=HOSTNAME, **options):
    return ensure_leaf(*dirs, hostname, gid=0, **options)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def at(monkeypatch, **ahead):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**ahead)
    monkeypatch.setattr(_certificates, "_now", lambda: now)


def test_authority_is_made_once_and_kept(tmp_path):
    ca = str(tmp_path / "ca")
    first = ensure_ca(ca, "test CA")
    content = (tmp_path / "ca" / "ca.crt").read_bytes()
    second = ensure_ca(ca, "another name")
    assert (first.changed, second.changed) == (True, False)
    assert (tmp_path / "ca" / "ca.crt").read_bytes() == content


def test_authority_is_for_root_alone(dirs):
    assert mode(dirs[0]) == 0o700
    assert mode(os.path.join(dirs[0], "ca.key")) == 0o600


def test_half_an_authority_is_not_replaced(dirs):
    os.unlink(os.path.join(dirs[0], "ca.crt"))
    with pytest.raises(CertificateError, match="only one of"):
        ensure_ca(dirs[0], "test CA")


def test_an_ended_authority_is_named(dirs, monkeypatch):
    at(monkeypatch, days=4000)
    with pytest.raises(CertificateError, match="ended on"):
        ensure_ca(dirs[0], "test CA")


def test_mixed_up_authority_is_refused(dirs, tmp_path):
    other = str(tmp_path / "other")
    ensure_ca(other, "other CA")
    os.replace(os.path.join(other, "ca.key"), os.path.join(dirs[0], "ca.key"))
    with pytest.raises(CertificateError, match="do not belong together"):
        leaf(dirs)


def test_copy_of_the_authority_is_public_and_without_its_key(dirs, tmp_path):
    copy = str(tmp_path / "ca.crt")
    source = os.path.join(dirs[0], "ca.crt")
    assert ensure_ca_copy(source, copy, check_mode=True).changed
    assert not os.path.exists(copy)
    assert ensure_ca_copy(source, copy).changed
    assert not ensure_ca_copy(source, copy).changed
    assert mode(copy) == 0o644
    assert b"PRIVATE" not in (tmp_path / "ca.crt").read_bytes()


def test_certificate_is_accepted_by_a_strict_client(dirs):
    made = leaf(dirs)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.path)
    client = ssl.create_default_context(cafile=os.path.join(dirs[0], "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    c_in, c_out, s_in, s_out = (ssl.MemoryBIO() for _buffer in range(4))
    near = client.wrap_bio(c_in, c_out, server_hostname=HOSTNAME)
    far = server.wrap_bio(s_in, s_out, server_side=True)
    for _round in range(4):
        for side in (near, far):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            s_in.write(c_out.read())
            c_in.write(s_out.read())
    assert near.getpeercert()["subjectAltName"] == (("DNS", HOSTNAME),)


def test_certificate_is_readable_by_its_group_only(dirs):
    assert mode(leaf(dirs).path) == 0o640


def test_second_run_changes_nothing(dirs):
    made, again = leaf(dirs), leaf(dirs)
    assert (made.changed, again.changed) == (True, False)
    assert made.expires == again.expires


def test_check_mode_says_why_and_writes_nothing(dirs):
    planned = leaf(dirs, check_mode=True)
    assert planned.changed
    assert planned.reason == "there is no certificate yet"
    assert not os.path.exists(planned.path)


def test_check_mode_before_there_is_an_authority(tmp_path):
    ca, certs = str(tmp_path / "ca"), str(tmp_path / "certs")
    assert ensure_ca(ca, "x", check_mode=True).changed
    assert ensure_leaf(ca, certs, HOSTNAME, check_mode=True).changed
    assert os.listdir(tmp_path) == []


def test_without_an_authority_the_error_says_what_to_run(tmp_path):
    with pytest.raises(CertificateError, match="run setup_node"):
        ensure_leaf(str(tmp_path / "ca"), str(tmp_path / "certs"), HOSTNAME)


def other_hostname(dirs, tmp_path):
    os.replace(leaf(dirs, "globex.example.com").path, leaf_path(dirs[1], HOSTNAME))


def other_authority(dirs, tmp_path):
    ca = str(tmp_path / "other")
    ensure_ca(ca, "other CA")
    ensure_leaf(ca, dirs[1], HOSTNAME, gid=0)


def garbage(dirs, tmp_path):
    with open(leaf_path(dirs[1], HOSTNAME), "w") as file:
        file.write("no certificate\n")


def other_key(dirs, tmp_path):
    one = pathlib.Path(leaf(dirs).path)
    two = pathlib.Path(leaf(dirs, "globex.example.com").path)
    mark = "-----BEGIN PRIVATE"
    certificate = one.read_text().split(mark)[0]
    key = two.read_text().split(mark)[1]
    one.write_text(certificate + mark + key)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_hostname, "another hostname"),
        (other_authority, "another authority"),
        (garbage, "cannot be read"),
        (other_key, "another certificate"),
    ],
)
def test_what_does_not_fit_is_renewed(dirs, tmp_path, spoil, reason):
    leaf(dirs)
    spoil(dirs, tmp_path)
    renewed = leaf(dirs)
    assert renewed.changed
    assert reason in renewed.reason
    assert not leaf(dirs).changed


@pytest.mark.parametrize(("days", "renewed"), [(330, False), (340, True), (500, True)])
def test_certificate_is_renewed_two_months_before_its_end(dirs, monkeypatch, days, renewed):
    leaf(dirs)
    at(monkeypatch, days=days)
    assert leaf(dirs).changed is renewed


def test_what_ends_with_its_authority_is_not_made_anew_by_every_run(dirs, monkeypatch):
    at(monkeypatch, days=3640)
    made, again = leaf(dirs), leaf(dirs)
    assert (made.changed, again.changed) == (True, False)


def test_an_ended_authority_is_named_by_who_needs_another_certificate(dirs, monkeypatch):
    leaf(dirs)
    at(monkeypatch, days=4000)
    with pytest.raises(CertificateError, match="ended on .* run setup_node, then deploy_tenant"):
        leaf(dirs)


def test_a_certificate_of_a_clock_that_was_ahead_is_made_anew(tmp_path, monkeypatch):
    ca, certs = str(tmp_path / "ca"), str(tmp_path / "certs")
    at(monkeypatch, hours=12)
    ensure_ca(ca, "test CA")
    leaf((ca, certs))
    at(monkeypatch, hours=0)
    assert not ensure_ca(ca, "test CA").changed
    assert "the clock was wrong" in leaf((ca, certs)).reason
    assert not leaf((ca, certs)).changed
    at(monkeypatch, days=-3)
    with pytest.raises(CertificateError, match="made by a clock that was wrong"):
        ensure_ca(ca, "test CA")


def test_long_hostname_has_a_certificate_too(dirs):
    hostname = "a" * 60 + ".memcloud.localhost"
    leaf(dirs, hostname)
    assert not leaf(dirs, hostname).changed


def test_traefik_is_told_of_a_renewal_and_of_nothing_else(dirs, tmp_path):
    dynamic = tmp_path / "dynamic"
    dynamic.mkdir()
    os.utime(dynamic, (1, 1))
    leaf(dirs)
    assert dynamic.stat().st_mtime > 1
    os.utime(dynamic, (1, 1))
    leaf(dirs)
    assert dynamic.stat().st_mtime == 1
