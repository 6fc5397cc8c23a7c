# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Ollama's user and its unit, as Ollama's own installer makes them, and how all that an installation put in place is taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ..failure import Failure
from ..host.machine import READ_LIMIT, Account, Machine, acting_as
from ..host.replace import replace_file
from ..host.systemd import Systemd
from . import presence
from .archive import SYSTEM_PREFIX, Desired, Result
from .client import MANIFEST_COPY, PARTIAL, PARTS, PREVIOUS_VERSION, PROGRAM, find_ollama_client
from .presence import UNIT, program_of

PATH = f"/etc/systemd/system/{UNIT}"
USER = "ollama"

_RUN_LIMIT_S = 30.0
_HOME = "/usr/share/ollama"
# The groups that own a GPU's device nodes.
_GROUPS = ("render", "video")
# As ollama's scripts/install.sh writes it (upstream-facts N10); it lets PATH be that of whoever runs it.
_TEXT = """\
[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart={prefix}/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

[Install]
WantedBy=default.target
"""


def render(prefix: str) -> str:
    """Return the text of the unit."""
    return _TEXT.format(prefix=prefix)


def is_missing(machine: Machine) -> bool:
    """Tell whether systemd runs and has no unit of Ollama.

    Raises:
        Failure: C(systemd_failed).

    """
    return Systemd.is_running(machine) and not Systemd(machine).show(UNIT).known


def missing_groups(machine: Machine) -> list[str] | None:
    """Return which of the GPU's groups the user ollama has yet to join, None where there is no such user yet."""
    # All of both: a system account stands at the end, and hosts with a thousand users have more than a usual read takes.
    users = (machine.read("/etc/passwd", READ_LIMIT) or "").splitlines()
    if not any(line.startswith(f"{USER}:") for line in users):
        return None
    rows = [line.split(":") for line in (machine.read("/etc/group", READ_LIMIT) or "").splitlines()]
    return [row[0] for row in rows if row[0] in _GROUPS and len(row) > 3 and USER not in row[3].split(",")]


def make(machine: Machine, prefix: str) -> None:
    """Make the user and the unit. Nothing is started: that is ollama_service's, on loopback.

    Raises:
        Failure: C(user_not_made), C(install_unwritable), C(systemd_failed).

    """
    if missing_groups(machine) is None:
        more = ["--system", "--shell", "/bin/false", "--user-group", "--create-home", "--home-dir", _HOME]
        _run(machine, "useradd", [*more, USER])
    groups = missing_groups(machine)
    if groups:
        _run(machine, "usermod", ["--append", "--groups", ",".join(groups), USER])
    try:
        replace_file(str(machine.path(PATH)), render(prefix), 0o644)
    except OSError as error:
        raise Failure(
            "install_unwritable",
            f"The unit {PATH} cannot be written: {error.strerror}. What was there before is back in its place.",
        ) from error
    Systemd(machine).do("daemon-reload")


def remove(machine: Machine) -> None:
    """Take the unit away again; the user stays, as its home may hold something."""
    machine.path(PATH).unlink(missing_ok=True)
    Systemd(machine).do("daemon-reload")


def _run(machine: Machine, name: str, words: list[str]) -> None:
    path = machine.find_command(name)
    answer = machine.run([path, *words], _RUN_LIMIT_S) if path else None
    if answer is None or answer.code != 0:
        said = " ".join(answer.output.split())[:300] or answer.problem if answer else "there is no such program"
        raise Failure(
            "user_not_made",
            f"Ran {name} for the user {USER}, as which the service runs: {said}. Make it by hand "
            f"(system user with the home {_HOME}, groups {' and '.join(_GROUPS)}), then run it again.",
        )


def remove_installation(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> Result:
    """Remove Ollama from the place where an installation would put it, unless only checking; absent is fine.

    The user ollama and the models in its home stay.

    Raises:
        Failure: C(root_needed), C(ollama_in_use), C(install_unwritable), C(systemd_failed).

    """
    prefix = desired.prefix or (SYSTEM_PREFIX if desired.mode == "system" else f"{account.home}/.local")
    parts = (*PARTS, MANIFEST_COPY, PREVIOUS_VERSION.parent, PARTIAL)
    there = [path for path in (machine.path(prefix) / part for part in parts) if os.path.lexists(path)]
    own_unit = desired.mode == "system" and machine.read(PATH) == render(prefix)
    found = find_ollama_client(machine, account, folder=f"{prefix}/bin")
    is_found = found["path"] == f"{prefix}/{PROGRAM}"
    result = Result(None, found["version"] if is_found else None, None, None, None)
    if own_unit:
        result.plan(f"stop ollama.service and remove {PATH}")
    for path in there:
        result.plan(f"remove {path}")
    if not result.changed:
        return result
    if desired.mode == "system" and os.geteuid() != 0:
        raise Failure(
            "root_needed",
            "Ollama was installed for the whole host, and only root may remove it. Run the task with become: true. Nothing was changed.",
        )
    if own_unit and not check_mode:
        _stop_unit(machine)
    if not own_unit or not check_mode:
        _refuse_what_runs(machine, f"{prefix}/{PROGRAM}")
    if check_mode:
        return result
    if own_unit:
        remove(machine)
    try:
        with acting_as(account):
            for path in there:
                _remove(path)
    except OSError as error:
        raise Failure(
            "install_unwritable",
            f"{error.filename} cannot be removed: {error.strerror}. Set that right and run this again, which removes the rest.",
        ) from error
    return result


def _stop_unit(machine: Machine) -> None:
    if Systemd.is_running(machine):
        systemd = Systemd(machine)
        systemd.do("disable", presence.UNIT)
        systemd.do("stop", presence.UNIT)


def _refuse_what_runs(machine: Machine, program: str) -> None:
    """Stop where somebody runs the program otherwise than by our unit: it is not ours to end."""
    target = os.path.realpath(machine.path(program))
    pids = [name for name in machine.names("/proc") if name.isdigit() and program_of(machine, int(name)) == target]
    if pids:
        raise Failure(
            "ollama_in_use",
            f"{program} still runs, as process {', '.join(pids)}, and not as a unit of ours. Stop it, or remove the unit that starts it, "
            "and run this again. The program was left in its place.",
        )


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
