# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What an installation replaces, kept beside it: for as long as it runs, or until its caller has proved more than it can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install.archive import PARTS

_FOLDER = ".nemoclaw-ollama-previous"
_VERSION = "version"


def copy(prefix: Path, folder: Path) -> None:
    """Keep the program and its libraries in a folder of the same file system.

    The libraries are linked and not copied: gigabytes in no time. Whoever replaces them writes new files.
    """
    for name in PARTS:
        source, target = prefix / name, folder / name.parts[0]
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, copy_function=os.link)
        elif source.exists():
            shutil.copy2(source, target, follow_symlinks=False)


def put_back(prefix: Path, folder: Path) -> None:
    """Put what was kept in its place again, and remove what is there instead."""
    for name in PARTS:
        place, kept = prefix / name, folder / name.parts[0]
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        if kept.exists() or kept.is_symlink():
            place.parent.mkdir(exist_ok=True)
            kept.rename(place)


def keep(prefix: Path, version: str) -> None:
    """Keep a version over the end of this run, instead of what a run that was killed may have kept."""
    folder = prefix / _FOLDER
    forget(prefix)
    folder.mkdir()
    copy(prefix, folder)
    (folder / _VERSION).write_text(version, encoding="utf-8")  # last: a folder without it is not whole


def find(prefix: Path) -> str | None:
    """Return the version that is kept, None without one."""
    try:
        return (prefix / _FOLDER / _VERSION).read_text(encoding="utf-8")
    except OSError:
        return None


def restore(prefix: Path) -> None:
    """Put the version that is kept in its place again."""
    put_back(prefix, prefix / _FOLDER)
    forget(prefix)


def forget(prefix: Path) -> None:
    """Let go of what is kept."""
    shutil.rmtree(prefix / _FOLDER, ignore_errors=True)
