# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is refused before a download: GPUs that cannot run the model, and a disk without room for it or closed to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from .failure import Failure, format_bytes
from .host.gpus import LIMIT_S, find_nvidia_smi, group_by_name, summarise
from .host.machine import Machine

# What a host has to keep of memory that its GPU shares: a DGX Spark that a server takes more of does not answer any more, and has to be
# switched off (NVIDIA's release notes of NemoClaw warn of it).
HOST_RESERVE_MIB = 16 * 1024
AUTO = "auto"
ALL = "all"
# While an image is pulled its compressed layers and its unpacked files are there together; files of CUDA libraries shrink to
# about 40 % when packed: 1 + 2.5 times the download. An estimate.
IMAGE_FACTOR = 3.5


class Gpus(NamedTuple):
    """The GPUs that a container gets.

    Attributes:
        ids: C(["all"]), or the UUIDs, for where a driver tells none the indices: the C(device_ids) of a device request.
        devices: Those of C(nemoclaw_host.gpus.devices) that this means.

    """

    ids: list[str]
    devices: list[dict[str, Any]]

    @property
    def summary(self) -> str:
        """Each model with its memory, and the total, as the page's preflight summary shows them."""
        unified = any(device["unified_memory"] for device in self.devices)
        total = memory_of(self.devices)
        return summarise(group_by_name(self.devices), total, unified)


def choose_gpus(wanted: str, gpus: Mapping[str, Any], names: str | None = None) -> Gpus:
    """Return the GPUs that C(wanted) means.

    Args:
        wanted: C(auto), C(all), or a list with commas of indices, UUIDs (or their beginnings) and parts of names.
        gpus: C(nemoclaw_host.gpus).
        names: For C(auto): the part of a name that picks them; where none has it, and without it, all of them.

    Raises:
        Failure: C(gpu_missing) where the host has none that can be trusted, C(gpu_unknown) for one that it has not.

    """
    devices = [device for device in gpus["devices"] if device["trusted"]]
    if not devices:
        raise Failure(
            "gpu_missing",
            f"Looked for an NVIDIA GPU on this host: {gpus['problem'] or 'it has none.'} Managed vLLM and NIM need one: use another "
            f"provider here, or fix the driver.",
        )
    wanted = wanted.strip() or AUTO
    if wanted == AUTO and names:
        named = [device for device in devices if names.lower() in device["name"].lower()]
        if named and len(named) < len(devices):
            return Gpus([_id(device) for device in named], named)
    if wanted in (AUTO, ALL):
        return Gpus([ALL], devices)
    chosen: list[dict[str, Any]] = []
    for word in (part.strip() for part in wanted.split(",")):
        found = [device for device in devices if _matches(word, device)]
        if not found:
            listed = "; ".join(f"{device['index']}: {device['name']}, {device['uuid']}" for device in devices)
            is_part = word.lower().startswith("mig-")
            more = (
                " A MIG device cannot be used: its memory is not known here, so name the whole GPU." if is_part else ""
            )
            raise Failure(
                "gpu_unknown",
                f"Looked for the GPU {word!r}: this host has {listed}. Set gpus to indices, UUIDs or parts of these names, separated by "
                f"commas, or to 'all'.{more}",
                gpu=word,
            )
        chosen += [device for device in found if device not in chosen]
    return Gpus([_id(device) for device in chosen], chosen)


def of_one_kind(gpus: Gpus, preferred: str | None = None) -> Gpus:
    """Return the GPUs of one model: of those whose name has C(preferred) in it, else of the model with the most memory in all.

    C(all) stays C(all) where there is one model only.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for device in gpus.devices:
        kinds.setdefault(device["name"], []).append(device)
    if len(kinds) == 1:
        return gpus

    def weight(name: str) -> tuple[bool, int]:
        return bool(preferred) and str(preferred).lower() in name.lower(), memory_of(kinds[name])

    chosen = kinds[max(kinds, key=weight)]
    return Gpus([_id(device) for device in chosen], chosen)


def memory_of(devices: Iterable[Mapping[str, Any]]) -> int:
    """Return the memory of GPUs together, in MiB."""
    return sum(device["memory_total_mib"] or 0 for device in devices)


def check_capability(gpus: Gpus, model: str, needed: str | None) -> None:
    """Refuse GPUs that cannot compute in the model's number format (upstream-facts P5: 118 restarts on such a GPU).

    Raises:
        Failure: C(gpu_too_old). A GPU whose capability the driver does not tell is let through.

    """
    if needed is None:
        return
    for device in gpus.devices:
        has = device["compute_capability"]
        if has is not None and _version(has) < _version(needed):
            raise Failure(
                "gpu_too_old",
                f"Compared the GPU {device['name']} with what {model} needs: its compute capability is {has}, and the model's "
                f"number format needs {needed}. Choose another model, or select capable GPUs with 'gpus'; nothing was downloaded.",
                gpu=device["name"],
                compute_capability=has,
                needed=needed,
            )


def check_memory(gpus: Gpus, model: str, needed_mib: int | None, count: int | None = None) -> int:
    """Refuse a model that the GPUs are too small for, and return the MiB that they have for it.

    Args:
        gpus: Those that the container gets.
        model: Its name, for the sentence.
        needed_mib: None lets every model through.
        count: How many GPUs the model is spread over, the largest first, in equal parts; None for all (as the page counts NIM).

    Raises:
        Failure: C(gpu_too_small).

    """
    sizes = sorted((device["memory_total_mib"] or 0 for device in gpus.devices), reverse=True)
    used = sizes if count is None else sizes[:count]
    if count is not None and len(used) < count:
        raise Failure(
            "gpu_too_small",
            f"Counted the GPUs for {model}: it is spread over {count}, but there are {len(used)} ({gpus.summary}). Lower its "
            f"tensor_parallel_size, or give it more GPUs.",
            needed_gpus=count,
        )
    has = sum(used) if count is None else min(used) * count
    if needed_mib is not None and has < needed_mib:
        # Powers of two: the parts of a model are equal, and 3 divides few numbers of attention heads.
        counts = (many for many in (2, 4, 8, 16) if len(used) < many <= len(sizes))
        spread = next((many for many in counts if sizes[many - 1] * many >= needed_mib), None)
        advice = f"Spread it over {spread} GPUs (tensor_parallel_size), or choose" if spread else "Choose"
        raise Failure(
            "gpu_too_small",
            f"Compared the GPU memory with what {model} needs: it needs {needed_mib} MiB, and {has} MiB count for it "
            f"({gpus.summary}). {advice} a smaller model; nothing was downloaded.",
            needed_mib=needed_mib,
            memory_mib=has,
        )
    return has


def bounded_share(gpus: Gpus, share: float) -> float:
    """Return the share of the memory of each GPU that a server may take by default: all of C(share), unless too little is left to the host.

    Only memory that the GPU shares with the host counts. The result has two digits, so that it does not move with each boot.
    """
    for device in gpus.devices:
        total = device["memory_total_mib"]
        if device["unified_memory"] and total and total * (1 - share) < HOST_RESERVE_MIB:
            share = min(share, max(0, int(100 * (total - HOST_RESERVE_MIB) / total)) / 100)
    return share


def check_host_room(gpus: Gpus, what: str, share: float, setting: str) -> None:
    """Refuse a server that would leave too little of unified memory to the host.

    Args:
        gpus: Those that the container gets.
        what: Who takes it, for the sentence.
        share: Part of the memory that the server takes, 0 to 1.
        setting: How it is lowered.

    Raises:
        Failure: C(host_memory_short), with the numbers.

    """
    most = bounded_share(gpus, share)
    device = next((one for one in gpus.devices if one["unified_memory"]), None)
    if device is None or most >= share > 0:
        return
    total = device["memory_total_mib"]
    advice = f"Lower it to {most:g} or less ({setting})" if most > 0 else "Use a smaller server on this host"
    raise Failure(
        "host_memory_short",
        f"Compared what {what} takes with the memory that the GPU {device['name']} shares with this host: {share:g} of {total} MiB leave "
        f"{int(total * (1 - share))} MiB to the host, which needs {HOST_RESERVE_MIB} MiB to stay responsive. {advice}; "
        "nothing was downloaded.",
        memory_mib=total,
        left_mib=int(total * (1 - share)),
        needed_mib=HOST_RESERVE_MIB,
        share=share,
    )


def check_free(gpus: Gpus, share: float, holders: Iterable[str]) -> None:
    """Refuse GPUs of which another engine holds so much that the server could not get its share.

    Call it only where no container of ours holds the memory itself; it would be given back before the new one starts.

    Args:
        gpus: Those that the container gets.
        share: Part of each GPU's memory that the server takes, 0 to 1.
        holders: Who holds GPU memory now, in words: see find_holders.

    Raises:
        Failure: C(gpu_busy), with the holders.

    """
    for device in gpus.devices:
        total, free = device["memory_total_mib"], device["memory_free_mib"]
        if total is None or free is None or free >= total * share:
            continue
        by = list(holders)
        held = f" Held by {', '.join(by)}." if by else ""
        raise Failure(
            "gpu_busy",
            f"Looked at the memory of the GPU {device['name']}: {free} of {total} MiB are free, but the server takes {int(total * share)} "
            f"MiB.{held} One engine at a time: unload or stop the other (playbook unload for Ollama), or give this one another GPU with "
            f"'gpus'.",
            gpu=device["name"],
            free_mib=free,
            needed_mib=int(total * share),
            holders=by,
        )


def find_holders(machine: Machine) -> list[str]:
    """Return who holds GPU memory, as C(NAME (pid N, M MiB)), as far as nvidia-smi tells."""
    path = find_nvidia_smi(machine)
    if path is None:
        return []
    query = [path, "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits"]
    answer = machine.run(query, LIMIT_S)
    found = []
    for line in answer.output.splitlines() if answer.code == 0 else ():
        pid, comma, rest = line.partition(",")
        name, _comma, used = rest.rpartition(",")
        if comma and pid.strip().isdigit() and name.strip():
            used = f", {used.strip()} MiB" if used.strip().isdigit() else ""
            found.append(f"{_printable(name.strip())} (pid {pid.strip()}{used})")
    return found


def _matches(word: str, device: Mapping[str, Any]) -> bool:
    if word.isascii() and word.isdigit():
        return (word.lstrip("0") or "0") == str(device["index"])
    uuid = str(device["uuid"] or "").lower()
    if word.lower().startswith("gpu-"):
        return uuid.startswith(word.lower())
    return bool(word) and word.lower() in device["name"].lower()


def _id(device: Mapping[str, Any]) -> str:
    # Indices may change when a GPU is added or lost, and the container outlives a reboot.
    return str(device["uuid"] or device["index"])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


class Need(NamedTuple):
    """Something that will take room.

    Attributes:
        what: What it is, for sentences: C(the image X), C(the weights of Y).
        path: Where it will lie; it need not exist yet.
        bytes: How much it takes.

    """

    what: str
    path: str
    bytes: int


class Space(NamedTuple):
    """The file system that a path is on.

    Attributes:
        mount: Where it is mounted.
        device: Number that tells file systems apart.
        free: Bytes that a user may still write.

    """

    mount: str
    device: int
    free: int


def image_need(reference: str, download_bytes: int, docker_root: str) -> Need:
    """Return the room that a pull takes in the engine's own folder (C(DockerRootDir) of its C(/info))."""
    return Need(f"the image {reference}", docker_root, int(download_bytes * IMAGE_FACTOR))


def nearest(path: Path) -> Path:
    """Return the folder, or where it is not there yet the one above it that is."""
    # Path.exists() raises below a folder that is closed to the user.
    while not os.access(path, os.F_OK) and path != path.parent:
        path = path.parent
    return path


def why_closed(folder: Path) -> str | None:
    """Return why the user who acts cannot write to something that is there, None for a folder that he can write to."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"{folder} belongs to another user" if folder.stat().st_uid != os.geteuid() else f"{folder} is read-only"
    return None


def cache_not_writable(what: str, folder: Path, cache_dir: Path, uid: int, why: str) -> Failure:
    """Return the failure for a cache that the downloads cannot be written to.

    Args:
        what: What would be downloaded, for the sentence: C(the weights of X).
        folder: Where it belongs.
        cache_dir: What the option C(cache_dir) means.
        uid: Of the user who would write.
        why: The reason, as part of a sentence.

    """
    return Failure(
        "cache_not_writable",
        f"{what[:1].upper()}{what[1:]} belong in {folder}, but the user of this task (uid {uid}) cannot write there: {why}. Give the cache "
        f"to that user (sudo mkdir -p {cache_dir}; sudo chown -R {uid} {cache_dir}), or set vllm_cache_dir or nim_cache_dir (option "
        f"cache_dir) to another folder.",
        path=str(folder),
    )


def find_space(path: str) -> Space:
    """Return the file system on which C(path) lies, or would lie once it is made."""
    place = nearest(Path(path))
    facts = os.statvfs(place)
    mount = place.resolve()
    while not mount.is_mount() and mount != mount.parent:
        mount = mount.parent
    return Space(str(mount), place.stat().st_dev, facts.f_bavail * facts.f_frsize)


# What whoever downloads weights or an image does about it.
_REMEDY = "Make room there, or move the folder to a larger file system (vllm_cache_dir or nim_cache_dir, data-root of the engine)"


def check_space(
    needs: Sequence[Need], look: Callable[[str], Space] = find_space, remedy: str = _REMEDY
) -> list[dict[str, Any]]:
    """Check each file system for the sum of what will lie on it, and return C({mount, free, needed, what}) of each.

    Args:
        needs: All that is not there yet; an engine in a virtual machine of its own (Docker Desktop) has no folder here, so
            leave its image out.
        look: How to find the file system of a path.
        remedy: What to do where there is too little, as a sentence without its full stop.

    Raises:
        Failure: C(disk_too_small), naming the file system, what it needs and what it has.

    """
    rows: dict[int, dict[str, Any]] = {}
    for need in needs:
        space = look(need.path)
        row = rows.setdefault(space.device, {"mount": space.mount, "free": space.free, "needed": 0, "what": []})
        row["needed"] += need.bytes
        row["what"].append(f"{need.what} ({format_bytes(need.bytes)} in {need.path})")
    for row in rows.values():
        if row["needed"] > row["free"]:
            raise Failure(
                "disk_too_small",
                f"Looked for room for {' and '.join(row['what'])}: the file system at {row['mount']} has "
                f"{format_bytes(row['free'])} free, but {format_bytes(row['needed'])} is needed. {remedy}. Nothing was downloaded.",
                mount=row["mount"],
                free=row["free"],
                needed=row["needed"],
            )
    return list(rows.values())
