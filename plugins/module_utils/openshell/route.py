# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The inference route of a gateway: read, compared, set, read again (upstream-facts O6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from ..openshell import text
from .cli import OpenShell, reading
from .sandboxes import list_sandboxes
from .text import RouteSeen

# The gateway asks the server itself for up to 30 s for each protocol (upstream-facts O6).
_VERIFY_LIMIT_S = 180.0


@dataclass(frozen=True)
class Desired:
    """The route that is wanted: timeout in seconds; sandbox is ours, others is what happens if there are more."""

    provider: str
    model: str
    timeout: int = 180
    verify: bool = False
    sandbox: str | None = None
    shared: str = "warn"


@dataclass
class Outcome:
    """What was found and what came of it."""

    before: RouteSeen | None
    after: RouteSeen | None
    changed: bool = False
    sandboxes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_route(cli: OpenShell) -> RouteSeen | None:
    """Return the user's route, None where none is set."""
    words = ("inference", "get")
    with reading(cli, *words):
        return text.route_of(cli.call(*words))


def compare(desired: Desired, before: RouteSeen | None, sandboxes: Sequence[str]) -> Outcome:
    """Return what has to be done for a gateway with this route and these sandboxes.

    Raises:
        Failure: C(route_shared).

    """
    others = [name for name in sandboxes if name != desired.sandbox]
    outcome = Outcome(before, before, sandboxes=others)
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


def have(cli: OpenShell, desired: Desired, check_mode: bool) -> Outcome:
    """Set the route, where it is another one: setting it always raises its version.

    Raises:
        Failure: C(route_timeout_invalid), C(openshell_name_invalid), C(route_shared),
            C(route_not_set), or one of the CLI. The previous route is then still in force.

    """
    check(desired)
    outcome = compare(desired, find_route(cli), [sandbox.name for sandbox in list_sandboxes(cli)])
    if check_mode or not outcome.changed:
        return outcome
    words = [
        "inference",
        "set",
        "--provider",
        desired.provider,
        "--model",
        desired.model,
        "--timeout",
        str(desired.timeout),
    ]
    cli.call(*words, *([] if desired.verify else ["--no-verify"]), limit_s=_VERIFY_LIMIT_S)
    outcome.after = find_route(cli)
    seen = outcome.after
    if seen is None or (seen.provider, seen.model, seen.timeout) != (desired.provider, desired.model, desired.timeout):
        raise Failure(
            "route_not_set",
            f"Ran openshell inference set for {desired.model} by {desired.provider} with {desired.timeout} s, and the gateway now says "
            f"{_in_words(seen)}. Somebody else may have set it at the same time: run this again.",
            route=as_dict(seen),
        )
    return outcome


def remove(cli: OpenShell, check_mode: bool) -> Outcome:
    """Remove the route; absent is fine. Releases before 0.0.88 cannot, and then it stays with a warning."""
    before = find_route(cli)
    outcome = Outcome(before, before)
    if before is None:
        return outcome
    if not cli.release.deletes_routes:
        outcome.warnings.append(
            f"OpenShell {cli.release} has no command that removes a route, so that to {before.model} by {before.provider} stays "
            "until another is set. 0.0.88 and later remove it."
        )
        return outcome
    outcome.changed = True
    outcome.after = None
    if not check_mode:
        cli.call("inference", "delete")
    return outcome


def check(desired: Desired) -> None:
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


def _share(desired: Desired, before: RouteSeen, others: Sequence[str]) -> list[str]:
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
            route=as_dict(before),
        )
    return [fact] if desired.shared == "warn" else []


def as_dict(route: RouteSeen | None) -> dict[str, Any] | None:
    """Return a route as results have it."""
    return None if route is None else vars(route)


def _in_words(route: RouteSeen | None) -> str:
    return "that none is set" if route is None else f"{route.model} by {route.provider} with {route.timeout} s"
