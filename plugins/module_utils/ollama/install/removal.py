# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Take away what an installation put in place: program, libraries, and the unit where nobody has written another one."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ...failure import Failure
from ...host.machine import Account, Machine, acting_as
from ...host.tools import find_ollama_client
from ..install import (
    unit_file,
)
from ..service.processes import program_of
from ..service.systemd import Systemd
from .desired import SYSTEM_PREFIX, Desired, Result
from .layout import (
    MANIFEST_COPY,
    PARTIAL,
    PARTS,
    PREVIOUS_VERSION,
    PROGRAM,
)


def remove(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> Result:
    """Remove Ollama from the place where an installation would put it, unless only checking; absent is fine.

    The user ollama and the models in its home stay.

    Raises:
        Failure: C(root_needed), C(ollama_in_use), C(install_unwritable), C(systemd_failed).

    """
    prefix = desired.prefix or (SYSTEM_PREFIX if desired.mode == "system" else f"{account.home}/.local")
    parts = (*PARTS, MANIFEST_COPY, PREVIOUS_VERSION.parent, PARTIAL)
    there = [path for path in (machine.path(prefix) / part for part in parts) if os.path.lexists(path)]
    own_unit = desired.mode == "system" and machine.read(unit_file.PATH) == unit_file.render(prefix)
    found = find_ollama_client(machine, account, folder=f"{prefix}/bin")
    is_found = found["path"] == f"{prefix}/{PROGRAM}"
    result = Result(None, found["version"] if is_found else None, None, None, None)
    if own_unit:
        result.plan(f"stop ollama.service and remove {unit_file.PATH}")
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
        unit_file.remove(machine)
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
        systemd.do("disable", unit_file.UNIT)
        systemd.do("stop", unit_file.UNIT)


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
