#!/usr/bin/env python3
"""From a bare machine to two tenants that remember, and back again (--remove).

Everything goes through the playbooks that an operator uses; this script only calls them in order and says at the end
what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TENANTS = {"acme": "free", "globex": "pro"}
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


class Quickstart:
    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self.secrets = inventory / ".secrets"
        self.changed = 0

    def playbook(self, name: str, *arguments: str) -> None:
        """Run a playbook, show what it prints, and count what it changed."""
        path = f"playbooks/{name}.yml"
        command = ["ansible-playbook", "-i", str(self.inventory.relative_to(CHECKOUT)), path]
        command += arguments
        say(shlex.join(command))
        environment = dict(os.environ)
        if sys.stdout.isatty():
            environment["ANSIBLE_FORCE_COLOR"] = "1"
        with subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                recap = RECAP.match(COLOUR.sub("", line))
                if recap:
                    self.changed += int(recap[2])
        if process.returncode:
            sys.exit(
                f"quickstart: {path} failed. Its last messages above say why; once that is mended, "
                "run `make quickstart` again: it goes on from where it stopped."
            )

    def key_file(self, tenant: str) -> Path:
        return self.secrets / "keys" / f"{tenant}.key"

    def deploy(self) -> None:
        self.playbook("init_inventory")
        self.playbook("setup_node")
        for tenant, tier in TENANTS.items():
            if not (self.inventory / "host_vars" / f"{tenant}.yml").exists():
                # The entry and the key alone: both tenants are deployed below, side by side.
                wish = {"tenant": tenant, "tier": tier, "key_file": str(self.key_file(tenant))}
                self.playbook(
                    "create_tenant", "--extra-vars", json.dumps({**wish, "deploy": False})
                )
        self.playbook("deploy_tenant")

    def endpoints(self) -> dict[str, str]:
        """Where each tenant answers, as the tenants themselves are reported."""
        report = self.secrets / "tenants.json"
        self.playbook("tenant_info", "--extra-vars", json.dumps({"result_file": str(report)}))
        tenants = json.loads(report.read_text())
        wrong = [f"{one['tenant']}: {one['error']}" for one in tenants if one["error"]]
        if wrong:
            sys.exit("\n".join(["quickstart: not everything is as it should be:", *wrong]))
        return {entry["tenant"]: entry["endpoint"] for entry in tenants}

    def describe(self) -> None:
        """Print lines that work as they are when pasted into a shell in the checkout."""
        authority = str((self.secrets / "ca.crt").relative_to(CHECKOUT))
        for tenant, endpoint in self.endpoints().items():
            key = f'"$(cat {self.key_file(tenant).relative_to(CHECKOUT)})"'
            body = json.dumps({"query": "What does Ada drink?", "top_k": 3})
            client = (
                "import os; from memmachine_client import MemMachineClient as C; "
                f"m = C(base_url='{endpoint}', api_key=os.environ['KEY'])"
                ".get_or_create_project(org_id='universal', project_id='universal').memory(); "
                "m.add('Ada drinks her tea without sugar'); "
                "print(m.search('What does Ada drink?').content)"
            )
            trust = f"REQUESTS_CA_BUNDLE={authority}"
            cli = f"MEMMACHINE_API_KEY={key} .venv/bin/mem-cli --base-url {endpoint} memory"
            universal = "--org-id universal --project-id universal"
            print(
                f"""
{tenant} ({TENANTS.get(tenant, "")})
  URL     {endpoint}
  Key     {self.key_file(tenant).relative_to(CHECKOUT)}
  mem-cli
    {trust} {cli} add {universal} --create 'Ada drinks tea'
    {trust} {cli} search {universal} 'What does Ada drink?'
  Python
    {trust} KEY={key} .venv/bin/python -c "{client}"
  curl
    curl --cacert {authority} -H "Authorization: Bearer $(cat {self.key_file(tenant).relative_to(CHECKOUT)})" \
-H 'Content-Type: application/json' -d '{body}' {endpoint}/api/v2/memories/search"""
            )
        print(
            f"""
The certificates are signed by an authority of this machine's own: {authority}
(programs trust it through curl's --cacert, or REQUESTS_CA_BUNDLE and SSL_CERT_FILE, as above).
The root key, from which database passwords are derived, is {self.secrets.relative_to(CHECKOUT)}/root_key: keep it.
`make clean` takes everything away again."""
        )

    def remove(self) -> None:
        """Take away what the quickstart made, on the node and here."""
        if not (self.secrets / "root_key").exists() and not Path("/var/lib/memcloud/mc").exists():
            say("there is no quickstart to remove")
            return
        everything = {"remove_data": True, "remove_images": True, "remove_engine": True}
        self.playbook("remove_node", "--extra-vars", json.dumps(everything))
        shutil.rmtree(self.secrets, ignore_errors=True)
        for entry in (self.inventory / "host_vars").glob("*.yml"):
            entry.unlink()
        say("removed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remove", action="store_true", help="take the quickstart away again")
    parser.add_argument("--inventory", type=Path, default=CHECKOUT / "inventories/quickstart")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit(
            "quickstart: sets up this machine (packages, a Docker Engine, a firewall table), so it needs root: "
            "run it again with sudo"
        )
    quickstart = Quickstart(arguments.inventory.resolve())
    started = time.monotonic()
    if arguments.remove:
        quickstart.remove()
        return
    quickstart.deploy()
    changed = quickstart.changed
    quickstart.describe()
    seconds = round(time.monotonic() - started)
    what = f"{changed} changes" if changed else "nothing had to change"
    print(f"\nBoth tenants are up: {what}, {seconds} s.")


if __name__ == "__main__":
    main()
