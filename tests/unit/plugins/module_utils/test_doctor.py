"""What the doctor says of a node and a tenant, with an engine in memory and answers as given."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils import (
    _doctor_node,
    _doctor_tenant,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._certificates import ensure_ca
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor import (
    ERROR,
    OK,
    WARNING,
    Check,
    as_result,
    examine,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import holder, locked

sys.path.insert(0, os.path.dirname(__file__))
from test_deploy import node  # noqa: F401

NOW = "2026-11-21T12:00:00Z"


def ago(hours):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))


def test_a_look_that_fails_is_a_finding_and_the_others_go_on():
    def broken():
        raise MemcloudError("the engine is away")
        yield

    def wrong():
        yield WARNING, "it is old", "renew it"

    checks = [
        Check("", "fine", lambda: iter(()), "good"),
        Check("acme", "bad", broken),
        Check("acme", "old", wrong),
    ]
    found = as_result(examine(checks))
    assert [f["level"] for f in found] == [ERROR, WARNING, OK]
    assert "the engine is away" in found[0]["what"]
    assert found[1]["advice"] == "renew it"
    assert found[2]["what"] == "good"


@pytest.fixture
def deployed(node, monkeypatch):  # noqa: F811
    node.converge("acme", tenant_api_keys=[{"name": "default", "sha256": "ab" * 32}])
    answers = {"/ready": {"broken": []}, "/api/overview": {"http": {}}}
    monkeypatch.setattr(_doctor_node, "ask", lambda port, path: (200, answers.get(path, {})))
    node.answers = answers
    return node


def tenant_findings(deployed, **variables):
    made, tenants, _secrets = deployed.made(["acme"], variables)
    (plan,) = made.plan(tenants)
    doctor = _doctor_tenant.TenantDoctor(made, tenants[0], plan, "")
    wanted = ("drift", "operation", "keys", "secrets", "model", "restore points", "storage")
    wanted += ("verification",)
    checks = [check for check in doctor.checks() if check.name in wanted]
    return {f.check: f for f in examine(checks) if f.level != OK}


def change_record(deployed, **values):
    path = deployed.data_dir / "tenants/acme/state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_tenant_that_never_ran_needs_no_restore_point(deployed):
    change_record(deployed, created=ago(100), asleep=ago(100))
    path = deployed.data_dir / "tenants/acme/state.json"
    record = json.loads(path.read_text())
    del record["embedder"]
    path.write_text(json.dumps(record))
    assert "restore points" not in tenant_findings(deployed)


def test_a_tenant_as_it_should_be_has_no_finding(deployed):
    change_record(deployed, restore_point={"taken": ago(1)})
    assert tenant_findings(deployed) == {}


TENANT_CASES = [
    ({}, {"tenant_limits": {"burst": 3}}, "drift", WARNING, "dynamic/acme.yml"),
    (
        {"operation": {"name": "update", "owner": "ann", "started": NOW}},
        {},
        "operation",
        WARNING,
        "update of ann since",
    ),
    ({}, {"tenant_api_keys": []}, "keys", ERROR, "no key is live"),
    (
        {},
        {"tenant_api_keys": [{"name": "a", "sha256": "a" * 64, "expires": "2020-01-01"}]},
        "keys",
        ERROR,
        "no key is live",
    ),
    (
        {},
        {"tenant_api_keys": [{"name": "a", "sha256": "a" * 64, "expires": ago(-24)}]},
        "keys",
        WARNING,
        "its last key ends at",
    ),
    ({}, {"tenant_tier": "pro"}, "model", WARNING, "demo provider"),
    ({"restore_point": {"taken": ago(40)}}, {}, "restore points", WARNING, "the last one is 40"),
    ({"created": ago(100)}, {}, "restore points", ERROR, "there is none"),
    (
        {"first_restore_point": ago(380), "restore_point": {"taken": ago(1)}},
        {},
        "verification",
        WARNING,
        "were never verified; the first one is 16 days old",
    ),
    (
        {
            "first_restore_point": ago(9000),
            "restore_point": {"taken": ago(1)},
            "verified": {"at": ago(380)},
        },
        {},
        "verification",
        WARNING,
        "were last verified 16 days ago",
    ),
    ({"writes": "closed"}, {}, "storage", ERROR, "is used up"),
    (
        {"storage": {"files": 900 * 1024**2, "uncounted": 0, "limit": 1024**3, "measured": NOW}},
        {},
        "storage",
        WARNING,
        "88% of 1 GiB were used at",
    ),
]


@pytest.mark.parametrize(("record", "variables", "check", "level", "words"), TENANT_CASES)
def test_what_is_wrong_with_a_tenant(deployed, record, variables, check, level, words):
    change_record(deployed, **record)
    finding = tenant_findings(deployed, **variables)[check]
    assert (finding.level, finding.subject) == (level, "acme")
    assert words in finding.what
    assert finding.advice


@pytest.mark.parametrize(
    "record",
    [
        {"first_restore_point": ago(9000), "verified": {"at": ago(340)}},
        {"first_restore_point": ago(340)},
        {"created": ago(9000)},
    ],
)
def test_restore_points_that_were_verified_or_need_not_have_been(deployed, record):
    change_record(deployed, restore_point={"taken": ago(1)}, **record)
    assert tenant_findings(deployed) == {}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("      password: $POSTGRES_PASSWORD", "password"),
        ('        api_key: "${OPENAI_API_KEY}"', "api_key"),
        ("  aws_secret_access_key: '$AWS'", "aws_secret_access_key"),
        ("  password: pa$word", None),
        ("  prompt: $what", None),
    ],
)
def test_a_secret_that_is_the_name_of_a_variable(deployed, line, name):
    path = deployed.data_dir / "tenants/acme/app/configuration.yml"
    path.write_text("a: 1\n" + line + "\n")
    found = tenant_findings(deployed).get("secrets")
    assert (found is None) if name is None else (name in found.what and found.level == ERROR)


def test_each_route_of_a_tenant_is_looked_at(deployed, monkeypatch):
    gone = "/api/http/routers/acme-mcpcall@file"
    served = 200, {"status": "enabled"}
    monkeypatch.setattr(
        _doctor_tenant, "ask", lambda _port, path: (404, {}) if path == gone else served
    )
    made, tenants, _secrets = deployed.made(["acme"], {})
    (plan,) = made.plan(tenants)
    doctor = _doctor_tenant.TenantDoctor(made, tenants[0], plan, "")
    (route,) = (check for check in doctor.checks() if check.name == "route")
    ((level, what, _advice),) = route.look()
    assert (level, what) == (ERROR, "Traefik does not serve acme-mcpcall@file: 404")


class FakeProbe:
    """A round trip that notes who works on the tenant meanwhile."""

    def __init__(self, deployed, tenant):
        self.locks, self.name = str(deployed.data_dir / "locks"), f"tenant-{tenant}"
        self.seen = []

    def wait_ready(self):
        self.seen.append(holder(self.locks, self.name))

    def round_trip(self):
        pass


def memory_finding(deployed, monkeypatch):
    probe = FakeProbe(deployed, "acme")
    monkeypatch.setattr(_doctor_tenant, "Probe", lambda *_given: probe)
    monkeypatch.setattr(_doctor_tenant, "_PROBE_SECONDS", 0.0)
    made, tenants, _secrets = deployed.made(["acme"], {})
    (plan,) = made.plan(tenants)
    doctor = _doctor_tenant.TenantDoctor(made, tenants[0], plan, "key")
    (check,) = [check for check in doctor.checks() if check.name == "memory"]
    return lambda: (examine([check])[0], probe.seen)


def test_no_run_proves_the_tenant_while_the_doctor_does(deployed, monkeypatch):
    finding, seen = memory_finding(deployed, monkeypatch)()
    assert finding.level == OK
    (who,) = seen
    assert who.startswith("ann@desk since ")


def test_a_tenant_that_a_run_works_on_is_not_tried(deployed, monkeypatch):
    look = memory_finding(deployed, monkeypatch)
    with locked(str(deployed.data_dir / "locks"), "tenant-acme", "ben@desk"):
        finding, seen = look()
    assert (finding.level, seen) == (WARNING, [])
    assert "was not tried: tenant-acme: is locked by ben@desk" in finding.what
    change_record(deployed, state="paused")  # by that run
    finding, seen = look()
    assert (finding.level, seen) == (OK, [])


def node_findings(
    deployed, known=("acme",), complete=True, controller_time=None, elsewhere=(), **variables
):
    made, tenants, _secrets = deployed.made(list(known) or ["acme"], variables)
    moment = time.time() if controller_time is None else controller_time
    by_name = {tenant["tenant"]: tenant for tenant in tenants if tenant["tenant"] in known}
    doctor = _doctor_node.NodeDoctor(made, by_name, complete, moment, dict(elsewhere))
    skipped = ("engine", "disk", "firewall")
    checks = [check for check in doctor.checks() if check.name not in skipped]
    return {f.check: f for f in examine(checks) if f.level != OK}


def test_a_kernel_with_low_limits(deployed, tmp_path, monkeypatch):
    platform = deployed.made(["acme"], {})[0].platform["name"]
    settings = {"kernel_limits": {"kernel.pid_max": 2**40, "kernel.threads-max": 1}}
    (tmp_path / f"{platform}.json").write_text(json.dumps(settings))
    monkeypatch.setattr(_doctor_node, "CONFIGURATION", str(tmp_path))
    finding = node_findings(deployed)["kernel"]
    assert finding.level == WARNING
    assert finding.what.startswith("kernel.pid_max is ")
    assert "setup_node" in finding.advice


def test_a_node_as_it_should_be_has_no_finding(deployed):
    assert node_findings(deployed) == {}


def test_a_clock_that_is_away(deployed):
    finding = node_findings(deployed, controller_time=time.time() - 100)["clock"]
    assert finding.level == ERROR and "100 s ahead of" in finding.what


@pytest.mark.parametrize(("days", "level"), [(3500, None), (3600, WARNING), (3700, ERROR)])
def test_an_authority_that_ends(deployed, monkeypatch, days, level):
    ensure_ca(str(deployed.data_dir / "edge/ca"), "the node's")
    moment = time.time() + days * 86400
    monkeypatch.setattr(_doctor_node.time, "time", lambda: moment)
    found = node_findings(deployed, platform_tls_mode="local_ca", controller_time=moment)
    finding = found.get("authority")
    assert (finding.level if finding else None) == level
    assert finding is None or "setup_node and deploy_tenant" in finding.advice


def test_what_the_gate_and_the_edge_cannot_use(deployed):
    deployed.answers["/ready"] = {"broken": ["acme"]}
    deployed.answers["/api/overview"] = {"http": {"routers": {"errors": 2}}}
    found = node_findings(deployed)
    assert "file of tenant acme" in found["gate"].what
    assert "errors in 2 routers" in found["edge"].what


def test_an_image_that_is_recorded_and_missing(deployed):
    del deployed.engine.images["sha256:n"]
    assert "image of neo4j" in node_findings(deployed)["images"].what


@pytest.mark.parametrize(
    ("lease", "words"), [('{"owner": "ann", "since": ""}', "left by ann"), ("", "left by a run")]
)
def test_what_killed_runs_left(deployed, lease, words):
    old = time.time() - 7200
    (deployed.data_dir / "locks").mkdir(exist_ok=True)
    (deployed.data_dir / "locks/tenant-acme.json").write_text(lease)
    scratch = deployed.data_dir / "gate/tenants/acme.json.abcd.new"
    scratch.write_text("")
    os.utime(scratch, (old, old))
    found = node_findings(deployed)
    assert words in found["locks"].what
    assert str(scratch) in found["leftovers"].what


@pytest.mark.parametrize("needed", [None, "record", "previous", "entry"])
def test_a_server_image_is_missed_only_where_a_tenant_needs_it(deployed, needed):
    path = deployed.data_dir / "images.json"
    images = json.loads(path.read_text())
    images["memmachine"]["0.3.9"] = {"id": "sha256:pruned-by-hand"}
    path.write_text(json.dumps(images))
    if needed == "record":
        change_record(deployed, version="0.3.9")
    if needed == "previous":
        change_record(deployed, previous={"version": "0.3.9"})
    given = {"tenant_version": "0.3.9"} if needed == "entry" else {}
    finding = node_findings(deployed, **given).get("images")
    assert (finding is None) if needed is None else ("memmachine 0.3.9" in finding.what)


def left(path, hours):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment))
    os.utime(path.parent, (moment, moment))


HALF = "tenants/acme/exports/acme-20261121T120000Z.tar.gz.part"
LEFT_CASES = [
    ("checked/request/request.json", 2, "checked/request was left", "deploy_tenant"),
    ("checked/tmpab_1cd2e/request.json", 2, "the key of a model provider", "deploy_tenant"),
    ("checked/request/request.json", 0.5, "", ""),
    ("checked/model-0123", 200, "", ""),
    (HALF, 25, "with memories", "export_tenant"),
    (HALF, 23, "", ""),
    (HALF[: -len(".part")], 200, "", ""),
    ("tenants/acme/import.tar.gz", 25, "left by a killed import, with memories", "backup_tenant"),
    ("edge/spool/temp-multibuf-123", 2, "1 files in", "see docker logs mc-keeper; run setup_node"),
    ("edge/spool/temp-multibuf-123", 0.5, "", ""),
]


@pytest.mark.parametrize(("path", "hours", "words", "advice"), LEFT_CASES)
def test_what_killed_runs_left_with_secrets(deployed, path, hours, words, advice):
    left(deployed.data_dir / path, hours)
    finding = node_findings(deployed).get("leftovers")
    if words:
        assert finding.level == WARNING and words in finding.what
        assert advice in finding.advice
    else:
        assert finding is None


def test_registry_against_reality(deployed):
    found = node_findings(deployed, known=("acme", "globex"))["registry"]
    assert found.level == ERROR and "globex has an entry and nothing here" in found.what
    stray = node_findings(deployed, known=())["registry"]
    assert "no entry names tenant acme of uid 00000000abcdef01" in stray.what
    assert "with tenant_uid 00000000abcdef01, and run deploy_tenant" in stray.advice
    assert "delete_tenant" not in stray.advice
    assert "volume mc-acme-00000000-postgres" in stray.what
    assert "registry" not in node_findings(deployed, known=(), complete=False)


@pytest.mark.parametrize("complete", [True, False])
def test_what_a_move_left_is_of_a_tenant_that_lives(deployed, complete):
    there = {"00000000abcdef01": "node2"}
    found = node_findings(deployed, known=(), complete=complete, elsewhere=there)["registry"]
    assert found.level == WARNING
    assert found.what.startswith("tenant acme lives on node2, but there is container mc-acme-app")
    assert "record of uid 00000000abcdef01" in found.what
    assert found.advice == (
        "what its move left here goes with move_tenant -e tenant=acme -e node=node2 -e confirm=true"
    )
