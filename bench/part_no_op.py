"""A run over tenants that are as they should be, beside a playbook of community.docker tasks."""

from __future__ import annotations

import statistics

import reference
from crowd import Crowd, crowd
from ground import Ground, empty_play, playbook_command
from measure import Part, Process, say, timed_process
from shares import shares

TITLE = "Looking at tenants that are as they should be"
HOW = """
    Containers, networks and volumes of the tenants are real, with the real labels, limits and
    specifications, on a Docker Engine of their own; their image is a shell that sleeps, and all
    but three tenants are paused, since no machine of this size holds a thousand stacks. The
    reference playbook keeps the same containers, networks, volumes and files with tasks of
    community.docker and ansible.builtin a tenant, is timed on a few tenants, with as many forks
    and pipelining as ours, and is extrapolated along the straight line through its two sizes:
    that favours it, since large runs cost Ansible more a host.
"""
_OURS = "memcloud/memmachine/"
_CHECKS = (_OURS, "/dataclasses.py", "/ipaddress.py", "/hmac.py", "<string>")
_FILES = ("/yaml/", "ansible/parsing/", "ansible/_internal/_yaml", "/_datatag/", "/glob.py")
# What reading the tenants' variables, and comparing tenants, consist of.
_READING = {
    "checks": _CHECKS,
    "templating": ("/jinja2/", "ansible/template/", "ansible/_internal/_templating/"),
    "files": (*_FILES, "ansible/plugins/"),
    "variables": ("ansible/",),
}
_ENGINE = (f"{_OURS}plugins/module_utils/_engine.py", f"{_OURS}plugins/module_utils/_inspect.py")
_WIRE = ("/docker/", "/requests/", "/urllib3/", "/http/", "/socket.py", "/json/", "/threading.py")
_COMPARING = {
    "engine": (*_ENGINE, *_WIRE, "/concurrent/"),
    "certificates": ("_certificates.py", "/cryptography/"),
    "state": ("_node_state.py", "_files.py"),
    "desired": ("_desired.py", "_memmachine_config.py", "_neo4j.py", "_spec.py", "_tenant.py"),
    "comparison": (_OURS,),
}
ALWAYS = ("start_up", "run_small", "run_one", "reference_tenant", "read_inputs", "plan_on_node")
LARGE = ("run_100", "run_1000", "a_tenant", "memory_1000", "reference_100", "faster")


def figures(small: bool) -> tuple[str, ...]:
    """The figures that this part takes."""
    return ALWAYS if small else (*ALWAYS, *LARGE)


def measure(ground: Ground, part: Part, small: bool) -> None:
    """Take the figures."""
    sizes = (10, 20) if small else (10, 100, 1000)
    rounds = 1 if small else 5
    with crowd(ground.base_image()) as many:
        many.grow(sizes[0])
        empty = [_empty_play(many) for _round in range(rounds)]
        part.figure("start_up", "an empty play: Ansible itself", "s", _clock(empty))
        slope, start = _reference(part, many, _clock(empty) if small else [])
        medians = {}
        for size in sizes:
            many.grow(size)
            medians[size] = _whole_run(part, many, size, rounds, "small" if size == 10 else size)
        names = [many.name(number) for number in range(1, sizes[-1] + 1)]
        _profile(part, many, names)
        one = [_run(many, "-l", names[-2]) for _round in range(rounds)]
        part.figure("run_one", f"one of {sizes[-1]} tenants by -l", "s", _clock(one), at_most=3)
        points = list(medians.items())
        part.curve("runs", "run over settled tenants", "tenants", "seconds", points)
        if not small:
            last = (medians[1000] - medians[100]) / 900 * 1000
            part.figure("a_tenant", "each more tenant", "ms", last, at_most=10)
            part.figure(
                "reference_100", "reference over 100, extrapolated", "s", start + slope * 100
            )
            ratio = (start + slope * 100) / medians[100]
            part.figure("faster", "times faster than the reference", "x", ratio, at_least=200)


def _whole_run(part: Part, many: Crowd, size: int, rounds: int, suffix: int | str) -> float:
    runs = [_run(many) for _round in range(rounds)]
    goal = {100: 4.0, 1000: 12.0}.get(size)
    words = f"a run over {size} tenants"
    median = part.figure(f"run_{suffix}", words, "s", _clock(runs), at_most=goal)
    processor = [one.processor for one in runs]
    part.figure(f"processor_{suffix}", f"{words}: time of processors", "s", processor)
    memory = [one.megabytes for one in runs]
    words = f"{words}: largest process of the controller"
    part.figure(f"memory_{suffix}", words, "MB", memory, at_most=200)
    return median


def _run(many: Crowd, *arguments: str) -> Process:
    done = timed_process(*playbook_command(many.inventory, "deploy_tenant.yml", *arguments))
    if " 0 drifted" not in done.output:
        raise RuntimeError(f"the tenants were not as they should be:\n{done.output[-3000:]}")
    return done


def _empty_play(many: Crowd) -> Process:
    return timed_process(*empty_play(many.inventory))


def _clock(runs: list[Process]) -> list[float]:
    return [one.seconds for one in runs]


def _profile(part: Part, many: Crowd, names: list[str]) -> None:
    """Where the time of a run goes: both halves of it called in this process."""
    read, plan = [], []
    for _round in range(3):
        read.append(many.read(names))
        seconds, drifted = many.plan(names)
        plan.append(seconds)
        if drifted:
            raise RuntimeError(f"drifted: {drifted[0].as_dict()}")
    count = len(names)
    part.figure("read_inputs", f"reading and checking the variables of {count}", "s", read)
    for name, share in shares(lambda: many.inputs(names), _READING).items():
        part.figure(f"read_{name}", f"of it, by a profile: {name}", "%", share)
    part.figure("plan_on_node", f"comparing {count} on their node", "s", plan)
    inputs = many.inputs(names)
    for name, share in shares(lambda: many.compare(inputs), _COMPARING).items():
        part.figure(f"plan_{name}", f"of it, by a profile: {name}", "%", share)


def _reference(part: Part, many: Crowd, empty: list[float]) -> tuple[float, float]:
    """Seconds of the reference playbook for each more tenant, and without any.

    :param empty: what a run over no tenant takes, so that one size more is enough.
    """
    say("reference playbook with community.docker tasks")
    sizes = (1,) if empty else (2, 6)
    with reference.playbook(many, sizes[-1]) as run:
        taken = {size: [run(size) for _round in range(1 if empty else 3)] for size in sizes}
    for size in sizes:
        part.figure(f"reference_{size}", f"reference over {size} tenants", "s", taken[size])
    points = {0: empty, **taken} if empty else taken
    (first, low), (last, high) = ((n, statistics.median(points[n])) for n in sorted(points))
    slope = (high - low) / (last - first)
    part.figure("reference_tenant", "reference: each more tenant", "s", slope)
    return slope, low - slope * first
