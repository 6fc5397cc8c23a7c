# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a comparison works with, and what it finds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from ..host.accounts import Account
from ..host.machine import Machine
from .choice import Choice, Host, is_gated
from .settings import Settings
from .steps import Step


@dataclass
class Context:
    """One plan of one host: what is wanted, what is there, and what was found so far.

    Attributes:
        machine: The host.
        account: Whose inference it is.
        host: C(nemoclaw_host).
        settings: What is wanted.
        choice: Which provider, by which role.
        proof: C(ladder) or C(completion).
        keep_route: Whether what is not named stays as it is recorded.
        steps: What would be done.
        refusals: What stands against it.
        route: The route that would be recorded, None as long as nobody knows it.
        report: What the proof found, None without one.
        lines: The status, where there is nothing to do.

    """

    machine: Machine
    account: Account
    host: Host
    settings: Settings
    choice: Choice
    proof: str = "ladder"
    keep_route: bool = False
    steps: list[Step] = field(default_factory=list)
    refusals: list[Failure] = field(default_factory=list)
    route: dict[str, Any] | None = None
    report: Any = None
    lines: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> dict[str, Any]:
        """The recorded route, empty without one."""
        return self.host["route"] or {}

    @property
    def is_gated(self) -> bool:
        """Whether sandboxes come through the auth proxy."""
        return is_gated(self.host, self.choice, self.settings)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is to be done so far, and nothing stands against it."""
        return not self.steps and not self.refusals

    def setting(self, name: str) -> Any:
        """Return a setting of the role that sets up the provider."""
        return self.settings[f"{self.choice.role}_{name}"]


def as_user(account: Account, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the work returns, done by a process that is the account's and no longer root's.

    What a user may reach, a container engine for example, only a process of that user tells; the rights of this process stay.

    Raises:
        Failure: What the work raised.

    """
    if os.geteuid() != 0 or account.uid == 0:
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_as(account, work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    if not said:
        raise Failure(
            "user_unknown",
            f"Looked at the host as the user {account.name}, which ended without an answer. Look whether root may become that user here.",
            user=account.name,
        )
    answer = json.loads(said)
    if "failure" in answer:
        details = answer["failure"]
        raise Failure(details.pop("code"), details.pop("message"), **details)
    result: dict[str, Any] = answer["result"]
    return result


def _work_as(account: Account, work: Callable[[], dict[str, Any]], writing: int) -> None:
    """Never returns: what the parent had open and to clean up is not this process' business."""
    try:
        os.setgroups(account.groups)
        os.setgid(account.gid)
        os.setuid(account.uid)
        try:
            answer: dict[str, Any] = {"result": work()}
        except Failure as failure:
            answer = {"failure": failure.as_result()}
        with os.fdopen(writing, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    finally:
        os._exit(0)
