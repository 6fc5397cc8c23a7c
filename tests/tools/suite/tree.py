"""Copies of the collection: ansible-test refuses to run unless the real path ends in ansible_collections/NS/NAME."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from . import paths
from .run import Run


def copy(run: Run, name: str) -> Path:
    """Bring .cache/tree/NAME/ansible_collections/nemoclaw/local_inference up to date and return it.

    Copied is what git knows or would take (no ignored file), so that nobody's leftovers are tested; what ignored files
    a tool has left in the copy (tests/output with its environments) stays, for speed.
    """
    root = paths.TREES / name / paths.COLLECTION_FOLDER
    root.mkdir(parents=True, exist_ok=True)
    if not (root / ".git").exists():
        run.command(["git", "init", "--quiet", "."], cwd=root)
    wanted = _listed(run, paths.REPO)
    for relative in _listed(run, root) - wanted:
        (root / relative).unlink()
        _remove_empty_folders((root / relative).parent, root)
    for relative in wanted:
        _copy_changed(paths.REPO / relative, root / relative)
    return root


def collections_path(root: Path) -> str:
    """Return the ANSIBLE_COLLECTIONS_PATH under which a copy is found."""
    return str(root.parents[2])


def _listed(run: Run, folder: Path) -> set[str]:
    listing = run.output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=folder)
    return {name for name in listing.split("\0") if name and os.path.lexists(folder / name)}


def _copy_changed(source: Path, target: Path) -> None:
    """Copy one file unless size, time and mode already agree; an unchanged file keeps the tools' caches valid."""
    if source.is_symlink():
        if target.is_symlink() and target.readlink() == source.readlink():
            return
        if os.path.lexists(target):
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.readlink())
        return
    if target.is_file() and not target.is_symlink():
        new, old = source.stat(), target.stat()
        same_mode = stat.S_IMODE(new.st_mode) == stat.S_IMODE(old.st_mode)
        if same_mode and new.st_size == old.st_size and int(new.st_mtime) == int(old.st_mtime):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _remove_empty_folders(folder: Path, stop: Path) -> None:
    # With its bytecode alone, Ansible takes it for the package of that name, and not the file that has its place now.
    while folder != stop and not [one for one in folder.iterdir() if one.name != "__pycache__"]:
        shutil.rmtree(folder)
        folder = folder.parent
