# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Have Ollama run on loopback and nowhere else, supervised where systemd is, and prove it by the kernel's socket tables."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import find_ollama_client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import (
    dropin,
    processes,
    unit_service,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.peers import announce
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.plan import VARIABLE, plan_context
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import (
    UNIT,
    Found,
    look,
    named_holder,
    prove,
    refuse_what_is_not_ours,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import (
    ProcessStart,
    Report,
    Wish,
    wait_until_answering,
)


def converge(machine: Machine, account: Account, wish: Wish, check_mode: bool) -> tuple[Report, Found]:
    """Bring the service into the state that is wanted, unless only checking, and return what was done and what there is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    if wish.state == "absent":
        return _remove(machine, check_mode), look(machine, wish.port, ask=False)
    found = look(machine, wish.port)
    report = Report(path=dropin.path_for(found.unit.name if found.unit else UNIT))
    report.before = report.after = dropin.read(machine, report.path or "") or ""
    if wish.state == "stopped":
        _stop(machine, found, report, check_mode)
    elif found.unit:
        unit_service.start(machine, found, found.unit, wish, report, check_mode)
    else:
        _start_process(machine, account, found, wish, report, check_mode)
    if not check_mode:
        found = look(machine, wish.port)
    if not check_mode and wish.state == "started":
        prove(machine, found, wish.port)
    return report, found


def _start_process(
    machine: Machine, account: Account, found: Found, wish: Wish, report: Report, check_mode: bool
) -> None:
    """Without a unit: bring back what is exposed as whoever ran it, start what does not run as C(account)."""
    report.path, report.before, report.after = None, "", ""
    wanted = dropin.wanted_environment(wish.port, wish.environment)
    report.warnings.append(
        f"Ollama on port {wish.port} is a process and no service: nothing starts it again after a reboot. Give this host a unit "
        f"{UNIT} (ollama_install makes one with the Ollama that it installs in mode: system)."
        if Systemd.is_running(machine)
        else f"Ollama on port {wish.port} is a process and no service, since no systemd runs here: nothing starts it again after a reboot."
    )
    local = processes.environment_of(machine, found.local.pid) if found.local else None
    report.keep_alive = wish.environment.get("OLLAMA_KEEP_ALIVE") or (local or {}).get("OLLAMA_KEEP_ALIVE")
    # Beside one that is right already, one on another address of loopback does no harm.
    stopped = found.open_strays if found.is_taken else found.misplaced_strays
    if found.is_taken and not found.exposed:
        return
    if found.exposed:
        refuse_what_is_not_ours(found, wish.port)
        announce(machine, found, wish.port, report, check_mode)
    chosen = plan_context(machine, found, None, wish, "")
    program: str | None = None
    environment = {"PATH": machine.environ.get("PATH", os.defpath)}
    if stopped:
        first = stopped[0]
        account = find_account(first.owner)
        program = processes.program_of(machine, first.pid)
        environment = processes.environment_of(machine, first.pid) or environment
    if chosen.length and VARIABLE not in environment:
        report.context = chosen.reason
        wanted = {**wanted, VARIABLE: str(chosen.length)}
    # Looked for as well where the program that runs was replaced by another.
    program = program or find_ollama_client(machine, account)["path"]
    if program is None and not found.is_taken:
        raise Failure(
            "ollama_not_installed",
            f"Looked for the program ollama on PATH, in the system's folders and in {account.home}/.local/bin, and found none. "
            "Install it (module ollama_install).",
        )
    for one in stopped:
        report.plan(f"stop process {one.pid}")
    if not found.is_taken:
        report.plan(f"start {program} serve as {account.name}")
        report.restarted = found.running
    if check_mode:
        return
    replaced = [one for one in stopped if one.owner == account.name] if program and not found.is_taken else []
    for one in stopped:
        if one not in replaced:
            processes.stop(one.pid, machine)
    if program and not found.is_taken:
        given = {**environment, **wanted}
        process = processes.start(machine, program, account, given, [one.pid for one in replaced])
        wait_until_answering(wish, ProcessStart(process, processes.log_of(account, given)))


def _stop(machine: Machine, found: Found, report: Report, check_mode: bool) -> None:
    if found.strays or (found.running and not found.holders):
        _refuse_to_stop(found)
    unit = found.unit
    if unit and (found.own or (not found.running and unit.active in ("active", "activating"))):
        report.plan(f"stop {unit.name}")
        if not check_mode:
            Systemd(machine).do("stop", unit.name)
    for one in found.strays:
        report.plan(f"stop process {one.pid}")
        if not check_mode:
            processes.stop(one.pid, machine)


def _refuse_to_stop(found: Found) -> None:
    if (
        not found.holders
        or any(one.origin.is_users or one.is_contained for one in found.strays)
        or not all(processes.is_ollama(one) for one in found.listeners)
    ):
        raise Failure(
            "ollama_not_stopped",
            "Ollama runs, but not as a service of this system or a process that we may stop: "
            + ", ".join(f"{one['address']} ({named_holder(one)})" for one in found.listeners)
            + ". Stop it where it was started, or run the task with become: true.",
        )


def _remove(machine: Machine, check_mode: bool) -> Report:
    """Remove every drop-in of ours, whichever unit it was for, and whoever has the port by now."""
    systemd = Systemd(machine) if Systemd.is_running(machine) else None
    found = dropin.find(machine)
    report = Report(path=next(iter(found), dropin.path_for(UNIT)), before="".join(found.values()))
    for path in found:
        report.plan(f"remove {path}")
        unit = Path(path).parent.name.removesuffix(".d")
        if systemd and systemd.show(unit).pid:
            report.warnings.append(
                f"{unit} keeps its address until its next start, which follows the user's own settings again."
            )
        if not check_mode:
            dropin.write(machine, path, None)
    if found and systemd and not check_mode:
        systemd.do("daemon-reload")
    return report
