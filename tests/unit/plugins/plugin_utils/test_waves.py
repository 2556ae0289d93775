"""The order in which an update goes through the fleet."""

from __future__ import annotations

import pytest
from ansible_collections.memcloud.memmachine.plugins.module_utils._defaults import load_defaults
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import (
    MemcloudError,
    VariableError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._update_plan import slower
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._waves import (
    Candidate,
    canaries_of,
    parse_steps,
    skipped,
    waves_of,
)

STEPS = parse_steps(
    [
        {"tenants": "canary", "size": 1, "pause": 60},
        {"tenants": "free", "size": 2},
        {"tenants": "pro", "pause": 5},
        {"tenants": "enterprise", "size": 1, "pause": 30},
    ]
)


def tenant(name, tier="free", version="0.3.9", wanted="0.3.9", **more):
    return Candidate(name, tier, version, wanted, **more)


def names(waves):
    return [list(wave.tenants) for wave in waves]


def test_canaries_go_first_then_the_tiers_in_order():
    fleet = [
        tenant("e1", "enterprise"),
        tenant("p2", "pro"),
        tenant("p1", "pro"),
        tenant("f3"),
        tenant("f1"),
        tenant("f2"),
        tenant("c1", "enterprise", canary=True),
        tenant("c2", canary=True),
        tenant("e2", "enterprise"),
    ]
    waves = waves_of(fleet, STEPS, "0.4.0")
    expected = [["c1"], ["c2"], ["f1", "f2"], ["f3"], ["p1", "p2"], ["e1"], ["e2"]]
    assert names(waves) == expected
    assert [wave.pause for wave in waves] == [60, 60, 0, 0, 5, 30, 30]
    assert waves[0].as_dict() == {"part": "canary", "tenants": ["c1"], "pause": 60}


def test_a_tier_that_no_step_names_comes_last_one_by_one():
    fleet = [tenant("x2", "large"), tenant("x1", "large"), tenant("f1")]
    assert names(waves_of(fleet, STEPS, "0.4.0")) == [["f1"], ["x1"], ["x2"]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("acme-staging", ["acme-staging"]),
        (" acme, acme-staging ,", ["acme", "acme-staging"]),
        (["acme"], ["acme"]),
        ("", []),
        ([], []),
    ],
)
def test_canaries_are_named_in_a_list_or_a_text(given, expected):
    assert canaries_of(given, ["acme", "acme-staging"]) == expected


@pytest.mark.parametrize("given", ["acme,acme-stagin,x", ["acme", "acme-stagin", "x"]])
def test_a_canary_that_is_no_tenant_is_named(given):
    with pytest.raises(MemcloudError, match="there is no tenant acme-stagin, x in"):
        canaries_of(given, ["acme", "acme-staging"])


def test_without_a_step_for_canaries_they_go_with_their_tier():
    fleet = [tenant("f1", canary=True), tenant("f2")]
    steps = parse_steps([{"tenants": "free"}])
    assert names(waves_of(fleet, steps, "0.4.0")) == [["f1", "f2"]]


def test_a_second_run_goes_on_where_the_first_one_stopped():
    fleet = [tenant("f1", version="0.4.0", wanted="0.4.0"), tenant("f2"), tenant("f3")]
    assert names(waves_of(fleet, STEPS, "0.4.0")) == [["f2", "f3"]]


def test_nothing_to_do_has_no_wave():
    assert waves_of([], STEPS, "0.4.0") == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, ""),
        ({"pinned": True}, "is pinned"),
        # One that sleeps is woken for it.
        ({"state": "paused"}, ""),
        ({"state": "deleted"}, "is deleted"),
        ({"version": "0.4.0", "wanted": "0.4.0"}, "is there already"),
        # The node has newer images of its databases.
        ({"version": "0.4.0", "wanted": "0.4.0", "outdated": True}, ""),
        # Written to its entry by a run that was killed: it is finished.
        ({"version": "0.3.9", "wanted": "0.4.0"}, ""),
        # Updated, but its entry was put back by hand: the run settles it.
        ({"version": "0.4.0", "wanted": "0.3.9"}, ""),
        ({"version": ""}, ""),
        # It would stop the fleet at its wave each time.
        (
            {"version": "", "ran": False},
            "never ran; deploy_tenant brings it up at the version of its entry",
        ),
    ],
)
def test_who_is_left_as_it_is(given, reason):
    assert skipped(tenant("acme", **given), "0.4.0") == reason


def test_without_a_version_each_goes_to_its_entry_s_and_to_the_images_of_its_node():
    fleet = [
        tenant("done"),
        tenant("image", outdated=True),
        tenant("pinned", outdated=True, pinned=True),
        tenant("written", wanted="0.4.0"),
    ]
    assert names(waves_of(fleet, STEPS, "")) == [["image", "written"]]


def test_nobody_goes_back_with_the_fleet():
    assert skipped(tenant("acme", version="0.4.0"), "0.3.9") == "has a newer version"


@pytest.mark.parametrize(
    ("before", "after", "stops"),
    [
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], False),
        ([1.0, 1.0, 1.0], [2.1, 2.1, 0.1], True),
        # One slow round trip of five says nothing.
        ([0.2, 0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2, 9.0], False),
        ([0.2, 0.4], [0.61, 0.61], True),
        ([], [5.0], False),
        ([1.0], [], False),
    ],
)
def test_the_fleet_stops_where_the_median_is_over_twice_its_value(before, after, stops):
    assert bool(slower(before, after, 2.0)) is stops


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("free", "needs entries"),
        ([], "needs entries"),
        ([{"size": 1}], "which tenants"),
        ([{"tenants": "free", "pauze": 1}], "'pauze'"),
        ([{"tenants": "free", "size": -1}], "0 or more"),
        ([{"tenants": "free", "pause": "5m"}], "numbers"),
        ([{"tenants": "free"}, {"tenants": "free"}], "twice"),
    ],
)
def test_what_cannot_be_used_is_named(value, words):
    with pytest.raises(VariableError, match="platform_update_waves: .*" + words):
        parse_steps(value)


def test_the_default_can_be_used():
    parts = [step.tenants for step in parse_steps(load_defaults()["platform_update_waves"])]
    assert parts == ["canary", "free", "pro", "enterprise"]
