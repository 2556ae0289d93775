"""What an update has to do, as tables: from a database and a server's description to a plan."""

from __future__ import annotations

import json

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import _server_schema
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_image import (
    CommandFailed,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._server_schema import (
    Column,
    Database,
    describe_server,
    read_database,
    server_of,
    type_name,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_plan import (
    IMAGE,
    MIGRATE,
    NONE,
    REFUSE,
    RELOAD,
    last_time,
    plan_update,
    version_key,
)

# Three revisions, as the servers have them; 0.4.0 knows one more.
CHAIN = {"001": [], "b6": ["001"], "c7": ["b6"]}
TABLES = {
    "episodestore": {
        "id": "INTEGER",
        "content": "VARCHAR",
        "created_at": "TIMESTAMP WITH TIME ZONE",
    },
    "feature": {"id": "INTEGER", "embedding": "VECTOR(64)"},
    "alembic_free": {"name": "VARCHAR(255)"},
}


def described(tables=TABLES, revisions=CHAIN, adds=None):
    return {
        "python": "3.13.5",
        "tables": tables,
        "revisions": revisions,
        "adds": adds or {},
        "migrated": ["feature"],
    }


def server(version, tables=TABLES, revisions=CHAIN, adds=None):
    return server_of(version, described(tables, revisions, adds))


def columns(**types):
    return {name: Column(kind) for name, kind in types.items()}


def database(*revisions, **tables):
    present = {
        "episodestore": columns(
            id="integer", content="character varying", created_at="timestamptz"
        ),
        "feature": columns(id="integer", embedding="vector"),
        "sessions": columns(anything="text"),
        **tables,
    }
    return Database(frozenset(revisions), present)


def test_the_same_version_with_the_same_images_is_nothing_to_do():
    plan = plan_update("0.3.9", database("c7"), server("0.3.9"))
    assert (plan.kind, plan.images) == (NONE, ())


def test_two_versions_with_the_same_tables_exchange_the_image():
    plan = plan_update("0.3.8", database("c7"), server("0.3.9"), ("app",))
    assert plan.as_dict() == {
        "kind": IMAGE,
        "reason": "both versions use the same tables",
        "images": ["app"],
        "dump": False,
    }


def test_another_head_of_the_migrations_needs_a_copy():
    plan = plan_update("0.3.2", database("b6"), server("0.3.9"))
    assert plan.kind == MIGRATE
    assert plan.reason == "the database migrates from revision b6 to c7"


def test_a_database_that_no_migration_has_touched_yet_migrates_too():
    assert plan_update("0.3.2", database(), server("0.3.9")).kind == MIGRATE


def test_a_column_that_the_server_adds_by_itself_needs_a_copy_too():
    wanted = {**TABLES, "sessions": {"anything": "VARCHAR", "status": "VARCHAR"}}
    target = server("0.3.9", wanted, adds={"sessions": ["status"]})
    plan = plan_update("0.3.6", database("c7"), target)
    assert (plan.kind, plan.reason) == (MIGRATE, "the server adds column sessions.status")
    known = database("c7", sessions=columns(anything="text", status="character varying"))
    assert plan_update("0.3.8", known, target).kind == IMAGE


@pytest.mark.parametrize(
    ("tables", "obstacle"),
    [
        # 0.3.9 -> 0.4.0: the primary key has another name, and nothing adds it.
        ({"uid": "UUID", "content": "VARCHAR"}, "column episodestore.uid is missing"),
        ({"id": "UUID", "content": "VARCHAR"}, "column episodestore.id is integer, not uuid"),
    ],
)
def test_a_table_that_the_target_cannot_use_is_loaded_anew(tables, obstacle):
    target = server("0.4.0", {**TABLES, "episodestore": tables}, {**CHAIN, "e8": ["c7"]})
    plan = plan_update("0.3.9", database("c7"), target, ("app",))
    assert plan.kind == RELOAD
    assert obstacle in plan.reason
    assert plan.images == ("app",)


def test_a_required_column_that_the_target_does_not_know_is_an_obstacle():
    present = database("c7", episodestore={**columns(id="integer", content="text"),
                                           "created_at": Column("timestamptz"),
                                           "tag": Column("text", required=True)})  # fmt: skip
    plan = plan_update("0.3.8", present, server("0.3.9"))
    assert plan.kind == RELOAD
    assert "column episodestore.tag is required and unknown to it" in plan.reason


def test_what_a_migration_looks_after_and_what_is_missing_are_no_obstacles():
    wanted = {**TABLES, "feature": {"id": "INTEGER", "new": "JSONB"}, "new": {"id": "INTEGER"}}
    assert plan_update("0.3.8", database("c7"), server("0.3.9", wanted)).kind == IMAGE


@pytest.mark.parametrize(
    ("present", "target", "revisions", "words"),
    [
        ("0.4.0", "0.3.9", ("c7",), "rollback_tenant"),
        ("0.3.9", "0.3.8", ("c7",), "is older than 0.3.9"),
        ("0.3.9", "0.4.0", ("f9",), "f9, which MemMachine 0.4.0 does not know"),
    ],
)
def test_going_back_is_refused(present, target, revisions, words):
    plan = plan_update(present, database(*revisions), server(target))
    assert plan.kind == REFUSE
    assert words in plan.reason


@pytest.mark.parametrize(
    ("drifted", "majors", "kind", "images", "dump"),
    [
        (("postgres",), (17, 17), IMAGE, ("postgres",), False),
        (("postgres", "neo4j"), (17, 17), IMAGE, ("postgres", "neo4j"), False),
        (("app",), (17, 17), IMAGE, ("app",), False),
        (("postgres",), (17, 18), MIGRATE, ("postgres",), True),
        (("postgres",), (18, 17), REFUSE, (), False),
    ],
)
def test_images_of_the_databases_without_another_version(drifted, majors, kind, images, dump):
    plan = plan_update("0.3.9", database("c7"), server("0.3.9"), drifted, majors)
    assert (plan.kind, plan.images, plan.dump) == (kind, images, dump)


def test_another_version_and_other_databases_go_together():
    target = server("0.4.0", {**TABLES, "episodestore": {"uid": "UUID"}})
    plan = plan_update("0.3.9", database("c7"), target, ("app", "postgres"), (17, 18))
    assert (plan.kind, plan.images, plan.dump) == (RELOAD, ("app", "postgres"), True)
    assert "PostgreSQL 17 -> 18" in plan.reason


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("VARCHAR(255)", "character varying"),
        ("character varying", "character varying"),
        ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
        ("VECTOR(64)", "vector"),
        ("JSONB", "jsonb"),
        ("FLOAT", "double precision"),
    ],
)
def test_types_have_one_spelling(text, name):
    assert type_name(text) == name


def test_versions_sort_by_number_and_previews_come_first():
    versions = ["0.4.0", "0.3.10", "0.4.0rc1", "0.3.9", "0.4.0b2"]
    ordered = ["0.3.9", "0.3.10", "0.4.0b2", "0.4.0rc1", "0.4.0"]
    assert sorted(versions, key=version_key) == ordered


def test_the_last_time_is_told_where_it_is_known():
    assert last_time({"image": 8.4}, "image") == "the last one of its kind took 8 s"
    assert last_time({}, "image") == ""


def test_a_database_is_read_with_two_questions():
    answers = {
        "alembic_version": '["c7"]',
        "pg_class": json.dumps(
            {
                "alembic_version": {"version_num": {"type": "character varying", "required": True}},
                "sessions": {"session_key": {"type": "character varying", "required": True}},
            }
        ),
    }

    def query(sql):
        return next(answer for mark, answer in answers.items() if mark in sql)

    found = read_database(query)
    assert found.revisions == {"c7"}
    assert found.tables["sessions"] == {"session_key": Column("character varying", True)}


def test_a_database_without_migrations_has_no_revision():
    assert read_database(lambda sql: "{}") == Database(frozenset(), {})


def test_an_image_is_asked_once(tmp_path, monkeypatch):
    asked = []

    def run(client, image, arguments, entrypoint):
        asked.append(image)
        return "a warning\n" + json.dumps(described()) + "\n"

    monkeypatch.setattr(_server_schema, "run_in_image", run)
    first = describe_server(None, str(tmp_path), "sha256:a", "0.3.9")
    assert describe_server(None, str(tmp_path), "sha256:a", "0.3.9") == first
    assert asked == ["sha256:a"]
    assert first.heads() == {"c7"}


def test_an_image_that_says_nothing_is_no_target(tmp_path, monkeypatch):
    def run(*args, **rest):
        raise CommandFailed("sha256:a", 1, "no module named sqlalchemy")

    monkeypatch.setattr(_server_schema, "run_in_image", run)
    with pytest.raises(MemcloudError, match=r"0\.3\.9 does not say .* no module named sqlalchemy"):
        describe_server(None, str(tmp_path), "sha256:a", "0.3.9")


@pytest.mark.parametrize(
    ("stores", "kind"),
    [
        (("5.26.16", "5.26.17"), IMAGE),
        (("5.26.16", "5.27.0"), MIGRATE),
        (("5.26.16", "2025.10.1"), MIGRATE),
        (("", "5.26.16"), MIGRATE),
    ],
)
def test_another_minor_version_of_neo4j_works_on_a_copy(stores, kind):
    given = ("0.3.9", database("c7"), server("0.3.9"))
    assert plan_update(*given, ("neo4j",), (17, 17), stores).kind == kind
    # The app alone leaves the store to the server that has it.
    assert plan_update(*given, ("app",), (17, 17), stores).kind == IMAGE


def test_a_copy_for_neo4j_and_memories_that_are_carried_over_are_one_update():
    plan = plan_update(
        "0.3.9", database("c7"), server("0.4.0"), ("app", "neo4j"), (17, 17), ("5.26.1", "5.27.0")
    )
    assert plan.kind == MIGRATE
    assert plan.reason == (
        "Neo4j 5.26.1 -> 5.27.0 on a copy of its store; both versions use the same tables"
    )
