# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of the image build, run by the very interpreter that will run the server.

Asking that interpreter is what makes the steps independent of its version and of whether its
virtual environment is a real one or a set of links to another Python.
"""

from __future__ import annotations

import compileall
import glob
import importlib.metadata
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import zipfile

HOME = "/opt/memcloud"
NLTK_DATA = HOME + "/nltk_data"
SERVER_PACKAGES = ("memmachine_server", "memmachine")
SERVER_DISTRIBUTIONS = ("memmachine-server", "memmachine")
# Services of AWS that the server can use: Bedrock, and what signs in to it.
AWS_SERVICES = ("bedrock", "sts", "sso", "signin")
# Left alone by strip: libraries that their packagers have rewritten.
NOT_STRIPPED = (".libs/", "/numpy/", "/psycopg2/")


def site_packages() -> str:
    """Return the directory from which this interpreter imports the server."""
    for name in SERVER_PACKAGES:
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or []) if spec else []:
            parent = os.path.dirname(os.path.abspath(location))
            if os.path.basename(parent) in ("site-packages", "dist-packages"):
                return parent
    return sysconfig.get_path("platlib")


def server_version() -> str:
    """Return the version of the server that this interpreter imports."""
    for name in SERVER_DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    sys.exit("No MemMachine server is installed for " + sys.executable)


def pip() -> list[str]:
    """Return a command that runs pip for this interpreter; images often lack one."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("ensurepip"):
        import ensurepip

        bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl")
        for wheel in glob.glob(bundled):
            return [sys.executable, wheel + "/pip"]
    for other in ("/usr/local/bin/python3", "/usr/bin/python3"):
        probe = [other, "-m", "pip", "--version"]
        if os.path.exists(other) and subprocess.run(probe, capture_output=True).returncode == 0:
            return [other, "-m", "pip", "--python", sys.executable]
    sys.exit("Neither pip nor ensurepip is available for " + sys.executable)


def run_pip(trust: str, *arguments: str) -> None:
    """Run pip, trusting the certificate authorities of the node."""
    options = ["--disable-pip-version-check", "--progress-bar=off", "--no-cache-dir", "--no-deps"]
    environment = dict(os.environ, PIP_CERT=trust, PIP_ROOT_USER_ACTION="ignore")
    subprocess.run([*pip(), arguments[0], *options, *arguments[1:]], check=True, env=environment)


def install(trust: str, requirements: str, overlay: str) -> None:
    """Install psycopg2 beside the server and lay out what changed below C(overlay)."""
    target = os.path.realpath(site_packages())
    run_pip(trust, "install", "--only-binary=:all:", "--require-hashes", "--upgrade",
            "--target", target, "-r", requirements)  # fmt: skip
    for path in sorted(glob.glob(target + "/psycopg2*")):
        shutil.copytree(path, overlay + path)
    for tree in (target, os.path.realpath(sysconfig.get_path("stdlib"))):
        compile_tree(tree)
        for directory, _directories, _files in os.walk(tree):
            if os.path.basename(directory) == "__pycache__":
                shutil.copytree(directory, overlay + directory, dirs_exist_ok=True)
    compile_tree(HOME)


def write_start() -> None:
    """Write the container's entry point.

    It names the interpreter by the path that makes it find its virtual environment.
    """
    path = HOME + "/start"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"#!{sys.executable}\nfrom launch import main\n\nmain()\n")
    os.chmod(path, 0o755)


def compile_tree(tree: str) -> None:
    """Compile to bytecode that is used as it is, without a look at the source.

    The root file system is read-only: what is not compiled here is compiled at every start.
    """
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(tree, quiet=2, force=True, invalidation_mode=mode, workers=0)


def fetch_nltk(trust: str, requirements: str) -> None:
    """Fetch the package that carries the tokenizer's data, and unpack the data."""
    scratch = "/tmp/nltk"
    run_pip(trust, "download", "--require-hashes", "-d", scratch, "-r", requirements)
    unpack_nltk(scratch)


def unpack_nltk(directory: str) -> None:
    """Unpack punkt_tab and stopwords from the wheel in a directory."""
    mark = "/nltk_cache/"
    for wheel in glob.glob(directory + "/llama_index_core-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                _package, found, path = entry.filename.partition(mark)
                if not found or entry.is_dir() or not path.startswith(("tokenizers/", "corpora/")):
                    continue
                target = os.path.join(NLTK_DATA, path)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with archive.open(entry) as source, open(target, "wb") as stream:
                    shutil.copyfileobj(source, stream)


def slim() -> None:
    """Remove what a running server never reads: tests, stubs, pip, debug symbols."""
    target = site_packages()
    for directory, directories, files in os.walk(target, topdown=True):
        for name in list(directories):
            if name == "tests" or (directory == target and name.startswith("pip")):
                shutil.rmtree(os.path.join(directory, name))
                directories.remove(name)
        for name in files:
            path = os.path.join(directory, name)
            if name.endswith(".pyi"):
                os.unlink(path)
            elif ".so" in name and not any(mark in path for mark in NOT_STRIPPED):
                subprocess.run(["strip", "--strip-unneeded", path], check=False)
    for directory in glob.glob(target + "/botocore/data/*/"):
        if not os.path.basename(directory.rstrip("/")).startswith(AWS_SERVICES):
            shutil.rmtree(directory)


def require(wanted: str) -> str:
    """Return the version of the server, unless it is not of the wanted series."""
    found = server_version()
    if found.split(".")[:2] != wanted.split(".")[:2]:
        sys.exit(f"This image holds MemMachine {found}, not {wanted}")
    return found


def prove(wanted: str, facts: str) -> None:
    """Note the versions for the image's labels, unless something the server needs is missing."""
    import nltk
    import psycopg2

    for resource in ("tokenizers/punkt_tab/english/", "corpora/stopwords"):
        nltk.data.find(resource)
    found = require(wanted)
    with open(facts, "w", encoding="utf-8") as stream:
        json.dump(
            {
                "memcloud.memmachine": found,
                "memcloud.python": "%d.%d.%d" % sys.version_info[:3],
                "memcloud.psycopg2": psycopg2.__version__.split()[0],
                "memcloud.site-packages": os.path.dirname(os.path.dirname(psycopg2.__file__)),
            },
            stream,
        )


def compare_lean() -> None:
    """Leave the lean way of loading out of an image in which it is not the same."""
    environment = dict(os.environ, PYTHONHASHSEED="0")
    command = [sys.executable, HOME + "/lean.py"]
    said = []
    for arguments in ([], ["lean"]):
        result = subprocess.run([*command, *arguments], capture_output=True, env=environment)
        said.append(result.stdout if result.returncode == 0 else None)
    if said[0] is None or said[0] != said[1]:
        print("This image loads its packages as a whole: the lean way would not be the same.")
        with open(HOME + "/lean.off", "w", encoding="utf-8") as stream:
            stream.write("The lean way of loading is not the same with these packages.\n")


def main() -> None:
    """Run one step."""
    step, arguments = sys.argv[1], sys.argv[2:]
    if step == "install":
        install(*arguments)
    elif step == "nltk":
        unpack_nltk(*arguments)
    elif step == "fetch-nltk":
        fetch_nltk(*arguments)
    elif step == "slim":
        slim()
    elif step == "compile":
        compile_tree(site_packages())
        compile_tree(HOME)
    elif step == "start":
        write_start()
    elif step == "compare-lean":
        compare_lean()
    elif step == "require":
        require(*arguments)
    elif step == "prove":
        prove(*arguments)
    else:
        sys.exit("Unknown step " + step)


if __name__ == "__main__":
    main()
