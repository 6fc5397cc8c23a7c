# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Run Ollama on loopback and nowhere else, supervised where systemd is, and prove it by the kernel's socket tables."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.replace import replace_file
from ..host.systemd import Systemd, UnitState
from . import dropin, presence, processes
from .presence import UNIT, Found, exposed_to, look, named_holder, remedy_for
from .processes import ProcessStart, UnitStart, wait_until_answering
from .service_plan import Desired, ProcessPlan, Report, UnitPlan, begin, plan_process, plan_unit

_VERIFY_LIMIT_S = 30.0


def write_drop_in(machine: Machine, path: str, text: str | None) -> None:
    """Replace the drop-in in one step, or remove it (None).

    Raises:
        Failure: C(drop_in_unwritable), when the folder is read-only or we are not root.

    """
    target = machine.path(path)
    try:
        if text is None:
            target.unlink()
            with contextlib.suppress(OSError):  # somebody else's files are in it
                target.parent.rmdir()
            return
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(str(target), text, 0o644)
    except FileNotFoundError:
        if text is not None:
            raise
    except OSError as error:
        raise Failure(
            "drop_in_unwritable",
            f"The drop-in {path} cannot be written: {error.strerror}. Run the task as root (become: true), on a file system that is "
            "not read-only. Nothing was changed.",
        ) from error


def prove(machine: Machine, found: Found, port: int) -> None:
    """Let nothing pass that is open to the network, nor an answer from somewhere else than this host.

    Raises:
        Failure: C(ollama_exposed), naming the addresses and the programs; C(ollama_not_started).

    """
    if found.exposed:
        raise exposed_to(found, port, remedy_for(found, port, machine))
    if found.listeners and not found.is_local:
        named = ", ".join(f"[{one['address']}]" if ":" in one["address"] else one["address"] for one in found.listeners)
        raise Failure(
            "ollama_not_started",
            f"Looked for Ollama on 127.0.0.1:{port}, where everything else asks for it, and it listens on {named} alone: OLLAMA_HOST says "
            "so where it was started. Set it to 127.0.0.1 there, or stop that one.",
        )
    if not found.listeners and machine.exists("/proc/net/tcp"):
        log = f"journalctl -u {found.unit.name}" if found.unit else "~/.ollama/serve.log of its user"
        raise Failure(
            "ollama_not_started",
            f"Something answered as Ollama on 127.0.0.1:{port}, and no process of this host listens there: Ollama ended again at once "
            f"({log}), or it is one outside of this Linux, as that of Windows is in a WSL with mirrored networking. Stop that one.",
        )


def _start_unit(
    machine: Machine, found: Found, unit: UnitState, desired: Desired, report: Report, planned: UnitPlan
) -> None:
    systemd, own = Systemd(machine), found.own
    wanted, write = planned.wanted, planned.writes
    if write:
        write_drop_in(machine, report.path or "", report.after)
    if write or unit.stale:
        systemd.do("daemon-reload")
    _check_files(machine, systemd, unit.name, wanted, report, write)
    if desired.enabled and not unit.enabled:
        systemd.do("enable", unit.name)
    for one in found.open_strays:
        processes.stop(one.pid, machine)
    if planned.starts:
        report.restarted = own is not None
        try:
            systemd.do("restart", unit.name)
            wait_until_answering(desired, UnitStart(systemd, unit.name))
        except Failure as failure:
            if write and own and not own.is_misplaced:
                raise _go_back(machine, systemd, unit.name, desired, report, failure) from failure
            raise


def _go_back(
    machine: Machine, systemd: Systemd, unit: str, desired: Desired, report: Report, failure: Failure
) -> Failure:
    """Have the service run again as it did, on loopback, and return the failure with that in its sentence."""
    write_drop_in(machine, report.path or "", report.before or None)
    try:
        systemd.do("daemon-reload")
        systemd.do("restart", unit)
        wait_until_answering(desired, UnitStart(systemd, unit))
        outcome = "and the service answers with it again"
    except Failure:
        outcome = "but with it the service does not answer either"
    return Failure(failure.code, f"{failure.message} Its drop-in was put back as it was, {outcome}.", **failure.details)


def _check_files(
    machine: Machine, systemd: Systemd, unit: str, wanted: dict[str, str], report: Report, wrote: bool
) -> None:
    """Have systemd read the files before anything is restarted; our drop-in is taken back where it would not hold."""
    complaints = [line for line in _verify(machine, unit) if unit in line or ".d/" in line]
    ours = [line for line in complaints if dropin.FILE_NAME in line]
    report.warnings += [f"systemd-analyze verify: {line}" for line in complaints if line not in ours]
    failure = dropin.overruled_by(machine, systemd.show(unit), wanted)
    if ours:
        failure = Failure(
            "drop_in_refused", f"systemd does not accept our drop-in {report.path}: {' '.join(ours)[:300]}."
        )
    if failure:
        if wrote:
            write_drop_in(machine, report.path or "", report.before or None)
            systemd.do("daemon-reload")
        raise failure


def _verify(machine: Machine, unit: str) -> list[str]:
    """Return what C(systemd-analyze verify) complains of; empty where it is not installed."""
    path = machine.find_command("systemd-analyze")
    if path is None:
        return []
    answer = machine.run([path, "verify", "--man=no", unit], _VERIFY_LIMIT_S)
    return [line.strip() for line in answer.output.splitlines() if line.strip()]


def converge(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> tuple[Report, Found]:
    """Bring the service into the state that is wanted, unless only checking, and return what was done and what there is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    if desired.state == "absent":
        return _remove(machine, check_mode), look(machine, desired.port, ask=False)
    report, found = begin(machine, desired.port)
    if desired.state == "stopped":
        _stop(machine, found, report, check_mode)
    elif found.unit:
        of_unit = plan_unit(machine, found, found.unit, desired, report, check_mode)
        if not check_mode:
            _start_unit(machine, found, found.unit, desired, report, of_unit)
    else:
        of_process = plan_process(machine, account, found, desired, report, check_mode)
        if not check_mode:
            _start_process(machine, desired, of_process)
    if not check_mode:
        found = look(machine, desired.port)
    if not check_mode and desired.state == "started":
        prove(machine, found, desired.port)
    return report, found


def _start_process(machine: Machine, desired: Desired, planned: ProcessPlan) -> None:
    account = planned.account
    replaced = [one for one in planned.stopped if one.owner == account.name] if planned.program else []
    for one in planned.stopped:
        if one not in replaced:
            processes.stop(one.pid, machine)
    if planned.program:
        process = processes.start(machine, planned.program, account, planned.environment, [one.pid for one in replaced])
        wait_until_answering(desired, ProcessStart(process, processes.log_of(account, planned.environment)))


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
            write_drop_in(machine, path, None)
    if found and systemd and not check_mode:
        systemd.do("daemon-reload")
    return report
