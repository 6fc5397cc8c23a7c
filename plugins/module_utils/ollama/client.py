# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which Ollama there is for a user: the program, what its installation says of itself, and the daemon's version."""

from __future__ import annotations

import dataclasses
import http.client
import re
from pathlib import Path
from typing import Any

from ..host.machine import Account, Machine
from ..host.tools import VERSION_LIMIT_S, ask_version, excerpt
from ..transport.client import NotAnswering, get_json
from .layout import find_damage, find_leftover, find_previous, read_manifest

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
