"""Virtual environments, kept under .cache/venvs by a hash of what is in them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from . import paths, pythons
from .run import Run, exclusive

# The ansible-core we develop on, and the oldest that we support; the Pythons are what they install on, best first.
NEWEST_CORE = "2.21"
OLDEST_CORE = "2.19"
_PYTHONS = {
    "core-2.21": ("3.12", "3.13"),
    "core-2.19": ("3.11", "3.12"),
    # The tools take the core that the Python has: 2.21, or 2.19 on a machine with Debian 12's Python alone.
    "tools": ("3.12", "3.13", "3.11"),
    "servers": ("3.12", "3.11", "3.13"),
    # Python 3.12 lacks what this SDK imports (distutils).
    "docker-oldest": ("3.11", "3.10", "3.9"),
}
# Those that pin everything themselves, since they are older than what the others share.
_UNCONSTRAINED = ("docker-oldest",)


def venv(run: Run, name: str) -> Path:
    """Return the bin folder of the environment tests/requirements/NAME.txt asks for; made on first use.

    Raises StageSkipped when no Python of the machine can have it.
    """
    version, python = pythons.require(*_PYTHONS[name])
    wanted, constraints = paths.REQUIREMENTS / f"{name}.txt", paths.REQUIREMENTS / "constraints.txt"
    recipe = str(python).encode() + _content(wanted) + _content(constraints)
    folder = paths.VENVS / f"{name}-py{version}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with exclusive(f"venv-{name}"):
        if (folder / "complete").exists():
            return folder / "bin"
        for stale in paths.VENVS.glob(f"{name}-py*"):
            shutil.rmtree(stale)
        run.command([python, "-m", "venv", folder])
        shared = [] if name in _UNCONSTRAINED else ["-c", constraints]
        run.command([folder / "bin" / "pip", "install", "--quiet", "-r", wanted, *shared])
        (folder / "complete").touch()
    return folder / "bin"


def _content(requirements: Path) -> bytes:
    """Return the text of a requirements file with those it includes."""
    text = requirements.read_text(encoding="utf-8")
    included = [line[len("-r ") :].strip() for line in text.splitlines() if line.startswith("-r ")]
    return text.encode() + b"".join(_content(requirements.parent / name) for name in included)
