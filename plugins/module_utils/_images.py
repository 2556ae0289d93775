# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a node: built from packages or pulled, named after what went into them.

An image built here carries the hash of its build context as a label, so that a second run finds
it and builds nothing. The certificate authorities that the node trusts are handed to every build
at C(.trust/ca-certificates.crt); only builder stages may copy them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import tempfile
import urllib.error
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._files import (
    atomic_write,
    scratch_directory,
)

try:
    from docker.errors import DockerException, ImageNotFound
except ImportError:  # reported by docker_client
    DockerException = ImageNotFound = Exception


Context = Mapping[str, bytes]
Log = Callable[[str], None]

CONTEXT_LABEL = "memcloud.context"
STAGE_LABEL = "memcloud.stage=builder"
PULL_DOCKERFILE = "Dockerfile.pull"
TRUST_PATH = ".trust/ca-certificates.crt"
BASE_PACKAGES = ("ca-certificates",)
RELEASE_OF_RECIPE = "1"
ERROR_LINES = 30
# Kinds of which a node carries several versions at once, for tenants that are pinned.
KINDS_BY_VERSION = frozenset({"memmachine"})
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
TRUST_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class ImageError(MemcloudError):
    """An image that cannot be had: the text says which one, why, and what to do."""


@dataclass(frozen=True)
class Image:
    """An image on the node; C(id) is empty when check mode only says what would be built."""

    ref: str
    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    changed: bool = False


def context_hash(context: Context, build_args: Mapping[str, str]) -> str:
    """Return the SHA-256 of everything that decides what the image will hold."""
    digest = hashlib.sha256(RELEASE_OF_RECIPE.encode())
    for kind, entries in (
        ("file", dict(context)),
        ("arg", {name: value.encode() for name, value in build_args.items()}),
    ):
        for name in sorted(entries):
            digest.update(f"\0{kind}\0{name}\0{len(entries[name])}\0".encode() + entries[name])
    return digest.hexdigest()


def read_context(directory: str) -> dict[str, bytes]:
    """Return the files below a directory by their path in it; caches are left out."""
    context: dict[str, bytes] = {}
    for parent, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        for name in sorted(files):
            if name.endswith((".pyc", "~")):
                continue
            path = os.path.join(parent, name)
            with open(path, "rb") as stream:
                context[os.path.relpath(path, directory).replace(os.sep, "/")] = stream.read()
    if not context:
        raise ImageError(f"No build context in {directory}: the directory is missing or empty.")
    return context


def build_trust(files: Iterable[str] = TRUST_FILES) -> bytes:
    """Return the certificate authorities that this node trusts, in PEM.

    Builds need them to reach package registries over TLS behind a company's own authority.
    """
    named = os.environ.get("SSL_CERT_FILE")
    for path in ([named] if named else []) + list(files):
        if os.path.isfile(path):
            with open(path, "rb") as stream:
                content = stream.read()
            if b"BEGIN CERTIFICATE" in content:
                return content
    return b"".join(
        ssl.DER_cert_to_PEM_cert(certificate).encode()
        for certificate in ssl.create_default_context().get_ca_certs(binary_form=True)
    )


def find_image(client: Any, name: str, digest: str) -> Image | None:
    """Return the image that was built from this context, if the node has it."""
    found = client.images(name=f"memcloud/{name}", filters={"label": f"{CONTEXT_LABEL}={digest}"})
    for entry in found:
        for ref in entry.get("RepoTags") or []:
            return Image(ref=ref, id=entry["Id"], labels=entry.get("Labels") or {})
    return None


def inspect_image(client: Any, ref: str) -> Image | None:
    """Return the image of this name, if the node has it."""
    try:
        info = client.inspect_image(ref)
    except ImageNotFound:
        return None
    return Image(ref=ref, id=info["Id"], labels=(info.get("Config") or {}).get("Labels") or {})


def ensure_image(
    client: Any,
    *,
    name: str,
    version: str,
    context: Context,
    build_args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    dockerfile: str = "Dockerfile",
    measured: str = "",
    check_mode: bool = False,
    log: Log | None = None,
) -> Image:
    """Return the image of this context, building it where the node does not have it.

    :param client: a C(docker.APIClient).
    :param name: the image becomes C(memcloud/<name>:<version>-<hash>).
    :param measured: a JSON file in the image, written by the build, that becomes more labels:
        what only the build can know, such as the exact version of a package.
    """
    arguments = dict(build_args or {})
    _require_clean_final_stage(name, context, dockerfile)
    digest = context_hash(context, dict(arguments, **{"\0dockerfile": dockerfile}))
    ref = f"memcloud/{name}:{version}-{digest[:12]}"
    with _build_lock():
        found = find_image(client, name, digest)
        if found is not None:
            return found
        if check_mode:
            return Image(ref=ref, id="", labels=dict(labels or {}), changed=True)
        all_labels = dict(labels or {}, **{CONTEXT_LABEL: digest})
        archive = _archive(dict(context, **{TRUST_PATH: build_trust()}))
        _build(client, ref, archive, dict(node_proxies(), **arguments), all_labels, dockerfile, log)
        if measured:
            _label_measured(client, ref, measured)
        _drop_builder_stages(client)
    built = inspect_image(client, ref)
    if built is None:
        raise ImageError(f"Image {ref} vanished right after it was built; run again.")
    return Image(ref=ref, id=built.id, labels=built.labels, changed=True)


def ensure_base(
    client: Any,
    suite: str = "trixie",
    *,
    mirror: str = "",
    packages: Iterable[str] = BASE_PACKAGES,
    revision: str = "",
    check_mode: bool = False,
    log: Log | None = None,
) -> Image:
    """Return a minimal Debian image, made from Debian's packages without any registry.

    :param mirror: an archive to use in place of Debian's own.
    :param revision: any text; a new one makes a new base, and with it new images on top of it,
        from the packages of that day.
    """
    recipe = _debootstrap_command(suite, mirror, packages, "-")
    digest = context_hash({"command": "\n".join(recipe).encode()}, {"revision": revision})
    ref = f"memcloud/base:{suite}-{digest[:12]}"
    with _build_lock():
        found = find_image(client, "base", digest)
        if found is not None:
            return found
        if check_mode:
            return Image(ref=ref, id="", changed=True)
        if shutil.which("mmdebstrap") is None:
            raise ImageError(
                f"Cannot build {ref}: mmdebstrap is not installed on this node. Install the "
                "package mmdebstrap (setup_node does)."
            )
        with scratch_directory("memcloud-base-") as scratch:
            tarball = os.path.join(scratch, "base.tar")
            command = _debootstrap_command(suite, mirror, packages, tarball)
            _run(command, f"Cannot build {ref}", log)
            _import(client, ref, tarball, digest)
    built = inspect_image(client, ref)
    if built is None:
        raise ImageError(f"Image {ref} vanished right after it was imported; run again.")
    return Image(ref=ref, id=built.id, labels=built.labels, changed=True)


def ensure_pulled(
    client: Any, reference: str, *, check_mode: bool = False, log: Log | None = None
) -> Image:
    """Return the image of a registry, pulling it where the node does not have it.

    :param reference: with a tag or, better, a digest.
    """
    repository, tag = split_reference(reference)
    found = inspect_image(client, reference)
    if found is not None:
        return found
    if check_mode:
        return Image(ref=reference, id="", changed=True)
    try:
        for event in client.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise ImageError(_pull_failure(reference, event["error"]))
            if log is not None and "id" not in event:
                log(str(event.get("status", "")))
    except DockerException as error:
        raise ImageError(_pull_failure(reference, _explain(error))) from error
    pulled = inspect_image(client, reference)
    if pulled is None:
        raise ImageError(_pull_failure(reference, "the engine does not list it after the pull"))
    return Image(ref=reference, id=pulled.id, labels=pulled.labels, changed=True)


@dataclass(frozen=True)
class Request:
    """What a role asks for: an image, and where it may come from.

    :param source: C(packages), C(pull) or C(auto).
    :param reference: image of a registry, for C(pull) and C(auto).
    """

    name: str
    version: str
    context: Context
    source: str = "packages"
    reference: str = ""
    suite: str = "trixie"
    mirror: str = ""
    revision: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    measured: str = ""


@dataclass(frozen=True)
class Provided:
    """An image, where it came from, and why from there."""

    image: Image
    source: str
    reason: str


def provide(
    client: Any, request: Request, *, check_mode: bool = False, log: Log | None = None
) -> Provided:
    """Return the image of a request from the source it names, or the best one that answers."""
    if request.source == "packages":
        return _from_packages(client, request, "asked for", check_mode, log)
    if not request.reference:
        raise ImageError(
            f"Image {request.name} is to be pulled, but no reference is given: set its entry in "
            "platform_images, or platform_image_source: packages."
        )
    if request.source == "pull":
        return _from_registry(client, request, "asked for", check_mode, log)
    return _from_best_source(client, request, check_mode, log)


def _from_best_source(client: Any, request: Request, check_mode: bool, log: Log | None) -> Provided:
    if inspect_image(client, request.reference) is not None:
        return _from_registry(client, request, "was pulled before", check_mode, log)
    built = _from_packages(client, request, "was built here before", True, None)
    if built.image.id:
        return built
    host = registry_of(request.reference)
    if not registry_answers(request.reference):
        reason = f"registry {host} does not answer"
        return _from_packages(client, request, reason, check_mode, log)
    try:
        return _from_registry(client, request, f"registry {host} answers", check_mode, log)
    except ImageError as error:
        return _from_packages(client, request, str(error), check_mode, log)


def _from_packages(
    client: Any, request: Request, reason: str, check_mode: bool, log: Log | None
) -> Provided:
    """Build; an image that is there does not need its base, which a prune may have taken."""

    def image(check: bool) -> Image:
        base = ensure_base(
            client,
            request.suite,
            mirror=request.mirror,
            revision=request.revision,
            check_mode=check,
            log=log,
        )
        return _ensure_on(client, request, base.ref, "Dockerfile", check, log)

    found = image(check=True)
    return Provided(found if found.id or check_mode else image(check=False), "packages", reason)


def _from_registry(
    client: Any, request: Request, reason: str, check_mode: bool, log: Log | None
) -> Provided:
    """Pull, and put our layer on top where the context has a recipe for it."""
    pulled = ensure_pulled(client, request.reference, check_mode=check_mode, log=log)
    if PULL_DOCKERFILE not in request.context:
        return Provided(pulled, "pull", reason)
    base = pulled.id or pulled.ref
    image = _ensure_on(client, request, base, PULL_DOCKERFILE, check_mode, log)
    return Provided(image, "pull", reason)


def _ensure_on(
    client: Any, request: Request, base: str, dockerfile: str, check_mode: bool, log: Log | None
) -> Image:
    return ensure_image(
        client,
        name=request.name,
        version=request.version,
        context=request.context,
        build_args=dict(request.build_args, BASE=base),
        labels=request.labels,
        dockerfile=dockerfile,
        measured=request.measured,
        check_mode=check_mode,
        log=log,
    )


def split_reference(reference: str) -> tuple[str, str]:
    """Return repository and tag or digest; a reference without either is refused."""
    if "@" in reference:
        repository, _at, digest = reference.partition("@")
        return _without_tag(repository), digest
    repository = _without_tag(reference)
    if repository == reference:
        raise ImageError(
            f"Image reference {reference} has neither tag nor digest: write {reference}:<tag> "
            f"or {reference}@sha256:<digest>."
        )
    return repository, reference[len(repository) + 1 :]


def registry_of(reference: str) -> str:
    """Return the host, with port if any, of the registry that carries an image."""
    first, slash, _rest = reference.partition("/")
    if first in ("docker.io", "index.docker.io"):
        return "registry-1.docker.io"
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "registry-1.docker.io"


def registry_answers(reference: str, timeout: float = 3.0) -> bool:
    """Say whether the registry of an image answers this node within a few seconds."""
    host = registry_of(reference)
    local = host.partition(":")[0] in ("localhost", "127.0.0.1")
    for scheme in ("https", "http") if local else ("https",):
        try:
            open_url(f"{scheme}://{host}/v2/", timeout=timeout).close()
            return True
        except urllib.error.HTTPError as error:
            # A registry that wants a login first answers 401; a proxy's refusal is no registry.
            if error.headers.get("Docker-Distribution-Api-Version") or error.code == 401:
                return True
        except (OSError, ValueError):
            continue
    return False


def record_image(
    data_dir: str,
    kind: str,
    image: Image,
    version: str,
    extra: Mapping[str, Any] | None = None,
    *,
    check_mode: bool = False,
) -> bool:
    """Note in the node's images.json which image a kind of container uses.

    Returns whether the file changed. It is replaced atomically.
    """
    path = os.path.join(data_dir, "images.json")
    entry: dict[str, Any] = dict(extra or {}, ref=image.ref, id=image.id, version=version)
    if not check_mode:
        os.makedirs(data_dir, mode=0o755, exist_ok=True)
    with _file_lock(path + ".lock") if not check_mode else contextlib.nullcontext():
        recorded = read_images(data_dir)
        before = json.dumps(recorded, sort_keys=True)
        if kind in KINDS_BY_VERSION:
            recorded.setdefault(kind, {})[version] = entry
        else:
            recorded[kind] = entry
        if json.dumps(recorded, sort_keys=True) == before:
            return False
        if not check_mode:
            atomic_write(path, json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    return True


def read_images(data_dir: str) -> dict[str, Any]:
    """Return what record_image noted on this node; empty before the first image."""
    path = os.path.join(data_dir, "images.json")
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ImageError(
            f"{path} is not readable ({error}). Delete it and run setup_node again: it is rebuilt "
            "from the images themselves."
        ) from error
    if not isinstance(content, dict):
        raise ImageError(f"{path} holds no mapping. Delete it and run setup_node again.")
    return content


def _require_clean_final_stage(name: str, context: Context, dockerfile: str) -> None:
    """Refuse a recipe whose result would carry this node's certificate authorities."""
    if dockerfile not in context:
        raise ImageError(f"The build context of image {name} has no file {dockerfile}.")
    final = re.split(r"(?im)^FROM\s", context[dockerfile].decode("utf-8"))[-1]
    if re.search(r"(?im)^\s*(COPY|ADD)\s[^#]*\.trust", final):
        raise ImageError(
            f"The last stage of {dockerfile} for image {name} copies .trust: the image would keep "
            "this node's certificate authorities. Copy it in a builder stage only."
        )


def _archive(context: Context) -> io.BytesIO:
    """Return the context as a tar whose bytes depend on nothing but the content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(context):
            entry = tarfile.TarInfo(path)
            entry.size = len(context[path])
            entry.mode = 0o755 if context[path].startswith(b"#!") else 0o644
            archive.addfile(entry, io.BytesIO(context[path]))
    buffer.seek(0)
    return buffer


def node_proxies() -> dict[str, str]:
    """Return this node's proxy settings; Docker keeps these arguments out of the image."""
    return {name: os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)}


def _build(
    client: Any,
    ref: str,
    archive: io.BytesIO,
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    dockerfile: str,
    log: Log | None,
) -> None:
    last: deque[str] = deque(maxlen=ERROR_LINES)
    try:
        for event in client.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=dockerfile,
            tag=ref,
            buildargs=dict(arguments),
            labels=dict(labels),
            rm=True,
            forcerm=True,
            decode=True,
        ):
            if "error" in event:
                last.append(str(event["error"]).strip())
                raise ImageError(_build_failure(ref, last))
            for line in str(event.get("stream", "")).splitlines():
                if line.strip():
                    last.append(line)
                    if log is not None:
                        log(line)
    except DockerException as error:
        last.append(_explain(error))
        raise ImageError(_build_failure(ref, last)) from error


def _label_measured(client: Any, ref: str, path: str) -> None:
    """Put what the build wrote about the image on it as labels."""
    try:
        facts = json.loads(_read_file(client, ref, path))
    except (DockerException, ValueError, KeyError) as error:
        client.remove_image(ref)
        raise ImageError(
            f"Cannot build {ref}: its build left no readable {path} ({_explain(error)})."
        ) from error
    recipe = _archive({"Dockerfile": f"FROM {ref}\n".encode()})
    _build(client, ref, recipe, {}, {k: str(v) for k, v in facts.items()}, "Dockerfile", None)


def _read_file(client: Any, image: str, path: str) -> bytes:
    """Return a file of an image, read from a container that never starts."""
    container = client.create_container(image)["Id"]
    try:
        stream, _stat = client.get_archive(container, path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.extractfile(archive.getmembers()[0])
            if member is None:
                raise KeyError(path)
            return member.read()
    finally:
        client.remove_container(container, force=True, v=True)


def _drop_builder_stages(client: Any) -> None:
    """Remove what the classic builder leaves of earlier stages: they hold .trust and much disk."""
    with contextlib.suppress(DockerException):
        client.prune_images(filters={"dangling": True, "label": STAGE_LABEL})


def _debootstrap_command(
    suite: str, mirror: str, packages: Iterable[str], tarball: str
) -> list[str]:
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--quiet",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    ]
    include = ",".join(sorted(packages))
    if include:
        command.append(f"--include={include}")
    command += [suite, tarball]
    return command + [mirror] if mirror else command


def _run(command: list[str], what: str, log: Log | None) -> None:
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    for line in lines if log is not None else []:
        log(line)  # type: ignore[misc]
    if result.returncode != 0:
        raise ImageError(
            f"{what}: {command[0]} ended with code {result.returncode}:\n"
            + "\n".join(lines[-ERROR_LINES:])
        )


def _import(client: Any, ref: str, tarball: str, digest: str) -> None:
    repository, _colon, tag = ref.rpartition(":")
    changes = [f"LABEL {CONTEXT_LABEL}={digest}", 'CMD ["/bin/sh"]']
    try:
        answer = client.import_image(tarball, repository=repository, tag=tag, changes=changes)
    except DockerException as error:
        raise ImageError(f"Cannot import {ref}: {_explain(error)}") from error
    if '"error"' in str(answer):
        raise ImageError(f"Cannot import {ref}: {answer}")


def _without_tag(reference: str) -> str:
    head, slash, tail = reference.rpartition("/")
    return head + slash + tail.partition(":")[0]


def _build_failure(ref: str, lines: Iterable[str]) -> str:
    return "Cannot build {}. The last lines of its build:\n{}".format(ref, "\n".join(lines))


def _pull_failure(reference: str, reason: str) -> str:
    return (
        f"Cannot pull {reference}: {reason}. Check the name and the node's way to the registry, or "
        "build from packages with platform_image_source: packages."
    )


def _explain(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)


@contextlib.contextmanager
def _build_lock() -> Iterator[None]:
    """Let one build run at a time on this node: a second run finds what the first has built."""
    directory = "/run/lock" if os.access("/run/lock", os.W_OK) else tempfile.gettempdir()
    with _file_lock(os.path.join(directory, "memcloud-images.lock")):
        yield


@contextlib.contextmanager
def _file_lock(path: str) -> Iterator[None]:
    with open(path, "a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
