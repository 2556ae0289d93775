"""Rows of the web application's table, made of rows of the registry."""

from __future__ import annotations

import uuid

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._deployments import (
    _upsert,
    as_status,
    deployment,
    export_rows,
    one_each,
    user_of,
)

ROW = {
    "platform": "mc",
    "tenant": "acme",
    "uid": "0123456789abcdef",
    "owner": "ada@example.com",
    "tier": "free",
    "node": "node1",
    "endpoint": "https://acme.example.com",
    "versions": {"memmachine": "0.4.0"},
    "state": "paused",
    "error": "",
    "created": "2026-01-01T00:00:00Z",
    "changed": None,
    "deleted": None,
    "last_activity": None,
}


def test_a_row_says_where_everything_is_and_no_secret():
    row = deployment(ROW)
    assert row["memmachine_url"] == "https://acme.example.com"
    assert (row["postgres_instance"], row["memmachine_service"]) == (
        "mc-acme-postgres",
        "mc-acme-app",
    )
    assert row["openai_secret"] == "tenant_model_api_key"  # the variable's name
    assert row["updated_at"] == "2026-01-01T00:00:00Z" and row["error_message"] is None
    assert uuid.UUID(row["id"])


def test_a_name_that_is_used_again_is_another_instance():
    again = deployment({**ROW, "uid": "fedcba9876543210"})
    assert again["instance_id"] != deployment(ROW)["instance_id"]
    assert again["id"] != deployment(ROW)["id"]


def test_an_owner_that_is_a_users_id_is_taken_as_it_is():
    user = "0b0f7c1e-8a53-4c8e-9d0c-0e5f5a8f9c11"
    assert user_of(user) == user
    assert user_of("ada@example.com") == user_of("ada@example.com") != user_of("ben@example.com")


@pytest.mark.parametrize(
    ("owner", "follows"),
    [("0b0f7c1e-8a53-4c8e-9d0c-0e5f5a8f9c11", True), ("ada@example.com", False), ("", False)],
)
def test_a_row_goes_to_the_user_that_its_tenant_is_given_to(owner, follows):
    values = deployment({**ROW, "owner": owner})
    update = _upsert(values, owner).as_string(None).partition("DO UPDATE")[2]
    assert ('"user_id" = excluded."user_id"' in update) is follows
    assert '"status" = excluded."status"' in update and '"instance_id" =' not in update


@pytest.mark.parametrize(
    ("state", "checks", "wanted"),
    [
        ("paused", "", "paused"),
        ("paused", "CHECK (status = ANY (ARRAY['running', 'paused']))", "paused"),
        ("paused", "CHECK (status = ANY (ARRAY['deploying', 'running', 'error']))", "running"),
        ("updating", "CHECK (status = ANY (ARRAY['deploying', 'running', 'error']))", "deploying"),
        ("deleted", "CHECK (status = ANY (ARRAY['deleted']))", "deleted"),
    ],
)
def test_a_state_is_told_as_the_table_allows(state, checks, wanted):
    assert as_status(state, checks) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:geheim-1234@127.0.0.1:1/web",
        "postgresql://ada:geheim-1234@127.0.0.1:1/web?sslmode=nonsense",
        "mysql://ada:geheim-1234@localhost/web",
    ],
)
def test_a_failure_does_not_show_the_password(url):
    with pytest.raises(MemcloudError) as failure:
        export_rows(url, [ROW])
    assert "geheim-1234" not in str(failure.value) and "Nothing was written" in str(failure.value)
    assert failure.value.__cause__ is None


HERE = {**ROW, "node": "node2", "state": "running", "changed": "2026-02-01T00:00:00Z"}
LEFT = {**ROW, "state": "deleted", "deleted": "2026-03-01T00:00:00Z"}
UID = ROW["uid"]


@pytest.mark.parametrize(
    ("rows", "homes", "expected"),
    [
        ([HERE, LEFT], {UID: "node2"}, [HERE]),
        ([LEFT, HERE], {UID: "node2"}, [HERE]),
        # node2 did not answer: what the table says of it stays.
        ([LEFT], {UID: "node2"}, []),
        ([LEFT, HERE], {}, [HERE]),
        ([LEFT, {**LEFT, "node": "node2", "deleted": "2026-04-01T00:00:00Z"}], {}, ["node2"]),
        ([HERE, {**ROW, "uid": "f" * 16}], {UID: "node2"}, [HERE, {**ROW, "uid": "f" * 16}]),
    ],
)
def test_a_tenant_that_was_moved_has_one_row(rows, homes, expected):
    told = one_each(rows, homes)
    assert told == expected or [row["node"] for row in told] == expected
