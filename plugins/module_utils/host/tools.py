# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which of the tools around a local inference server are installed for a user and in which version, and which package manager there is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .machine import Account, Machine

# openshell needs about 13 ms, nemoclaw (a Node program) some hundred; with all cores busy an Ollama needed more than 3 s.
VERSION_LIMIT_S = 10.0

_VERSION = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)?(?:[-+.][0-9A-Za-z.+-]*[0-9A-Za-z])?)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def find_tool(machine: Machine, account: Account, name: str) -> dict[str, Any]:
    """Return C({version, path, problem}) of a tool that prints its version on C(--version); all None when absent."""
    path, said, problem = ask_version(machine, account, name)
    version = first_version(said) if problem is None else None
    if path is not None and problem is None and version is None:
        problem = f"Ran {path} --version and found no version in its answer: {excerpt(said)}"
    return {"version": version, "path": path, "problem": problem}


def first_version(text: str) -> str | None:
    """Return the first dotted version number of a text, colour codes removed; None when there is none."""
    found = _VERSION.search(_ANSI.sub("", text))
    return found[1] if found else None


def find_python_libraries(names: Sequence[str] = ("requests", "docker", "jmespath")) -> dict[str, str | None]:
    """Return the versions of the libraries that this interpreter can import; None for the absent ones."""
    import importlib.metadata  # 30 ms: only where it is needed

    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def ask_version(
    machine: Machine, account: Account, name: str, limit_s: float = VERSION_LIMIT_S, folder: str | None = None
) -> tuple[str | None, str, str | None]:
    """Return the tool's path, what it said, and why it did not say its version (None when it did)."""
    path = (
        machine.find_command(name, [f"{account.home}/.local/bin"])
        if folder is None
        else machine.find_in(name, [folder])
    )
    if path is None:
        return None, "", None
    answer = machine.run([path, "--version"], limit_s, account)
    if answer.code == 0:
        return path, answer.output, None
    if answer.code is None:
        return path, "", f"Asked for the version of {name}: {answer.problem}."
    return path, "", f"Ran {path} --version: it ended with exit code {answer.code} and said: {excerpt(answer.output)}"


def excerpt(text: str) -> str:
    """Return the beginning of what a tool said, in one line and without colours."""
    return " ".join(_ANSI.sub("", text).split())[:200] or "nothing"


# Command -> name as Ansible calls it. By command presence as the page does for apt-get (upstream-facts N4); dnf comes
# before yum, which on today's Fedora and RHEL is a link to it.
_MANAGERS = {
    "apt-get": "apt",
    "dnf": "dnf",
    "yum": "yum",
    "zypper": "zypper",
    "pacman": "pacman",
    "apk": "apk",
    "emerge": "portage",
    "xbps-install": "xbps",
}


def find_package_manager(machine: Machine) -> str | None:
    """Return the name of the first package manager found, or None."""
    return next((name for command, name in _MANAGERS.items() if machine.find_command(command)), None)
