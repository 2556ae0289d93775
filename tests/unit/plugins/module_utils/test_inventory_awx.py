# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWX writer against a small HTTP server that answers like AWX's API."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_awx import AwxWriter
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    EXISTING,
    NEW,
    EntryExistsError,
    Request,
)

TOKEN = "a-token"


class Awx:
    """Inventories, hosts and groups in memory."""

    def __init__(self) -> None:
        self.inventories = {7: {"id": 7, "name": "fleet"}}
        self.hosts: dict[int, dict[str, Any]] = {}
        self.groups: dict[int, dict[str, Any]] = {}
        self.may_edit = True
        self.calls: list[str] = []
        self.broken: set[str] = set()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if f"{method} {path}" in self.broken:
            return 500, {"detail": "Something went wrong."}
        if path == "inventories/" and method == "GET":
            found = [i for i in self.inventories.values() if i["name"] == query["name"]]
            return 200, {"results": found}
        if found_path := re.fullmatch(r"inventories/(\d+)/", path):
            inventory = self.inventories.get(int(found_path[1]))
            capabilities = {"user_capabilities": {"edit": self.may_edit}}
            return (200, {**inventory, "summary_fields": capabilities}) if inventory else (404, {})
        if found_path := re.fullmatch(r"inventories/7/(hosts|groups)/", path):
            objects = getattr(self, found_path[1]).values()
            return 200, {"results": [o for o in objects if o["name"] == query["name"]]}
        if path in ("hosts/", "groups/") and method == "POST":
            objects = getattr(self, path.strip("/"))
            if any(o["name"] == body["name"] for o in objects.values()):
                return 400, {"__all__": ["Host with this Name and Inventory already exists."]}
            number = len(self.hosts) + len(self.groups) + 1
            objects[number] = {**body, "id": number, "members": set()}
            return 201, {k: v for k, v in objects[number].items() if k != "members"}
        if found_path := re.fullmatch(r"hosts/(\d+)/", path):
            number = int(found_path[1])
            if method == "DELETE":
                del self.hosts[number]
                return 204, None
            self.hosts[number].update(body)
            return 200, {"id": number}
        if found_path := re.fullmatch(r"hosts/(\d+)/groups/", path):
            number = int(found_path[1])
            joined = [g for g in self.groups.values() if number in g["members"]]
            return 200, {"results": [{"id": g["id"], "name": g["name"]} for g in joined]}
        if found_path := re.fullmatch(r"groups/(\d+)/hosts/", path):
            members = self.groups[int(found_path[1])]["members"]
            if "id" not in body:  # a new host is made, in the group at once
                status, host = self.answer("POST", "hosts/", query, body)
                members.update([host["id"]] if status == 201 else [])
                return status, host
            (members.discard if body.get("disassociate") else members.add)(body["id"])
            return 204, None
        return 404, {"detail": "Not found."}

    def members(self) -> dict[str, set[int]]:
        return {group["name"]: group["members"] for group in self.groups.values()}


@pytest.fixture
def awx() -> Iterator[tuple[Awx, str]]:
    fake = Awx()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if self.headers.get("Authorization") != "Bearer " + TOKEN:
                status, answer = 401, {"detail": "Authentication credentials were not provided."}
            else:
                path = parts.path.replace("/api/v2/", "", 1)
                status, answer = fake.answer(self.command, path, query, body)
            payload = b"" if answer is None else json.dumps(answer, default=sorted).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield fake, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_entry_is_a_host_in_the_groups_of_its_node_and_tier(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url + "/", TOKEN, "fleet")
    writer.check()
    assert writer.read("acme") is None
    variables = {"tenant_uid": "u1", "tenant_node": "node-1", "tenant_tier": "free"}
    assert writer.apply(Request("acme", variables, expect=NEW)).changed
    assert writer.read("acme") == variables
    assert fake.members() == {"tenants": {2}, "at_node_1": {2}, "tier_free": {2}}
    assert not writer.apply(Request("acme", {"tenant_tier": "free"})).changed


def test_a_change_keeps_comments_and_moves_between_groups(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    writer.apply(Request("acme", {"tenant_uid": "u1", "tenant_tier": "free"}))
    fake.hosts[2]["variables"] += "# by hand\nmine: 1\n"
    change = writer.apply(Request("acme", {"tenant_tier": "pro"}, uid="u1", expect=EXISTING))
    assert "# by hand\nmine: 1" in fake.hosts[2]["variables"]
    assert "tenant_tier: free" in change.before
    assert "tenant_tier: pro" in change.after
    assert fake.members()["tier_free"] == set()
    assert fake.members()["tier_pro"] == {2}


def test_what_a_killed_run_left_is_finished_by_the_next(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    request = Request("acme", {"tenant_uid": "u1", "tenant_node": "node1", "tenant_tier": "free"})
    fake.broken = {"POST groups/3/hosts/"}
    with pytest.raises(MemcloudError, match="AWX answered 500 to POST groups/3/hosts/"):
        writer.apply(request)
    assert fake.members() == {"tenants": {2}, "at_node1": set()}
    assert not writer.apply(request, dry_run=True).changed
    fake.broken = set()
    assert not writer.apply(request).changed
    assert fake.members() == {"tenants": {2}, "at_node1": {2}, "tier_free": {2}}


def test_a_group_that_another_run_made_meanwhile_is_joined(
    awx: tuple[Awx, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, url = awx
    AwxWriter(url, TOKEN, "7").apply(Request("acme", {"tenant_uid": "u1"}))
    looked_for: list[str] = []
    find = AwxWriter._find

    def late(self: AwxWriter, kind: str, name: str) -> dict[str, Any] | None:
        looked_for.append(name)
        return None if looked_for.count("tenants") == 1 else find(self, kind, name)

    monkeypatch.setattr(AwxWriter, "_find", late)
    AwxWriter(url, TOKEN, "7").apply(Request("globex", {"tenant_uid": "u2"}))
    assert fake.members() == {"tenants": {2, 3}}


def test_variables_that_are_json_stay_json(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    writer.apply(Request("acme", {"tenant_uid": "u1"}))
    fake.hosts[2]["variables"] = '{"tenant_uid": "u1"}'
    writer.apply(Request("acme", {"tenant_tier": "pro"}))
    assert json.loads(fake.hosts[2]["variables"]) == {"tenant_uid": "u1", "tenant_tier": "pro"}


def test_dry_runs_and_deletion(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    assert writer.apply(Request("acme", {"tenant_uid": "u1"}), dry_run=True).changed
    assert not fake.hosts
    writer.apply(Request("acme", {"tenant_uid": "u1"}))
    assert writer.apply(Request("acme", {}, delete=True), dry_run=True).changed
    assert fake.hosts
    with pytest.raises(MemcloudError, match="another tenant"):
        writer.apply(Request("acme", {}, uid="other", delete=True))
    assert writer.apply(Request("acme", {}, uid="u1", delete=True)).changed
    assert not writer.apply(Request("acme", {}, uid="u1", delete=True)).changed
    assert not fake.hosts


def test_one_who_comes_second_is_told(
    awx: tuple[Awx, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    writer.apply(Request("acme", {"tenant_uid": "u1"}))
    with pytest.raises(EntryExistsError):
        writer.apply(Request("acme", {"tenant_uid": "u2"}, expect=NEW))
    monkeypatch.setattr(AwxWriter, "_host", lambda self, name: None)
    with pytest.raises(EntryExistsError, match="meanwhile"):
        writer.apply(Request("acme", {"tenant_uid": "u2"}, expect=NEW))


def test_what_is_wrong_is_told_beforehand(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    with pytest.raises(MemcloudError, match="platform_awx_token is wrong"):
        AwxWriter(url, "wrong", "fleet").check()
    with pytest.raises(MemcloudError, match="0 inventories named other"):
        AwxWriter(url, TOKEN, "other").check()
    with pytest.raises(MemcloudError, match="404"):
        AwxWriter(url, TOKEN, "8").check()
    fake.may_edit = False
    with pytest.raises(MemcloudError, match="may not change"):
        AwxWriter(url, TOKEN, "fleet").check()
    with pytest.raises(MemcloudError, match="cannot be reached"):
        AwxWriter("http://127.0.0.1:9", TOKEN, "fleet").check()


@pytest.mark.parametrize("missing", ["url", "token", "inventory"])
def test_settings_that_are_missing_are_named(missing: str) -> None:
    settings = {"url": "http://awx", "token": "t", "inventory": "i", missing: ""}
    with pytest.raises(MemcloudError, match="platform_awx_" + missing):
        AwxWriter(**settings)


def test_broken_variables_in_awx_are_told(awx: tuple[Awx, str]) -> None:
    fake, url = awx
    writer = AwxWriter(url, TOKEN, "7")
    writer.apply(Request("acme", {"tenant_uid": "u1"}))
    for broken in ("a: [", "expires: 2026-11-31"):
        fake.hosts[2]["variables"] = broken
        with pytest.raises(MemcloudError, match="no valid YAML"):
            writer.read("acme")
