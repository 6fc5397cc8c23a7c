# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a managed container should be, as the body that the engine's API takes, and the labels that say it is ours."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as random_source
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..untrusted import object_of, parse_json

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
