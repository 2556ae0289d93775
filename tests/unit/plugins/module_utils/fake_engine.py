"""An engine in memory, for tests of comparison and converging without containers.

The real engine is the subject of the molecule scenarios; here it only has to remember.
"""

from __future__ import annotations

from ansible_collections.memcloud.memmachine.plugins.module_utils._engine import (
    EngineError,
    host_config,
)


class FakeEngine:
    """Keeps containers, networks and volumes in the form in which the engine reports them."""

    def __init__(self, images=None):
        self.images = images or {}
        self.found_containers = {}
        self.found_networks = {}
        self.found_volumes = {}
        self.calls = []
        self.volumes_dir = "/nonexistent"

    def image_id(self, reference):
        return self.images.get(reference)

    def containers(self, platform, owners=None):
        return [
            c
            for c in self.found_containers.values()
            if owners is None or c["Config"]["Labels"].get("memcloud.tenant", "") in owners
        ]

    def networks(self, platform, owners=None):
        return list(self.found_networks.values())

    def volumes(self, platform, owners=None):
        return list(self.found_volumes.values())

    def volumes_directory(self):
        return self.volumes_dir

    def inspect(self, name):
        return self.found_containers.get(name)

    def state(self, name):
        return (self.inspect(name) or {}).get("State") or {}

    def logs(self, name, lines=15, since=""):
        return "last words\nStarted.\nStopping...\nStopped."

    def create_network(self, owner, network):
        self.calls.append(("create_network", network.name))
        self.found_networks[network.name] = {
            "Name": network.name,
            "Labels": owner.labels(network.role),
            "Internal": network.internal,
            "IPAM": {"Config": [{"Subnet": network.subnet}]},
            "Options": {"com.docker.network.bridge.name": network.bridge},
        }

    def remove_network(self, name):
        self.calls.append(("remove_network", name))
        self.found_networks.pop(name, None)

    def create_volume(self, owner, volume):
        self.calls.append(("create_volume", volume.name))
        self.found_volumes[volume.name] = {
            "Name": volume.name,
            "Labels": owner.labels(volume.role),
            "Mountpoint": f"{self.volumes_dir}/{volume.name}",
        }

    def remove_volume(self, name):
        self.calls.append(("remove_volume", name))
        for container in self.found_containers.values():
            if any(mount["Name"] == name for mount in container["Mounts"]):
                raise EngineError(f"volume {name} cannot be removed: volume is in use")
        del self.found_volumes[name]

    def create_container(self, owner, container):
        self.calls.append(("create", container.name))
        host = host_config(container)
        self.found_containers[container.name] = {
            "Name": "/" + container.name,
            "Image": self.images[container.image],
            "Config": {"Labels": owner.labels(container.role, container.spec_hash())},
            "HostConfig": host,
            "Mounts": [{"Name": mount["Source"]} for mount in host["Mounts"]],
            "State": {"Running": False, "Status": "created", "ExitCode": 0},
            "NetworkSettings": {
                "Networks": {
                    n.name: {"IPAMConfig": {"IPv4Address": n.address}} for n in container.networks
                }
            },
        }

    def update_container(self, container):
        self.calls.append(("update", container.name))
        self.found_containers[container.name]["HostConfig"] = host_config(container)

    def start(self, name):
        if name not in self.found_containers:
            raise EngineError(f"container {name}: no such container")
        self.calls.append(("start", name))
        self.found_containers[name]["State"] = {"Running": True, "Status": "running"}

    def stop(self, name, timeout):
        self.calls.append(("stop", name))
        if name in self.found_containers:
            state = {"Running": False, "Status": "exited", "ExitCode": 0}
            self.found_containers[name]["State"] = state

    def remove_container(self, name, passing=False):
        self.calls.append(("remove", name))
        self.found_containers.pop(name, None)
