# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a managed container should be, as the engine's API takes it, the labels that say it is ours, and what differs from it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as random_source
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..failure import MASK
from ..untrusted import list_of, object_of, parse_json

PREFIX = "nemoclaw.local_inference."
KIND, MODEL, ENVIRONMENT, SECRETS = (PREFIX + name for name in ("kind", "model", "environment", "secrets"))
RESTART_POLICY = "unless-stopped"
ALL_GPUS, NO_GPUS = "all", "none"


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host in the container; the engine refuses one whose source is not there."""

    source: str
    target: str
    read_only: bool = True
    kind: str = "bind"


@dataclass(frozen=True)
class Spec:
    """A container that we want.

    Attributes:
        name: Its name.
        kind: Which part of the collection owns it: C(vllm), C(nim). It is the value of the label that makes it ours.
        image: Reference, best with a digest.
        command: Arguments; empty keeps the image's own.
        entrypoint: None keeps the image's own.
        environment: Plain settings.
        secrets: Settings whose values are compared by a keyed hash and shown nowhere.
        mounts: What of the host it sees.
        addresses: Host addresses that it is published on; never 0.0.0.0 by default.
        port: Port on these addresses.
        container_port: Port in the container; 0 publishes none.
        gpus: C(all), C(none), or device ids and UUIDs with commas between, as for C(docker run --gpus).
        shm_bytes: Size of /dev/shm; None keeps the engine's default.
        ipc: C(host) or None.
        user: C(UID:GID), or None for the image's.
        restart: Whether the engine starts it again after a crash and at boot.
        model: What it serves, for people.
        instead_of: Another container of ours that gives its port and GPUs up for this one; no part of the container itself.

    """

    name: str
    kind: str
    image: str
    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    addresses: Sequence[str] = ()
    port: int = 0
    container_port: int = 0
    gpus: str = NO_GPUS
    shm_bytes: int | None = None
    ipc: str | None = None
    user: str | None = None
    restart: bool = True
    model: str = ""
    instead_of: str = ""

    @property
    def restart_policy(self) -> str:
        """The engine's name for what happens when it ends."""
        return RESTART_POLICY if self.restart else "no"

    def as_running(self) -> dict[str, Any]:
        """Return what results tell of the container once it runs; nothing of its environment is in it."""
        return {
            "name": self.name,
            "image": self.image,
            "status": "running",
            "published": [f"{address}:{self.port}" for address in self.addresses],
            "gpus": self.gpus,
            "restart_policy": self.restart_policy,
        }

    def body(self) -> dict[str, Any]:
        """Return the body of C(POST /containers/create), the secrets among it: never show it."""
        host: dict[str, Any] = {
            "RestartPolicy": {"Name": self.restart_policy},
            "Mounts": [
                {"Type": mount.kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
                for mount in self.mounts
            ],
            "PortBindings": port_bindings(self),
            "DeviceRequests": device_requests(self.gpus),
        }
        if self.shm_bytes is not None:
            host["ShmSize"] = self.shm_bytes
        if self.ipc:
            host["IpcMode"] = self.ipc
        body: dict[str, Any] = {
            "Image": self.image,
            "Env": [f"{name}={value}" for name, value in sorted({**self.environment, **self.secrets}.items())],
            "Labels": labels(self),
            "ExposedPorts": {f"{self.container_port}/tcp": {}} if self.container_port else {},
            "HostConfig": host,
        }
        if self.command:
            body["Cmd"] = list(self.command)
        if self.entrypoint is not None:
            body["Entrypoint"] = list(self.entrypoint)
        if self.user:
            body["User"] = self.user
        return body


def port_bindings(spec: Spec) -> dict[str, list[dict[str, str]]]:
    """Return the published addresses in the engine's words."""
    if not spec.container_port:
        return {}
    return {
        f"{spec.container_port}/tcp": [{"HostIp": address, "HostPort": str(spec.port)} for address in spec.addresses]
    }


def device_requests(gpus: str) -> list[dict[str, Any]]:
    """Return what C(docker run --gpus) sends for the same words."""
    if gpus == NO_GPUS:
        return []
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}}
    if gpus == ALL_GPUS:
        return [{**request, "Count": -1}]
    return [{**request, "DeviceIDs": device_ids(gpus)}]


def device_ids(gpus: str) -> list[str]:
    """Return the devices that a list such as C(0,GPU-8f3a) names."""
    return [word.strip() for word in gpus.split(",") if word.strip()]


def labels(spec: Spec) -> dict[str, str]:
    """Return the labels: whose it is, what it serves, which settings are ours, and the seals of the secrets."""
    return {
        KIND: spec.kind,
        MODEL: spec.model,
        ENVIRONMENT: ",".join(sorted({*spec.environment, *spec.secrets})),
        SECRETS: json.dumps({name: seal(value) for name, value in sorted(spec.secrets.items())}),
    }


def seal(secret: str, key: str | None = None) -> str:
    """Return C(KEY:HMAC): enough to see whether a secret changed, nothing to learn it from.

    The key is random for each container, so that no table of hashes and no second container tells whether two hosts share a
    secret.
    """
    key = key or random_source.token_hex(16)
    return f"{key}:{hmac.new(key.encode(), secret.encode(), hashlib.sha256).hexdigest()}"


def is_sealed(secret: str, sealed: str | None) -> bool:
    """Tell whether the seal is of this secret."""
    key = (sealed or "").partition(":")[0]
    return bool(key) and hmac.compare_digest(seal(secret, key), sealed or "")


def seals_of(label: str | None) -> dict[str, Any]:
    """Return C({name: seal}) of a label's text; empty for what nobody of us wrote."""
    try:
        return object_of(parse_json(label or "{}"))
    except ValueError:
        return {}


CHANGED_SECRET = f"{MASK} (another one)"


class Difference(NamedTuple):
    """One option that differs; C(in_place) where the container need not be made anew for it. Fit to be shown."""

    name: str
    before: Any
    after: Any
    in_place: bool = False


def differences(spec: Spec, found: dict[str, Any], image: dict[str, Any] | None) -> list[Difference]:
    """Return what has to change; empty where the container is as wanted.

    Options that the specification leaves to the image or the engine are not compared. Of the environment only what we set is
    looked at, because images bring variables of their own.

    Args:
        spec: What is wanted.
        found: What inspect says of the container.
        image: What inspect says of C(spec.image), None where the engine does not have it under that name.

    """
    config, host = object_of(found.get("Config")), object_of(found.get("HostConfig"))
    pairs: list[tuple[str, Any, Any]] = []
    if config.get("Image") != spec.image or (image is not None and image.get("Id") != found.get("Image")):
        pairs.append(
            ("image", _image_of(found), _image_of({"Config": {"Image": spec.image}, "Image": (image or {}).get("Id")}))
        )
    if spec.command:
        pairs.append(("command", list_of(config.get("Cmd")), list(spec.command)))
    if spec.entrypoint is not None:
        pairs.append(("entrypoint", list_of(config.get("Entrypoint")), list(spec.entrypoint)))
    if spec.user:
        pairs.append(("user", config.get("User"), spec.user))
    if spec.shm_bytes is not None:
        pairs.append(("shm_bytes", host.get("ShmSize"), spec.shm_bytes))
    if spec.ipc:
        pairs.append(("ipc", host.get("IpcMode"), spec.ipc))
    pairs.append(("mounts", _mounts(host.get("Mounts")), _mounts(spec.body()["HostConfig"]["Mounts"])))
    pairs.append(("ports", _ports(host.get("PortBindings")), _ports(port_bindings(spec))))
    pairs.append(("gpus", gpus_of(found), _canonical_gpus(spec.gpus)))
    pairs += _environment(spec, config)
    result = [Difference(name, before, after) for name, before, after in pairs if before != after]
    policy = object_of(host.get("RestartPolicy")).get("Name") or "no"
    if policy != spec.restart_policy:
        result.append(Difference("restart_policy", policy, spec.restart_policy, in_place=True))
    return result


def as_diff(changes: list[Difference], name: str, before: str, after: str) -> dict[str, str]:
    """Return Ansible's diff: the state of the container, then every option that changes, a line each."""
    lines = [(change.name, change.before, change.after) for change in changes]
    return {
        "before": "".join([f"{name}: {before}\n", *(f"{option}: {old}\n" for option, old, _new in lines)]),
        "after": "".join([f"{name}: {after}\n", *(f"{option}: {new}\n" for option, _old, new in lines)]),
    }


def gpus_of(found: dict[str, Any]) -> str:
    """Return the GPUs of a container in the words of the option: C(all), C(none) or sorted devices."""
    for request in map(object_of, list_of(object_of(found.get("HostConfig")).get("DeviceRequests"))):
        if any("gpu" in list_of(words) for words in list_of(request.get("Capabilities"))):
            devices = sorted(map(str, list_of(request.get("DeviceIDs"))))
            return ",".join(devices) if devices else ALL_GPUS
    return NO_GPUS


def _canonical_gpus(gpus: str) -> str:
    if gpus in (ALL_GPUS, NO_GPUS):
        return gpus
    return ",".join(sorted(device_ids(gpus)))


def _image_of(found: dict[str, Any]) -> str:
    """Return the reference and the beginning of the id: a tag that moved has the same reference."""
    identity = str(found.get("Image") or "not here yet")
    return f"{object_of(found.get('Config')).get('Image')} ({identity[:19]})"


def _mounts(entries: Any) -> list[str]:
    return sorted(
        f"{one.get('Source')}:{one.get('Target')}:{'ro' if one.get('ReadOnly') else 'rw'}"
        for one in map(object_of, list_of(entries))
    )


def _ports(bindings: Any) -> list[str]:
    return sorted(
        f"{one.get('HostIp')}:{one.get('HostPort')}->{port}"
        for port, addresses in object_of(bindings).items()
        for one in map(object_of, list_of(addresses))
    )


def _environment(spec: Spec, config: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the settings of ours, before and after; of a secret only whether it is there and whether it is the same."""
    label = object_of(config.get("Labels"))
    present = dict(str(line).partition("=")[::2] for line in list_of(config.get("Env")))
    ours = {name for name in str(label.get(ENVIRONMENT) or "").split(",") if name}
    seals = seals_of(label.get(SECRETS))
    pairs: list[tuple[str, Any, Any]] = []
    for name in sorted(ours | set(spec.environment) | set(spec.secrets)):
        if name in spec.secrets or name in seals:
            before = MASK if name in seals and name in present else None
            after = MASK if name in spec.secrets else None
            if before and after and not is_sealed(spec.secrets[name], str(seals[name])):
                after = CHANGED_SECRET
        else:
            before, after = present.get(name), spec.environment.get(name)
        pairs.append((f"environment {name}", before, after))
    return pairs


_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_EXCEPTIONS = ("NO_PROXY", "no_proxy")
# The parts of a server in one container talk to each other.
_ITSELF = ("localhost", "127.0.0.1")


def web_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a host's web proxies, with the container itself among the exceptions; empty without a proxy.

    They may hold a password, so they belong among a container's secrets.
    """
    found = {variable: environ[variable] for variable in _PROXIES if environ.get(variable)}
    if not found:
        return {}
    for variable in _EXCEPTIONS:
        hosts = [host.strip() for host in environ.get(variable, "").split(",") if host.strip()]
        found[variable] = ",".join([*hosts, *(host for host in _ITSELF if host not in hosts)])
    return found
