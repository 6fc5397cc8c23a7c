# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which Ollama there is for a user: the program, what its installation says of itself, the daemon's version; on WSL, that of Windows too.

An installation says by its manifest what it is. The manifest lies in the library folder, which every installer of Ollama replaces as a
whole: what somebody else installs has none. A copy beside that folder tells of an installation that has lost all of it. Both count as long
as the program is the one that was installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..host.machine import Account, Machine
from ..host.platform import ways_to_windows
from ..host.sockets import find_listeners, is_of_this_host
from ..host.tools import VERSION_LIMIT_S, ask_version, excerpt
from ..transport.client import NotAnswering, get_json

PROGRAM = PurePosixPath("bin", "ollama")
LIBRARY = PurePosixPath("lib", "ollama")
# In the order in which they are put in place: the program looks for its libraries beside itself.
PARTS = (LIBRARY, PROGRAM)
MANIFEST = LIBRARY / "nemoclaw-manifest.json"
MANIFEST_COPY = LIBRARY.parent / ".nemoclaw-ollama-manifest.json"
# Of Staging: what of a download came, and what a run left that was killed.
PARTIAL = PurePosixPath(".nemoclaw-ollama")
PREVIOUS_VERSION = PurePosixPath(".nemoclaw-ollama-previous", "version")

_MANIFEST_LIMIT = 1024 * 1024
_FILES_NAMED = 3
_DAEMON_LIMIT_S = 1.0
# ollama asks its daemon first, which may hang, or be one that OLLAMA_HOST names and that is gone. Asked at port 9 (discard), where none
# is, it tells its own version at once.
NO_DAEMON = {"OLLAMA_HOST": "127.0.0.1:9"}

# What can be compared with another version.
_COMPARABLE = re.compile(r"v?\d{1,9}(\.\d{1,9}){1,3}([-+][0-9A-Za-z.+-]{1,64})?")
# What an Ollama that was built from its source calls itself.
_OLDEST = "0.0.0"
_OLLAMA_CLIENT = re.compile(r"^Warning: client version is (\S+)", re.MULTILINE)
_OLLAMA_SERVER = re.compile(r"^ollama version is (\S+)", re.MULTILINE)
AskDaemon = Callable[..., "tuple[str | None, str | None]"]


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
            content: Any = json.loads(file.read(_MANIFEST_LIMIT))
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
    more = f" and {len(wrong) - _FILES_NAMED} more files" if len(wrong) > _FILES_NAMED else ""
    return ", ".join(wrong[:_FILES_NAMED]) + more if wrong else None


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
    machine: Machine, account: Account, limit_s: float = VERSION_LIMIT_S, folder: str | None = None
) -> dict[str, Any]:
    """Return C({path, version, problem}) of the C(ollama) program; all None when it is not installed.

    C(folder): where to look, and nowhere else. The program is run as the account.
    """
    alone = dataclasses.replace(machine, environ={**machine.environ, **NO_DAEMON})
    path, said, problem = ask_version(alone, account, "ollama", limit_s, folder)
    version = parse_ollama_client_version(said) if problem is None else None
    if path is not None and problem is None and version is None:
        problem = f"Ran {path} --version and found no client version in its answer: {excerpt(said)}"
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
            f"Asked {url} for Ollama's version, and it names {excerpt(version)!r}, which is none: it counts as older than any."
        )
    return version, None


class Side(NamedTuple):
    """The Ollama of Windows: C(HOST:PORT) where WSL reaches it, its version, and what is wrong; each None without one."""

    host: str | None = None
    daemon_version: str | None = None
    problem: str | None = None


def find_windows_ollama(
    machine: Machine, port: int, mode: str | None, ask: AskDaemon = ask_ollama_daemon, resolve: Any = None
) -> Side:
    """Return the Ollama of Windows, as far as WSL reaches it.

    With mirrored networking both sides share their addresses and ports: what answers is Windows' own where no process of
    this Linux listens. Otherwise an address of this Linux is never Windows.

    Args:
        machine: The host to look at.
        port: Ollama's port.
        mode: The networking mode.
        ask: What asks a daemon for its version, by port, seconds and host.
        resolve: What gives the IPv4 address of a name, or raises OSError; by default the resolver.

    """
    is_shared = mode == "mirrored"
    if is_shared and find_listeners(machine, [port]):
        return Side(
            problem=f"With mirrored networking Windows and WSL share port {port}, and a process of this Linux holds it."
        )
    problems = []
    for host in ways_to_windows(machine, mode):
        try:
            address = (resolve or socket.gethostbyname)(host)
        except OSError:
            problems.append(f"{host} does not resolve in this Linux.")
            continue
        if not is_shared and is_of_this_host(address):
            problems.append(f"{host} resolves to this Linux itself ({address}), not to Windows.")
            continue
        version, problem = ask(port, 1.0, host)
        if version is not None:
            return Side(f"{host}:{port}", version)
        problems.append(problem or f"Nothing answers at {host}:{port}.")
    return Side(problem=" ".join(problems) or None)


def tell_sides_apart(machine: Machine, ollama: dict[str, Any], windows: Side, port: int, mode: str | None) -> None:
    """Add C(windows) and C(both_running) to the facts of Ollama.

    What 127.0.0.1 answers with mirrored networking may be the daemon of Windows: it is not counted twice.
    """
    if mode == "mirrored" and windows.daemon_version and not find_listeners(machine, [port]):
        ollama["daemon_version"] = None
    ollama["windows"] = windows._asdict()
    ollama["both_running"] = bool(ollama["daemon_version"] and windows.daemon_version)
