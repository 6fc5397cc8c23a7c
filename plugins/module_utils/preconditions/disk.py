# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Whether what will be downloaded may be written where it will lie, and has room there, counted together on each file system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..failure import Failure
from ..sizes import format_bytes

# While an image is pulled its compressed layers and its unpacked files are there together; files of CUDA libraries shrink to
# about 40 % when packed: 1 + 2.5 times the download. An estimate.
IMAGE_FACTOR = 3.5


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
        return f"{folder} is no folder"
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return (
            f"{folder} belongs to somebody else" if folder.stat().st_uid != os.geteuid() else f"{folder} is read-only"
        )
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
        f"{what[:1].upper()}{what[1:]} belong into {folder}, and the user of this task (uid {uid}) cannot write there: {why}. Give the "
        f"cache to that user (sudo mkdir -p {cache_dir}; sudo chown -R {uid} {cache_dir}), or set "
        "vllm_cache_dir or nim_cache_dir (option cache_dir) to another folder.",
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
                f"{format_bytes(row['free'])} free, and {format_bytes(row['needed'])} are needed. {remedy}. Nothing was downloaded.",
                mount=row["mount"],
                free=row["free"],
                needed=row["needed"],
            )
    return list(rows.values())
