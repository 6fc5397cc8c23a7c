# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Run Ollama on loopback and nowhere else, supervised where systemd is, and prove it by the kernel's socket tables."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, Machine, find_account
from ..host.platform import read_platform
from ..host.sockets import find_peers
from ..host.tools import find_ollama_client
from . import dropin, presence, processes
from .presence import UNIT, Found, look, named_holder, prove, refuse_what_is_not_ours
from .processes import ProcessStart, UnitStart, wait_until_answering
from .service_plan import VARIABLE, Desired, Report, own_setting, plan_adoption, plan_context
from .systemd import Systemd, UnitState

_NAMED = 10


def announce(machine: Machine, found: Found, port: int, report: Report, check_mode: bool) -> None:
    """Put into the report what is open, to whom, and who is connected to it now."""
    clients = Counter(find_peers(machine, port))
    report.closed = {
        "listeners": found.open_listeners,
        "clients": [{"address": address, "connections": count} for address, count in sorted(clients.items())],
    }
    report.warnings.append(describe(found.open_listeners, clients, port, check_mode))


def describe(listeners: list[dict[str, Any]], clients: Counter[str], port: int, check_mode: bool) -> str:
    """Return that as sentences."""
    where = ", ".join(f"{one['address']} ({named_holder(one)})" for one in listeners)
    every = any(one["scope"] == "any" for one in listeners)
    names = [f"{name} ({count} connection{'s' if count > 1 else ''})" for name, count in clients.most_common(_NAMED)]
    more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
    connected = f"Connected just now: {', '.join(names)}{more}." if names else "Nobody was connected just now."
    whom = "every network of this host" if every else "the network of that address"
    closed = "would be closed to them" if check_mode else "is closed to them now"
    return (
        f"Ollama on port {port} was found open to {whom}, without any password: it listened on {where}, and whoever reaches it could use, "
        f"pull and delete models. It {closed}, and on 127.0.0.1 alone. {connected} Whoever needs it from outside uses the auth proxy with "
        "its token."
    )


def start(machine: Machine, found: Found, unit: UnitState, desired: Desired, report: Report, check_mode: bool) -> None:
    systemd, own = Systemd(machine), found.own
    program = presence.program_of(machine, own.pid) if own else None
    program = program or find_ollama_client(machine, find_account())["path"]
    spark = dropin.spark_environment(machine, read_platform(machine).name, program)
    chosen = plan_context(machine, found, unit, desired, report.before)
    context = {VARIABLE: chosen.length} if chosen.length else {}
    wanted = dropin.wanted_environment(desired.port, {**spark, **context, **desired.environment})
    adopted, warnings = plan_adoption(machine, found, unit, wanted, report.before)
    report.context = chosen.reason
    report.warnings += warnings
    own_keep_alive = own_setting(machine, unit, "OLLAMA_KEEP_ALIVE")
    report.keep_alive = wanted.get("OLLAMA_KEEP_ALIVE") or (own_keep_alive.value if own_keep_alive else None)
    report.after = dropin.render(wanted, adopted)
    wanted = {**wanted, **adopted}
    path = report.path or ""
    write = report.before != report.after
    needs = not found.is_taken if own is None else own.is_misplaced or _lacks(machine, own.pid, wanted, write)
    if write:
        report.plan(f"write {path}")
    if desired.enabled and not unit.enabled:
        report.plan(f"enable {unit.name}")
    if found.exposed:
        refuse_what_is_not_ours(found, desired.port)
        announce(machine, found, desired.port, report, check_mode)
    for one in found.open_strays:
        report.plan(f"stop process {one.pid}")
    if own is None and found.is_taken:
        report.warnings.append(
            f"Ollama on port {desired.port} is not the service {unit.name}, but {_named(found)}: at the next boot the "
            f"service runs in its place."
        )
    elif needs:
        report.plan(f"{'restart' if own else 'start'} {unit.name}")
    if own and own.is_misplaced and not write and not unit.stale and _has_read(machine, unit, path):
        raise _cannot_help(machine, unit, own.pid, wanted)
    if check_mode:
        failure = dropin.overruled_by(machine, dropin.foresee(machine, unit, path, wanted), wanted)
        if failure:
            raise failure
        return
    if write:
        dropin.write(machine, path, report.after)
    if write or unit.stale:
        systemd.do("daemon-reload")
    _check_files(machine, systemd, unit.name, wanted, report, write)
    if desired.enabled and not unit.enabled:
        systemd.do("enable", unit.name)
    for one in found.open_strays:
        processes.stop(one.pid, machine)
    if needs:
        report.restarted = own is not None
        try:
            systemd.do("restart", unit.name)
            wait_until_answering(desired, UnitStart(systemd, unit.name))
        except Failure as failure:
            if write and own and not own.is_misplaced:
                raise _go_back(machine, systemd, unit.name, desired, report, failure) from failure
            raise


def _named(found: Found) -> str:
    return ", ".join(f"process {one.pid}{' in a container' if one.is_contained else ''}" for one in found.strays) or (
        "another user's process"
    )


def _go_back(
    machine: Machine, systemd: Systemd, unit: str, desired: Desired, report: Report, failure: Failure
) -> Failure:
    """Have the service run again as it did, on loopback, and return the failure with that in its sentence."""
    dropin.write(machine, report.path or "", report.before or None)
    try:
        systemd.do("daemon-reload")
        systemd.do("restart", unit)
        wait_until_answering(desired, UnitStart(systemd, unit))
        outcome = "and the service answers with it again"
    except Failure:
        outcome = "but with it the service does not answer either"
    return Failure(failure.code, f"{failure.message} Its drop-in was put back as it was, {outcome}.", **failure.details)


def _has_read(machine: Machine, unit: UnitState, path: str) -> bool:
    """Tell whether the unit's process was started when our drop-in was there already, so that another start would be the same."""
    try:
        written = time.time() - machine.path(path).stat().st_mtime
    except OSError:
        return False
    return unit.started > 0 and time.monotonic() - unit.started < written


def _cannot_help(machine: Machine, unit: UnitState, pid: int, wanted: dict[str, str]) -> Failure:
    """Return the failure for a daemon that was started with our drop-in and is not on 127.0.0.1 all the same."""
    failure = dropin.overruled_by(machine, unit, wanted)
    if failure:
        return failure
    got = (presence.environment_of(machine, pid) or {}).get("OLLAMA_HOST")
    given = f"was given OLLAMA_HOST={got}" if got is not None else "has no OLLAMA_HOST in its environment"
    place = dropin.command_of(machine, unit)
    return dropin.overruled(
        {"OLLAMA_HOST": place},
        f"The service {unit.name} was started with our drop-in, and its process {pid} {given} and is not on 127.0.0.1: the command of "
        f"ExecStart= ({place}) sets it, so another start would be the same.",
    )


def _lacks(machine: Machine, pid: int, wanted: dict[str, str], write: bool) -> bool:
    """A daemon that listens where it should keeps its loaded models, however it came to do so; it may lack a variable."""
    more = {name: value for name, value in wanted.items() if name != "OLLAMA_HOST"}
    running = presence.environment_of(machine, pid)
    if running is None:
        return write and bool(more)
    return any(running.get(name) != value for name, value in more.items())


def _check_files(
    machine: Machine, systemd: Systemd, unit: str, wanted: dict[str, str], report: Report, wrote: bool
) -> None:
    """Have systemd read the files before anything is restarted; our drop-in is taken back where it would not hold."""
    complaints = [line for line in systemd.verify(unit) if unit in line or ".d/" in line]
    ours = [line for line in complaints if dropin.FILE_NAME in line]
    report.warnings += [f"systemd-analyze verify: {line}" for line in complaints if line not in ours]
    failure = dropin.overruled_by(machine, systemd.show(unit), wanted)
    if ours:
        failure = Failure(
            "drop_in_refused", f"systemd does not accept our drop-in {report.path}: {' '.join(ours)[:300]}."
        )
    if failure:
        if wrote:
            dropin.write(machine, report.path or "", report.before or None)
            systemd.do("daemon-reload")
        raise failure


def converge(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> tuple[Report, Found]:
    """Bring the service into the state that is wanted, unless only checking, and return what was done and what there is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    if desired.state == "absent":
        return _remove(machine, check_mode), look(machine, desired.port, ask=False)
    found = look(machine, desired.port)
    report = Report(path=dropin.path_for(found.unit.name if found.unit else UNIT))
    report.before = report.after = dropin.read(machine, report.path or "") or ""
    if desired.state == "stopped":
        _stop(machine, found, report, check_mode)
    elif found.unit:
        start(machine, found, found.unit, desired, report, check_mode)
    else:
        _start_process(machine, account, found, desired, report, check_mode)
    if not check_mode:
        found = look(machine, desired.port)
    if not check_mode and desired.state == "started":
        prove(machine, found, desired.port)
    return report, found


def _start_process(
    machine: Machine, account: Account, found: Found, desired: Desired, report: Report, check_mode: bool
) -> None:
    """Without a unit: bring back what is exposed as whoever ran it, start what does not run as C(account)."""
    report.path, report.before, report.after = None, "", ""
    wanted = dropin.wanted_environment(desired.port, desired.environment)
    report.warnings.append(
        f"Ollama on port {desired.port} is a process and no service: nothing starts it again after a reboot. Give this host a unit "
        f"{UNIT} (ollama_install makes one with the Ollama that it installs in mode: system)."
        if Systemd.is_running(machine)
        else f"Ollama on port {desired.port} is a process and no service, since no systemd runs here: nothing starts it again after a "
        "reboot."
    )
    local = presence.environment_of(machine, found.local.pid) if found.local else None
    report.keep_alive = desired.environment.get("OLLAMA_KEEP_ALIVE") or (local or {}).get("OLLAMA_KEEP_ALIVE")
    # Beside one that is right already, one on another address of loopback does no harm.
    stopped = found.open_strays if found.is_taken else found.misplaced_strays
    if found.is_taken and not found.exposed:
        return
    if found.exposed:
        refuse_what_is_not_ours(found, desired.port)
        announce(machine, found, desired.port, report, check_mode)
    chosen = plan_context(machine, found, None, desired, "")
    program: str | None = None
    environment = {"PATH": machine.environ.get("PATH", os.defpath)}
    if stopped:
        first = stopped[0]
        account = find_account(first.owner)
        program = presence.program_of(machine, first.pid)
        environment = presence.environment_of(machine, first.pid) or environment
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
        wait_until_answering(desired, ProcessStart(process, processes.log_of(account, given)))


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
        or not all(presence.is_ollama(one) for one in found.listeners)
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
