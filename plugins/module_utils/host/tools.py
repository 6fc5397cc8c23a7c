# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which of the tools around a local inference server are installed for a user and in which version, and which package manager there is."""

from __future__ import annotations

import dataclasses
import http.client
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ollama.layout import find_damage, find_leftover, find_previous, read_manifest
from ..transport.client import NotAnswering, get_json
from .machine import Account, Machine

# openshell needs about 13 ms, nemoclaw (a Node program) some hundred.
_VERSION_LIMIT_S = 3.0
_DAEMON_LIMIT_S = 1.0
# ollama asks its daemon first, which may hang, or be one that OLLAMA_HOST names and that is gone. Asked at port 9 (discard), where none
# is, it tells its own version at once.
NO_DAEMON = {"OLLAMA_HOST": "127.0.0.1:9"}

_VERSION = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)?(?:[-+.][0-9A-Za-z.+-]*[0-9A-Za-z])?)")
# What can be compared with another version.
_COMPARABLE = re.compile(r"v?\d{1,9}(\.\d{1,9}){1,3}([-+][0-9A-Za-z.+-]{1,64})?")
# What an Ollama that was built from its source calls itself.
_OLDEST = "0.0.0"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_OLLAMA_CLIENT = re.compile(r"^Warning: client version is (\S+)", re.MULTILINE)
_OLLAMA_SERVER = re.compile(r"^ollama version is (\S+)", re.MULTILINE)


def find_tool(machine: Machine, account: Account, name: str) -> dict[str, Any]:
    """Return C({version, path, problem}) of a tool that prints its version on C(--version); all None when absent."""
    path, said, problem = _ask_version(machine, account, name)
    version = first_version(said) if problem is None else None
    if path is not None and problem is None and version is None:
        problem = f"Ran {path} --version and found no version in its answer: {_excerpt(said)}"
    return {"version": version, "path": path, "problem": problem}


def find_ollama(machine: Machine, account: Account, port: int) -> dict[str, Any]:
    """Return C({path, client_version, daemon_version, problem}); each version is None when that side is absent.

    And what the installation says of itself: C(recorded_version), C(kept_version), C(damage) and C(checksum); each None where there is
    nothing to say.
    """
    client = find_ollama_client(machine, account)
    problems = [client["problem"]] if client["problem"] else []
    daemon, daemon_problem = ask_ollama_daemon(port)
    if daemon_problem:
        problems.append(daemon_problem)
    return {
        "path": client["path"],
        "client_version": client["version"],
        "daemon_version": daemon,
        "problem": " ".join(problems) or None,
        **_describe_installation(machine, account, client["path"]),
    }


def _describe_installation(machine: Machine, account: Account, path: str | None) -> dict[str, str | None]:
    """Look where the program lies; without one, where an interrupted installation may have left something."""
    prefixes = [str(Path(path).parent.parent)] if path else ["/usr/local", f"{account.home}/.local"]
    places = [machine.path(prefix) for prefix in prefixes]
    manifest = next(filter(None, map(read_manifest, places)), None)
    return {
        "recorded_version": manifest.version if manifest else None,
        "kept_version": next(filter(None, map(find_previous, places)), None),
        "damage": next(filter(None, map(find_damage, places)), _describe_leftover(places)),
        "checksum": f"sha256:{manifest.sha256}" if manifest and manifest.sha256 else None,
    }


def _describe_leftover(places: list[Path]) -> str | None:
    leftover = next(filter(None, map(find_leftover, places)), None)
    return f"an interrupted run left {leftover}" if leftover else None


def find_ollama_client(
    machine: Machine, account: Account, limit_s: float = _VERSION_LIMIT_S, folder: str | None = None
) -> dict[str, Any]:
    """Return C({path, version, problem}) of the C(ollama) program; all None when it is not installed.

    C(folder): where to look, and nowhere else. The program is run as the account.
    """
    alone = dataclasses.replace(machine, environ={**machine.environ, **NO_DAEMON})
    path, said, problem = _ask_version(alone, account, "ollama", limit_s, folder)
    version = parse_ollama_client_version(said) if problem is None else None
    if path is not None and problem is None and version is None:
        problem = f"Ran {path} --version and found no client version in its answer: {_excerpt(said)}"
    return {"path": path, "version": version, "problem": problem}


def parse_ollama_client_version(text: str) -> str | None:
    """Return the client's version from C(ollama --version).

    The first line is the daemon's version. The client names its own only in a warning, when the daemon's differs or no
    daemon answers; without that warning both are equal (ollama cmd/cmd.go, versionHandler; ollama issue 11023).
    """
    found = _OLLAMA_CLIENT.search(text) or _OLLAMA_SERVER.search(text)
    return found[1] if found and _COMPARABLE.fullmatch(found[1]) else None


def ask_ollama_daemon(
    port: int, limit_s: float = _DAEMON_LIMIT_S, host: str = "127.0.0.1"
) -> tuple[str | None, str | None]:
    """Return the version of the Ollama daemon at C(host) and None, or None and what is wrong with what listens.

    A refused connection is an absent daemon: C((None, None)).
    """
    url = f"http://{host}:{port}/api/version"
    try:
        answer = get_json(http.client.HTTPConnection(host, port, timeout=limit_s), "/api/version", limit_s)
    except ConnectionRefusedError:
        return None, None
    except NotAnswering as error:
        return None, f"Asked {url} for Ollama's version, but {error}: another server may hold the port."
    except OSError as error:
        return None, f"Asked {url} for Ollama's version within {limit_s:g} s, but: {error}."
    version = answer.get("version")
    if not isinstance(version, str):
        return None, f"Asked {url} for Ollama's version and got JSON without one: another server may hold the port."
    if not _COMPARABLE.fullmatch(version):
        return _OLDEST, (
            f"Asked {url} for Ollama's version, and it names {_excerpt(version)!r}, which is none: it counts as older than any."
        )
    return version, None


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


def _ask_version(
    machine: Machine, account: Account, name: str, limit_s: float = _VERSION_LIMIT_S, folder: str | None = None
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
    return path, "", f"Ran {path} --version: it ended with exit code {answer.code} and said: {_excerpt(answer.output)}"


def _excerpt(text: str) -> str:
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
