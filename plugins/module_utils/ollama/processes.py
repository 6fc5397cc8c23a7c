# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A daemon's start and end: processes stopped and started, and the wait until what was started answers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.systemd import Systemd, UnitState
from .daemon import Address, Daemon, identify
from .service_plan import Desired

_POLL_S = 0.1
# Ollama ends within a second of SIGTERM, a little longer with a model in memory.
_STOP_LIMIT_S = 20.0
# What it takes the place of is ended by the new process itself, in whose environment the settings of the old one are: a run that is
# killed in between leaves no host without its daemon. A zombie has ended. The log is the user's own file, opened as the user.
_LAUNCH = """
for one; do kill "$one"; done
for one; do
    while [ -e "/proc/$one" ] && ! grep -q ') Z ' "/proc/$one/stat"; do sleep 0.1; done
done 2>/dev/null
mkdir -p "$HOME/.ollama" && exec "$0" serve >>"$HOME/.ollama/serve.log" 2>&1
"""


def stop(pid: int, machine: Machine) -> None:
    """End a process and wait until it is gone.

    Raises:
        Failure: C(root_needed), C(ollama_not_stopped).

    """
    if _signal(pid, signal.SIGTERM):
        _await_end(pid, machine)


def _signal(pid: int, number: int) -> bool:
    """Send a signal (0: none, only look), and tell whether there is such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise Failure(
            "root_needed",
            f"Process {pid} is another user's Ollama, which only root may stop: run the task with become: true.",
        ) from None
    return True


def _await_end(pid: int, machine: Machine) -> None:
    deadline = Deadline(_STOP_LIMIT_S)
    while _is_alive(machine, pid):
        if not deadline.remaining:
            raise Failure(
                "ollama_not_stopped",
                f"Asked Ollama (process {pid}) to end, but it still runs after {_STOP_LIMIT_S:g} s. Check what it is doing; it was not "
                f"killed.",
            )
        deadline.sleep(_POLL_S)


def log_of(account: Account, environment: Mapping[str, str]) -> Path:
    """Return where a daemon that start() has started writes to."""
    return Path(environment.get("HOME", account.home), ".ollama", "serve.log")


def start(
    machine: Machine,
    program: str,
    account: Account,
    environment: Mapping[str, str],
    instead_of: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a daemon that lives on after us, as C(account), its output in log_of().

    Args:
        machine: The host.
        program: The file.
        account: Whose process it becomes.
        environment: What it is started with.
        instead_of: Processes of this account that it ends first.

    Raises:
        Failure: C(ollama_not_started), C(root_needed), C(ollama_not_stopped).

    """
    ended = [pid for pid in instead_of if _signal(pid, 0)]
    identity: dict[str, Any] = {}
    if os.geteuid() == 0 and account.uid != 0:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
    try:
        # Not AnsibleModule.run_command: that waits for the end, which is not to come.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            ["/bin/sh", "-c", _LAUNCH, program, *map(str, ended)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"HOME": account.home, "USER": account.name, "LOGNAME": account.name, **environment},
            start_new_session=True,
            **identity,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Failure("ollama_not_started", f"Tried to start {program} serve as {account.name}: {error}.") from error
    try:
        for pid in ended:
            _await_end(pid, machine)
    except Failure:
        process.kill()  # what does not end stays
        raise
    return process


def _is_alive(machine: Machine, pid: int) -> bool:
    status = machine.read(f"/proc/{pid}/stat")
    # A zombie has let go of its sockets; its parent may never look.
    return status is not None and status.rpartition(")")[2].split()[:1] != ["Z"]


_ANSWER_POLL_S = 0.2
# A daemon that has ended three times in a row does so again. Ollama's unit waits 3 s between two starts.
_CRASHES = 3
_JOURNAL_LIMIT_S = 10.0
_TAIL = 8192
# What systemd itself writes into a unit's journal.
_MANAGERS = re.compile(r"(?:[\w@.-]+\.service: |Start(?:ed|ing) |Stopp(?:ed|ing) )")
_ERROR = re.compile(r"^Error:|^panic:|^fatal|level=ERROR|permission denied", re.IGNORECASE)


class Start(Protocol):
    """What was started: tells whether there is still something to wait for."""

    log: str

    def why_over(self) -> str | None:
        """Return why it will not answer any more, None while it may."""

    def last_logs(self) -> list[str]:
        """Return the last lines of its log."""


class UnitStart:
    """A start of a unit, whose crashes systemd counts. Create it after the start."""

    def __init__(self, systemd: Systemd, unit: str) -> None:
        self._systemd, self._unit = systemd, unit
        self._state = systemd.show(unit)
        self._restarts = self._state.restarts
        self.log = f"journalctl -u {unit}"

    @property
    def state(self) -> UnitState:
        """What systemd said of it last."""
        return self._state

    def why_over(self) -> str | None:
        self._state = state = self._systemd.show(self._unit)
        # Between two crashes it waits for RestartSec; the one after which it waits is not counted yet.
        crashes = state.restarts - self._restarts + (state.sub == "auto-restart")
        if state.active == "failed":
            return f"the service {self._unit} is failed ({state.result})"
        return f"the service {self._unit} has crashed {crashes} times ({state.result})" if crashes >= _CRASHES else None

    def last_logs(self) -> list[str]:
        machine = self._systemd.machine
        path = machine.find_command("journalctl")
        if path is None:
            return []
        answer = machine.run([path, "--unit", self._unit, "--lines=20", "--no-pager", "--output=cat"], _JOURNAL_LIMIT_S)
        return [line[:300] for line in answer.output.splitlines()] if answer.code == 0 else []


class ProcessStart:
    """A start of a process, which nobody starts again where it ends."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.log = str(log)

    def why_over(self) -> str | None:
        code = self._process.poll()
        return None if code is None else f"the process exited with code {code}"

    def last_logs(self) -> list[str]:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _TAIL))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        return [line[:300] for line in lines if line.strip()][-20:]


def wait_until_answering(desired: Desired, start: Start) -> None:
    """Wait until Ollama answers on the port, or until it is clear that it will not.

    Raises:
        Failure: C(ollama_not_started), with the line of the log that says why.

    """
    deadline = Deadline(desired.timeout)
    while True:
        try:
            identify(Daemon(Address("127.0.0.1", desired.port), limit=2))
            return
        except Failure as failure:
            over = start.why_over()
            if deadline.remaining and over is None:
                deadline.sleep(_ANSWER_POLL_S)
                continue
            logs = start.last_logs()
            said = reason_in(logs)
            raise Failure(
                "ollama_not_started",
                f"Started Ollama and waited {deadline.elapsed:.0f} s for it to answer on 127.0.0.1:{desired.port}: "
                f"{over or 'it runs but does not answer'}.{f' Its log says: {said}.' if said else ''} Fix that, then run this again (full "
                f"log: {start.log}).",
                last_state=start.state.active if isinstance(start, UnitStart) else None,
                last_logs=logs,
            ) from failure


def reason_in(logs: list[str]) -> str | None:
    """Return the line of a log that most likely says why a daemon ended, without the full stop at its end; None without one."""
    own = [line.strip() for line in logs if line.strip() and not _MANAGERS.match(line.strip())]
    errors = [line for line in own if _ERROR.search(line)]
    found = next(iter((errors or own)[-1:]), None)
    return found.rstrip(".") if found else None
