# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor looks at for a tenant: drift, secrets, memory, certificate, restore points."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._capacity import human
from ansible_collections.memcloud.memmachine.plugins.module_utils._deploy import (
    TenantNode,
    TenantResult,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._desired import (
    TenantPaths,
    container_name,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._doctor import (
    ERROR,
    WARNING,
    Check,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._edge_api import ask
from ansible_collections.memcloud.memmachine.plugins.module_utils._job import ROLES
from ansible_collections.memcloud.memmachine.plugins.module_utils._locks import (
    LockedError,
    locked,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._probe import (
    Probe,
    ProbeError,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import SOFT, Usage
from ansible_collections.memcloud.memmachine.plugins.module_utils._retention import moment_of
from ansible_collections.memcloud.memmachine.plugins.module_utils._route import ROUTERS
from ansible_collections.memcloud.memmachine.plugins.module_utils._spec import sha256

Found = Iterator[tuple[str, str, str]]

# A secret that is still the name of a variable: the server takes it for the password itself.
_LITERAL = re.compile(r"^\s*([a-z_]*(?:password|api_key|secret|access_key\w*)):\s*[\"']?\$", re.I)
_DISABLED = re.compile(r"(disabling|disabled:)", re.I)
_START_SECONDS = 180
_PROBE_SECONDS = 30.0
_CERTIFICATE_DAYS = {ERROR: 3, WARNING: 14}
_KEY_DAYS = 7
# They are verified each week; once may go wrong.
_VERIFIED_DAYS = 15
_FREE = "free"


class TenantDoctor:
    """The checks of one tenant.

    :param plan: what the plan says about it.
    :param probe_key: passes the gate from the node; empty to leave the round trip out.
    """

    def __init__(
        self, node: TenantNode, tenant: Mapping[str, Any], plan: TenantResult, probe_key: str
    ) -> None:
        self._node = node
        self._platform = node.platform
        self._tenant = tenant
        self._plan = plan
        self._probe_key = probe_key
        self.name: str = tenant["tenant"]
        self._record = node.state.tenant(self.name)
        self._paths = TenantPaths.of(self._platform["data_dir"], self.name)

    def checks(self) -> list[Check]:
        """Everything to look at, as far as its state has it."""
        looks = [("drift", self._drift, "none"), ("operation", self._operation, "none unfinished")]
        if self._tenant["state"] != "deleted" and self._record.get("uid"):
            looks += [
                ("gate", self._gate, "decides by the file on disk"),
                ("route", self._route, "is served"),
                ("certificate", self._certificate, "is valid"),
                ("keys", self._keys, "live"),
                ("secrets", self._secrets, "are set"),
                ("model", self._model, "a real provider, or a free tier"),
                ("restore points", self._restore_points, "are recent"),
                ("verification", self._verification, "is recent"),
                ("storage", self._storage, "has room"),
            ]
            if self._serves(self._record):
                looks += [
                    ("containers", self._containers, "run"),
                    ("subsystems", self._subsystems, "all are at work"),
                ]
                if self._probe_key:
                    looks.append(("memory", self._memory, "stored, found and deleted"))
        return [Check(self.name, name, look, fine) for name, look, fine in looks]

    def _serves(self, record: Mapping[str, Any]) -> bool:
        asleep = record.get("asleep") and not record.get("woken")
        return (
            self._tenant["state"] == "running"
            and record.get("state") == "running"
            and not asleep
            and not record.get("operation")
        )

    def _drift(self) -> Found:
        if self._plan.error:
            yield ERROR, self._plan.error, "see the message; nothing is changed until it is settled"
        for drift in self._plan.drift:
            yield WARNING, drift.words(), f"deploy_tenant -l {self.name}"

    def _operation(self) -> Found:
        left = self._record.get("operation")
        if left:
            what = f"{left['name']} of {left['owner']} since {left['started']} has not ended"
            yield WARNING, what, f"let it end; if it was killed, deploy_tenant -l {self.name}"

    def _gate(self) -> Found:
        status, answer = ask(self._platform["gate_port"], f"/loaded/{self.name}")
        advice = f"docker logs {self._platform['name']}-gate; deploy_tenant -l {self.name}"
        if status != 200:
            yield ERROR, f"does not answer ({answer or status})", advice
        elif answer.get("problem"):
            yield ERROR, f"cannot use its file: {answer['problem']}", advice
        else:
            with open(self._paths.gate, "rb") as stream:
                if answer.get("sha256") != sha256(stream.read()):
                    yield ERROR, "decides by another file than the one on disk", advice

    def _route(self) -> Found:
        for kind in ROUTERS:
            router = f"{self.name}-{kind}@file"
            status, answer = ask(self._platform["edge_api_port"], f"/api/http/routers/{router}")
            if status != 200 or answer.get("status") != "enabled":
                said = answer.get("error") if isinstance(answer, dict) else answer
                what = f"Traefik does not serve {router}: {said or status}"
                yield ERROR, what, f"docker logs {self._platform['name']}-edge"

    def _certificate(self) -> Found:
        mode = self._platform["tls_mode"]
        if mode == "off":
            return
        hostname = self._tenant["hostname"]
        try:
            ends, names = _served(hostname, int(self._platform["https_port"]))
        except (OSError, ssl.SSLError) as error:
            yield ERROR, f"the edge shows none: {error}", f"deploy_tenant -l {self.name}"
            return
        advice = {
            "local_ca": f"deploy_tenant -l {self.name} renews it",
            "acme": "see the log of the edge: the authority must reach this node",
        }.get(mode, "put a newer one into platform_tls_certificates and run setup_node")
        if not _covers(names, hostname):
            yield ERROR, f"the edge shows one of {', '.join(names) or 'nobody'}", advice
            return
        days = (ends - datetime.datetime.now(datetime.timezone.utc)).days
        for level, least in _CERTIFICATE_DAYS.items():
            if days < least:
                what = f"ended {-days} days ago" if days < 0 else f"ends in {days} days"
                yield level, what, advice
                return

    def _keys(self) -> Found:
        moment = datetime.datetime.now(datetime.timezone.utc)
        ends = [
            moment_of(key["expires"]) if key["expires"] else None for key in self._tenant["keys"]
        ]
        live = [end for end in ends if end is None or end > moment]
        advice = f"rotate_keys or add_key -e tenant={self.name}"
        if not live:
            yield ERROR, "no key is live: nobody can use the tenant", advice
        elif None not in live:
            last = max(end for end in live if end)
            if last - moment < datetime.timedelta(days=_KEY_DAYS):
                yield WARNING, f"its last key ends at {last:%Y-%m-%dT%H:%M:%SZ}", advice

    def _secrets(self) -> Found:
        with open(self._paths.configuration, encoding="utf-8") as stream:
            for line in stream:
                match = _LITERAL.match(line)
                if match:
                    what = f"{match.group(1)} in configuration.yml is literally a variable's name"
                    advice = "give the variable (platform_model_…) its value, then deploy_tenant"
                    yield ERROR, what, advice

    def _model(self) -> Found:
        if self._tenant["model"]["provider"] == "demo" and self._tenant["tier"] != _FREE:
            what = f"tier {self._tenant['tier']} uses the demo provider, which understands nothing"
            advice = (
                "set platform_model_* for new tenants; export_tenant, create_tenant and "
                "import_tenant take its memories into one of them"
            )
            yield WARNING, what, advice

    def _restore_points(self) -> Found:
        hours = int((self._tenant.get("backup") or {}).get("every_hours") or 0)
        if not hours:
            return
        point = self._record.get("restore_point") or {}
        if not point and "embedder" not in self._record:
            return  # it never ran: there is nothing to back up
        since = point.get("taken") or self._record.get("created")
        if not since:
            return
        age = (time.time() - moment_of(since).timestamp()) / 3600
        if age < -1:
            what = f"the last one is of the future ({since}): the node's clock was wrong, or is"
            yield WARNING, what, "set the clock (timedatectl), then backup_tenant"
        if age > hours * 1.5:
            kind = "the last one is" if point else "there is none, and the tenant is"
            what = f"{kind} {age:.0f} hours old; tier {self._tenant['tier']} has one in {hours}"
            advice = f"backup_tenant -l {self.name}; put it on a timer"
            yield (ERROR if age > hours * 3 else WARNING), what, advice

    def _verification(self) -> Found:
        """Whether its restore points were tried, once there have been some for long enough."""
        hours = int((self._tenant.get("backup") or {}).get("every_hours") or 0)
        first = self._record.get("first_restore_point")
        if not hours or not first:
            return
        tried = (self._record.get("verified") or {}).get("at") or ""
        days = (time.time() - moment_of(max(first, tried)).timestamp()) / 86400
        if days > _VERIFIED_DAYS:
            never = f"were never verified; the first one is {days:.0f} days old"
            last = f"were last verified {days:.0f} days ago"
            what = f"its restore points {last if tried else never}"
            advice = f"verify_backups -e tenant={self.name}; schedule_backups does it each week"
            yield WARNING, what, advice

    def _storage(self) -> Found:
        advice = f"change_tier -e tenant={self.name}, or have memories deleted"
        if self._record.get("writes") == "closed":
            yield ERROR, "is used up: the gate answers 507 to writes", advice
            return
        known = self._record.get("storage") or {}
        if known:
            limit = int(self._tenant["storage"])
            usage = Usage(int(known["files"]), int(known["uncounted"]), limit)
            if usage.share >= SOFT:
                what = f"{usage.share:.0%} of {human(limit)} were used at {known['measured']}"
                yield WARNING, what, advice

    def _containers(self) -> Found:
        for role in ROLES:
            name = container_name(self._platform["name"], self.name, role)
            found = self._node.engine.inspect(name) or {}
            state = found.get("State") or {}
            if state.get("OOMKilled"):
                yield ERROR, f"{name} was out of memory", f"change_tier -e tenant={self.name}"
            elif int(found.get("RestartCount") or 0) > 3:
                yield WARNING, f"{name} ended {found['RestartCount']} times", f"docker logs {name}"

    def _subsystems(self) -> Found:
        """What the server switched off by itself when it started; its health page stays green."""
        name = container_name(self._platform["name"], self.name, "app")
        started = moment_of(str(self._node.engine.state(name).get("StartedAt", ""))).timestamp()
        said = self._node.engine.client.logs(
            name, since=int(started), until=int(started) + _START_SECONDS
        )
        for line in dict.fromkeys(said.decode("utf-8", "replace").splitlines()):
            if _DISABLED.search(line) and "WARNING" in line:
                advice = "give the model provider its key and endpoint, then deploy_tenant"
                yield ERROR, line.split(" - ", 1)[-1][:200], advice

    def _memory(self) -> Found:
        edge = self._node.edge(self._tenant["hostname"])
        state = self._node.state
        # Of two round trips at a time, one would delete what the other looks for, and a run that
        # fails by it undoes what it did.
        lock = locked(state.locks, f"tenant-{self.name}", self._node.owner, _PROBE_SECONDS)
        try:
            with lock:
                if not self._serves(state.tenant(self.name)):
                    return  # by now
                probe = Probe(self.name, edge, self._probe_key, _PROBE_SECONDS)
                probe.wait_ready()
                probe.round_trip()
        except LockedError as error:
            yield WARNING, f"was not tried: {error}", "see the message"
        except ProbeError as error:
            name = container_name(self._platform["name"], self.name, "app")
            yield ERROR, str(error).split(": ", 1)[-1], f"docker logs {name}"


def _served(hostname: str, port: int) -> tuple[datetime.datetime, list[str]]:
    """End and names of the certificate that the edge shows for a hostname."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), 5)
    with context.wrap_socket(plain, server_hostname=hostname) as secured:
        raw = secured.getpeercert(binary_form=True) or b""
    # Not at the top: a platform without TLS needs no such package.
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(raw)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        known = names.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        known = []
    return certificate.not_valid_after_utc, list(known)


def _covers(names: list[str], hostname: str) -> bool:
    parent = hostname.partition(".")[2]
    return hostname in names or f"*.{parent}" in names
