# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What an installation replaces, kept beside it: for as long as it runs, or until its caller has proved more than it can.

A run may be killed between any two of these steps, so each of them can be begun anew: what is kept stays whole until it is in its place
again, and a folder without the file that names its version is nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install.layout import (
    PARTS,
    PREVIOUS_VERSION,
    copy_manifest,
)

_FOLDER = PREVIOUS_VERSION.parent


def copy(prefix: Path, folder: Path) -> None:
    """Keep the program and its libraries in a folder of the same file system.

    The libraries are linked and not copied: gigabytes in no time. Whoever replaces them writes new files.
    """
    for name in PARTS:
        _copy(prefix / name, folder / name.parts[0])


def put_back(prefix: Path, folder: Path) -> None:
    """Put what was kept in its place again, instead of what is there; the folder keeps its copy."""
    for name in PARTS:
        place, kept, fresh = prefix / name, folder / name.parts[0], folder / f"{name.parts[0]}.back"
        _remove(fresh)
        _copy(kept, fresh)
        _remove(place)
        if fresh.exists() or fresh.is_symlink():
            place.parent.mkdir(exist_ok=True)
            fresh.rename(place)


def keep(prefix: Path, version: str) -> None:
    """Keep a version over the end of this run.

    Never where one is kept already (find_previous): a run that was broken off has replaced that and proved nothing, and what lies in its
    place may be half of the one and half of the other.
    """
    folder = prefix / _FOLDER
    forget(prefix)
    folder.mkdir()
    copy(prefix, folder)
    fresh = folder / f"{PREVIOUS_VERSION.name}.new"
    fresh.write_text(version, encoding="utf-8")
    fresh.rename(prefix / PREVIOUS_VERSION)  # last, and in one step: a folder without it is not whole


def restore(prefix: Path) -> None:
    """Put the version that is kept in its place again. It stays kept, until forget()."""
    put_back(prefix, prefix / _FOLDER)
    copy_manifest(prefix)


def forget(prefix: Path) -> None:
    """Let go of what is kept."""
    (prefix / PREVIOUS_VERSION).unlink(missing_ok=True)  # first: what is left of it is not whole
    shutil.rmtree(prefix / _FOLDER, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    elif source.exists() or source.is_symlink():
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
