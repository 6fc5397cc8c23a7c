# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Have Ollama run on loopback and nowhere else, supervised where systemd is, and prove it by the kernel's socket tables."""

from __future__ import annotations

import os

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import find_ollama_client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import (
    dropin,
    processes,
    unit_service,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import (
    UNIT,
    Found,
    look,
    prove,
    refuse_what_is_not_ours,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import (
    Report,
    Wish,
    wait_until_answering,
)


def converge(machine: Machine, account: Account, wish: Wish, check_mode: bool) -> tuple[Report, Found]:
    """Bring the service into the state that is wanted, unless only checking, and return what was done and what there is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    found = look(machine, wish.port)
    report = Report(path=dropin.path_for(found.unit.name if found.unit else UNIT))
    report.before = report.after = dropin.read(machine, report.path or "") or ""
    if wish.state == "absent":
        _remove(machine, found, report, check_mode)
    elif wish.state == "stopped":
        _stop(machine, found, report, check_mode)
    elif found.unit:
        unit_service.start(machine, found, found.unit, wish, report, check_mode)
    else:
        _start_process(machine, account, found, wish, report, check_mode)
    if not check_mode:
        found = look(machine, wish.port)
    if not check_mode and wish.state == "started":
        prove(found, wish.port)
    return report, found


def _start_process(
    machine: Machine, account: Account, found: Found, wish: Wish, report: Report, check_mode: bool
) -> None:
    """Without a unit: bring back what is exposed as whoever ran it, start what does not run as C(account)."""
    report.path, report.before, report.after = None, "", ""
    wanted = dropin.wanted_environment(wish.port, wish.environment)
    if found.running and not found.exposed:
        return
    environment: dict[str, str] = {"PATH": machine.environ.get("PATH", os.defpath)}
    if found.running:
        refuse_what_is_not_ours(found, wish.port)
        pid = found.pid or 0
        program = processes.program_of(machine, pid)
        account = find_account(found.listeners[0]["user"])
        environment = processes.environment_of(machine, pid) or environment
        report.plan(f"stop process {pid}")
    else:
        program = find_ollama_client(machine, account)["path"]
    if program is None:
        raise Failure(
            "ollama_not_installed",
            f"Looked for the program ollama on PATH, in the system's folders and in {account.home}/.local/bin, and found none. "
            "Install it (module ollama_install).",
        )
    report.plan(f"start {program} serve as {account.name}")
    report.restarted = found.running
    if check_mode:
        return
    if found.running:
        processes.stop(found.pid or 0, machine)
    processes.start(program, account, {**environment, **wanted})
    wait_until_answering(wish, None, UNIT)


def _stop(machine: Machine, found: Found, report: Report, check_mode: bool) -> None:
    if found.unit and (found.is_units or (not found.running and found.unit.active in ("active", "activating"))):
        report.plan(f"stop {found.unit.name}")
        if not check_mode:
            Systemd(machine).do("stop", found.unit.name)
    elif found.running:
        _refuse_to_stop(found)
        report.plan(f"stop process {found.pid}")
        if not check_mode:
            processes.stop(found.pid or 0, machine)


def _refuse_to_stop(found: Found) -> None:
    if found.pid is None or found.origin.is_users or not all(processes.is_ollama(one) for one in found.listeners):
        raise Failure(
            "ollama_not_stopped",
            "Ollama runs, but not as a service of this system or a process that we may stop: "
            + ", ".join(f"{one['address']} ({one['process'] or 'process unknown'})" for one in found.listeners)
            + ". Stop it where it was started, or run the task with become: true.",
        )


def _remove(machine: Machine, found: Found, report: Report, check_mode: bool) -> None:
    report.after = ""
    if not report.before:
        return
    report.plan(f"remove {report.path}")
    if found.running:
        report.warnings.append(
            "The daemon keeps its address until its next start, which follows the user's own settings again."
        )
    if not check_mode:
        dropin.write(machine, report.path or "", None)
        if Systemd.is_running(machine):
            Systemd(machine).do("daemon-reload")
