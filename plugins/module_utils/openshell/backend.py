# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the transaction of C(sandbox_route) asks of a path by which sandboxes get a route (decision 0022).

In this order: look, plan; where there is something to do: stage, route, prove, adopt; then the route is recorded, then commit. What fails
up to the record is followed by restore. What fails in commit restores nothing, since what was proved is in force by then.

Each method compares before it acts, so it may be called again after a run that was killed in it: that run's successor converges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..jobs.progress import Report


@dataclass(frozen=True)
class Desired:
    """The route that the sandboxes are to have, and how.

    Attributes:
        route: As decision 0002 has it.
        credential: The server's key; never empty, since OpenShell makes no provider without one.
        recorded: The route in the record, empty where there is none.
        gateway: As C(openshell gateway list) has it, empty for the active one.
        sandbox: The sandbox to make where it is missing, empty for none.
        image: Of that sandbox, None for the gateway's own.
        ready_timeout: Seconds until it has to be ready.
        stall_timeout: Seconds without a word from a program that makes it.
        may_share: Whether other sandboxes of the gateway may be given the route as well.
        may_replace: Whether a provider of another type may be deleted and made anew.
        accepted: Whether the user accepts the third-party software that NemoClaw brings.
        proof: Whether the model is asked from inside a sandbox.
        require_tools: Whether it has to give a structured tool call there.

    """

    route: Mapping[str, Any]
    credential: str = field(repr=False)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    gateway: str = ""
    sandbox: str = ""
    image: str | None = None
    ready_timeout: int = 180
    stall_timeout: int = 300
    may_share: bool = False
    may_replace: bool = False
    accepted: bool = False
    proof: bool = True
    require_tools: bool = True


# The sandboxes' route, as JSON has it. That before a run is kept in a file until the route is recorded, so that a successor of a
# run that was killed in between knows it too.
Position = dict[str, Any]


@dataclass
class Plan:
    """What a run would change.

    Attributes:
        actions: In words and in order, such as C(create ollama-local); nothing is to be done where there are none.
        warnings: For the user.
        notes: What the user should know and is no warning.
        positions: Where the run may route the sandboxes until the route is recorded; provider and model count.

    """

    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)


@dataclass(frozen=True)
class Proof:
    """The sandbox that was asked and what its tool call was; where nothing was proved, why."""

    sandbox: str | None = None
    tool_calling: str | None = None
    reason: str | None = None


class Backend(Protocol):
    """One path.

    Attributes:
        gateway: For the record: its name, None where it was used by its address.
        sandbox: For the record: the sandbox that the route is for, None for none.
        others: The other sandboxes that get the route as well.

    """

    gateway: str | None
    sandbox: str | None
    others: list[str]

    def look(self) -> None:
        """Ask what is there. Changes nothing."""

    def position(self) -> Position | None:
        """Return where the sandboxes are routed, as look() saw it; None for nowhere."""

    def plan(self, previous: Position | None) -> Plan:
        """Return what is to be done by what look() saw, or raise the Failure by which nothing may be.

        C(previous) is position(), or that before a run that was killed.
        """

    def stage(self, report: Report) -> None:
        """Put what is new beside what is in use: make the sandbox, and the provider, under another name where one in use has to change."""

    def route(self) -> None:
        """Route the sandboxes there. From here on they may get answers of the new server."""

    def prove(self) -> Proof:
        """Ask the model from inside a sandbox."""

    def adopt(self) -> None:
        """Do what follows the proof and may still be refused."""

    def commit(self) -> None:
        """Give everything its lasting name, and remove what was staged. The route is recorded by now."""

    def restore(self, previous: Position | None) -> list[str]:
        """Restore the previous route of the sandboxes, remove what was staged, and return what became of it, in sentences."""

    def rotate(self, check_mode: bool) -> bool:
        """Give the provider of the route the credential where it is there and has another, and tell whether it had.

        The previous credential still opens the server meanwhile, so nothing is staged.
        """

    def remove(self, check_mode: bool) -> Plan:
        """Look, remove the recorded route and the providers that have a key of ours, and return what was, or would be, removed."""
