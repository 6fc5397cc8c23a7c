# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Ollama as a unit of systemd: our drop-in beside the user's, checked before anything is restarted."""

from __future__ import annotations

import time

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import read_platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import find_ollama_client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import (
    dropin,
    environment,
    processes,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.peers import announce
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.plan import (
    VARIABLE,
    own_setting,
    plan_adoption,
    plan_context,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import (
    Found,
    refuse_what_is_not_ours,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd, UnitState
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import (
    Report,
    UnitStart,
    Wish,
    wait_until_answering,
)


def start(machine: Machine, found: Found, unit: UnitState, wish: Wish, report: Report, check_mode: bool) -> None:
    systemd, own = Systemd(machine), found.own
    program = processes.program_of(machine, own.pid) if own else None
    program = program or find_ollama_client(machine, find_account())["path"]
    spark = dropin.spark_environment(machine, read_platform(machine).name, program)
    chosen = plan_context(machine, found, unit, wish, report.before)
    context = {VARIABLE: chosen.length} if chosen.length else {}
    wanted = dropin.wanted_environment(wish.port, {**spark, **context, **wish.environment})
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
    if wish.enabled and not unit.enabled:
        report.plan(f"enable {unit.name}")
    if found.exposed:
        refuse_what_is_not_ours(found, wish.port)
        announce(machine, found, wish.port, report, check_mode)
    for one in found.open_strays:
        report.plan(f"stop process {one.pid}")
    if own is None and found.is_taken:
        report.warnings.append(
            f"Ollama on port {wish.port} is not the service {unit.name}, but {_named(found)}: at the next boot the "
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
    if wish.enabled and not unit.enabled:
        systemd.do("enable", unit.name)
    for one in found.open_strays:
        processes.stop(one.pid, machine)
    if needs:
        report.restarted = own is not None
        try:
            systemd.do("restart", unit.name)
            wait_until_answering(wish, UnitStart(systemd, unit.name))
        except Failure as failure:
            if write and own and not own.is_misplaced:
                raise _go_back(machine, systemd, unit.name, wish, report, failure) from failure
            raise


def _named(found: Found) -> str:
    return ", ".join(f"process {one.pid}{' in a container' if one.is_contained else ''}" for one in found.strays) or (
        "another user's process"
    )


def _go_back(machine: Machine, systemd: Systemd, unit: str, wish: Wish, report: Report, failure: Failure) -> Failure:
    """Have the service run again as it did, on loopback, and return the failure with that in its sentence."""
    dropin.write(machine, report.path or "", report.before or None)
    try:
        systemd.do("daemon-reload")
        systemd.do("restart", unit)
        wait_until_answering(wish, UnitStart(systemd, unit))
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
    got = (processes.environment_of(machine, pid) or {}).get("OLLAMA_HOST")
    given = f"was given OLLAMA_HOST={got}" if got is not None else "has no OLLAMA_HOST in its environment"
    place = environment.command_of(machine, unit)
    return dropin.overruled(
        {"OLLAMA_HOST": place},
        f"The service {unit.name} was started with our drop-in, and its process {pid} {given} and is not on 127.0.0.1: the command of "
        f"ExecStart= ({place}) sets it, so another start would be the same.",
    )


def _lacks(machine: Machine, pid: int, wanted: dict[str, str], write: bool) -> bool:
    """A daemon that listens where it should keeps its loaded models, however it came to do so; it may lack a variable."""
    more = {name: value for name, value in wanted.items() if name != "OLLAMA_HOST"}
    running = processes.environment_of(machine, pid)
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
