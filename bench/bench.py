"""Measure what the README claims, as ratios of things timed in one run.

    make bench

On a platform of its own (name "be"), removed at the end. Each figure is the median of ROUNDS;
the two sides of a ratio are timed in turn, so that a slow minute hits both.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
WORK = os.path.join(TOP, ".cache", "bench")
INVENTORY = os.path.join(WORK, "inventory")
RESULTS = os.path.join(HERE, "results")
COMPOSE_IMAGE = "memcloud-bench/compose:1"
SETTINGS = """\
---
platform_name: be
platform_domain: be.memcloud.localhost
platform_subnet_pool: 10.205.0.0/16
platform_http_port: 17080
platform_https_port: 17443
platform_edge_api_port: 17084
platform_gate_port: 17081
platform_metrics_address: 127.0.0.1:17082
platform_demo_model_port: 17083
platform_root_keys:
  1: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/.secrets/root_key') }}"
"""


def say(text: str) -> None:
    """One line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def run(*command: str, timeout: int = 1800) -> str:
    """A command's output; its errors are shown when it fails."""
    done = subprocess.run(
        command, cwd=TOP, timeout=timeout, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def playbook(name: str, *arguments: str) -> str:
    """Run a playbook on the bench's inventory."""
    return run("ansible-playbook", "-i", INVENTORY, os.path.join("playbooks", name), *arguments)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def prepare() -> None:
    """An inventory and a node of the bench's own."""
    shutil.rmtree(INVENTORY, ignore_errors=True)
    os.makedirs(WORK, exist_ok=True)
    shutil.copytree(
        os.path.join(TOP, "inventories", "ci"),
        INVENTORY,
        ignore=shutil.ignore_patterns(".secrets", "host_vars"),
    )
    with open(os.path.join(INVENTORY, "group_vars", "all.yml"), "w", encoding="utf-8") as handle:
        handle.write(SETTINGS)
    os.makedirs(os.path.join(INVENTORY, "host_vars"))
    say("setting up a node (platform be)")
    playbook("init_inventory.yml")
    playbook("setup_node.yml")


def create(tenant: str, *arguments: str) -> None:
    """Write a tenant's entry without deploying it."""
    playbook("create_tenant.yml", "-e", f"tenant={tenant}", "-e", "deploy=false", *arguments)


def purge(*tenants: str) -> None:
    """Take tenants away with all they have."""
    for tenant in tenants:
        playbook("delete_tenant.yml", "-e", f"tenant={tenant}", "-e", "keep_data=false")


def empty_play() -> None:
    """Ansible's own start-up, with this inventory."""
    path = os.path.join(WORK, "empty.yml")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("- hosts: tenants\n  gather_facts: false\n  tasks: []\n")
    run("ansible-playbook", "-i", INVENTORY, path)


def script(name: str, *arguments: str) -> dict[str, float]:
    """One of the other programs of this directory; its last line is JSON."""
    printed = run(sys.executable, os.path.join(HERE, name), INVENTORY, *arguments)
    return dict(json.loads(printed.strip().splitlines()[-1]))


def compose_image() -> None:
    """Docker Compose in an image of its own, from Debian's packages."""
    if subprocess.run(
        ["docker", "image", "inspect", COMPOSE_IMAGE], capture_output=True
    ).returncode:
        say("building an image with Docker Compose")
        bases = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "memcloud/base")
        base = bases.split()[0]
        run("docker", "build", "-q", "-t", COMPOSE_IMAGE, "--build-arg", f"BASE={base}",
            os.path.join(HERE, "compose"))  # fmt: skip


def cold_start(rounds: int) -> dict[str, list[float]]:
    """One tenant deployed cold against plain containers, in turn."""
    times: dict[str, list[float]] = {"deploy": [], "plain": [], "start-up": [], "proof": []}
    for number in range(rounds):
        say(f"cold start, round {number + 1} of {rounds}")
        create("ours")
        times["start-up"].append(timed(empty_play))
        times["deploy"].append(timed(lambda: playbook("deploy_tenant.yml", "-l", "ours")))
        with open("/var/lib/memcloud/be/tenants/ours/state.json", encoding="utf-8") as handle:
            times["proof"].append(json.load(handle)["proof"]["found"])
        purge("ours")
        create("plain")
        times["plain"].append(script("plain.py", "plain")["seconds"])
        purge("plain")
    return times


def compose(rounds: int) -> dict[str, list[float]]:
    """The equivalent of the official Compose file."""
    compose_image()
    times: dict[str, list[float]] = {"compose": [], "compose healthy": []}
    for number in range(rounds):
        say(f"compose, round {number + 1} of {rounds}")
        create("composed")
        found = script("compose.py", "composed", COMPOSE_IMAGE)
        times["compose"].append(found["seconds"])
        times["compose healthy"].append(found["healthy"])
        purge("composed")
    return times


def no_op(rounds: int) -> dict[str, list[float]]:
    """A run over two tenants that are as they should be."""
    say("no-op run of two tenants")
    create("first")
    create("second", "-e", "tier=pro")
    playbook("deploy_tenant.yml")
    times = [timed(lambda: playbook("deploy_tenant.yml")) for _round in range(rounds + 2)]
    purge("first", "second")
    return {"no-op": times}


def report(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and ratios."""
    median = {name: round(statistics.median(values), 2) for name, values in times.items()}
    ratios = {
        "deploy beyond start-up / plain containers": (
            (median["deploy"] - median["start-up"]) / median["plain"],
            1.25,
        ),
    }
    if "compose" in median:
        ratios["deploy / compose up --wait"] = (median["deploy"] / median["compose"], 0.5)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": run("git", "rev-parse", "--short", "HEAD").strip(),
        "machine": f"{os.cpu_count()} processors, {platform.machine()}",
        "seconds": {name: [round(v, 2) for v in values] for name, values in times.items()},
        "median": median,
        "ratio": {name: round(value, 2) for name, (value, _goal) in ratios.items()},
        "goal": {name: goal for name, (_value, goal) in ratios.items()},
    }


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    print(f"\n{result['machine']}, commit {result['commit']}, medians of the rounds in brackets")
    for name, value in result["median"].items():
        print(f"  {name:<42} {value:>7.2f} s   {result['seconds'][name]}")
    for name, value in result["ratio"].items():
        goal = result["goal"][name]
        verdict = "reached" if value <= goal else "missed"
        print(f"  {name:<42} {value:>7.2f}     goal <= {goal}: {verdict}")
    if "no-op" in result["median"]:
        print(
            f"  {'no-op run of two tenants':<42} {result['median']['no-op']:>7.2f} s   goal <= 5 s"
        )


def main() -> None:
    """All benches, or the small version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one round, without Compose")
    options = parser.parse_args()
    rounds = 1 if options.small else options.rounds
    prepare()
    try:
        times = cold_start(rounds)
        times.update(no_op(rounds))
        if not options.small:
            times.update(compose(1))
    finally:
        say("removing the platform be")
        playbook("remove_node.yml")
    result = report(times)
    show(result)
    if not options.small:
        os.makedirs(RESULTS, exist_ok=True)
        name = result["date"].replace(":", "") + ".json"
        with open(os.path.join(RESULTS, name), "w", encoding="utf-8") as handle:
            json.dump(result, handle, indent=1)
        print(f"\nwritten to bench/results/{name}")


if __name__ == "__main__":
    main()
