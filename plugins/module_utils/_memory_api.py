# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MemMachine server's HTTP API as far as memories are carried by it (0.3.9 and 0.4.0)."""

from __future__ import annotations

import datetime
import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError

PAGE = 500
_READ_SECONDS = 60.0
# A batch is embedded by the model provider before it is acknowledged.
_WRITE_SECONDS = 300.0
_ATTEMPTS = 4

Project = tuple[str, str]


class ApiError(MemcloudError):
    """The server refused a request, or did not answer.

    :param status: its answer, 0 when there was none and nobody knows what it did.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class MemoryServer:
    """One MemMachine server.

    :param tenant: whose server it is, for errors.
    :param address: ``host:port`` of the server itself on its node.
    """

    def __init__(self, tenant: str, address: str) -> None:
        self._tenant = tenant
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    # -- projects -----------------------------------------------------------------------------

    def projects(self) -> list[Project]:
        """Every project that the server knows, sorted."""
        found = self._call("POST", "/projects/list", {})
        return sorted({(entry["org_id"], entry["project_id"]) for entry in found})

    def description(self, project: Project) -> str | None:
        """A project's description, None when the server does not know the project."""
        try:
            found = self._call("POST", "/projects/get", _ids(project))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return str(found.get("description") or "")

    def create_project(self, project: Project, description: str) -> None:
        """Make a project, unless it is there."""
        body = {**_ids(project), "description": description}
        try:
            self._call("POST", "/projects", body)
        except ApiError as error:
            if error.status != 409:
                raise

    def switches(self, project: Project) -> dict[str, bool]:
        """Whether a project's memories are on; empty where the server has no such switches."""
        try:
            found = self._call("POST", "/memory/episodic/config/get", _ids(project))
        except ApiError as error:
            if error.status in (404, 405):
                return {}
            raise
        return {name: bool(on) for name, on in found.items()}

    def switch(self, project: Project, switches: Mapping[str, bool]) -> None:
        """Turn memories of a project on and off."""
        self._call("POST", "/memory/episodic/config", {**_ids(project), **switches})

    def count(self, project: Project) -> int:
        """How many memories a project has."""
        return int(self._call("POST", "/projects/episode_count/get", _ids(project))["count"])

    # -- memories -----------------------------------------------------------------------------

    def episodes(
        self, project: Project, since: str = "", until: str = "", page: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        """The memories of a project by time, page by page.

        Each page begins at the time at which the last one ended, and what was seen at that time
        is left out: an older server orders equal times differently from page to page, so a page
        number would lose some and repeat others.
        """
        seen: set[str] = set()
        size = page
        while True:
            conditions = [f"created_at >= date('{since}')"] if since else []
            conditions += [f"created_at <= date('{until}')"] if until else []
            body = {
                **_ids(project),
                "type": "episodic",
                "page_size": size,
                "page_num": 0,
                "filter": " AND ".join(conditions),
            }
            content = self._call("POST", "/memories/list", body).get("content") or {}
            found = content.get("episodic_memory") or []
            for episode in found:
                if str(episode["uid"]) not in seen:
                    yield episode
            if len(found) < size:
                return
            newest = timestamp(found[-1]["created_at"])
            if newest == since:
                size *= 2  # a page of nothing but equal times
            else:
                size, since, seen = page, newest, set()
            seen |= {str(e["uid"]) for e in found if timestamp(e["created_at"]) == newest}

    def add(
        self, project: Project, messages: list[dict[str, Any]], types: Iterable[str]
    ) -> list[str]:
        """Store memories; their ids in the same order. Never repeated by itself."""
        body = {**_ids(project), "types": list(types), "messages": messages}
        results = self._call("POST", "/memories", body, repeat=False)["results"]
        return [str(result["uid"]) for result in results]

    def delete(self, project: Project, uids: list[str]) -> None:
        """Delete memories by id."""
        if uids:
            body = {**_ids(project), "episodic_ids": uids}
            self._call("POST", "/memories/episodic/delete", body)

    # -- semantic memory ----------------------------------------------------------------------

    def set_types(self, project: Project) -> list[dict[str, Any]]:
        """The kinds of semantic sets of a project's organisation."""
        found = self._call("POST", "/memories/semantic/set_type/list", _ids(project))
        return list(found["set_types"])

    def create_set_type(self, project: Project, kind: Mapping[str, Any]) -> None:
        """Make a kind of semantic sets."""
        body = {
            **_ids(project),
            "is_org_level": kind["org_level"],
            "metadata_tags": list(kind["tags"]),
            "name": kind.get("name"),
            "description": kind.get("description"),
        }
        self._call("POST", "/memories/semantic/set_type", body, repeat=False)

    def sets(self, project: Project, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """The semantic sets that belong to a project and these tags."""
        body = {**_ids(project), "set_metadata": dict(tags)}
        return list(self._call("POST", "/memories/semantic/set_id/list", body)["sets"])

    def set_id(self, project: Project, org_level: bool, tags: Mapping[str, str]) -> str:
        """The id that this server gives a semantic set."""
        body = {
            **_ids(project),
            "is_org_level": org_level,
            "metadata_tags": sorted(tags),
            "set_metadata": dict(tags),
        }
        return str(self._call("POST", "/memories/semantic/set_id/get", body)["set_id"])

    def features(
        self, project: Project, set_id: str, tags: Mapping[str, str]
    ) -> Iterator[dict[str, Any]]:
        """The semantic memories of one set."""
        number = 0
        seen: set[str] = set()
        while True:
            body: dict[str, Any] = {
                **_ids(project),
                "type": "semantic",
                "page_size": PAGE,
                "page_num": number,
                "set_metadata": dict(tags),
            }
            if "'" not in set_id:  # the server's filter language cannot quote a quote
                body["filter"] = f"set_id = '{set_id}'"
            content = self._call("POST", "/memories/list", body).get("content") or {}
            found = content.get("semantic_memory") or []
            for feature in found:
                uid = str((feature.get("metadata") or {}).get("id"))
                if feature.get("set_id") == set_id and uid not in seen:
                    seen.add(uid)
                    yield feature
            if len(found) < PAGE:
                return
            number += 1

    def add_feature(self, project: Project, set_id: str, feature: Mapping[str, Any]) -> None:
        """Store a semantic memory; a category that the set lacks is made for it."""
        body = {
            **_ids(project),
            "set_id": set_id,
            "category_name": feature["category"],
            "tag": feature["tag"],
            "feature": feature["feature"],
            "value": feature["value"],
            "feature_metadata": feature.get("metadata") or None,
        }
        path = "/memories/semantic/feature"
        try:
            self._call("POST", path, body, repeat=False)
        except ApiError as error:
            if error.status < 400 or not self._add_category(project, set_id, feature["category"]):
                raise
            self._call("POST", path, body, repeat=False)

    def _add_category(self, project: Project, set_id: str, name: str) -> bool:
        body = {
            **_ids(project),
            "set_id": set_id,
            "category_name": name,
            "prompt": f"Facts of the category {name}.",
            "description": "Made by an import.",
        }
        try:
            self._call("POST", "/memories/semantic/category", body, repeat=False)
        except ApiError:
            return False
        return True

    # -- HTTP ---------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any, repeat: bool = True) -> Any:
        """One request; with ``repeat`` again while the server is busy or gone for a moment."""
        attempts = _ATTEMPTS if repeat else 1
        if not repeat:
            self.close()  # a connection that the server gave up meanwhile would leave us in doubt
        for attempt in range(1, attempts + 1):
            try:
                return self._request(
                    method, path, body, _READ_SECONDS if repeat else _WRITE_SECONDS
                )
            except ApiError as error:
                if attempt == attempts or 0 < error.status < 429:
                    raise
                time.sleep(attempt)
        raise AssertionError("unreachable")

    def _request(self, method: str, path: str, body: Any, timeout: float) -> Any:
        headers = {"Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body).encode()
        try:
            connection = self._connect(timeout)
            connection.request(method, f"/api/v2{path}", payload, headers)
            answer = connection.getresponse()
            status, raw = answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ApiError(
                f"{self._tenant}: the server did not answer {method} {path}: "
                f"{error or type(error).__name__}",
                0,
            ) from error
        if status >= 300:
            raise ApiError(
                f"{self._tenant}: the server answered {method} {path} with {status}: {raw[:300]}",
                status,
            )
        return json.loads(raw) if raw else {}

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=timeout)
        self._connection.timeout = timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        return self._connection

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def timestamp(text: str) -> str:
    """A time in UTC with microseconds, the same text for the same moment."""
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")


def _ids(project: Project) -> dict[str, str]:
    return {"org_id": project[0], "project_id": project[1]}
