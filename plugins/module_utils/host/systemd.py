# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A systemd unit as systemd itself sees it, and what we ask it to do."""

from __future__ import annotations

import dataclasses
import re
import shlex
from typing import NamedTuple

from ..failure import Failure
from .machine import Account, CommandResult, Machine

# A question takes milliseconds; a stop may wait for TimeoutStopSec, 90 s by default.
_ASK_LIMIT_S = 10.0
_ACT_LIMIT_S = 120.0
_PROPERTIES = (
    "ActiveState",
    "DropInPaths",
    "Environment",
    "EnvironmentFiles",
    "ExecMainStartTimestampMonotonic",
    "ExecStart",
    "FragmentPath",
    "LoadState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "Result",
    "SubState",
    "UnitFileState",
    "UnsetEnvironment",
    "User",
)


class UnitState(NamedTuple):
    """What C(systemctl show) says.

    Attributes:
        name: Unit, C(ollama.service).
        known: Whether systemd has such a unit.
        active: C(active), C(inactive), C(failed), C(activating)...
        pid: Main process, 0 without one.
        environment: C({name: value}) that the next start gets from C(Environment=) lines; those systemd could not read are missing.
        files: The unit's file and its drop-ins, in the order in which they are read.
        environment_files: Files whose variables win over C(Environment=).
        stale: Whether the files changed since systemd read them.
        enabled: Whether it starts at boot.
        result: Why it ended last, C(success) or C(exit-code) and the like.
        sub: C(running), C(auto-restart), C(dead) and the like.
        restarts: How often systemd has started it again by itself, since somebody started it.
        started: When its main process was started, in seconds of the monotonic clock; 0 for never.
        command: Its C(ExecStart=), as C(systemctl show) puts it.
        unset: The variables of its C(UnsetEnvironment=).
        user: As whom it runs; empty for root.

    """

    name: str
    known: bool
    active: str
    pid: int
    environment: dict[str, str]
    files: list[str]
    environment_files: list[str]
    stale: bool
    enabled: bool
    result: str
    sub: str = ""
    restarts: int = 0
    started: float = 0
    command: str = ""
    unset: tuple[str, ...] = ()
    user: str = ""


class Systemd:
    """The systemd of a host. Create it only where C(is_running) is true."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._systemctl = machine.find_command("systemctl") or "/usr/bin/systemctl"

    @staticmethod
    def is_running(machine: Machine) -> bool:
        """Tell whether systemd runs the host (sd_booted(3)) and can be asked."""
        return machine.exists("/run/systemd/system") and machine.find_command("systemctl") is not None

    def show(self, unit: str) -> UnitState:
        """Return the state of a unit; an unknown one has C(known) false.

        Raises:
            Failure: C(systemd_failed).

        """
        said = self._do(["show", unit, *(f"--property={name}" for name in _PROPERTIES)], _ASK_LIMIT_S)
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        fragment = values.get("FragmentPath", "")
        return UnitState(
            name=unit,
            known=values.get("LoadState") not in (None, "", "not-found"),
            active=values.get("ActiveState", "unknown"),
            pid=_number(values.get("MainPID")),
            environment=parse_environment(values.get("Environment", "")),
            files=[*([fragment] if fragment else []), *values.get("DropInPaths", "").split()],
            # A line for each: EnvironmentFiles=/etc/default/ollama (ignore_errors=yes)
            environment_files=re.findall(r"^EnvironmentFiles=(/.*?)(?: \(ignore_errors=\w+\))?$", said, re.MULTILINE),
            stale=values.get("NeedDaemonReload") == "yes",
            enabled=values.get("UnitFileState", "") in ("enabled", "static", "generated", "alias", "indirect"),
            result=values.get("Result", ""),
            sub=values.get("SubState", ""),
            restarts=_number(values.get("NRestarts")),
            started=_number(values.get("ExecMainStartTimestampMonotonic")) / 1e6,
            command=values.get("ExecStart", ""),
            unset=tuple(values.get("UnsetEnvironment", "").split()),
            user=values.get("User", ""),
        )

    def users_main_pid(self, unit: str, account: Account) -> int:
        """Return the main process of a unit of a user's own systemd; 0 where there is none, or where that systemd cannot be asked."""
        environ = {**self.machine.environ, "XDG_RUNTIME_DIR": f"/run/user/{account.uid}"}
        answer = dataclasses.replace(self.machine, environ=environ).run(
            [self._systemctl, "--user", "show", unit, "--property=MainPID", "--value"], _ASK_LIMIT_S, account
        )
        said = answer.output.strip()
        return int(said) if answer.code == 0 and said.isdigit() else 0

    def do(self, verb: str, *names: str) -> None:
        """Run C(systemctl VERB NAMES).

        Raises:
            Failure: C(systemd_failed), or C(root_needed) where only root may.

        """
        self._do([verb, *names], _ACT_LIMIT_S)

    def _do(self, words: list[str], limit: float) -> str:
        answer = self.machine.run([self._systemctl, "--no-pager", "--no-ask-password", *words], limit)
        if answer.code == 0:
            return answer.output
        raise self._failure(words, answer)

    @staticmethod
    def _failure(words: list[str], answer: CommandResult) -> Failure:
        command = f"systemctl {shlex.join(words[:2])}"
        said = " ".join(answer.output.split())[:300] or answer.problem or f"exit code {answer.code}"
        if "authentication required" in said.lower() or "access denied" in said.lower():
            return Failure(
                "root_needed", f"Ran {command}: {said}. Only root may do that: run the task with become: true."
            )
        return Failure("systemd_failed", f"Ran {command}: {said}. Check the unit with 'systemctl status {words[-1]}'.")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of C(systemctl show --property=Environment), which quotes as a shell does; the last one counts.

    A shell takes the backslash before C($) and a backtick away between double quotes, and shlex does not.
    """
    text = re.sub(r"\\(.)", lambda pair: pair[1] if pair[1] in "$`" else pair[0], text)
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return dict(word.split("=", 1) for word in words if "=" in word)
