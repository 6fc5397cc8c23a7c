# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The backend for OpenShell before 0.1: one inference route for all sandboxes of a gateway, through a provider with the server's key.

Nobody can read the key of a provider. So where the provider in use has to change, what is new gets a provider of its own beside it
(NAME-next), and the one in use is changed once that was proved and recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..endpoint.report import Report as ProbeReport
from ..failure import Failure
from ..host.accounts import Account
from ..host.machine import Machine
from ..jobs.progress import Report, silent
from ..route.providers import PROVIDERS
from . import desired_provider, proof, provider, sandbox
from . import route as openshell_route
from .backend import Desired, Plan, Position, Proof
from .cli import OpenShell, find_openshell
from .fingerprints import Remembered
from .provider import ProviderSeen
from .sandboxes import SandboxSeen, list_sandboxes
from .text import RouteSeen

NEXT = "-next"
STAYS = "The previous route stays in force."
# Seconds until every sandbox has read the route again (upstream-facts O3: every 5 s).
SETTLE_S = 6


@dataclass(frozen=True)
class Seen:
    """What a gateway has, as far as it counts for a route."""

    route: RouteSeen | None = None
    sandboxes: tuple[SandboxSeen, ...] = ()
    provider: ProviderSeen | None = None
    staged: ProviderSeen | None = None
    is_dangling: bool = False  # the route's provider is gone (upstream-facts O11)
    remembered: Remembered = field(default_factory=Remembered)


@dataclass
class Decision:
    """What decide() found.

    Attributes:
        plan: As the transaction has it.
        provider: What has to be done to the provider.
        is_staged: Whether a provider beside it is given the new values first.
        leads: Whether the gateway's route has to change.

    """

    plan: Plan
    provider: provider.Outcome
    is_staged: bool
    leads: bool


def see(cli: OpenShell, name: str) -> Seen:
    """Return what the gateway has, as far as it counts for a route through the provider of that name."""
    route = openshell_route.find_route(cli)
    found = {one: provider.find_provider(cli, one) for one in (name, name + NEXT)}
    if route is not None and route.provider not in found:
        found[route.provider] = provider.find_provider(cli, route.provider)
    return Seen(
        route,
        tuple(list_sandboxes(cli)),
        found[name],
        found[name + NEXT],
        route is not None and found[route.provider] is None,
        provider.recall(cli),
    )


def provider_spec_of(desired: Desired, name: str | None = None) -> desired_provider.Desired:
    """Return the provider that the route wants, under its own name or another."""
    route = desired.route
    url = "ANTHROPIC_BASE_URL" if route["provider_type"] == "anthropic" else "OPENAI_BASE_URL"
    return desired_provider.Desired(
        name or route["provider_name"],
        route["provider_type"],
        {route["credential_env"]: desired.credential},
        {url: route["base_url_sandbox"]},
        replace_other=desired.may_replace or name is not None,
    )


def own_sandbox(desired: Desired) -> str | None:
    """Return the sandbox that the route is for: the one that is named, else that of the record, unless that is on another gateway."""
    recorded = desired.recorded
    same = desired.gateway in ("", recorded.get("gateway") or "")
    return desired.sandbox or (recorded.get("sandbox") if same else None) or None


def decide(desired: Desired, seen: Seen, previous: Position | None) -> Decision:
    """Return what has to be done. Pure.

    Raises:
        Failure: C(route_shared), C(provider_type_differs), or one of check_desired and the route's check.

    """
    route, own = desired.route, own_sandbox(desired)
    name = route["provider_name"]
    names = [one.name for one in seen.sandboxes]
    others = [one for one in names if one != own]
    wanted = openshell_route.Desired(
        name, route["model"], route["timeout"], sandbox=own, shared="allow" if desired.may_share else "refuse"
    )
    openshell_route.check(wanted)
    spec = desired_provider.check_desired(provider_spec_of(desired))
    outcome = provider.compare(spec, seen.provider, seen.remembered)
    shared = openshell_route.compare(wanted, _as_route(previous, name), names)
    in_use = name in (seen.route.provider if seen.route else None, previous["provider"] if previous else None)
    is_staged = outcome.changed and in_use and seen.provider is not None
    if is_staged and _moves(desired, outcome) and others and not desired.may_share:
        raise _shared_provider(desired, others)
    target = {"provider": name, "model": route["model"], "timeout": route["timeout"]}
    leads = is_staged or position_of(seen.route) != target
    plan = Plan(warnings=[*outcome.warnings, *shared.warnings])
    plan.actions += [f"{verb} the provider {what}" for verb, what in (one.split(" ", 1) for one in outcome.actions)]
    if leads:
        plan.actions.append(f"route the gateway to {route['model']} by {name} with {route['timeout']} s")
    if seen.staged is not None:
        plan.actions.append(f"delete the provider {seen.staged.name}")
    plan.positions = [{**target, "provider": name + NEXT}, target]
    return Decision(plan, outcome, is_staged, leads)


def _as_route(previous: Position | None, name: str) -> RouteSeen | None:
    """Return the previous route; the provider beside another stands for that one, where a run was interrupted before its last step."""
    if previous is None:
        return None
    through = name if previous["provider"] == name + NEXT else previous["provider"]
    return RouteSeen(through, previous["model"], None, previous["timeout"])


def position_of(route: RouteSeen | None) -> Position | None:
    """Return a route as a position: without its version, which each change raises."""
    return {"provider": route.provider, "model": route.model, "timeout": route.timeout} if route else None


def _moves(desired: Desired, outcome: provider.Outcome) -> bool:
    """Tell whether the provider would point elsewhere. Where nobody knows where it points, it is taken for elsewhere."""
    recorded, route = desired.recorded, desired.route
    same = (recorded.get("provider_name"), recorded.get("base_url_sandbox")) == (
        route["provider_name"],
        route["base_url_sandbox"],
    )
    return not outcome.known_values and not same


def _shared_provider(desired: Desired, others: list[str]) -> Failure:
    recorded, route = desired.recorded, desired.route
    name = route["provider_name"]
    known = recorded.get("provider_name") == name
    leads = f"to {recorded['base_url_sandbox']}" if known else "where this collection did not point it"
    return Failure(
        "route_shared",
        f"The provider {name} points {leads}, and other sandboxes of the gateway use it as well: {', '.join(others)}. The gateway's route "
        f"was not changed. Set sandbox_change_shared_route to true if they are to follow it to {route['base_url_sandbox']}, or choose "
        "another gateway with sandbox_gateway.",
        sandboxes=others,
    )


class GatewayRoute:
    """See Backend.

    Args:
        machine: The host.
        account: Whose gateway it is.
        desired: The route that the sandboxes are to have.

    """

    def __init__(self, machine: Machine, account: Account, desired: Desired) -> None:
        self.gateway: str | None = None
        self.sandbox: str | None = None
        self.others: list[str] = []
        self._machine, self._account, self._desired = machine, account, desired
        self._cli_seen: OpenShell | None = None
        self._seen = Seen()
        self._decision: Decision | None = None
        self._report: Report = silent
        self._changed = False

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
        self._see(
            find_openshell(
                self._machine,
                self._account,
                gateway=self._desired.gateway or None,
                secret=self._desired.credential,
            )
        )

    def _see(self, cli: OpenShell) -> None:
        self._cli_seen, self._seen = cli, see(cli, self._name)
        self.gateway, self.sandbox = cli.gateway, own_sandbox(self._desired)
        self.others = [one.name for one in self._seen.sandboxes if one.name != self.sandbox]

    def position(self) -> Position | None:
        """See Backend."""
        return position_of(self._seen.route)

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
            return Proof(reason="No sandbox of the gateway is ready, so nothing was proved from inside one.")
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
            now = position_of(openshell_route.find_route(self._cli))
            if now != previous and previous is not None:
                openshell_route.have(self._cli, openshell_route.Desired(**previous, shared="allow"), False)
            elif now != previous:
                said = openshell_route.remove(self._cli, False).warnings
                if said:
                    return [f"The gateway could not be routed back to {words}: {said[0]}"]
            if previous is None or previous["provider"] != self._name + NEXT:
                self._unstage()
        except Failure as failure:
            return [f"The gateway could not be routed back to {words}: {failure.message} Run this again."]
        return [STAYS if now == previous else f"The gateway routes to {words} again."]

    def rotate(self, check_mode: bool) -> bool:
        """See Backend."""
        # A run that was broken off may have left the sandboxes led by the one beside it.
        for name, seen in ((None, self._seen.provider), (self._name + NEXT, self._seen.staged)):
            if seen is not None:
                self._changed |= provider.have(self._cli, provider_spec_of(self._desired, name), check_mode).changed
        return self._changed

    def remove(self, check_mode: bool) -> Plan:
        """See Backend."""
        self.look()
        done = Plan()
        ours = [self._name, *([self._name + NEXT] if self._seen.staged else [])]
        # Those of earlier routes have keys of ours as well, and so has that of a switch which was broken off before its record. What
        # NemoClaw or somebody else made of such a name stays.
        known = {one.provider_name for one in PROVIDERS.values()}
        earlier = sorted({*known, *(name + NEXT for name in known)} - set(ours))
        leads_by_ours = [*ours, *(name for name in earlier if self._is_given(name))]
        if self._seen.route is not None and self._seen.route.provider in leads_by_ours:
            removed = openshell_route.remove(self._cli, check_mode)
            done.warnings += removed.warnings
            if removed.changed:
                done.actions.append(f"remove the route to {self._seen.route.model} by {self._seen.route.provider}")
        for name in [*ours, *earlier]:
            # In check mode the route is still there, and would refuse.
            spec = desired_provider.Desired(name, ours_only=name in earlier, force=check_mode)
            removed_provider = provider.remove(self._cli, spec, check_mode)
            done.warnings += [] if check_mode else removed_provider.warnings
            done.actions += [f"delete the provider {name}"] if removed_provider.changed else []
        return done

    def _is_given(self, name: str) -> bool:
        """Tell whether the gateway leads by this provider, and it got its values from here."""
        if self._seen.route is None or self._seen.route.provider != name:
            return False
        found = provider.find_provider(self._cli, name)
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

    def _making(self) -> sandbox.Making:
        desired = self._desired
        return sandbox.Making(self._cli, sandbox.Desired(desired.sandbox, desired.image, timeout=desired.ready_timeout))

    def _stage_provider(self) -> None:
        self._give(self._name + NEXT if self._decided.is_staged else None)

    def _give(self, name: str | None = None) -> bool:
        """Give the provider, or the one beside it, address and key."""
        changed = provider.have(self._cli, provider_spec_of(self._desired, name), False).changed
        self._changed |= changed
        return changed

    def _lead(self, name: str) -> None:
        """Route the gateway through a provider. Whether others may follow was decided by plan()."""
        route = self._desired.route
        spec = openshell_route.Desired(name, route["model"], route["timeout"], shared="allow")
        self._changed |= openshell_route.have(self._cli, spec, False).changed

    def _unstage(self) -> None:
        provider.remove(self._cli, desired_provider.Desired(self._name + NEXT), False)
