"""A MemMachine server in memory, behind real HTTP: what the portable archive needs of its API.

Like version 0.3.9 it orders memories of the same time differently each time they are listed.
"""

from __future__ import annotations

import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_CONDITION = re.compile(r"created_at (>=|<=) date\('([^']+)'\)")


class FakeMemories:
    """Projects with memories, and sets of semantic memories by id."""

    def __init__(self):
        self.projects = {}  # (org, project) -> description
        self.switches = {}  # project -> which of its memories are on; None: there are no switches
        self.episodes = {}  # uid -> episode
        self.features = {}  # uid -> feature
        self.kinds = {}  # org -> set types
        self.categories = {}  # set id -> names that the set has beside the default ones
        self.derived = []  # contents that were given to semantic memory
        self.adds = 0
        self.most = 0  # memories of one request
        self.untaken = set()  # contents that the model does not take
        self.cut_add = {}  # number of the add -> how it ends: before, after, 500
        self._next = 0
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.http.server_address[1]}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def uid(self):
        self._next += 1
        return f"{self._next:08d}"

    def of(self, project):
        return [e for e in self.episodes.values() if e["project"] == project]

    # -- the API ------------------------------------------------------------------------------

    def answer(self, path, body):
        project = (body.get("org_id", ""), body.get("project_id", ""))
        name = path.replace("/api/v2/", "").replace("/", "_")
        return getattr(self, "api_" + name)(project, body)

    def api_projects_list(self, _project, _body):
        return 200, [{"org_id": org, "project_id": name} for org, name in self.projects]

    def api_projects_get(self, project, _body):
        if project not in self.projects:
            return 404, {"detail": "no such project"}
        return 200, {"description": self.projects[project]}

    def api_projects(self, project, body):
        if project in self.projects:
            return 409, {"detail": "exists"}
        self.projects[project] = body["description"]
        return 201, {}

    def api_memory_episodic_config_get(self, project, _body):
        if self.switches is None:
            return 404, {"detail": "Not Found"}
        on = {"enabled": True, "long_term_memory_enabled": True}
        return 200, {**on, **self.switches.get(project, {})}

    def api_memory_episodic_config(self, project, body):
        own = {name: on for name, on in body.items() if name.endswith("enabled")}
        self.switches[project] = self.switches.get(project, {}) | own
        return 204, None

    def api_projects_episode_count_get(self, project, _body):
        return 200, {"count": len(self.of(project))}

    def api_memories(self, project, body):
        self.adds += 1
        how = self.cut_add.pop(self.adds, "")
        if how == "before":
            return None, None
        self.projects.setdefault(project, "")
        results = []
        messages = body["messages"]
        self.most = max(self.most, len(messages))
        if self.untaken & {message["content"] for message in messages}:
            how = "500"
        for message in messages[: len(messages) // 2] if how == "500" else messages:
            uid = self.uid()
            self.episodes[uid] = {
                "uid": uid,
                "project": project,
                "content": message["content"],
                "created_at": message["timestamp"].replace("+00:00", "Z"),
                "producer_id": message["producer"],
                "producer_role": message["role"],
                "produced_for_id": message["produced_for"] or None,
                "episode_type": message["episode_type"],
                "metadata": message["metadata"] or None,
            }
            if "semantic" in body["types"]:
                self.derived.append(message["content"])
            results.append({"uid": uid})
        if how == "500":
            return 500, {"detail": "half of it"}
        return (None, None) if how == "after" else (200, {"results": results})

    def api_memories_list(self, project, body):
        if body["type"] == "semantic":
            wanted = re.search(r"set_id = '([^']*)'", body.get("filter") or "")
            found = [f for f in self.features.values() if not wanted or f["set_id"] == wanted[1]]
            begin = body["page_size"] * body["page_num"]
            page = found[begin : begin + body["page_size"]]
            return 200, {"content": {"semantic_memory": page}}
        found = self.of(project)
        random.shuffle(found)
        found.sort(key=lambda episode: episode["created_at"])
        for sign, moment in _CONDITION.findall(body["filter"]):
            moment = moment.replace("+00:00", "Z")
            found = [
                e
                for e in found
                if (e["created_at"] >= moment if sign == ">=" else e["created_at"] <= moment)
            ]
        return 200, {"content": {"episodic_memory": found[: body["page_size"]]}}

    def api_memories_episodic_delete(self, _project, body):
        for uid in body["episodic_ids"]:
            self.episodes.pop(uid, None)
        return 204, None

    def api_memories_semantic_set_type_list(self, project, _body):
        return 200, {"set_types": self.kinds.get(project[0], [])}

    def api_memories_semantic_set_type(self, project, body):
        kind = {"is_org_level": body["is_org_level"], "tags": body["metadata_tags"]}
        self.kinds.setdefault(project[0], []).append(kind)
        return 201, {}

    def api_memories_semantic_set_id_list(self, project, body):
        tags = body["set_metadata"]
        sets = [
            {"id": self.set_id(project, True, {}), "is_org_level": True, "tags": []},
            {"id": self.set_id(project, False, {}), "is_org_level": False, "tags": []},
        ]
        for kind in self.kinds.get(project[0], []):
            if set(kind["tags"]) <= set(tags):
                own = {tag: tags[tag] for tag in kind["tags"]}
                level = kind["is_org_level"]
                entry = {"id": self.set_id(project, level, own), "is_org_level": level}
                sets.append({**entry, "tags": kind["tags"]})
        return 200, {"sets": sets}

    def api_memories_semantic_set_id_get(self, project, body):
        tags = {tag: body["set_metadata"][tag] for tag in body["metadata_tags"]}
        return 200, {"set_id": self.set_id(project, body["is_org_level"], tags)}

    def api_memories_semantic_category(self, _project, body):
        self.categories.setdefault(body["set_id"], set()).add(body["category_name"])
        return 201, {}

    def api_memories_semantic_feature(self, _project, body):
        known = {"profile"} | self.categories.get(body["set_id"], set())
        if body["category_name"] not in known:
            return 500, {"detail": "no such category"}
        uid = self.uid()
        self.features[uid] = {
            "set_id": body["set_id"],
            "category": body["category_name"],
            "tag": body["tag"],
            "feature_name": body["feature"],
            "value": body["value"],
            "metadata": {"id": uid, "other": body["feature_metadata"]},
        }
        return 201, {"feature_id": uid}

    @staticmethod
    def set_id(project, org_level, tags):
        own = "" if org_level else project[1]
        return f"mem_{project[0]}_{own}_{sorted(tags.items())}".replace("'", "")


class _Handler(BaseHTTPRequestHandler):
    server_state = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._answer(200, {"status": "healthy", "version": "0.4.0"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        status, answer = self.server_state.answer(self.path, body)
        if status is None:
            self.close_connection = True
            return
        self._answer(status, answer)

    def _answer(self, status, answer):
        raw = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
