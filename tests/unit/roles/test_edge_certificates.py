"""Certificates of the operator's own, on their way to the edge."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from support import controller
from support.authority import certificate

ROLE = Path(__file__).parents[3] / "roles/edge"


def give(there: Path, *pairs: tuple[Path, Path]) -> tuple[int, str]:
    """Return code and output, in one line, of the role's task over certificates with keys."""
    tasks = yaml.safe_load((ROLE / "tasks/certificates.yml").read_text())
    variables: dict[str, Any] = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    variables |= {
        "edge_python": sys.executable,
        "edge_tls_mode": "files",
        "edge_tls_certificates": [{"certificate": str(c), "key": str(k)} for c, k in pairs],
        "_edge_home": str(there),
    }
    given = [task for task in tasks if task["name"].endswith("certificates of the platform")]
    (there / "certs").mkdir(exist_ok=True)
    code, output = controller.play_tasks(there, given, variables)
    return code, " ".join(output.split())


def pair(directory: Path) -> tuple[Path, Path]:
    """A certificate, and its key in a file of its own."""
    directory.mkdir()
    text = certificate(directory, "acme.example.com")[0].read_text()
    begin = text.index("-----BEGIN PRIVATE")
    shown, key = directory / "shown.pem", directory / "key.pem"
    shown.write_text(text[:begin])
    key.write_text(text[begin:])
    return shown, key


def test_a_key_of_another_certificate_leaves_what_the_edge_shows(tmp_path: Path) -> None:
    """Traefik would show one of its own instead, to the customers of all tenants."""
    old, new = pair(tmp_path / "old"), pair(tmp_path / "new")
    code, output = give(tmp_path, old)
    assert code == 0, output
    there = tmp_path / "certs/platform-0.pem"
    before = there.read_text()
    assert before.split() == (old[0].read_text() + old[1].read_text()).split()
    code, output = give(tmp_path, (new[0], old[1]))
    assert code != 0
    said = f"localhost: platform_tls_certificates: {new[0]} with {old[1]} (ssl.SSLError: "
    assert said in output
    assert "mismatch" in output
    assert there.read_text() == before
    assert old[1].read_text().split()[3] not in output
    assert give(tmp_path, new)[0] == 0
    assert there.read_text() != before


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    both = certificate(tmp_path / "one", "acme.example.com")[0]
    code, output = give(tmp_path, (both, both))
    assert code == 0, output


def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    shown, key = pair(tmp_path / "one")
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    code, output = give(tmp_path, (shown, locked))
    assert code != 0
    assert f"{shown} with {locked} (" in output


def test_the_file_that_is_missing_is_named(tmp_path: Path) -> None:
    shown, _key = pair(tmp_path / "one")
    code, output = give(tmp_path, (shown, tmp_path / "none.pem"))
    assert code != 0
    assert f"{shown} with {tmp_path}/none.pem (" in output


def test_the_controller_needs_no_other_user_for_its_copy(tmp_path: Path) -> None:
    """Also where the inventory says for all hosts that nodes need another user."""
    tasks = yaml.safe_load((ROLE / "tasks/certificates.yml").read_text())
    copy = tmp_path / "inventory/.secrets/ca.crt"
    play = {
        "hosts": "node1",
        "gather_facts": False,
        "vars": {
            "edge_tls_mode": "local_ca",
            "edge_ca_copy": str(copy),
            "__edge_certificate": {"ca": "-----BEGIN CERTIFICATE-----\n"},
        },
        "tasks": [task for task in tasks if task["name"].startswith("Give the controller")],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    variables = {"ansible_become": True, "ansible_become_exe": "/bin/false"}
    (tmp_path / "inventory/group_vars").mkdir(parents=True)
    (tmp_path / "inventory/group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (tmp_path / "inventory/nodes.yml").write_text("nodes: {hosts: {node1: }}")
    same_user = {"ANSIBLE_BECOME_ALLOW_SAME_USER": "true"}  # for tests that root runs
    words = ("-i", tmp_path / "inventory", tmp_path / "play.yml")
    code, output = controller.play(*words, **same_user)
    assert code == 0, output
    assert "BEGIN CERTIFICATE" in copy.read_text()
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700


def test_a_directory_of_the_controller_stays_open_to_others(tmp_path: Path) -> None:
    """The copy may go to /etc/ssl: without it, nobody but root could check a certificate."""
    tasks = yaml.safe_load((ROLE / "tasks/certificates.yml").read_text())
    copy = tmp_path / "ssl/memcloud-ca.crt"
    copy.parent.mkdir(mode=0o755)
    variables = {
        "edge_tls_mode": "local_ca",
        "edge_ca_copy": str(copy),
        "__edge_certificate": {"ca": "-----BEGIN CERTIFICATE-----\n"},
    }
    given = [task for task in tasks if task["name"].startswith("Give the controller")]
    code, output = controller.play_tasks(tmp_path, given, variables)
    assert code == 0, output
    assert "BEGIN CERTIFICATE" in copy.read_text()
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o755
