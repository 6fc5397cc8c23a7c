# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A route by OpenShell 0.1: what a gateway has of it, and what has to be done (decision 0034; attached_route.py does it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..failure import Failure
from ..route.route import PROVIDERS
from . import attachment
from .attachment import attached_at, called_at, exported, host_of, is_labelled, profile_id, refuse_foreign, same_profile
from .cli import OpenShell
from .look import DELETING, READY, RESTING, SandboxSeen, find_provider
from .provider import recall
from .route import NEXT, Desired, Position, own_sandbox

# A variable of its own: nothing says which of two attached providers gives a variable that both have.
_NEXT_VARIABLE = "_NEXT"
NAMES = tuple(sorted({one.provider_name for one in PROVIDERS.values()}))


@dataclass(frozen=True)
class Seen:
    """What a gateway has of a route.

    Attributes:
        lasting: The route's own provider.
        staged: The one beside it.
        earlier: Other providers by which this sandbox had a route of ours, attached to it yet.
        sharing: Other sandboxes that have the route's own provider.
        kept: Those of C(earlier) that other sandboxes have as well, so that they stay.
        idle: Those of C(sharing) that rest, such as one that was stopped: no process there has an older key.

    """

    lasting: attachment.Seen = field(default_factory=attachment.Seen)
    staged: attachment.Seen = field(default_factory=attachment.Seen)
    earlier: tuple[str, ...] = ()
    sharing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def busy(self) -> list[str]:
        """The other sandboxes whose processes have the key of the route's own provider."""
        return [one for one in self.sharing if one not in self.idle]

    @property
    def is_interrupted(self) -> bool:
        """Tell whether a run left something of the provider beside it. The profile is made first, and deleted last."""
        return is_labelled(self.staged.profile)


@dataclass(frozen=True)
class Action:
    """One thing to do: its verb, and the whole in words."""

    verb: str
    words: str


@dataclass
class Decision:
    """What decide() found.

    Attributes:
        actions: In order, all that a run does.
        own: What is done to the route's own provider, in the words of C(attachment.decide).
        is_staged: Whether a provider beside it is attached and proved first.
        restarts: The sandboxes whose processes go on with an older key.

    """

    actions: list[Action]
    own: list[str]
    is_staged: bool
    restarts: list[str]


def wanted_of(desired: Desired, cli: OpenShell, name: str) -> attachment.Desired:
    """Return the attachment that the route wants, under the name of its provider or of the one beside it."""
    route, is_staged = desired.route, name.endswith(NEXT)
    return attachment.Desired(
        own_sandbox(desired) or "",
        name,
        called_at(route["base_url_sandbox"], route["api"], host_of(cli.path)),
        route["credential_env"] + (_NEXT_VARIABLE if is_staged else ""),
        desired.credential,
        route["api"],
        desired.binaries or attachment.BINARIES,
        max(desired.ready_timeout, 1),
        may_replace=desired.may_replace,
    )


def see(cli: OpenShell, desired: Desired, sandboxes: Sequence[SandboxSeen]) -> Seen:
    """Return what a gateway with these sandboxes has of a route."""
    own, name = own_sandbox(desired), desired.route["provider_name"]
    found = next((one for one in sandboxes if one.name == own), None)
    attached = attached_at(cli, found.name) if found is not None and found.phase != DELETING else []
    # One that is named is made, or waited for, before anything is attached to it.
    expected = SandboxSeen("", desired.sandbox, READY) if desired.sandbox else found
    lasting, staged = (
        attachment.see(cli, wanted_of(desired, cli, one), expected, attached) for one in (name, name + NEXT)
    )
    # That of the record, and where a run was interrupted between the record and its end, all that got their key from here. What a user
    # attached beside the route stays.
    known = NAMES if is_labelled(staged.profile) else (desired.recorded.get("provider_name"),)
    earlier = [one for one in known if one != name and one in attached and is_ours(cli, one)]
    others = [one.name for one in sandboxes if one.name != own] if lasting.provider or earlier else []
    elsewhere = {one: attached_at(cli, one) for one in others}
    sharing = [one for one in others if name in elsewhere[one]]
    kept = [one for one in earlier if any(one in names for names in elsewhere.values())]
    return Seen(lasting, staged, tuple(earlier), tuple(sharing), tuple(kept), idle_of(sandboxes, sharing))


def idle_of(sandboxes: Sequence[SandboxSeen], names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the names that rest; one that is Starting may have begun with an older key."""
    return tuple(one.name for one in sandboxes if one.name in names and one.phase in RESTING)


def is_ours(cli: OpenShell, name: str) -> bool:
    """Tell whether a provider got its key from here, or is of a profile that was made from here."""
    found = find_provider(cli, name)
    if found is None:
        return False
    is_of_ours = found.type == profile_id(name) and is_labelled(exported(cli, found.type))
    return is_of_ours or found.id in recall(cli).providers


def position_of(seen: Seen, name: str, own: str | None) -> Position | None:
    """Return where the sandbox is routed: by the provider beside the route's own, where a run was interrupted, else by another of ours."""
    names = [name + NEXT] if seen.is_interrupted and seen.staged.attached else []
    names += [*seen.earlier, *([name] if seen.lasting.attached else [])]
    return {"provider": names[0], "sandbox": own} if names else None


def decide(
    desired: Desired,
    wanted: attachment.Desired,
    profile: dict[str, Any],
    seen: Seen,
    previous: Position | None,
    *,
    makes_sandbox: bool = False,
) -> Decision:
    """Return what has to be done for a route, and the attachment that it means. Pure.

    Raises:
        Failure: C(sandbox_name_missing), C(route_shared), C(provider_attached), or one of C(attachment.decide).

    """
    name, own = wanted.provider, wanted.sandbox
    if not own:
        raise Failure(
            "sandbox_name_missing",
            "OpenShell 0.1 has no route for all sandboxes of a gateway: a server is attached to one sandbox, but none is named. Set "
            "nemoclaw_sandbox_name to it (it is created if missing); with sandbox_backend=none the route is only recorded.",
        )
    is_moved = seen.lasting.profile is not None and not same_profile(seen.lasting.profile, profile)
    if is_moved and seen.sharing and not desired.may_share:
        raise _shared(wanted, seen.sharing)
    told = [one for one in attachment.decide(wanted, seen.lasting, profile) if not one.startswith("restart ")]
    if f"delete {name}" in told and seen.sharing:
        raise _held(wanted, seen.sharing)
    # What other sandboxes have stays as well until the rest was proved.
    keeps = ("wait ",) if previous is not None else ("wait ", "attach ")
    is_staged = bool(previous is not None or seen.sharing) and any(not one.startswith(keeps) for one in told)
    if is_staged:
        beside = name + NEXT
        refuse_foreign(replace(wanted, provider=beside), seen.staged, profile_id(beside), differs=True)
    actions = [Action("create", f"create the sandbox {own}")] if makes_sandbox else []
    actions += [Action(one.split(" ")[0], _in_words(one, own)) for one in told]
    for one in seen.earlier:
        actions.append(Action("detach", f"detach the provider {one} from {own}"))
        actions += [] if one in seen.kept else [Action("delete", f"delete the provider {one}")]
    if seen.is_interrupted:
        actions.append(Action("delete", f"delete the provider {name}{NEXT}"))
    gives_key = any(one in told for one in (f"create {name}", f"update {name}"))
    restarts = [own] if is_staged and (gives_key or f"attach {name}" in told) else []
    restarts += seen.busy if gives_key else []
    if desired.may_restart:
        actions += [Action("restart", f"restart the sandbox {one}") for one in restarts]
    return Decision(actions, told, is_staged, restarts)


def _in_words(action: str, own: str) -> str:
    """Return an action of C(attachment.decide) as the transaction says it."""
    verb, _space, what = action.partition(" ")
    if what.startswith("profile "):
        return f"{verb} the profile {what.partition(' ')[2]}"
    if verb == "wait":
        return f"wait until {own} has applied the provider {what.partition(' ')[2]}"
    return f"{verb} the provider {what}" + {"attach": f" to {own}", "detach": f" from {own}"}.get(verb, "")


def _shared(wanted: attachment.Desired, others: tuple[str, ...]) -> Failure:
    return Failure(
        "route_shared",
        f"The provider {wanted.provider} does not point to {wanted.base_url}, and other sandboxes of the gateway have it too: "
        f"{', '.join(others)}. Nothing was changed. Set sandbox_change_shared_route to true if they should follow, or detach it there "
        "(openshell sandbox provider detach).",
        sandboxes=list(others),
    )


def _held(wanted: attachment.Desired, others: tuple[str, ...]) -> Failure:
    """Return the refusal of a change that OpenShell would refuse after the proof, on each run."""
    named = ", ".join(others)
    return Failure(
        "provider_attached",
        f"The provider {wanted.provider} has another profile and must be deleted and recreated, which OpenShell refuses while other "
        f"sandboxes have it: {named}. Nothing was changed. Detach it there (openshell sandbox provider detach), and run this again.",
        sandboxes=list(others),
    )
