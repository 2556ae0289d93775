"""Images that only the benches need, built from the directories beside this file."""

from __future__ import annotations

import hashlib
import os
import subprocess

from measure import HERE, run, say


def image(base: str, name: str) -> str:
    """The image made of bench/<name>/Dockerfile; its tag says of which one."""
    directory = os.path.join(HERE, name)
    with open(os.path.join(directory, "Dockerfile"), "rb") as handle:
        mark = hashlib.sha256(handle.read() + base.encode()).hexdigest()[:12]
    tag = f"memcloud-bench/{name}:{mark}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode:
        say(f"building the image {tag}")
        run("docker", "build", "-q", "-t", tag, "--build-arg", f"BASE={base}", directory)
    return tag
