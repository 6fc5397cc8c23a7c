"""Virtual environments, kept under .cache/venvs by a hash of what is in them."""

from __future__ import annotations

import ast
import hashlib
import shutil
import time
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
    # The unit tests alone, on the newest Python, and with the oldest core.
    "units-newest": ("3.13", "3.12"),
    "units-oldest": ("3.11", "3.12"),
    "ara": ("3.12", "3.13", "3.11"),
    # Python 3.12 lacks what this SDK imports (distutils).
    "docker-oldest": ("3.11", "3.10", "3.9"),
    "uv": ("3.12", "3.13", "3.11"),
}
# Those that pin everything themselves, since they are older than what the others share, or share nothing.
_UNCONSTRAINED = ("docker-oldest", "ara", "uv")
# What uv calls the settings of pip that say where packages come from: a user's, or those of a machine without a way out.
_SETTINGS_OF_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
# Several checkouts may share the folder (a link, or a cache that CI keeps), each with recipes of its own: an environment is removed
# only when nobody has asked for it that long.
_UNUSED_SECONDS = 14 * 24 * 3600.0


def venv(run: Run, name: str) -> Path:
    """Return the bin folder of the environment tests/requirements/NAME.txt asks for; made on first use.

    Raises StageSkipped when no Python of the machine can have it.
    """
    version, python = pythons.require(*_PYTHONS[name])
    wanted, constraints = paths.REQUIREMENTS / f"{name}.txt", paths.REQUIREMENTS / "constraints.txt"
    recipe = str(python).encode() + _content(wanted) + _content(constraints)
    # Programs of an environment know its path, which may not be that of a checkout that shares it by a link.
    folder = paths.VENVS.resolve() / f"{name}-py{version}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    complete = folder / "complete"
    # The lock lies beside the environments, for those who share them.
    with exclusive(f"venv-{name}", paths.VENVS / "locks"):
        if complete.exists():
            complete.touch()
            return folder / "bin"
        _remove_unused(name)
        shared = [] if name in _UNCONSTRAINED else ["-c", constraints]
        if name == "uv":
            run.command([python, "-m", "venv", "--clear", folder])
            run.command([folder / "bin" / "pip", "install", "--quiet", "-r", wanted])
        else:
            _install(run, python, folder, ["-r", wanted, *shared])
        complete.touch()
    return folder / "bin"


def _install(run: Run, python: Path, folder: Path, wanted: list[object]) -> None:
    """Make an environment by uv; it has pip as well, which some stages download by."""
    programs = venv(run, "uv")
    configured = run.output([programs / "pip", "config", "list"])
    env = {"UV_CACHE_DIR": str(paths.CACHE / "uv"), **uv_settings(configured)}
    run.command([programs / "uv", "venv", "--quiet", "--clear", "--seed", "--python", python, folder], env=env)
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "bin" / "python"]
    run.command([programs / "uv", *install, *wanted], env=env)


def uv_settings(configured: str) -> dict[str, str]:
    """Return the environment that makes uv take packages from where pip does; C(configured) is what C(pip config list) prints.

    A line of it is C(global.index-url='https://...'), C(install.find-links='...') or, of a variable, C(:env:.cert='...').
    """
    found: dict[str, str] = {}
    lines = [line.partition("=") for line in configured.splitlines()]
    # Variables win over files.
    for key, _equals, value in sorted(lines, key=lambda line: line[0].startswith(":env:")):
        name = key.rpartition(".")[2]
        if name in _SETTINGS_OF_UV:
            words = str(ast.literal_eval(value)).split()
            found[_SETTINGS_OF_UV[name]] = ("," if name == "find-links" else " ").join(words)
    return found


def _remove_unused(name: str) -> None:
    for folder in paths.VENVS.glob(f"{name}-py*"):
        mark = folder / "complete"
        if mark.exists() and time.time() - mark.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(folder)


def _content(requirements: Path) -> bytes:
    """Return the text of a requirements file with those it includes."""
    text = requirements.read_text(encoding="utf-8")
    included = [line[len("-r ") :].strip() for line in text.splitlines() if line.startswith("-r ")]
    return text.encode() + b"".join(_content(requirements.parent / name) for name in included)
