# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The watch put on a host, and taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..failure import Failure
from ..host.replace import replace_file
from . import layout
from .compare import UNITS, Difference, Host, is_link, old_links, running
from .layout import WatchSettings, unit_path


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
            "The watch is a system service. Only root may install it: run the task with become: true.",
        )
    texts = layout.render_files(settings)
    differences = list(differences)
    try:
        for one in differences:
            _mend(host, one, texts, program)
    except OSError as error:
        raise Failure(
            "watch_not_written",
            f"Wrote the files of the watch, and {error.filename or 'one of them'} could not be written: {error.strerror or error}. Free "
            f"space or correct the folder (watch_textfile for the node exporter's), then run this again.",
        ) from error
    touched = {one.what for one in differences}
    if touched & {unit_path(unit) for unit in UNITS} or any(one.action == "reload" for one in differences):
        for unit in (layout.CLOSE_PATH,):
            if unit_path(unit) not in texts and host.systemd.show(unit).active == "active":
                host.systemd.do("stop", unit)
        host.systemd.do("daemon-reload")
    for unit in running(settings):
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
        replace_file(str(path), program or b"", 0o755)
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
    files = [layout.APP, *map(unit_path, UNITS), str(Path(layout.APP).parent), layout.STATE, layout.SETTINGS]
    links = [path for path in (*old_links(host), f"{layout.TEXTFILE_FOLDER}/{layout.LINK}") if is_link(host, path)]
    return list(dict.fromkeys([*links, *(one for one in files if host.machine.exists(one))]))


def remove(host: Host) -> None:
    """Stop the watch and remove all of it, its history included.

    Raises:
        Failure: C(root_needed), C(watch_not_written), C(systemd_failed).

    """
    if os.geteuid() != host.uid:
        raise Failure(
            "root_needed",
            "The watch is a system service. Only root may remove it: run the task with become: true.",
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
