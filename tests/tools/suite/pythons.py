"""The Python interpreters of this machine: the distribution's, and those that pyenv installed."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from . import paths
from .model import StageSkipped

# What the collection's modules run on: 3.9 is the oldest target of ansible-core 2.21.
TESTED = ("3.9", "3.10", "3.11", "3.12", "3.13")


@functools.cache
def find(version: str) -> Path | None:
    """Return the interpreter of that version ("3.11") that can make a virtual environment, or None.

    The path is the real one: ansible-test drops PYENV_VERSION, without which pyenv's shims answer nothing.
    """
    # HOME may be anything in CI; pyenv is where the passwd database says that the user is at home.
    homes = [paths.USER_HOME, Path(pwd.getpwuid(os.getuid()).pw_dir)]
    roots = [Path(os.environ.get("PYENV_ROOT") or homes[0] / ".pyenv"), *(home / ".pyenv" for home in homes)]
    candidates = [
        bin_folder / f"python{version}"
        for root in dict.fromkeys(roots)
        for bin_folder in sorted(root.glob(f"versions/{version}.*/bin"), reverse=True)
    ]
    on_path = [
        shutil.which(f"python{version}", path=folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
    ]
    candidates += [Path(found) for found in on_path if found and "/shims/" not in found]
    probe = f"import sys, venv, ensurepip; assert sys.version_info[:2] == {tuple(map(int, version.split('.')))}"
    for candidate in candidates:
        if candidate.exists():
            done = subprocess.run([candidate, "-c", probe], capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                return candidate
    return None


def require(*versions: str) -> tuple[str, Path]:
    """Return the first of these versions that the machine has, and its interpreter."""
    for version in versions:
        python = find(version)
        if python:
            return version, python
    wanted = " or ".join(versions)
    raise StageSkipped(
        f"Python {wanted} with the venv module was not found on PATH or in ~/.pyenv/versions: install python3-venv or "
        f"pyenv's {versions[0]}"
    )


def search_path() -> str:
    """Return a PATH on which pythonX.Y is the real interpreter for each version that the machine has."""
    folders = [str(python.parent) for version in reversed(TESTED) for python in [find(version)] if python]
    return os.pathsep.join(dict.fromkeys([*folders, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]))
