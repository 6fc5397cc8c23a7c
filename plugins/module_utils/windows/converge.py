# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Have Ollama on Windows run, bound as wanted and answering, without touching what is right (page, WSL with Windows-Host Ollama)."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, Callable, NamedTuple

from ..failure import Failure
from ..host.platform import firewall_commands, hyper_v_command
from ..ollama.daemon import Address, Daemon
from ..untrusted import object_of
from . import presence, refusals
from .powershell import Windows
from .presence import ALL, LOOPBACK, Found, Keeper, Memory, commands, holders
from .refusals import Desired, Report

Sleep = Callable[[float], None]


def resolves(address: Address) -> bool:
    """Tell whether the WSL shell knows the name at all: host.docker.internal may exist in containers only (upstream 8127)."""
    with contextlib.suppress(OSError, UnicodeError):
        return bool(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    return False


def is_reachable(address: Address) -> bool:
    """Tell whether an Ollama answers there: a list of models and not any page of a portal (upstream 4275)."""
    try:
        answer = Daemon(address).ask("GET", "/api/tags")
    except Failure:
        return False
    return answer.status == 200 and isinstance(object_of(answer.content).get("models"), list)


def wait(windows: Windows, desired: Desired, sleep: Sleep = time.sleep) -> tuple[Found, bool]:
    """Return what is there as soon as it is right, or after the last try, and whether it is right on Windows.

    Where WSL has to reach it and knows the name, it is asked from here, so that a slow firewall prompt has time too.
    """
    from_here = desired.require_reachable and desired.bind == ALL and resolves(desired.address)
    for number in range(desired.tries):
        if number:
            sleep(desired.interval)
        # A call of PowerShell takes seconds, so it is asked only where the answer from here says nothing.
        if not from_here or is_reachable(desired.address):
            found = windows.look()
            if is_right(found, desired):
                return found, True
    found = windows.look()
    return found, is_right(found, desired)


def is_right(found: Found, desired: Desired) -> bool:
    """Tell whether the daemon answers on Windows and listens where it is wanted."""
    return found.answers and found.bind == desired.bind


def trouble(found: Found, desired: Desired) -> Failure:
    """Return why the daemon is not where it is wanted after the last try."""
    port, seconds = desired.address.port, desired.tries * desired.interval
    look = presence.commands(port)
    if found.running and found.bind != desired.bind:
        return Failure(
            "windows_ollama_bind",
            f"Started Ollama on Windows with OLLAMA_HOST={desired.host}, and it listens on {presence.holders(found.daemons)}. Another "
            "setting wins there: the switch 'Expose Ollama to the network' in the app's settings, or OLLAMA_HOST of the machine "
            f"({found.machine_variable or 'not set'}). Check with the commands of failure.diagnosis.",
            diagnosis=look,
        )
    if found.running:
        return Failure(
            "windows_ollama_no_answer",
            f"Ollama on Windows listens on {presence.holders(found.daemons)}, but Windows itself gets no answer from it. Check its log "
            f"with the commands of failure.diagnosis, in PowerShell on Windows, and restart it there.",
            diagnosis=look,
        )
    names = ", ".join(sorted({str(one.get("name")) for one in found.processes})) or "no process of it"
    return Failure(
        "windows_ollama_not_started",
        f"Started Ollama on Windows ({found.path}) and waited {seconds:g} s: nothing listens on port {port} there. Now running: {names}. "
        f"Check its log with the commands of failure.diagnosis, in PowerShell on Windows.",
        diagnosis=look,
    )


def check_way(found: Found, desired: Desired, reachable: bool) -> list[str]:
    """Return what has to be said about the way from WSL to a daemon that is right on Windows.

    Raises:
        Failure: C(windows_firewall), where it listens on every address and the way is closed all the same, and
            C(windows_ollama_no_answer), where Windows itself gets no answer.

    """
    if reachable:
        return []
    if not found.answers:
        raise trouble(found, desired)
    if found.bind == LOOPBACK:
        return [
            f"Ollama on Windows listens on its loopback only, so WSL behind NAT does not reach {desired.address}. Containers of Docker "
            "Desktop do: whether they do here, only a probe from a container can tell."
        ]
    if not resolves(desired.address):
        return [
            f"The name {desired.address.host} cannot be resolved in WSL, so nothing was asked from here. It may exist only in containers: "
            f"a probe from a container can tell."
        ]
    port = desired.address.port
    command = firewall_commands(port)[-1]
    if not desired.require_reachable:
        return [
            f"WSL gets no answer from {desired.address}, which the Windows firewall may keep from it. A probe from a container can tell "
            f"whether containers do. This opens the port for WSL, in PowerShell as administrator: {command} (with mirrored "
            f"networking: {hyper_v_command(port)})."
        ]
    raise Failure(
        "windows_firewall",
        f"Ollama answers on Windows and listens on {presence.holders(found.daemons)}, and WSL gets no answer from {desired.address}. The "
        "Windows firewall, or that of another vendor, is in the way: open the port for WSL in PowerShell as administrator with the command "
        "failure.firewall_command (with mirrored networking, the last one of failure.diagnosis), and run the play again.",
        diagnosis=[*presence.commands(port), *firewall_commands(port), hyper_v_command(port)],
        firewall_command=command,
    )


Wait = Callable[[Windows, Desired], "tuple[Found, bool]"]


class Result(NamedTuple):
    """What was there, what is there, what was done, and whether WSL reaches it.

    In check mode both are what was there; both are None where there was no need to ask Windows.
    """

    before: Found | None
    after: Found | None
    report: Report
    reachable: bool | None


def detect(windows: Windows, desired: Desired) -> Result:
    """Return what is there, and change nothing."""
    found = windows.look()
    return Result(found, found, Report(), found.running and is_reachable(desired.address))


def converge(windows: Windows, keeper: Keeper, desired: Desired, check_mode: bool, wait: Wait = wait) -> Result:
    """Bring Ollama on Windows into the state that is wanted, unless only checking.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama on the Windows side of WSL.

    """
    report = Report()
    before = windows.look()
    report.warnings += refusals.check(before, desired)
    try:
        found = _change(windows, keeper, before, desired, report, check_mode, wait)
        reachable = found.running and is_reachable(desired.address)
        if not check_mode or not report.changed:
            report.warnings += check_way(found, desired, reachable)
    except Failure as failure:
        if check_mode or not report.actions:
            raise
        raise _after_changes(failure, report) from failure
    # A call of PowerShell takes seconds, and where nothing was done there is nothing new to see.
    if report.changed and not check_mode:
        found = windows.look()
        refusals.refuse_old(found, desired)
    return Result(before, found, report, reachable)


def _change(
    windows: Windows, keeper: Keeper, before: Found, desired: Desired, report: Report, check_mode: bool, wait: Wait
) -> Found:
    """Do what is missing, and return what is there then."""
    found = before
    upgrades = refusals.is_old(before, desired)
    right = before.running and before.bind == desired.bind and not upgrades
    if upgrades:
        _stop(windows, before, report, check_mode)
    # The installer gets its OLLAMA_HOST by its environment, so one that fails leaves the variable as it was.
    if upgrades or not (before.installed or before.running):
        found = _install(windows, before, desired, report, check_mode)
    if not before.foreign:
        _set_variable(windows, keeper, before, desired, report, check_mode)
    if right or (found is not before and is_right(found, desired)):
        return found
    return _bring_up(windows, found, desired, report, check_mode, wait)


def _after_changes(failure: Failure, report: Report) -> Failure:
    """Return the failure with what was done on Windows before it, so that nobody believes it untouched."""
    back = " state=restored (the playbook uninstall) puts OLLAMA_HOST back." if "OLLAMA_HOST" in report.expected else ""
    return Failure(
        failure.code,
        f"{failure.message} Windows was changed before that: {'; '.join(report.actions)}.{back}",
        **failure.details,
        actions=report.actions,
    )


def _set_variable(
    windows: Windows, keeper: Keeper, found: Found, desired: Desired, report: Report, check_mode: bool
) -> None:
    """Set OLLAMA_HOST of the Windows user, and keep what it was."""
    if found.variable == desired.host:
        return
    was = f"it was {found.variable}" if found.variable else "it was not set"
    if not check_mode:
        keeper.remember(found.variable, desired.host)
    report.plan(f"set OLLAMA_HOST={desired.host} for the Windows user {found.user} ({was})", OLLAMA_HOST=desired.host)
    if not check_mode:
        windows.set_variable(desired.host)


def _install(windows: Windows, found: Found, desired: Desired, report: Report, check_mode: bool) -> Found:
    """Install Ollama, or a newer release over it, and return what is there then."""
    what = f"install Ollama on Windows by {desired.installer}"
    if found.installed:
        what = f"upgrade Ollama on Windows from {found.version} by {desired.installer}"
    if not check_mode:
        windows.install(desired.installer, desired.version, desired.host, desired.install_timeout)
    # Only now: a failure of the installer says itself what became of it.
    report.plan(what, installed=True)
    if check_mode:
        return found
    found = windows.look()
    if not found.installed:
        raise Failure(
            "windows_install_failed",
            f"Ran the installer {desired.installer} on Windows, which ended without an error, and there is no ollama.exe on PATH, in the "
            f"known folders or in the registry of {found.user}. It may have installed for another user: run it on Windows by hand.",
            diagnosis=["Get-Command ollama.exe", 'Get-ChildItem "$env:LOCALAPPDATA\\Programs\\Ollama"'],
        )
    return found


def _bring_up(windows: Windows, found: Found, desired: Desired, report: Report, check_mode: bool, wait: Wait) -> Found:
    """Stop what runs and start it anew: the tray app, and where that does not help, the program itself (upstream-facts N9).

    Whatever starts is a file that was seen there a moment ago, and never a name that PATH would resolve.
    """
    launches = [(path, serve) for path, serve in ((found.app, False), (found.path, True)) if path]
    _stop(windows, found, report, check_mode)
    if check_mode:
        report.plan(f"start {_command(*launches[0])}" if launches else "start Ollama on Windows", bind=desired.bind)
        return found
    for number, (path, serve) in enumerate(launches):
        if number:
            windows.stop()
        report.plan(f"start {_command(path, serve)}")
        windows.start(path, serve, desired.host)
        found, right = wait(windows, desired)
        if right:
            return found
    raise trouble(found, desired)


def _stop(windows: Windows, found: Found, report: Report, check_mode: bool) -> None:
    """Stop what runs of this user, the app first: it would start the daemon again."""
    if not found.mine or (check_mode and report.restarted):
        return
    report.plan(f"stop {', '.join(sorted({str(one.get('name')) for one in found.mine}))} on Windows")
    report.restarted = True
    if not check_mode:
        windows.stop()


def _command(path: str, serve: bool) -> str:
    return f"{path} serve" if serve else path


def restore(connect: Callable[[], Windows], keeper: Keeper, check_mode: bool) -> Result:
    """Put OLLAMA_HOST back as it was before this collection set it; where it never did, Windows is not even asked.

    Raises:
        Failure: Those of PowerShell with the C(command) that does it by hand, and those of the file that remembers.

    """
    memory = keeper.read()
    if memory is None:
        return Result(None, None, Report(), None)
    try:
        return _restore(connect(), keeper, memory, check_mode)
    except Failure as failure:
        command = presence.set_command(memory.previous)
        raise Failure(
            failure.code,
            f"{failure.message} This puts OLLAMA_HOST back by hand, in PowerShell of that Windows user: {command}. What it was stays "
            f"noted in {keeper.path}: remove that file afterwards.",
            **failure.details,
            command=command,
        ) from failure


def _restore(windows: Windows, keeper: Keeper, memory: Memory, check_mode: bool) -> Result:
    report = Report()
    before = found = windows.look()
    if found.variable == memory.written:
        wanted = f"OLLAMA_HOST={memory.previous}" if memory.previous else "no OLLAMA_HOST"
        report.plan(
            f"set {wanted} for the Windows user {found.user} (it was {found.variable})", OLLAMA_HOST=memory.previous
        )
        if found.running:
            report.warnings.append(
                f"Ollama on Windows listens on {presence.holders(found.daemons)} until its next start. Quit it in the notification "
                "area of Windows and start it again."
            )
    else:
        report.plan(f"forget what OLLAMA_HOST was ({keeper.path})")
        if found.variable != memory.previous:
            report.warnings.append(
                f"OLLAMA_HOST on Windows is {found.variable or 'not set'} and not {memory.written}, as this collection set it: it was "
                f"changed since, so it is left unchanged."
            )
    if not check_mode:
        if found.variable == memory.written:
            windows.set_variable(memory.previous)
        keeper.forget()
        found = windows.look()
    return Result(before, found, report, None)


_FACTS = (
    "installed",
    "running",
    "bind",
    "answers",
    "guarded",
    "models",
    "version",
    "path",
    "found_by",
    "app",
    "listeners",
)


def as_result(result: Result, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Return the module's result, with its C(warnings) and its C(diff)."""
    before, after, report = result.before, result.after, result.report
    expected = {**_summary(before), **report.expected} if check_mode else _summary(after)
    return {
        "changed": report.changed,
        "actions": report.actions,
        "restarted": report.restarted,
        "reachable": result.reachable,
        **{name: getattr(after, name) if after else None for name in _FACTS},
        "windows_user": after.user if after else None,
        "other_users": after.others if after else None,
        "variable": {"before": before.variable if before else None, "after": after.variable if after else None},
        "diagnosis": commands(desired.address.port),
        "warnings": [*report.warnings, *_exposure(after, desired.address.port)],
        "diff": {"before": _summary(before), "after": expected},
    }


def _summary(found: Found | None) -> dict[str, Any]:
    """Return what a diff shows."""
    if found is None:
        return {}
    return {"installed": found.installed, "bind": found.bind, "OLLAMA_HOST": found.variable}


def _exposure(found: Found | None, port: int) -> list[str]:
    """Return what has to be said about who can reach the daemon."""
    if found is None or found.bind is None:
        return []
    if found.bind == LOOPBACK:
        if found.guarded is not False:
            return []
        return [
            f"Ollama on Windows listens on its loopback, port {port}, and takes a request with a foreign Host header, which Ollama refuses "
            "there with 403: a page in the browser of that Windows may use it (DNS rebinding). Check which program answers on that port, "
            "and upgrade Ollama."
        ]
    where = "every network interface of the Windows machine" if found.bind == ALL else holders(found.daemons)
    return [
        f"Ollama on Windows listens on {where}, port {port}, without a key or a password: any client that reaches that port over the LAN, "
        f"Wi-Fi or a VPN can use, pull and delete models, unless the Windows firewall keeps them out. bind=loopback keeps it to the "
        f"machine, where Docker Desktop's containers still reach it."
    ]
