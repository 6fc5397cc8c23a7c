# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Where an installation of Ollama lies below its prefix, and what it says of itself: its manifest, and the version kept beside it.

The manifest lies in the library folder, which every installer of Ollama replaces as a whole: what somebody else installs has none. A copy
beside that folder tells of an installation that has lost all of it. Both count as long as the program is the one that was installed.
"""

from __future__ import annotations

import contextlib
import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

PROGRAM = PurePosixPath("bin", "ollama")
LIBRARY = PurePosixPath("lib", "ollama")
# In the order in which they are put in place: the program looks for its libraries beside itself.
PARTS = (LIBRARY, PROGRAM)
MANIFEST = LIBRARY / "nemoclaw-manifest.json"
MANIFEST_COPY = LIBRARY.parent / ".nemoclaw-ollama-manifest.json"
# Of Staging: what of a download came, and what a run left that was killed.
PARTIAL = PurePosixPath(".nemoclaw-ollama")
PREVIOUS_VERSION = PurePosixPath(".nemoclaw-ollama-previous", "version")

_LIMIT = 1024 * 1024
_NAMED = 3


class Manifest(NamedTuple):
    """What was installed.

    Attributes:
        version: Of Ollama.
        sha256: Of the archive; None where a script fetched it.
        files: Path below the prefix -> bytes of a file, or C(-> TARGET) of a link.

    """

    version: str
    sha256: str | None
    files: dict[str, int | str]


def read_manifest(prefix: Path) -> Manifest | None:
    """Return what was recorded, None where nothing was, it cannot be read, or somebody has put another program there since."""
    name = str(PROGRAM)
    found = (_read(prefix / path) for path in (MANIFEST, MANIFEST_COPY))
    return next((one for one in found if one and _difference(prefix, name, one.files.get(name, 0)) is None), None)


def _read(path: Path) -> Manifest | None:
    with contextlib.suppress(OSError, ValueError):
        with path.open("rb") as file:
            content: Any = json.loads(file.read(_LIMIT))
        version, sha256, files = content["version"], content["sha256"], content["files"]
        if isinstance(version, str) and isinstance(files, dict) and (sha256 is None or isinstance(sha256, str)):
            return Manifest(version, sha256, files)
    return None


def find_damage(prefix: Path) -> str | None:
    """Return what differs from the manifest, as the end of a sentence; None where nothing does or nothing was recorded.

    Sizes and kinds are compared, not contents: the libraries are gigabytes, and this is asked on every run.
    """
    manifest = read_manifest(prefix)
    if manifest is None:
        return None
    wrong = [
        f"{prefix / name} {why}"
        for name, why in ((name, _difference(prefix, name, wanted)) for name, wanted in manifest.files.items())
        if why
    ]
    more = f" and {len(wrong) - _NAMED} more files" if len(wrong) > _NAMED else ""
    return ", ".join(wrong[:_NAMED]) + more if wrong else None


def _difference(prefix: Path, name: str, wanted: int | str) -> str | None:
    path = prefix / name
    try:
        facts = path.lstat()
        target = f"-> {path.readlink()}" if stat.S_ISLNK(facts.st_mode) else None
    except OSError:
        return "is missing"
    if isinstance(wanted, str):
        return None if target == wanted else "is another link"
    if target is None and facts.st_size != wanted:
        return f"has {facts.st_size} bytes instead of {wanted}"
    return None


def find_previous(prefix: Path) -> str | None:
    """Return the version that an upgrade replaced and kept, None without one."""
    try:
        return (prefix / PREVIOUS_VERSION).read_text(encoding="utf-8")[:100].strip() or None
    except (OSError, ValueError):
        return None


def find_leftover(prefix: Path) -> Path | None:
    """Return a folder, gigabytes perhaps, that a run which was killed has left beside an installation; None without one."""
    if find_previous(prefix) is None and (prefix / PREVIOUS_VERSION.parent).exists():
        return prefix / PREVIOUS_VERSION.parent
    return prefix / PARTIAL if (prefix / PARTIAL).exists() else None
