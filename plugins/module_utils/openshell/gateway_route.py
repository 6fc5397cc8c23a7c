# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The backends of the sandboxes' route (decision 0022), and that for OpenShell before 0.1: one route for all sandboxes of a gateway.

A backend, in this order: look, plan; where there is something to do: stage, route, prove, adopt; then the route is recorded, then commit.
What fails up to the record is followed by restore. What fails in commit restores nothing, since what was proved is in force by then.

Each method compares before it acts, so it may be called again after a run that was killed in it: that run's successor converges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..endpoint.report import Report as ProbeReport
from ..failure import Failure
from ..host.machine import Account, Machine
from ..jobs.progress import Report, silent
from ..route.route import PROVIDERS
from . import changes, lifecycle, look, proof, provider
from . import route as openshell_route
from .cli import ROUTE, OpenShell, find_openshell
from .route import (
    NEXT,
    Decision,
    Desired,
    Plan,
    Position,
    Seen,
    decide,
    own_sandbox,
    position_of,
    provider_spec_of,
    see,
)

STAYS = "The previous route stays in force."
# Seconds until every sandbox has read the route again (upstream-facts O3: every 5 s).
SETTLE_S = 6


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
        way: How this release routes sandboxes to a model, for the record as well.
        restart: C(needed) where processes go on with an older key, C(done) where their sandboxes are restarted, else empty.

    """

    gateway: str | None
    sandbox: str | None
    others: list[str]
    way: str
    restart: str

    @property
    def environment(self) -> dict[str, str]:
        """Return what the agent's own configuration has to have, empty where it needs nothing."""

    def look(self) -> None:
        """Ask what is there. Changes nothing."""

    def position(self) -> Position | None:
        """Return where the sandboxes are routed, as look() saw it; None for nowhere."""

    def in_words(self, position: Position) -> str:
        """Return a position as people read it."""

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

    def rotate(self, check_mode: bool) -> Plan:
        """Give the provider of the route the credential where it is there and has another, and return what was, or would be, done.

        The previous credential still opens the server meanwhile, so nothing is staged, and nothing is restarted before it was proved.
        """

    def renew(self) -> bool:
        """Restart the sandboxes whose processes go on with an older key, as far as that is allowed, and tell whether there were any."""

    def remove(self, check_mode: bool) -> Plan:
        """Look, remove the recorded route and the providers that have a key of ours, and return what was, or would be, removed."""


class GatewayRoute:
    """See Backend.

    Args:
        machine: The host.
        account: Whose gateway it is.
        desired: The route that the sandboxes are to have.
        cli: The command line of the gateway, where somebody has found it already.

    """

    way = ROUTE
    restart = ""

    def __init__(self, machine: Machine, account: Account, desired: Desired, cli: OpenShell | None = None) -> None:
        self.gateway: str | None = None
        self.sandbox: str | None = None
        self.others: list[str] = []
        self._machine, self._account, self._desired = machine, account, desired
        self._cli_seen = cli
        self._seen = Seen()
        self._decision: Decision | None = None
        self._report: Report = silent
        self._changed = False

    @property
    def environment(self) -> dict[str, str]:
        """See Backend. The gateway has all of it."""
        return {}

    @property
    def _name(self) -> str:
        name: str = self._desired.route["provider_name"]
        return name

    @property
    def _cli(self) -> OpenShell:
        if self._cli_seen is None:
            raise RuntimeError("look() comes first")
        return self._cli_seen

    def look(self) -> None:
        """See Backend."""
        gateway, secret = self._desired.gateway or None, self._desired.credential
        self._see(
            self._cli_seen or find_openshell(self._machine, self._account, gateway=gateway, secret=secret),
        )

    def _see(self, cli: OpenShell) -> None:
        self._cli_seen, self._seen = cli, see(cli, self._name)
        self.gateway, self.sandbox = cli.gateway, own_sandbox(self._desired)
        self.others = [one.name for one in self._seen.sandboxes if one.name != self.sandbox]

    def position(self) -> Position | None:
        """See Backend."""
        return position_of(self._seen.route)

    def in_words(self, position: Position) -> str:
        """See Backend."""
        return f"{position['model']} by {position['provider']} with {position['timeout']} s"

    def plan(self, previous: Position | None) -> Plan:
        """See Backend."""
        self._decision = decide(self._desired, self._seen, previous)
        # In check mode and before the first change: one that is broken, or a name that OpenShell does not take.
        if self._desired.sandbox and self._making().check():
            self._decision.plan.actions.insert(0, f"create the sandbox {self._desired.sandbox}")
        return self._decision.plan

    def stage(self, report: Report) -> None:
        """See Backend."""
        self._report = report
        if not self._seen.is_dangling:
            self._make_sandbox()
        self._stage_provider()

    def route(self) -> None:
        """See Backend."""
        self._lead(self._name + NEXT if self._decided.is_staged else self._name)
        # One that starts while the route's provider is gone would never get inference.
        if self._seen.is_dangling:
            self._make_sandbox()

    def prove(self) -> Proof:
        """See Backend."""
        desired = self._desired
        if not desired.proof or not (self.sandbox or self.others):
            return Proof(reason="")
        asked = proof.choose_sandbox(self._cli, desired.sandbox or None)
        if asked is None:
            return Proof(reason="The gateway has no ready sandbox, so nothing was proved from inside one.")
        route = desired.route
        spec = proof.Desired(
            route["model"],
            route["api"],
            asked,
            route["timeout"],
            SETTLE_S if self._changed else 0,
            desired.require_tools,
        )
        report = ProbeReport(route["api"], route["model"])
        try:
            proof.prove(self._cli, asked, spec, report)
        except Failure as failure:
            # Of a sandbox that nobody named nothing can be asked.
            if failure.code != "sandbox_command_missing" or desired.sandbox:
                raise
            return Proof(reason=failure.message)
        return Proof(asked, report.as_result()["tool_calling"])

    def adopt(self) -> None:
        """See Backend. OpenShell refuses nothing that comes after the proof."""

    def commit(self) -> None:
        """See Backend."""
        try:
            if self._decided.is_staged:
                self._give()
                self._lead(self._name)
            self._unstage()
        except Failure as failure:
            raise Failure(
                failure.code,
                f"{failure.message} The route is recorded, and the sandboxes are routed there as it was proved, if only by the provider "
                f"{self._name + NEXT} as far as {self._name} has not got its address and key. Run this again.",
                **failure.details,
            ) from failure

    def restore(self, previous: Position | None) -> list[str]:
        """See Backend."""
        words = "nothing" if previous is None else f"{previous['model']} by {previous['provider']}"
        try:
            now = position_of(look.find_route(self._cli))
            if now != previous and previous is not None:
                changes.ensure_route(self._cli, openshell_route.DesiredRoute(**previous, shared="allow"), False)
            elif now != previous:
                said = changes.remove_route(self._cli, False).warnings
                if said:
                    return [f"The gateway could not be routed back to {words}: {said[0]}"]
            if previous is None or previous["provider"] != self._name + NEXT:
                self._unstage()
        except Failure as failure:
            return [f"The gateway could not be routed back to {words}: {failure.message} Run this again."]
        return [STAYS if now == previous else f"The gateway routes to {words} again."]

    def rotate(self, check_mode: bool) -> Plan:
        """See Backend."""
        done = Plan()
        # A run that was broken off may have left the sandboxes led by the one beside it.
        for name, seen in ((None, self._seen.provider), (self._name + NEXT, self._seen.staged)):
            if seen is not None:
                given = changes.ensure_provider(self._cli, provider_spec_of(self._desired, name), check_mode)
                self._changed |= given.changed
                done.actions += [f"update the provider {seen.name}"] if given.changed else []
        return done

    def renew(self) -> bool:
        """See Backend. Sandboxes read the route anew, key included."""
        return False

    def remove(self, check_mode: bool) -> Plan:
        """See Backend."""
        self.look()
        done = Plan()
        ours = [self._name, *([self._name + NEXT] if self._seen.staged else [])] if self._desired.recorded else []
        # Those of earlier routes have keys of ours as well, and so has that of a switch which was broken off before its record. What
        # NemoClaw or somebody else made of such a name stays.
        known = {one.provider_name for one in PROVIDERS.values()}
        earlier = sorted({*known, *(name + NEXT for name in known)} - set(ours))
        leads_by_ours = [*ours, *(name for name in earlier if self._is_given(name))]
        if self._seen.route is not None and self._seen.route.provider in leads_by_ours:
            removed = changes.remove_route(self._cli, check_mode)
            done.warnings += removed.warnings
            if removed.changed:
                done.actions.append(f"remove the route to {self._seen.route.model} by {self._seen.route.provider}")
        for name in [*ours, *earlier]:
            # In check mode the route is still there, and would refuse.
            spec = provider.Desired(name, ours_only=name in earlier, force=check_mode)
            removed_provider = changes.delete_provider(self._cli, spec, check_mode)
            done.warnings += [] if check_mode else removed_provider.warnings
            done.actions += [f"delete the provider {name}"] if removed_provider.changed else []
        return done

    def _is_given(self, name: str) -> bool:
        """Tell whether the gateway leads by this provider, and it got its values from here."""
        if self._seen.route is None or self._seen.route.provider != name:
            return False
        found = look.find_provider(self._cli, name)
        return found is not None and found.id in self._seen.remembered.providers

    @property
    def _decided(self) -> Decision:
        if self._decision is None:
            raise RuntimeError("plan() comes first")
        return self._decision

    def _make_sandbox(self) -> None:
        if self._desired.sandbox:
            making = self._making()
            self._changed |= (making.plan(False) or making.work(self._report)).changed

    def _making(self) -> lifecycle.Making:
        desired = self._desired
        return lifecycle.Making(
            self._cli, look.DesiredSandbox(desired.sandbox, desired.image, timeout=desired.ready_timeout)
        )

    def _stage_provider(self) -> None:
        self._give(self._name + NEXT if self._decided.is_staged else None)

    def _give(self, name: str | None = None) -> bool:
        """Give the provider, or the one beside it, address and key."""
        changed = changes.ensure_provider(self._cli, provider_spec_of(self._desired, name), False).changed
        self._changed |= changed
        return changed

    def _lead(self, name: str) -> None:
        """Route the gateway through a provider. Whether others may follow was decided by plan()."""
        route = self._desired.route
        spec = openshell_route.DesiredRoute(name, route["model"], route["timeout"], shared="allow")
        self._changed |= changes.ensure_route(self._cli, spec, False).changed

    def _unstage(self) -> None:
        changes.delete_provider(self._cli, provider.Desired(self._name + NEXT), False)
