# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What there is of a managed container, the step to what is wanted, and what has to hold before it. Looks only; managed.py acts."""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..failure import Failure
from ..host.machine import Machine
from ..host.sockets import find_listeners, is_of_this_host
from ..untrusted import list_of, object_of
from . import spec as wanted_spec
from .engine import Engine
from .spec import MODEL, Difference, Spec, as_diff, differences, gpus_of

LOOPBACK = "127.0.0.1"
# OpenShell's own network first, whose gateway is host.openshell.internal; before it was made, Docker's own
# (upstream-facts O8).
SANDBOX_NETWORKS = ("openshell-docker", "bridge")
# Where GPUs reach containers without an entry in `docker info`: the hook of the toolkit, and CDI files.
_GPU_HOOK = "nvidia-container-runtime-hook"
_CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")


def kind_of(found: dict[str, Any]) -> str | None:
    """Return which part of the collection a container belongs to, None for everybody else's."""
    kind = object_of(object_of(found.get("Config")).get("Labels")).get(wanted_spec.KIND)
    return str(kind) if kind else None


def name_of(found: dict[str, Any]) -> str:
    """Return a container's name without the slash that the engine puts before it."""
    return str(found.get("Name") or "").lstrip("/")


def require_ours(found: dict[str, Any] | None, name: str, kind: str) -> None:
    """Raise unless the name is free or the container is ours, and of this kind.

    Raises:
        Failure: C(container_foreign).

    """
    if found is None or kind_of(found) == kind:
        return
    image = object_of(found.get("Config")).get("Image")
    owner = kind_of(found)
    whose = f"it is ours, but of the kind {owner}" if owner else "it was not created by this collection"
    raise Failure(
        "container_foreign",
        f"There is already a container named {name!r} (image {image}, created {str(found.get('Created'))[:10]}), and {whose}. Nothing was "
        f"changed. Remove or rename it (docker rename {name} {name}-old), or choose another name.",
        container=name,
        image=image,
    )


def lacks_network(engine: Engine) -> bool:
    """Tell whether the network that sandboxes come from is still to be made, with a gateway that nobody knows yet."""
    return len(sandbox_addresses(engine)) > 1 and engine.network(SANDBOX_NETWORKS[0]) is None


def sandbox_addresses(engine: Engine, networks: Iterable[str] = SANDBOX_NETWORKS) -> list[str]:
    """Return the addresses to publish on: loopback, and the bridge gateway that a sandbox reaches this host by.

    A gateway that is not an address of this host cannot be bound: rootless engines and those in a virtual machine have it on
    the other side, and reach the host's loopback by themselves.
    """
    if engine.facts["kind"] in ("desktop", "colima") or engine.facts["rootless"]:
        return [LOOPBACK]
    for name in networks:
        found = engine.network(name)
        for config in map(object_of, list_of(object_of(object_of(found).get("IPAM")).get("Config"))):
            gateway = str(config.get("Gateway") or "") or _first_address(str(config.get("Subnet") or ""))
            if _is_ipv4(gateway):
                return [LOOPBACK, gateway]
    return [LOOPBACK]


def _first_address(subnet: str) -> str:
    """Return the gateway that Docker gave its own bridge and does not tell before it was started anew (20.10); empty where it is none."""
    try:
        first = str(next(ipaddress.ip_network(subnet).hosts()))
    except (ValueError, StopIteration):
        return ""
    return first if is_of_this_host(first) else ""


def require_engine(engine: Engine) -> None:
    """Refuse an engine that a server could not be waited for on, or changed on.

    Raises:
        Failure: C(docker_endpoint_unsupported).

    """
    endpoint = str(engine.facts["endpoint"])
    if engine.facts.get("kind") == "podman":
        raise Failure(
            "docker_endpoint_unsupported",
            f"The engine at {endpoint} is Podman. Restoring the previous server relies on changing restart policies of existing "
            f"containers, and GPUs on device requests: only Docker has both. Install Docker, or set its socket with vllm_docker_host or "
            f"nim_docker_host (option docker_host).",
        )
    host = urllib.parse.urlsplit(endpoint).hostname if endpoint.startswith("tcp://") else None
    if host and not is_of_this_host(host):
        raise Failure(
            "docker_endpoint_unsupported",
            f"The engine at {endpoint} is on another host, and its server would be published there, where this host can neither wait for "
            f"it nor prove it. Run the play on that host, or unset DOCKER_HOST (vllm_docker_host, nim_docker_host).",
        )


def publish_addresses(engine: Engine, wanted: Sequence[str]) -> list[str]:
    """Return the addresses to publish on: those that were asked for and loopback, which this host asks; by default sandbox_addresses()."""
    if not wanted:
        return sandbox_addresses(engine)
    return list(wanted) if {LOOPBACK, "0.0.0.0"} & set(wanted) else [LOOPBACK, *wanted]  # noqa: S104 - compared


def published_ports(containers: Iterable[dict[str, Any]]) -> dict[int, str]:
    """Return the name of the container by each port of the host that one publishes."""
    found = {}
    for one in containers:
        ports = object_of(object_of(one.get("NetworkSettings")).get("Ports"))
        for entry in (object_of(entry) for entries in ports.values() for entry in list_of(entries)):
            if str(entry.get("HostPort")).isdigit():
                found[int(str(entry["HostPort"]))] = name_of(one)
    return found


def require_port(
    machine: Machine, spec: Spec, own: Collection[dict[str, Any]], containers: Iterable[dict[str, Any]]
) -> None:
    """Raise where something else listens on an address that the container would publish. It is named, never ended.

    Args:
        machine: This host.
        spec: What would be published.
        own: Containers of ours that will have given their ports up by then.
        containers: Everything that runs on the engine, to name the holder: Docker's own listeners tell no container's name.

    Raises:
        Failure: C(port_taken).

    """
    if not spec.container_port or any(spec.port in published_ports([one]) for one in own):
        return
    holder = next((one for one in containers if spec.port in published_ports([one])), None)
    for listener in find_listeners(machine, [spec.port]):
        address = str(listener["address"]).replace("::ffff:", "")
        if listener["scope"] == "any" or address in spec.addresses:
            process = (
                f"{listener['process'] or 'a process'} (pid {listener['pid'] or 'unknown'}, user {listener['user']})"
            )
            who = f"the container {name_of(holder)!r}" if holder else process
            raise _taken(spec, f"{who} listens on {listener['address']}", holder, process=listener["process"])
    # What another network namespace has, or the engine holds without a listener of its own, shows when the address is tried.
    for address in spec.addresses:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, spec.port))
            except OSError as error:
                raise _taken(spec, f"{address} cannot be bound ({error.strerror})", holder) from error


def require_gpu_runtime(engine: Engine, machine: Machine, gpus: str) -> None:
    """Raise where GPUs are wanted and the engine has no way to give them to a container.

    Docker takes NVIDIA's hook from the PATH, whether or not a runtime "nvidia" is registered; newer ones take CDI devices.

    Raises:
        Failure: C(nvidia_runtime_missing).

    """
    if gpus == wanted_spec.NO_GPUS or engine.facts["nvidia_runtime"] or machine.find_command(_GPU_HOOK):
        return
    if any(name.startswith("nvidia") for folder in _CDI_FOLDERS for name in machine.names(folder)):
        return
    raise Failure(
        "nvidia_runtime_missing",
        f"The container needs GPUs ({gpus}), but the engine at {engine.facts['endpoint']} has no NVIDIA runtime: neither an entry in "
        "'docker info', nor the toolkit's hook, nor a CDI file. Nothing was pulled. Install the NVIDIA Container Toolkit, run "
        "'nvidia-ctk runtime configure --runtime=docker' and restart Docker; for a server without a GPU, set gpus to none.",
    )


def require_gpus_free(spec: Spec, own: Collection[dict[str, Any]], containers: Iterable[dict[str, Any]]) -> None:
    """Raise where another running container was given a GPU that this one wants.

    Two engines on one GPU take each other's memory in the order in which they start (upstream-facts P4): one owner at a time.

    Raises:
        Failure: C(gpu_in_use), naming the container.

    """
    if spec.gpus == wanted_spec.NO_GPUS:
        return
    own_ids = {one.get("Id") for one in own}
    for one in containers:
        if one.get("Id") not in own_ids and _overlap(spec.gpus, gpus_of(one)):
            kind = kind_of(one)
            whose = (
                f"a {kind} server of this collection" if kind else f"image {object_of(one.get('Config')).get('Image')}"
            )
            raise Failure(
                "gpu_in_use",
                f"The container {name_of(one)!r} ({whose}) uses the GPUs {gpus_of(one)}, but {spec.name!r} needs {spec.gpus}. Two engines "
                f"on one GPU run out of memory. Nothing was pulled or stopped. {_remedy(one)}, name other GPUs, or allow it with "
                f"vllm_share_gpus or nim_share_gpus (option share_gpus) if you know that both fit.",
                container=name_of(one),
            )


def is_in_the_way(spec: Spec, other: dict[str, Any]) -> bool:
    """Tell whether a container that runs has the port, or a GPU, that this one wants."""
    return (bool(spec.container_port) and spec.port in published_ports([other])) or shares_gpus(spec, other)


def shares_gpus(spec: Spec, other: dict[str, Any]) -> bool:
    """Tell whether a container was given a GPU that this one wants."""
    return _overlap(spec.gpus, gpus_of(other))


def _overlap(one: str, other: str) -> bool:
    if wanted_spec.NO_GPUS in (one, other):
        return False
    if wanted_spec.ALL_GPUS in (one, other):
        return True
    devices = [set(wanted_spec.device_ids(text)) for text in (one, other)]
    # Numbers and UUIDs can mean the same device; where the two are mixed, only nvidia-smi could tell.
    return bool(devices[0] & devices[1]) or _has_uuids(devices[0]) != _has_uuids(devices[1])


def _has_uuids(devices: set[str]) -> bool:
    return any(not device.isdigit() for device in devices)


def _taken(spec: Spec, who: str, holder: dict[str, Any] | None, **details: Any) -> Failure:
    return Failure(
        "port_taken",
        f"{spec.name} would be published on port {spec.port} of {', '.join(spec.addresses)}, but {who}. Nothing was pulled or stopped. "
        f"{_remedy(holder) if holder else 'Stop what listens there'}, or choose another port.",
        port=spec.port,
        container=name_of(holder) if holder else None,
        **details,
    )


def _remedy(holder: dict[str, Any]) -> str:
    """Return how a container gets out of the way; one of ours can be stopped for as long as it takes to see that the other works."""
    name = name_of(holder)
    ours = (
        f", have it stopped for this one and started again should this one fail (instead_of: {name}; in the roles nemoclaw_make_room)"
        if kind_of(holder)
        else ""
    )
    return f"Stop that one (docker stop {name}){ours}"


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


PREVIOUS, NEXT = "-previous", "-next"
UNPROVED_POLICY = "on-failure"
# Of a container that served until it was stopped for another: it serves again where that one fails. One that somebody stopped keeps
# its own policy, and stays stopped.
MADE_WAY_POLICY = "no"


@dataclass(frozen=True)
class Plan:
    """What is there, what is wanted, and the steps between.

    Attributes:
        spec: What is wanted.
        current: The container that counts as ours now; of a run that was killed in the middle it is the previous one.
        fallback: C(NAME-previous), kept until the current one has proved itself.
        changes: What differs.
        step: C(none), C(rename) (it serves, and a run that was killed left it with another name), C(start), C(update), C(create) or
            C(replace).
        yielding: Another container of ours that runs and is stopped for this one.

    """

    spec: Spec
    current: dict[str, Any] | None
    fallback: dict[str, Any] | None
    changes: list[Difference]
    step: str
    yielding: dict[str, Any] | None = None

    @property
    def needs_container(self) -> bool:
        """Whether a container has to be made: then image and weights have to be there first."""
        return self.step in ("create", "replace")

    @property
    def own(self) -> list[dict[str, Any]]:
        """The containers of ours whose ports and GPUs are free by the time the new one starts."""
        return [one for one in (self.current, self.fallback, self.yielding) if one]

    @property
    def before(self) -> str:
        """The state before, for the diff."""
        return status_of(self.current)

    def actions(self) -> list[str]:
        """Return what apply() does, for people."""
        name = self.spec.name
        options = ", ".join(change.name for change in self.changes)
        step = {
            "none": [],
            "rename": [f"rename {name + PREVIOUS}"],
            "start": [f"start {name}"],
            "update": [f"update {name} ({options})"],
            "create": [f"create {name}"],
            "replace": [f"replace {name} ({options})"],
        }[self.step]
        return [f"stop {name_of(self.yielding)}", *step] if self.yielding else step

    def kept(self, keep_previous: bool) -> list[str]:
        """Return what follow() does once the container is ready, for people: in check mode nobody can follow."""
        name, proved = self.spec.name, self.current is not None and not is_unproved(self.current)
        actions = []
        if self.step in ("create", "replace", "start") or not proved:
            actions.append(f"keep {name} (restart policy {self.spec.restart_policy})")
        if not keep_previous and (self.fallback or (self.step == "replace" and proved)):
            actions.append(f"remove {name + PREVIOUS}")
        return actions

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff of apply(), for a plan that has something to do."""
        shown = as_diff(self.changes, self.spec.name, self.before, "running")
        if self.yielding:
            name = name_of(self.yielding)
            shown = {"before": f"{name}: running\n{shown['before']}", "after": f"{name}: exited\n{shown['after']}"}
        return shown


def make_plan(engine: Engine, spec: Spec) -> Plan:
    """Return what would have to be done.

    Raises:
        Failure: C(container_foreign).

    """
    current, fallback = ours(engine, spec.name, spec.kind)
    if current is None:
        current, fallback = fallback, None
    yielding = _yielding(engine, spec)
    if current is None:
        return Plan(spec, None, None, [], "create", yielding)
    changes = differences(spec, current, engine.image(spec.image))
    if is_unproved(current):
        changes = [change for change in changes if change.name != "restart_policy"]
    if any(not change.in_place for change in changes):
        return Plan(spec, current, fallback, changes, "replace", yielding)
    if not object_of(current.get("State")).get("Running"):
        return Plan(spec, current, fallback, changes, "start", yielding)
    step = "update" if changes else "none" if name_of(current) == spec.name else "rename"
    return Plan(spec, current, fallback, changes, step)


def port_of(found: dict[str, Any]) -> int | None:
    """Return the port that a container is published on, None where it is on none."""
    bindings = object_of(object_of(found.get("HostConfig")).get("PortBindings"))
    ports = [str(object_of(one).get("HostPort")) for entries in bindings.values() for one in list_of(entries)]
    return int(ports[0]) if ports and ports[0].isdigit() else None


def is_unproved(found: dict[str, Any]) -> bool:
    """Tell whether a container was made or started by us and has not been ready since."""
    return _policy_of(found) == UNPROVED_POLICY


def has_made_way(found: dict[str, Any]) -> bool:
    """Tell whether a container was stopped, or is about to be, for another one that has not proved itself since."""
    return _policy_of(found) == MADE_WAY_POLICY


def _policy_of(found: dict[str, Any]) -> str:
    return str(object_of(object_of(found.get("HostConfig")).get("RestartPolicy")).get("Name") or "")


def status_of(found: dict[str, Any] | None) -> str:
    """Return C(absent) or the engine's word: C(running), C(exited), C(created), C(restarting)."""
    return str(object_of(found.get("State")).get("Status")) if found else "absent"


def model_of(found: dict[str, Any]) -> str:
    """Return what the container's label says that it serves."""
    return str(object_of(object_of(found.get("Config")).get("Labels")).get(MODEL) or "")


def ours(engine: Engine, name: str, kind: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the container and its predecessor, each None where there is none."""
    current, fallback = engine.container(name), engine.container(name + PREVIOUS)
    require_ours(current, name, kind)
    require_ours(fallback, name + PREVIOUS, kind)
    return current, fallback


def previous_of(engine: Engine, spec: Spec) -> str | None:
    """Return the name of the predecessor, None where there is none."""
    fallback = ours(engine, spec.name, spec.kind)[1]
    return name_of(fallback) if fallback else None


def other(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return another container of ours, None where there is none; one of somebody else neither makes way nor is started."""
    found = engine.container(name) if name else None
    return found if found and kind_of(found) else None


def _yielding(engine: Engine, spec: Spec) -> dict[str, Any] | None:
    """Return the container that has to be stopped for this one, None where both can run."""
    found = other(engine, spec.instead_of) if spec.instead_of != spec.name else None
    runs = object_of((found or {}).get("State")).get("Running")
    return found if found and runs and is_in_the_way(spec, found) else None


def waiting(engine: Engine, name: str) -> str:
    """Return the name where it is of a container of ours that has made way, else nothing."""
    found = other(engine, name)
    return name if found and has_made_way(found) else ""
