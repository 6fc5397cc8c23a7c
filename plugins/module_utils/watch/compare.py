# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What of the watch on a host differs from what is wanted, and what a host needs for it. Looks only; install.py acts."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..failure import Failure
from ..host.machine import Machine, read_file
from ..host.systemd import Systemd
from ..untrusted import object_of, parse_json
from . import layout
from .layout import WatchSettings, unit_path

UNITS = (layout.SERVICE, layout.TIMER, layout.CLOSE_PATH, layout.CLOSE_SERVICE)
_ASK_LIMIT_S = 10.0


@dataclass(frozen=True)
class Difference:
    """What is not as it has to be: the verb that mends it, the path or the unit, and why in words."""

    action: str
    what: str
    reason: str


@dataclass
class Host:
    """Where the watch lies: the host, and its systemd.

    Attributes:
        machine: The host.
        systemd: Asked and told, None where systemd does not run it.
        uid: Who owns the files; root, but in tests.

    """

    machine: Machine
    systemd: Any = None
    uid: int = 0

    @classmethod
    def of(cls, machine: Machine) -> Host:
        """Return this host."""
        return cls(machine, Systemd(machine) if Systemd.is_running(machine) else None)


def refuse(host: Host) -> None:
    """Refuse a host that cannot have the watch, before anything is written.

    Raises:
        Failure: C(systemd_missing), C(watch_python_missing).

    """
    if host.systemd is None:
        raise Failure(
            "systemd_missing",
            "The watch is a systemd timer, but this host does not run systemd. Boot it with systemd, or set watch_enabled: false and have "
            "cron run the program as the route's owner: * * * * * python3 ~/watch.pyz --state ~/.local/state/nemoclaw-watch run. "
            "docs/watch.md says how to make it.",
        )
    found = python_version(host.machine)
    if found is None or found < layout.LEAST_PYTHON:
        least = ".".join(map(str, layout.LEAST_PYTHON))
        seen = f"it is Python {'.'.join(map(str, found))}" if found else "there is none"
        raise Failure(
            "watch_python_missing",
            f"The service of the watch runs {layout.PYTHON}, which must be Python {least} or newer, but {seen}. Install the "
            "distribution's python3, or set watch_enabled: false.",
        )


def python_version(machine: Machine) -> tuple[int, ...] | None:
    """Return the version of the system's Python, None without one: by the name of the program, else by asking it."""
    path = machine.path(layout.PYTHON)
    named = re.fullmatch(r"python(\d+)\.(\d+)", path.resolve().name)
    if named and path.exists():
        return int(named[1]), int(named[2])
    if not path.exists():
        return None
    answer = machine.run([layout.PYTHON, "-I", "-c", "import sys; print(*sys.version_info[:2])"], _ASK_LIMIT_S)
    words = answer.output.split()
    return tuple(map(int, words)) if answer.code == 0 and len(words) == 2 and all(map(str.isdecimal, words)) else None


def compare(host: Host, settings: WatchSettings, checksum: str) -> list[Difference]:
    """Return what of the watch is not as it has to be, in the order in which it is mended.

    Args:
        host: Where it lies.
        settings: What is wanted.
        checksum: SHA-256 of the program.

    """
    texts = layout.render_files(settings)
    # The settings first, and last when all is removed: where they are, something may be.
    found = [*_compare_texts(host, {layout.SETTINGS: texts.pop(layout.SETTINGS)})]
    if not _is_ours(host, layout.APP, 0o755) or checksum_of(host, layout.APP) != checksum:
        there = "is another release" if host.machine.exists(layout.APP) else "is not there"
        found.append(Difference("write", layout.APP, f"{layout.APP} {there}"))
    found += _compare_texts(host, texts)
    found += [
        Difference("remove", path, f"{path} is no longer wanted")
        for path in map(unit_path, UNITS)
        if path not in texts and host.machine.exists(path)
    ]
    found += _compare_links(host, settings)
    for unit in running(settings):
        found += _compare_unit(host, unit)
    return found


def _compare_texts(host: Host, texts: dict[str, str]) -> Iterator[Difference]:
    for path, text in texts.items():
        there = host.machine.read(path)
        if there != text or not _is_ours(host, path, 0o644):
            yield Difference("write", path, f"{path} is {'not as it should be' if there is not None else 'not there'}")


def running(settings: WatchSettings) -> list[str]:
    """Return the units that have to run."""
    return [layout.TIMER, *([layout.CLOSE_PATH] if settings.close_proxy else [])]


def _compare_unit(host: Host, unit: str) -> list[Difference]:
    state = host.systemd.show(unit)
    if not state.known:
        return [Difference("start", unit, f"{unit} does not run")]
    found = []
    if state.stale or host.systemd.show(layout.SERVICE).stale:
        found.append(Difference("reload", unit, f"{unit} was changed but not reloaded"))
    if not state.enabled:
        found.append(Difference("enable", unit, f"{unit} is not enabled at boot"))
    if state.active != "active":
        found.append(Difference("start", unit, f"{unit} does not run"))
    return found


def _compare_links(host: Host, settings: WatchSettings) -> list[Difference]:
    wanted = f"{settings.textfile}/{layout.LINK}" if settings.textfile else None
    found = [Difference("remove", path, f"{path} is no longer wanted") for path in old_links(host) if path != wanted]
    if wanted and not is_link(host, wanted):
        found.append(Difference("link", wanted, f"{wanted} does not lead to the metrics of the watch"))
    return found


def old_links(host: Host) -> list[str]:
    """Return the link to the metrics that the settings on the host name, where it is ours."""
    before = object_of(_parsed(host.machine.read(layout.SETTINGS)))
    folder = before.get("textfile")
    path = f"{folder}/{layout.LINK}" if isinstance(folder, str) and folder.startswith("/") else None
    return [path] if path and is_link(host, path) else []


def _is_ours(host: Host, path: str, mode: int) -> bool:
    try:
        found = host.machine.path(path).lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and found.st_uid == host.uid


def is_link(host: Host, path: str) -> bool:
    """Tell whether it is the link to the metrics of the watch."""
    try:
        return str(host.machine.path(path).readlink()) == f"{layout.STATE}/{layout.METRICS}"
    except OSError:
        return False


def checksum_of(host: Host, path: str) -> str | None:
    """Return the SHA-256 of a file, None where it cannot be read."""
    try:
        return hashlib.sha256(read_file(host.machine.path(path))).hexdigest()
    except OSError:
        return None


def _parsed(text: str | None) -> Any:
    try:
        return parse_json(text or "")
    except (ValueError, json.JSONDecodeError):
        return None
