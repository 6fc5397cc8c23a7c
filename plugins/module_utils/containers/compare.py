# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What differs between a container and what it should be. Pure: the diff is printed from the same list that decides."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..containers import spec as wanted_spec
from ..transport.credentials import MASK
from ..untrusted import list_of, object_of
from .spec import Spec

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
    pairs.append(("ports", _ports(host.get("PortBindings")), _ports(wanted_spec.port_bindings(spec))))
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
            return ",".join(devices) if devices else wanted_spec.ALL_GPUS
    return wanted_spec.NO_GPUS


def _canonical_gpus(gpus: str) -> str:
    if gpus in (wanted_spec.ALL_GPUS, wanted_spec.NO_GPUS):
        return gpus
    return ",".join(sorted(wanted_spec.device_ids(gpus)))


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
    ours = {name for name in str(label.get(wanted_spec.ENVIRONMENT) or "").split(",") if name}
    seals = wanted_spec.seals_of(label.get(wanted_spec.SECRETS))
    pairs: list[tuple[str, Any, Any]] = []
    for name in sorted(ours | set(spec.environment) | set(spec.secrets)):
        if name in spec.secrets or name in seals:
            before = MASK if name in seals and name in present else None
            after = MASK if name in spec.secrets else None
            if before and after and not wanted_spec.is_sealed(spec.secrets[name], str(seals[name])):
                after = CHANGED_SECRET
        else:
            before, after = present.get(name), spec.environment.get(name)
        pairs.append((f"environment {name}", before, after))
    return pairs
