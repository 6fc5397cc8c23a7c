# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
The sandboxes of the stand-in gateway: made, watched, stopped, started, deleted, and run in (openshell-server, grpc/sandbox.rs).

A sandbox becomes what its image says (IMAGES). Any other image cannot be pulled: 0.0.44 refuses the sandbox then, later releases keep
it in the phase Error.
"""

from __future__ import annotations

import copy
import random
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from openshell_supervisor import Machinery, Route, Supervisor

# Seconds until a sandbox leaves Provisioning, and what it becomes. None: never.
IMAGES: dict[str, tuple[float | None, str]] = {
    "lab/ready:1": (0.3, "READY"),
    "lab/slow:1": (2.0, "READY"),
    "lab/stuck:1": (None, "READY"),
    "lab/broken:1": (0.3, "ERROR"),
    "lab/bare:1": (0.3, "READY"),
}
# It has no program but a shell.
_BARE_IMAGE = "lab/bare:1"
_DEFAULT_IMAGE = "lab/ready:1"
_PHASES = {"PROVISIONING": 1, "READY": 2, "ERROR": 3, "DELETING": 4, "STOPPED": 7}
# The gateway writes a sandbox each time that something is known of it.
_WRITES = {"PROVISIONING": 2, "READY": 6, "ERROR": 3, "STOPPED": 8}
NO_IMAGE = (
    'pull Docker image failed: Docker responded with status code 500: Get "https://registry-1.docker.io/v2/": dial tcp: lookup '
    "registry-1.docker.io on 192.0.2.53:53: dial udp 192.0.2.53:53: connect: network is unreachable"
)

Status = grpc.StatusCode


class Refusal(Exception):
    """What the gateway says no with."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Sandboxes:
    """Their state, and one method for each call that knows them."""

    messages: Any
    release: str
    guard: threading.RLock
    calls: list[str]
    providers: dict[str, Any]

    def begin_sandboxes(self, refresh: float) -> None:
        """Prepare what all sandboxes share; refresh: seconds between a supervisor's looks at the route."""
        self._refresh = refresh
        self._machinery = Machinery()
        self._order = random.Random(0)
        self.sandboxes: dict[str, Any] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self.born: dict[str, float] = {}
        self.stopped: set[str] = set()

    def forget_sandboxes(self) -> None:
        for name in list(self.sandboxes):
            self._drop(name)

    def _drop(self, name: str) -> None:
        self.stopped.discard(name)
        self.sandboxes.pop(name)
        self.supervisors.pop(name).end()

    def _start(self, name: str) -> None:
        self.born[name] = time.monotonic()
        self.stopped.discard(name)
        self.supervisors[name] = Supervisor(self._machinery, self.resolved_route, self._refresh)

    def CreateSandbox(self, request: Any) -> Any:
        self._check_name(request.name)
        if request.name in self.sandboxes:
            raise Refusal(Status.ALREADY_EXISTS, f"sandbox '{request.name}' already exists")
        for name in request.spec.providers:
            if name not in self.providers:
                raise Refusal(Status.FAILED_PRECONDITION, f"provider '{name}' not found")
        sandbox = self.messages.Sandbox(spec=request.spec)
        sandbox.metadata.name = request.name
        sandbox.spec.template.image = sandbox.spec.template.image or _DEFAULT_IMAGE
        if self.release == "0.0.44" and sandbox.spec.template.image not in IMAGES:
            raise Refusal(Status.INTERNAL, f"create sandbox failed: {NO_IMAGE}")
        self.stamp(sandbox.metadata)
        self.sandboxes[request.name] = sandbox
        self._start(request.name)
        return self.messages.SandboxResponse(sandbox=self._seen(sandbox))

    def _check_name(self, name: str) -> None:
        """Refuse what grpc/validation.rs does: since 0.0.88 a name has to be a DNS label of at most 19 characters."""
        limit = 19 if self.release == "0.0.111" else 253
        if len(name) > limit:
            raise Refusal(Status.INVALID_ARGUMENT, f"name exceeds maximum length ({len(name)} > {limit})")
        if self.release != "0.0.111":
            return
        if re.search(r"[^a-z0-9-]", name):
            raise Refusal(
                Status.INVALID_ARGUMENT, "name must contain only lowercase alphanumeric characters or hyphens"
            )
        if "--" in name:
            raise Refusal(Status.INVALID_ARGUMENT, "name must not contain consecutive hyphens")

    def _sandbox(self, name: str) -> Any:
        if name not in self.sandboxes:
            raise Refusal(Status.NOT_FOUND, "sandbox not found")
        return self.sandboxes[name]

    def GetSandbox(self, request: Any) -> Any:
        return self.messages.SandboxResponse(sandbox=self._seen(self._sandbox(request.name)))

    def ListSandboxes(self, request: Any) -> Any:
        found = [self._seen(sandbox) for _name, sandbox in sorted(self.sandboxes.items())]
        return self.messages.ListSandboxesResponse(sandboxes=found[request.offset :][: request.limit or 100])

    def DeleteSandbox(self, request: Any) -> Any:
        self._sandbox(request.name)
        self._drop(request.name)
        return self.messages.DeleteSandboxResponse(deleted=True)

    def StopSandbox(self, request: Any) -> Any:
        sandbox = self._sandbox(request.name)
        self.stopped.add(request.name)
        self.supervisors[request.name].end()
        return self.messages.SandboxResponse(sandbox=self._seen(sandbox))

    def StartSandbox(self, request: Any) -> Any:
        sandbox = self._sandbox(request.name)
        if request.name in self.stopped:
            self._start(request.name)
        return self.messages.SandboxResponse(sandbox=self._seen(sandbox))

    def GetSandboxLogs(self, request: Any) -> Any:
        found = next(sandbox for sandbox in self.sandboxes.values() if sandbox.metadata.id == request.sandbox_id)
        lines = [
            ("INFO", "openshell_server::grpc::sandbox", "minted sandbox JWT"),
            ("INFO", "openshell_server::grpc::sandbox", "CreateSandbox request completed successfully"),
        ]
        if found.spec.template.image not in IMAGES:
            lines.append(("INFO", "openshell_server::compute", "Sandbox phase changed"))
            lines.append(("WARN", "openshell_server::compute", NO_IMAGE))
        made = [
            self.messages.SandboxLogLine(
                sandbox_id=request.sandbox_id,
                timestamp_ms=int(time.time() * 1000),
                level=level,
                target=target,
                message=message,
                source="gateway",
            )
            for level, target, message in lines
        ]
        return self.messages.GetSandboxLogsResponse(logs=made, buffer_total=len(made))

    def watch_sandbox(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Send a snapshot at once and one for each new phase, until the sandbox is gone or nobody listens."""
        with self.guard:
            self.calls.append("WatchSandbox")
        last = None
        while context.is_active():
            with self.guard:
                found = [sandbox for sandbox in self.sandboxes.values() if sandbox.metadata.id == request.id]
                phase = self._phase(found[0]) if found else None
                event = self.messages.SandboxStreamEvent(sandbox=self._seen(found[0])) if found else None
            if event is None:
                context.abort(Status.NOT_FOUND, "sandbox not found")
            if phase != last:
                last = phase
                yield event
            time.sleep(0.02)

    def exec_sandbox(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Run a command, and send what it wrote and how it ended."""
        with self.guard:
            self.calls.append("ExecSandbox")
            self.write_state()
            found = [sandbox for sandbox in self.sandboxes.values() if sandbox.metadata.id == request.sandbox_id]
            ready = bool(found) and self._phase(found[0]) == "READY"
        if not found:
            context.abort(Status.NOT_FOUND, "sandbox not found")
        if not ready:
            context.abort(Status.FAILED_PRECONDITION, "sandbox is not ready")
        refused = {"\n", "\r", "\0"} if self.release == "0.0.44" else {"\0"}
        if request.tty or not request.command or any(refused & set(word) for word in request.command):
            context.abort(Status.INVALID_ARGUMENT, "command argument contains newline or carriage return characters")
        written, errors, code = self.supervisors[found[0].metadata.name].run(
            list(request.command),
            request.stdin,
            dict(request.environment),
            request.timeout_seconds,
            found[0].spec.template.image != _BARE_IMAGE,
        )
        yield from self._in_any_order(written, errors)
        yield self.messages.ExecSandboxEvent(exit=self.messages.ExecSandboxExit(exit_code=code))

    def _in_any_order(self, written: bytes, errors: bytes) -> Iterator[Any]:
        """Send both streams as the real one does: each in its order and in pieces, and between the two no order."""
        event = self.messages.ExecSandboxEvent
        pieces = {
            "out": [event(stdout=self.messages.ExecSandboxStdout(data=half)) for half in _halves(written)],
            "err": [event(stderr=self.messages.ExecSandboxStderr(data=half)) for half in _halves(errors)],
        }
        turns = [name for name, of_one in pieces.items() for _piece in of_one]
        self._order.shuffle(turns)
        for name in turns:
            yield pieces[name].pop(0)

    def _phase(self, sandbox: Any) -> str:
        name = sandbox.metadata.name
        after, becomes = IMAGES.get(sandbox.spec.template.image, (0.3, "ERROR"))
        old_enough = after is not None and time.monotonic() - self.born[name] >= after
        if name in self.stopped:
            return "STOPPED"
        return becomes if old_enough else "PROVISIONING"

    def _seen(self, sandbox: Any) -> Any:
        """Return the sandbox as it is now, its phase where the release looks for it."""
        seen = copy.deepcopy(sandbox)
        phase = self._phase(sandbox)
        states = {
            "READY": ("True", "Ready", ""),
            "PROVISIONING": ("False", "Starting", "container is starting"),
            "STOPPED": ("False", "Stopped", ""),
        }
        known = sandbox.spec.template.image in IMAGES
        failed = ("Crashed", "supervisor exited with status 1") if known else ("ImagePullFailed", NO_IMAGE)
        status, reason, message = states.get(phase, ("False", *failed))
        seen.status.conditions.add(type="Ready", status=status, reason=reason, message=message)
        seen.status.phase = _PHASES[phase]
        seen.metadata.resource_version = _WRITES[phase]
        if self.release == "0.0.44":
            # Its Sandbox has the phase in field 4, as a number.
            seen.MergeFromString(bytes([4 << 3, _PHASES[phase]]))
        return seen

    def stamp(self, metadata: Any) -> None:
        """Give a new object its id; the gateway does."""
        raise NotImplementedError

    def write_state(self) -> None:
        """Write what tests look at; the gateway does."""
        raise NotImplementedError

    def resolved_route(self) -> Route | None:
        """Return the user's route; the gateway does."""
        raise NotImplementedError


def _halves(data: bytes) -> list[bytes]:
    middle = len(data) // 2
    return [half for half in (data[:middle], data[middle:]) if half]
