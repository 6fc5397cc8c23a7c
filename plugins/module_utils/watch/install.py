# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The watch on a host: what of it differs, and how it is put there and taken away."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Machine, read_file, replace_file
from ..ollama.systemd import Systemd
from ..untrusted import object_of, parse_json
from . import layout
from .layout import WatchSettings, unit_path

_UNITS = (layout.SERVICE, layout.TIMER, layout.CLOSE_PATH, layout.CLOSE_SERVICE)
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
            "The watch is a timer of systemd, which does not run this host. Boot it with systemd, or set watch_enabled: false and have "
            "cron run the program as the owner of the route: * * * * * python3 ~/watch.pyz --state ~/.local/state/nemoclaw-watch run. "
            "docs/watch.md says how to make it.",
        )
    found = python_version(host.machine)
    if found is None or found < layout.LEAST_PYTHON:
        least = ".".join(map(str, layout.LEAST_PYTHON))
        seen = f"it is Python {'.'.join(map(str, found))}" if found else "there is none"
        raise Failure(
            "watch_python_missing",
            f"The service of the watch runs {layout.PYTHON}, which has to be Python {least} or newer, and {seen}. Install the "
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
        for path in map(unit_path, _UNITS)
        if path not in texts and host.machine.exists(path)
    ]
    found += _compare_links(host, settings)
    for unit in _running(settings):
        found += _compare_unit(host, unit)
    return found


def _compare_texts(host: Host, texts: dict[str, str]) -> Iterator[Difference]:
    for path, text in texts.items():
        there = host.machine.read(path)
        if there != text or not _is_ours(host, path, 0o644):
            yield Difference("write", path, f"{path} is {'not as it has to be' if there is not None else 'not there'}")


def _running(settings: WatchSettings) -> list[str]:
    return [layout.TIMER, *([layout.CLOSE_PATH] if settings.close_proxy else [])]


def _compare_unit(host: Host, unit: str) -> list[Difference]:
    state = host.systemd.show(unit)
    if not state.known:
        return [Difference("start", unit, f"{unit} does not run")]
    found = []
    if state.stale or host.systemd.show(layout.SERVICE).stale:
        found.append(Difference("reload", unit, f"{unit} was changed and not read again"))
    if not state.enabled:
        found.append(Difference("enable", unit, f"{unit} would not start after a boot"))
    if state.active != "active":
        found.append(Difference("start", unit, f"{unit} does not run"))
    return found


def _compare_links(host: Host, settings: WatchSettings) -> list[Difference]:
    wanted = f"{settings.textfile}/{layout.LINK}" if settings.textfile else None
    found = [Difference("remove", path, f"{path} is no longer wanted") for path in _old_links(host) if path != wanted]
    if wanted and not _is_link(host, wanted):
        found.append(Difference("link", wanted, f"{wanted} does not lead to the metrics of the watch"))
    return found


def _old_links(host: Host) -> list[str]:
    """Return the link to the metrics that the settings on the host name, where it is ours."""
    before = object_of(_parsed(host.machine.read(layout.SETTINGS)))
    folder = before.get("textfile")
    path = f"{folder}/{layout.LINK}" if isinstance(folder, str) and folder.startswith("/") else None
    return [path] if path and _is_link(host, path) else []


def install(host: Host, settings: WatchSettings, differences: Iterable[Difference], program: bytes | None) -> None:
    """Mend the differences.

    Args:
        host: Where it lies.
        settings: What is wanted.
        differences: Of compare().
        program: The file, needed where it differs.

    Raises:
        Failure: C(root_needed), C(watch_not_written), C(systemd_failed).

    """
    if os.geteuid() != host.uid:
        raise Failure(
            "root_needed",
            "The watch is a service of the system. Only root may install it: run the task with become: true.",
        )
    texts = layout.render_files(settings)
    differences = list(differences)
    try:
        for one in differences:
            _mend(host, one, texts, program)
    except OSError as error:
        raise Failure(
            "watch_not_written",
            f"Wrote the files of the watch, and {error.filename or 'one of them'} could not be written: {error.strerror or error}. Make "
            "room or correct the folder (watch_textfile for that of the node exporter), then run this again.",
        ) from error
    touched = {one.what for one in differences}
    if touched & {unit_path(unit) for unit in _UNITS} or any(one.action == "reload" for one in differences):
        for unit in (layout.CLOSE_PATH,):
            if unit_path(unit) not in texts and host.systemd.show(unit).active == "active":
                host.systemd.do("stop", unit)
        host.systemd.do("daemon-reload")
    for unit in _running(settings):
        state = host.systemd.show(unit)
        if not state.enabled:
            host.systemd.do("enable", unit)
        if unit_path(unit) in touched and state.active == "active":
            host.systemd.do("restart", unit)
        elif state.active != "active":
            host.systemd.do("start", unit)


def _mend(host: Host, one: Difference, texts: dict[str, str], program: bytes | None) -> None:
    path = host.machine.path(one.what)
    if one.what == layout.APP:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _replace(path, program or b"")
    elif one.action == "write":
        replace_file(str(path), texts[one.what], 0o644)
    elif one.action == "remove":
        # An enabled unit that is gone leaves the link by which it is enabled.
        if one.what.startswith("/etc/systemd/"):
            _forget(host, path.name)
        path.unlink()
    elif one.action == "link":
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.symlink_to(f"{layout.STATE}/{layout.METRICS}")


def _forget(host: Host, unit: str) -> None:
    if host.systemd is not None and host.systemd.show(unit).known:
        host.systemd.do("stop", unit)
        host.systemd.do("disable", unit)


def leftovers(host: Host) -> list[str]:
    """Return what of the watch is on the host, also what an interrupted removal has left."""
    files = [layout.APP, *map(unit_path, _UNITS), str(Path(layout.APP).parent), layout.STATE, layout.SETTINGS]
    links = [path for path in (*_old_links(host), f"{layout.TEXTFILE_FOLDER}/{layout.LINK}") if _is_link(host, path)]
    return list(dict.fromkeys([*links, *(one for one in files if host.machine.exists(one))]))


def remove(host: Host) -> None:
    """Stop the watch and remove all of it, its history included.

    Raises:
        Failure: C(root_needed), C(watch_not_written), C(systemd_failed).

    """
    if os.geteuid() != host.uid:
        raise Failure(
            "root_needed",
            "The watch is a service of the system. Only root may remove it: run the task with become: true.",
        )
    there = leftovers(host)
    try:
        # The timer first, so that nothing starts it again.
        for unit in (layout.TIMER, layout.CLOSE_PATH, layout.SERVICE, layout.CLOSE_SERVICE):
            if host.machine.exists(unit_path(unit)):
                _forget(host, unit)
        for one in there:
            path = host.machine.path(one)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise Failure(
            "watch_not_written",
            f"Removed the files of the watch, and {error.filename or 'one of them'} could not be removed: {error.strerror or error}. "
            "Correct the folder, then run this again.",
        ) from error
    if host.systemd is not None:
        host.systemd.do("daemon-reload")
        for unit in (layout.SERVICE, layout.CLOSE_SERVICE):
            with contextlib.suppress(Failure):  # where it has not failed
                host.systemd.do("reset-failed", unit)


def _is_ours(host: Host, path: str, mode: int) -> bool:
    try:
        found = host.machine.path(path).lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and found.st_uid == host.uid


def _is_link(host: Host, path: str) -> bool:
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


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
