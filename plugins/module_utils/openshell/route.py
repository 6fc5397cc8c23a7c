# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The sandboxes' route: what is wanted, what a gateway has, and what has to be done (upstream-facts O6). Looks only.

Nobody can read the key of a provider. So where the provider in use has to change, what is new gets a provider of its own beside it
(NAME-next), and the one in use is changed once that was proved and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from . import look, provider
from .cli import OpenShell
from .look import ProviderSeen, SandboxSeen, list_sandboxes
from .provider import Remembered
from .text import RouteSeen


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
        may_restart: Whether a sandbox may be stopped and started where its processes keep an older key (OpenShell 0.1).
        binaries: The programs in the sandbox that may call the server (OpenShell 0.1), empty for those of common agents.

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
    may_restart: bool = False
    binaries: tuple[str, ...] = ()


# Of processes that keep an older key: a restart is for the user to do, or was done.
NEEDED, DONE = "needed", "done"

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
        positions: Where the run may route the sandboxes until the route is recorded; provider, model and sandbox count.

    """

    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)


@dataclass(frozen=True)
class DesiredRoute:
    """The route that is wanted: timeout in seconds; sandbox is ours, others is what happens if there are more."""

    provider: str
    model: str
    timeout: int = 180
    verify: bool = False
    sandbox: str | None = None
    shared: str = "warn"


@dataclass
class RouteOutcome:
    """What was found and what came of it."""

    before: RouteSeen | None
    after: RouteSeen | None
    changed: bool = False
    sandboxes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare_route(desired: DesiredRoute, before: RouteSeen | None, sandboxes: Sequence[str]) -> RouteOutcome:
    """Return what has to be done for a gateway with this route and these sandboxes.

    Raises:
        Failure: C(route_shared).

    """
    others = [name for name in sandboxes if name != desired.sandbox]
    outcome = RouteOutcome(before, before, sandboxes=others)
    if before is not None and (before.provider, before.model, before.timeout) == (
        desired.provider,
        desired.model,
        desired.timeout,
    ):
        return outcome
    if before is not None and others and (before.provider, before.model) != (desired.provider, desired.model):
        outcome.warnings += _share(desired, before, others)
    outcome.changed = True
    outcome.after = RouteSeen(desired.provider, desired.model, None, desired.timeout)
    return outcome


def check_route(desired: DesiredRoute) -> None:
    """Raise C(route_timeout_invalid) or C(openshell_name_invalid) for what the gateway would take for something else."""
    if desired.timeout < 1:
        raise Failure(
            "route_timeout_invalid",
            f"The route's timeout is {desired.timeout} s. OpenShell takes 0 for its own 60 s, which cuts cold models off: give the "
            "seconds that one request may take, for example 180.",
        )
    for what, value in (("provider", desired.provider), ("model", desired.model)):
        if not value.strip() or value.startswith("-") or not value.isprintable() or value != value.strip():
            raise Failure(
                "openshell_name_invalid",
                f"The route's {what} is {value!r}, which is no name of one. Give it without blanks around it, as openshell "
                "provider list has providers, and the server's list has models.",
            )


def _share(desired: DesiredRoute, before: RouteSeen, others: Sequence[str]) -> list[str]:
    """Return the warning that other sandboxes follow the route as well, or refuse."""
    named = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    fact = (
        f"A gateway has one route, and other sandboxes use it as well: {named}. Theirs changes too, from {before.model} by "
        f"{before.provider} to {desired.model} by {desired.provider}."
    )
    if desired.shared == "refuse":
        raise Failure(
            "route_shared",
            f"{fact} So nothing was changed. Use another gateway for this sandbox, or allow it: shared: allow for "
            "openshell_inference, sandbox_change_shared_route: true for the role.",
            sandboxes=list(others),
            route=route_as_dict(before),
        )
    return [fact] if desired.shared == "warn" else []


def route_as_dict(route: RouteSeen | None) -> dict[str, Any] | None:
    """Return a route as results have it."""
    return None if route is None else vars(route)


def in_words(route: RouteSeen | None) -> str:
    return "that none is set" if route is None else f"{route.model} by {route.provider} with {route.timeout} s"


NEXT = "-next"


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
    route = look.find_route(cli)
    found = {one: look.find_provider(cli, one) for one in (name, name + NEXT)}
    if route is not None and route.provider not in found:
        found[route.provider] = look.find_provider(cli, route.provider)
    return Seen(
        route,
        tuple(list_sandboxes(cli)),
        found[name],
        found[name + NEXT],
        route is not None and found[route.provider] is None,
        provider.recall(cli),
    )


def provider_spec_of(desired: Desired, name: str | None = None) -> provider.Desired:
    """Return the provider that the route wants, under its own name or another."""
    route = desired.route
    url = "ANTHROPIC_BASE_URL" if route["provider_type"] == "anthropic" else "OPENAI_BASE_URL"
    return provider.Desired(
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
    wanted = DesiredRoute(
        name, route["model"], route["timeout"], sandbox=own, shared="allow" if desired.may_share else "refuse"
    )
    check_route(wanted)
    spec = provider.check_desired(provider_spec_of(desired))
    outcome = provider.compare(spec, seen.provider, seen.remembered)
    shared = compare_route(wanted, _as_route(previous, name), names)
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
