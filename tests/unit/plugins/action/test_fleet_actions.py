"""The actions that carry a run from the inventory to the nodes and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.memcloud.memmachine.plugins.action import (
    fleet_converge,
    fleet_inputs,
    fleet_plan,
    fleet_read,
    fleet_show,
    fleet_waves,
    tenant_result,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._node_call import failure_of

ROOT_KEY = "3q2+78r+ur6Jm1hXk0d2c1pLQUFBVkVSWVJBTkRPTUs="
INVENTORY = """
all:
  vars:
    platform_root_keys: {1: "{{ the_key }}"}
    the_key: "%s"
  children:
    nodes:
      hosts:
        node1: {}
        node2:
          platform_data_dir: /srv/memcloud
          platform_https_port: 8443
          platform_parallelism: 16
    tenants:
      hosts:
        acme: {tenant_uid: 0123456789abcde1, tenant_node: node1}
        globex: {tenant_uid: 0123456789abcde2, tenant_node: node2, tenant_tier: pro}
        initech:
          tenant_uid: 0123456789abcde3
          tenant_node: node1
          tenant_owner: "{{ 'customer-' ~ 17 }}"
%s
"""


class Run:
    """Runs actions on an inventory; what a node would answer is given."""

    def __init__(self, tmp_path, more=""):
        path = tmp_path / "hosts.yml"
        path.write_text(INVENTORY % (ROOT_KEY, more))
        self.loader = DataLoader()
        manager = InventoryManager(self.loader, sources=[str(path)])
        variables = VariableManager(self.loader, manager)
        self.task_vars = {
            "hostvars": HostVars(manager, variables, self.loader),
            "groups": manager.get_groups_dict(),
            "ansible_play_hosts": manager.get_groups_dict()["tenants"],
        }
        self.calls = []
        self.answer = {}

    def __call__(self, plugin, check_mode=False, **args):
        task = types.SimpleNamespace(
            args=args, check_mode=check_mode, async_val=0, diff=False, action="x"
        )
        self.become = "sudo"
        connection = types.SimpleNamespace(
            _shell=types.SimpleNamespace(tmpdir=None),
            is_pipelining_enabled=lambda _async: False,
            set_become_plugin=lambda become: setattr(self, "become", become),
        )
        action = plugin.ActionModule(
            task, connection, types.SimpleNamespace(), self.loader, Templar(self.loader), None
        )

        def execute(module_name, module_args, task_vars):
            self.calls.append((module_name, module_args))
            return self.answer(module_args) if callable(self.answer) else self.answer

        action._execute_module = execute
        return action.run(task_vars=self.task_vars)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def batch_of(run, node="node1"):
    batches = run(fleet_inputs)["batches"]
    return next(batch for batch in batches if batch["node"] == node)


def test_tenants_are_sorted_by_node_with_the_nodes_own_settings(run):
    batches = {batch["node"]: batch for batch in run(fleet_inputs)["batches"]}
    tenants = json.loads(batches["node1"]["tenants"])
    assert [t["tenant"] for t in tenants] == ["acme", "initech"]
    assert batches["node2"]["platform"]["data_dir"] == "/srv/memcloud"
    assert batches["node2"]["platform"]["https_port"] == 8443
    assert batches["node1"]["platform"]["https_port"] == 443
    assert [batches[node]["platform"]["parallelism"] for node in ("node1", "node2")] == [4, 16]
    assert tenants[1]["owner"] == "customer-17"
    assert batches["node1"]["representative"] == "acme"
    assert batches["node1"]["interpreter"] == "/opt/memcloud/venv/bin/python"


def test_inputs_hold_no_secret(run):
    said = json.dumps(run(fleet_inputs), default=str)
    assert ROOT_KEY not in said


BROKEN = [
    (
        "        bad_name: {tenant_uid: 0123456789abcde4, tenant_node: node1}",
        "bad_name: name: is no",
    ),
    ("        a: {tenant_uid: 0123456789abcde4, tenant_node: nowhere}", "a: tenant_node: is "),
    ("        a: {tenant_uid: 0123456789abcde1, tenant_node: node1}", "tenant_uid"),
    (
        "        a: {tenant_uid: 0123456789abcde4, tenant_node: node1, tenant_teir: pro}",
        "a: tenant_teir: is no variable of this collection",
    ),
    (
        "        a: {tenant_uid: 0123456789abcde4, tenant_node: node1, tenant_owner: '{{ gone }}'}",
        "a: tenant_owner: cannot be evaluated",
    ),
    (
        "        a: {tenant_uid: 0123456789abcde4, tenant_node: node1, 1: x}",
        "a: 1: is a number and no name of a variable",
    ),
]


@pytest.mark.parametrize(("entry", "message"), BROKEN)
def test_broken_entries_stop_everything_by_name(tmp_path, entry, message):
    run = Run(tmp_path, entry)
    with pytest.raises(AnsibleActionFail) as caught:
        run(fleet_inputs)
    assert "Nothing was touched" in str(caught.value)
    assert message in str(caught.value)
    tolerant = run(fleet_inputs, tolerant=True)
    assert any(message in error for error in tolerant["errors"])


def test_the_plan_calls_the_node_once_and_says_what_differs(run, capsys):
    batch = batch_of(run)
    drifted = {"tenant": "acme", "drift": ["container mc-acme-app: is not running"], "error": ""}
    run.answer = {"tenants": [drifted], "missing_versions": ["0.3.9"]}
    result = run(fleet_plan, batch=batch)
    assert [name for name, _args in run.calls] == ["memcloud.memmachine.tenant_plan"]
    assert (result["checked"], result["missing_versions"]) == (2, ["0.3.9"])
    assert result["drifted"][0]["representative"] == "acme"
    printed = capsys.readouterr().out
    assert "node1: 2 checked, 1 drifted" in printed
    assert "acme: container mc-acme-app: is not running" in printed


def test_a_tenant_that_is_new_takes_one_line(run, capsys):
    kinds = ["container", "container", "container", "network", "network", "file"]
    drift = [f"{kind} x{n}: is missing (nothing -> y)" for n, kind in enumerate(kinds)]
    run.answer = {"tenants": [{"tenant": "acme", "drift": drift, "error": ""}]}
    run(fleet_plan, batch=batch_of(run))
    assert "acme: is not on the node yet: 3 x container, 2 x network, 1 x file to be made" in (
        capsys.readouterr().out
    )


def unreachable(_args):
    raise AnsibleConnectionFailure("no route to host")


FAILURES = [
    (unreachable, "node node1 cannot be reached: no route to host"),
    ({"unreachable": True, "msg": "timed out"}, "node node1 cannot be reached: timed out"),
    (
        {"failed": True, "msg": "The module interpreter '/x/python' was not found."},
        "node node1 is not set up",
    ),
    ({"failed": True, "module_stderr": "boom"}, "node node1: boom"),
    ({"failed": True, "msg": "bad", "exception": "Traceback bad"}, "node node1: bad"),
]


@pytest.mark.parametrize(("answer", "message"), FAILURES)
def test_a_node_that_fails_fails_each_of_its_tenants_by_name(run, answer, message):
    batch = batch_of(run)
    run.answer = answer
    drifted = run(fleet_plan, batch=batch)["drifted"]
    assert [entry["error"].split(":")[0] for entry in drifted] == ["acme", "initech"]
    assert all(message in entry["error"] for entry in drifted)
    converged = run(fleet_converge, batch=batch, tenants=["acme"])["tenants"]
    assert message in converged["acme"]["error"]


def test_converging_sends_secrets_of_the_wanted_tenants_in_their_own_argument(run, capsys):
    batch = batch_of(run)

    def answer(args):
        return {
            "tenants": [
                {"tenant": t["tenant"], "state": "running", "proof": {"found": 1.25}, "error": ""}
                for t in json.loads(args["tenants"])
            ]
        }

    run.answer = answer
    result = run(fleet_converge, batch=batch, tenants=["initech"])
    ((_name, args),) = run.calls
    assert list(json.loads(args["secrets"])) == ["initech"]
    password = json.loads(args["secrets"])["initech"]["postgres_app"]
    assert password not in args["tenants"] + args["platform"] + json.dumps(result)
    printed = capsys.readouterr().out
    assert "1/1 initech: running, memory round trip proved after 1.2 s" in printed
    assert password not in printed


@pytest.mark.parametrize(
    ("plan", "converged", "check_mode", "expected"),
    [
        ({}, {}, False, {"changed": False}),
        ({"tenant": "a", "drift": ["x"], "diff": {}}, {}, True, {"changed": True, "msg": "x"}),
        (
            {"tenant": "a", "drift": ["x"], "diff": {}},
            {"drift": ["x", "y"], "diff": {"before": ""}, "state": "running", "error": ""},
            False,
            {"changed": True, "msg": "x; y", "state": "running"},
        ),
        (
            {"tenant": "a", "drift": ["x"], "diff": {}},
            {"drift": ["x"], "note": "not measured"},
            False,
            {"changed": True, "msg": "x; not measured", "drift": ["x"]},
        ),
        (
            {"tenant": "a", "drift": ["x"]},
            {"error": "a: no"},
            False,
            {"failed": True, "msg": "a: no"},
        ),
        ({"tenant": "a", "error": "a: bad"}, {}, False, {"failed": True, "msg": "a: bad"}),
    ],
)
def test_result_of_a_tenant(run, plan, converged, check_mode, expected):
    result = run(tenant_result, check_mode=check_mode, plan=plan, converged=converged)
    assert {key: result[key] for key in expected} == expected


def test_a_canary_named_as_text_is_one_or_stops_the_run(run):
    batches = [batch_of(run)]
    facts = [{name: {"running_version": "0.3.8"} for name in ("acme", "initech")}]
    told = {"batches": batches, "facts": facts, "version": "0.4.0"}
    assert run(fleet_waves, canaries="initech", **told)["waves"][0]["tenants"] == ["initech"]
    with pytest.raises(AnsibleActionFail, match="there is no tenant tech in"):
        run(fleet_waves, canaries="initech,tech", **told)


def test_a_tenant_that_never_ran_does_not_stop_the_fleet(run):
    facts = [{"acme": {"running_version": "0.3.8", "embedder": {}}, "initech": {"embedder": None}}]
    told = run(fleet_waves, batches=[batch_of(run)], facts=facts, version="0.4.0")
    assert [wave["tenants"] for wave in told["waves"]] == [["acme"]]
    assert told["skipped_tenants"]["initech"].startswith("never ran")
    # One whose node does not answer may have run: its update says what is wrong.
    facts[0]["initech"] = {"state": "unknown"}
    told = run(fleet_waves, batches=[batch_of(run)], facts=facts, version="0.4.0")
    assert "initech" not in told["skipped_tenants"]


def test_a_drifted_tenant_that_was_not_converged_has_failed(run):
    result = run(tenant_result, plan={"tenant": "acme", "drift": ["x"], "diff": {}})
    assert result["failed"]
    assert "acme: was not converged" in result["msg"]


@pytest.mark.parametrize("operated", [{}, {"operation": "update_plan", "message": "image"}])
def test_what_was_not_done_has_failed(run, operated):
    run.task_vars["inventory_hostname"] = "acme"
    result = run(tenant_result, operation="update", operated=operated)
    assert result["failed"]
    assert result["msg"] == ("acme: update was not done: see what failed on its node above")
    assert not run(tenant_result, check_mode=True, operation="update", operated={}).get("failed")
    done = {"operation": "update", "changed": True, "message": "image"}
    assert run(tenant_result, operation="update", operated=done)["msg"] == "image"


def test_no_failure_no_words():
    assert failure_of("node1", {"changed": True}) == ""


RUN = """
import logging, os, time
began = time.time()
from ansible_collections.memcloud.memmachine.plugins.plugin_utils import _fleet
time.sleep(0.5)
if os.fork() == 0:
    text = _fleet.platform_text({"platform": {"name": "mc", "run": {"who": "ann"}}})
    print(time.time() - began, text, flush=True)
else:
    os.wait()
"""


@pytest.mark.parametrize("shell", [[], ["sh", "-c", 'sleep 3; exec "$@"', "sh"]])
def test_a_node_is_told_how_long_ago_a_run_read_the_inventory(shell):
    """Tasks run in children of the process that did; a shell may have begun long before."""
    done = subprocess.run(
        [*shell, sys.executable, "-c", RUN],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    seconds, _blank, text = done.stdout.partition(" ")
    platform = json.loads(text)
    age, at = (platform["run"].pop(name) for name in ("age", "at"))
    assert at.endswith("Z")
    assert platform == {"name": "mc", "run": {"who": "ann"}}
    assert abs(age - float(seconds)) < 1


def test_a_node_is_told_that_a_run_only_looks(run):
    """Also by what plans in check mode: it is not noted as something that failed."""
    assert batch_of(run)["platform"]["run"]["check"] is False
    run.task_vars["ansible_check_mode"] = True
    assert batch_of(run)["platform"]["run"]["check"] is True


def test_a_journal_is_read_from_a_moment_on(tmp_path):
    run = Run(tmp_path)
    run.answer = {"rows": []}
    batch = run(fleet_inputs)["batches"][0]
    run(fleet_read, batch=batch, about="journal", since="2026-11-01")
    run(fleet_read, batch=batch, about="journal")
    assert [given["since"] for _name, given in run.calls] == ["2026-11-01T00:00:00Z", ""]
    with pytest.raises(AnsibleActionFail, match="since: 'yesterday' is neither a moment"):
        run(fleet_read, batch=batch, about="journal", since="yesterday")


def test_a_program_that_reads_rows_is_warned_of_those_that_are_missing(run, capsys):
    row = {"at": "2026-01-01T00:00:00Z", "tenant": "acme"}
    read = [{"rows": [row], "error": ""}, {"rows": [], "error": "node node2 cannot be reached"}]
    told = {"about": "journal", "read": read, "errors": ["globex: tenant_tier: is none"]}
    result = run(fleet_show, output="json", **told)
    assert result["warnings"] == ["globex: tenant_tier: is none", "node node2 cannot be reached"]
    assert json.loads(capsys.readouterr().out) == [row]
    told["read"] = []
    assert run(fleet_show, output="json", **told)["failed"]


def test_the_state_of_a_tenant_whose_node_does_not_answer_is_not_known(run):
    batch = batch_of(run)
    row = {"uid": "0123456789abcde1", "tenant": "acme", "state": "paused", "error": ""}
    run.answer = {"rows": [row]}
    told = run(fleet_read, batch=batch, about="registry")["tenants"]
    assert {name: entry["state"] for name, entry in told.items()} == {
        "acme": "paused",
        "initech": "unknown",
    }
    run.answer = unreachable
    told = run(fleet_read, batch=batch, about="registry")["tenants"]
    assert {(entry["state"], entry["wanted"]) for entry in told.values()} == {
        ("unknown", "running")
    }
    assert "cannot be reached" in told["acme"]["error"]


@pytest.mark.parametrize("action", [fleet_plan, fleet_converge])
def test_options_given_as_text_say_what_they_say(run, action):
    """A variable of the command line is text: as a word, false would purge."""
    batch = batch_of(run)
    run.answer = {"tenants": []}
    run(action, batch=batch, tenants="initech, acme", purge="false", settle="yes")
    ((_module, given),) = run.calls
    assert (given["purge"], given["settle"]) == (False, True)
    assert [t["tenant"] for t in json.loads(given["tenants"])] == ["acme", "initech"]
    with pytest.raises(AnsibleActionFail) as error:
        run(action, batch=batch, tenants=["acme"], purge="flase")
    words = "purge is 'flase', which is neither true nor false. Nothing was touched"
    assert str(error.value) == words
    assert len(run.calls) == 1
