# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker client that knows images only, and remembers what it was asked to build."""

from __future__ import annotations

import io
import json
import tarfile

from docker.errors import APIError, ImageNotFound


class FakeImages:
    """Stands in for ``docker.APIClient``: builds, imports and pulls succeed unless told not to."""

    api_version = "1.41"

    def __init__(self, registry=(), files=None, failure=""):
        self.store = {}
        self.registry = set(registry)
        self.files = dict(files or {})
        self.failure = failure
        self.builds = []
        self.contexts = []
        self.imports = []
        self.pulls = []
        self.pruned = []

    def add(self, ref, labels=None):
        self.store[ref] = {"Id": f"sha256:{len(self.store):064x}", "Labels": dict(labels or {})}

    def images(self, name, filters):
        key, _equals, value = filters["label"].partition("=")
        return [
            {"Id": image["Id"], "RepoTags": [ref], "Labels": image["Labels"]}
            for ref, image in self.store.items()
            if ref.rpartition(":")[0] == name and image["Labels"].get(key) == value
        ]

    def inspect_image(self, ref):
        if ref not in self.store:
            raise ImageNotFound(f"no such image: {ref}")
        image = self.store[ref]
        return {"Id": image["Id"], "Config": {"Labels": image["Labels"]}}

    def build(self, fileobj, tag, buildargs, labels, dockerfile, **_options):
        with tarfile.open(fileobj=fileobj) as archive:
            members = {m.name: (archive.extractfile(m).read(), m.mode) for m in archive}
        self.contexts.append(members)
        self.builds.append({"tag": tag, "args": buildargs, "file": dockerfile})
        yield {"stream": "Step 1/1 : FROM ${BASE}\n"}
        if self.failure:
            yield {"error": self.failure}
            return
        earlier = self.store.get(tag, {}).get("Labels", {})
        self.add(tag, {**earlier, **labels})
        yield {"stream": "Successfully built\n"}

    def import_image(self, path, repository, tag, changes):
        with open(path, "rb") as stream:
            self.imports.append(stream.read())
        label = changes[0].removeprefix("LABEL ").split("=")
        self.add(f"{repository}:{tag}", dict([label]))
        return '{"status": "sha256:0"}'

    def pull(self, repository, tag, **_options):
        separator = "@" if tag.startswith("sha256:") else ":"
        ref = f"{repository}{separator}{tag}"
        self.pulls.append(ref)
        if ref not in self.registry:
            raise APIError("refused", explanation="manifest unknown")
        yield {"status": "Pulling"}
        self.add(ref)

    def create_container(self, image):
        return {"Id": f"container of {image}"}

    def remove_container(self, container, force, v):
        assert force and v

    def get_archive(self, container, path):
        if path not in self.files:
            raise APIError("no such file", explanation=f"no {path}")
        buffer = io.BytesIO()
        content = self.files[path]
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(path.rpartition("/")[2])
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return [buffer.getvalue()], {}

    def remove_image(self, ref):
        del self.store[ref]

    def prune_images(self, filters):
        self.pruned.append(filters)
