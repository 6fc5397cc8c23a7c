# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A sandbox of a gateway, from its creation to its end: made, waited for, restarted, removed.

C(sandbox create) waits by itself and then opens a session in the sandbox, so its exit status says little: a sandbox that is
ready may come with exit status 1 (upstream-facts O7). The list of sandboxes decides.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..jobs.progress import Position, Report, silent
from . import text
from .cli import OpenShell, check_name
from .look import (
    DELETING,
    PASSING,
    READY,
    DesiredSandbox,
    SandboxSeen,
    check_timeout,
    find_sandbox,
    find_standing_route,
    find_usable,
    has_to_be_made,
    not_ready,
)

_POLL_S = 1.0  # a call takes 13 ms; NemoClaw polls every 2 s (upstream-facts N36)
_STOPPING = "Stopping"
_STOPPED = ("Stopped", _STOPPING)
# Seconds for the command to end once the phase is known: its words explain an error.
_ENDING_S = 3.0
_WRONG_USAGE = 2  # what the command line ends with for a command that its release lacks


@dataclass
class SandboxOutcome:
    """What came of it."""

    sandbox: SandboxSeen | None
    changed: bool = False
    actions: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def as_result(self) -> dict[str, Any]:
        """Return the module's result."""
        return {
            "changed": self.changed,
            "actions": self.actions,
            "phase": self.sandbox.phase if self.sandbox else None,
            "sandbox": vars(self.sandbox) if self.sandbox else None,
            "elapsed": round(self.elapsed, 1),
        }


class Creation:
    """C(sandbox create), running beside us."""

    def __init__(self, cli: OpenShell, desired: DesiredSandbox) -> None:
        self.failure: Failure | None = None
        self._cli, self._desired = cli, desired
        # A daemon: once the sandbox is ready, a session that does not end is nobody's business.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        limit = {"OPENSHELL_PROVISION_TIMEOUT": str(self._desired.timeout)}
        try:
            self._cli.call(
                *creation_words(self._cli, self._desired), environment=limit, limit_s=self._desired.timeout + _ENDING_S
            )
        except Failure as failure:
            self.failure = failure

    def ended(self, wait_s: float = 0.0) -> bool:
        """Tell whether the command has ended, waiting for it at most so long."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()


def creation_words(cli: OpenShell, desired: DesiredSandbox) -> list[str]:
    """Return the command that makes the sandbox."""
    command = ["sandbox", "create", "--name", desired.name, "--no-auto-providers"]
    command += ["--from", desired.image] if desired.image else []
    command += ["--policy", desired.policy] if desired.policy else []
    for name in desired.providers:
        command += ["--provider", name]
    # Without a command it would open a shell and wait for somebody to type.
    return [*command, "--detach"] if cli.release.detaches else [*command, "--no-tty", "--", "true"]


class Making:
    """A sandbox of that name that is ready: what is to be done for it, and the doing. One that is there is waited for and not changed."""

    def __init__(self, cli: OpenShell, desired: DesiredSandbox) -> None:
        self._cli, self._desired = cli, desired
        self._found: SandboxSeen | None = None

    def check(self) -> bool:
        """Return whether the sandbox has to be made, once nothing keeps it from becoming ready.

        Raises:
            Failure: C(sandbox_name_invalid), C(sandbox_image_invalid), C(timeout_invalid), C(sandbox_error), C(sandbox_stopped), or one
                of the CLI.

        """
        self._found = find_usable(self._cli, self._desired)
        return has_to_be_made(self._found)

    def plan(self, check_mode: bool) -> SandboxOutcome | None:
        """Return what came of it where there is nothing to do, or nothing may be done; None where there is.

        Raises:
            Failure: Those of check(), or C(route_dangling).

        """
        is_missing, found = self.check(), self._found
        if is_missing:
            # One that starts while the route's provider is gone never gets inference.
            find_standing_route(self._cli)
            actions = [f"create {self._desired.name}"]
            return SandboxOutcome(found, changed=True, actions=actions) if check_mode else None
        return SandboxOutcome(found) if check_mode or (found and found.phase == READY) else None

    def work(self, report: Report) -> SandboxOutcome:
        """Make it where it is missing, and wait until it is ready.

        Raises:
            Failure: C(sandbox_error), C(sandbox_timeout), C(sandbox_stopped), C(sandbox_not_deleted), or one of the CLI.

        """
        cli, desired, found = self._cli, self._desired, self._found
        deadline = Deadline(desired.timeout)
        outcome = SandboxOutcome(found)
        creation: Creation | None = None
        if found is not None and found.phase == DELETING:
            _wait_until_gone(cli, desired.name, deadline)
            found = None
        if found is None:
            outcome.changed, outcome.actions = True, [f"create {desired.name}"]
            creation = Creation(cli, desired)
        outcome.sandbox = _wait_until_ready(cli, desired, creation, deadline, report)
        outcome.elapsed = deadline.elapsed
        return outcome


def restart_sandbox(cli: OpenShell, desired: DesiredSandbox, check_mode: bool) -> SandboxOutcome:
    """Stop the sandbox and start it again, and wait until it is ready. One that is stopped is only started.

    Raises:
        Failure: C(sandbox_not_ready), C(openshell_capability_missing), C(route_dangling), or those of Making.

    """
    check_name("sandbox", desired.name)
    check_timeout(desired)
    deadline = Deadline(desired.timeout)
    found = find_sandbox(cli, desired.name)
    if found is None:
        raise Failure(
            "sandbox_not_ready",
            f"The sandbox {desired.name} was to be restarted, but the gateway has none of that name. Create it with state: present.",
            last_state="not there",
        )
    find_standing_route(cli)
    verbs = ("start",) if found.phase in _STOPPED else ("stop", "start")
    outcome = SandboxOutcome(found, changed=True, actions=[f"{verb} {desired.name}" for verb in verbs])
    if check_mode:
        return outcome
    if found.phase in PASSING:
        # What it was begun with is not known, and nobody knows what a gateway makes of a stop meanwhile.
        _wait_until_ready(cli, desired, None, deadline, silent)
    for verb in verbs:
        if verb == "start":
            _wait_until_stopped(cli, desired, deadline)
        answer = cli.attempt("sandbox", verb, desired.name, limit_s=desired.timeout)
        if answer.code == _WRONG_USAGE:
            raise Failure(
                "openshell_capability_missing",
                f"OpenShell {cli.release} has no command that stops or starts a sandbox; 0.0.106 and later have. Upgrade command line and "
                f"gateway, or delete the sandbox {desired.name} (state: absent) and recreate it.",
                release=str(cli.release),
            )
        if answer.code:
            raise cli.trouble(("sandbox", verb), answer.output, answer.code)
    outcome.sandbox = _wait_until_ready(cli, desired, None, deadline, silent)
    outcome.elapsed = deadline.elapsed
    return outcome


def remove_sandbox(cli: OpenShell, desired: DesiredSandbox, check_mode: bool) -> SandboxOutcome:
    """Delete the sandbox, and wait until it is gone; absent is fine.

    Raises:
        Failure: C(sandbox_not_deleted), or one of the CLI.

    """
    check_name("sandbox", desired.name)
    check_timeout(desired)
    deadline = Deadline(desired.timeout)
    found = find_sandbox(cli, desired.name)
    outcome = SandboxOutcome(found)
    if found is None:
        return outcome
    outcome.changed, outcome.actions = True, [f"delete {desired.name}"]
    if check_mode:
        return outcome
    if found.phase != DELETING:
        answer = cli.attempt("sandbox", "delete", desired.name, limit_s=desired.timeout)
        # Somebody else may be quicker.
        if answer.code and "sandbox not found" not in text.error_of(answer.output):
            raise cli.trouble(("sandbox", "delete"), answer.output, answer.code)
    _wait_until_gone(cli, desired.name, deadline)
    outcome.sandbox, outcome.elapsed = None, deadline.elapsed
    return outcome


def _wait_until_ready(
    cli: OpenShell, desired: DesiredSandbox, creation: Creation | None, deadline: Deadline, report: Report
) -> SandboxSeen:
    while True:
        # Asked before the list: what it made is in the list that is read afterwards.
        ended = creation is None or creation.ended()
        found = find_sandbox(cli, desired.name)
        if found is not None and found.phase == READY:
            return found
        if found is None and ended:
            raise (creation and creation.failure) or _gone(desired)
        if not deadline.remaining or (found is not None and found.phase not in PASSING):
            raise not_ready(cli, desired, found, deadline, _said_by(creation))
        report(
            Position(
                "sandbox", message=f"Waiting for the sandbox {desired.name}, {found.phase if found else 'asked for'}"
            )
        )
        deadline.sleep(min(_POLL_S, deadline.remaining))


def _wait_until_stopped(cli: OpenShell, desired: DesiredSandbox, deadline: Deadline) -> None:
    """Wait while it stops: a gateway need not do so within the command."""
    while deadline.remaining:
        found = find_sandbox(cli, desired.name)
        if found is None or found.phase != _STOPPING:
            return
        deadline.sleep(min(_POLL_S, deadline.remaining))


def _wait_until_gone(cli: OpenShell, name: str, deadline: Deadline) -> None:
    while True:
        found = find_sandbox(cli, name)
        if found is None:
            return
        if not deadline.remaining:
            raise Failure(
                "sandbox_not_deleted",
                f"The sandbox {name} was to be deleted, but after {deadline.seconds:g} s it is still there as {found.phase}. Check the "
                f"gateway's log (journalctl --user -u openshell-gateway) and its container (docker ps --all).",
                last_state=found.phase,
                elapsed=round(deadline.elapsed, 1),
            )
        deadline.sleep(min(_POLL_S, deadline.remaining))


def _said_by(creation: Creation | None) -> str:
    """Return what OpenShell says of a creation that failed, once its command has had time to end."""
    if creation is not None:
        creation.ended(_ENDING_S)
    return str(creation.failure.details.get("server_message", "")) if creation and creation.failure else ""


def _gone(desired: DesiredSandbox) -> Failure:
    return Failure(
        "sandbox_error",
        f"The sandbox {desired.name} was created, but it is not in the gateway's list. Someone may have deleted it at the same time: run "
        f"this again.",
        last_state="not listed",
    )
