# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The manifest of an installation of Ollama, and its copy, written; layout.py says where they lie and reads them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from .layout import LIBRARY, MANIFEST, MANIFEST_COPY, PROGRAM


def write_manifest(prefix: Path, version: str, sha256: str | None) -> None:
    """Record what lies below a prefix as one installation.

    Raises:
        OSError: The folder cannot be written.

    """
    library = prefix / LIBRARY
    found = [prefix / PROGRAM, *(Path(folder, name) for folder, _dirs, names in os.walk(library) for name in names)]
    links = [Path(folder, name) for folder, names, _files in os.walk(library) for name in names]
    found += [path for path in links if path.is_symlink()]
    files = {
        str(path.relative_to(prefix)): f"-> {path.readlink()}" if path.is_symlink() else path.stat().st_size
        for path in sorted(found)
        if path != prefix / MANIFEST
    }
    library.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": version, "sha256": sha256, "files": files}, indent=1)
    (prefix / MANIFEST).write_text(text + "\n", encoding="utf-8")


def copy_manifest(prefix: Path) -> None:
    """Keep a copy of the manifest where it outlives the library folder, or none where there is none; half a copy counts as none.

    Raises:
        OSError: The folder cannot be written.

    """
    (prefix / MANIFEST_COPY).unlink(missing_ok=True)  # of what was replaced
    if (prefix / MANIFEST).exists():
        shutil.copyfile(prefix / MANIFEST, prefix / MANIFEST_COPY)
