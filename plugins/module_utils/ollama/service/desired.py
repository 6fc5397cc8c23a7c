# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is wanted of the service, what is done about it, and how long we wait for it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...clock import Deadline
from ...failure import Failure
from ..daemon import Address, Daemon
from ..info import identify
from .systemd import (
    Systemd,
    UnitState,
)

_POLL_S = 0.2
# A daemon that has ended three times in a row does so again. Ollama's unit waits 3 s between two starts.
_CRASHES = 3
_TAIL = 8192
# What systemd itself writes into a unit's journal.
_MANAGERS = re.compile(r"(?:[\w@.-]+\.service: |Start(?:ed|ing) |Stopp(?:ed|ing) )")
_ERROR = re.compile(r"^Error:|^panic:|^fatal|level=ERROR|permission denied", re.IGNORECASE)


@dataclass(frozen=True)
class Desired:
    """What is wanted: C(started), C(stopped) or C(absent) (our drop-in), on a port, with more variables for the service.

    Attributes:
        least_context: Tokens of context that models get at least where nobody has set another length; 0 leaves it to Ollama.
        model: The model that it is for, with C(model_bytes) where it is not on the host yet.

    """

    state: str
    port: int
    environment: dict[str, Any]
    enabled: bool
    timeout: float
    least_context: int = 0
    model: str | None = None
    model_bytes: int = 0


@dataclass
class Report:
    """What the module returns."""

    changed: bool = False
    restarted: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    path: str | None = None
    context: str = ""  # what was decided about the context, as sentences
    keep_alive: str | None = None  # what the service's owner has set
    closed: dict[str, Any] | None = None  # what was open to the network, to whom, and who was connected

    def plan(self, action: str) -> None:
        """Note something that is done, or would be in check mode."""
        self.changed = True
        self.actions.append(action)


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
        return self._systemd.last_logs(self._unit)


class ProcessStart:
    """A start of a process, which nobody starts again where it ends."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.log = str(log)

    def why_over(self) -> str | None:
        code = self._process.poll()
        return None if code is None else f"the process ended with exit code {code}"

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
                deadline.sleep(_POLL_S)
                continue
            logs = start.last_logs()
            said = reason_in(logs)
            raise Failure(
                "ollama_not_started",
                f"Started Ollama and waited {deadline.elapsed:.0f} s for it to answer on 127.0.0.1:{desired.port}: "
                f"{over or 'it runs and does not answer'}.{f' Its log says: {said}.' if said else ''} Set that right, and run it again "
                f"(the whole log: {start.log}).",
                last_state=start.state.active if isinstance(start, UnitStart) else None,
                last_logs=logs,
            ) from failure


def reason_in(logs: list[str]) -> str | None:
    """Return the line of a log that most likely says why a daemon ended, without the full stop at its end; None without one."""
    own = [line.strip() for line in logs if line.strip() and not _MANAGERS.match(line.strip())]
    errors = [line for line in own if _ERROR.search(line)]
    found = next(iter((errors or own)[-1:]), None)
    return found.rstrip(".") if found else None
