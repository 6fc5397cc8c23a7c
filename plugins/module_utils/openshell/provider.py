# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""A provider on a gateway: seen, compared, created, changed or deleted (upstream-facts O5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.accounts import acting_as
from ..openshell import fingerprints, text
from .cli import OpenShell, reading
from .desired_provider import (
    Desired,
    check_desired,
    check_name,
    loopback_warnings,
)
from .releases import ATTACHMENT, ROUTE
from .route import find_route
from .text import RouteSeen

_PAGE = 100  # what `provider list` prints without --limit


@dataclass(frozen=True)
class ProviderSeen:
    """A provider as the gateway shows it: the names of its values only."""

    id: str
    name: str
    type: str
    resource_version: int
    credential_keys: list[str]
    config_keys: list[str]


@dataclass
class Outcome:
    """What was found and what came of it."""

    before: ProviderSeen | None
    after: ProviderSeen | None
    changed: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fingerprint_before: str | None = None
    fingerprint_after: str | None = None

    @property
    def known_values(self) -> bool:
        """Tell whether these are the values that the provider was last given from here, whatever others did to it since."""
        return self.fingerprint_before is not None and self.fingerprint_before == self.fingerprint_after


def find_provider(cli: OpenShell, name: str) -> ProviderSeen | None:
    """Return the provider, None where the gateway has none of that name."""
    if cli.way == ATTACHMENT or not cli.release.lists_providers_as_json:
        return _find_in_text(cli, name)
    offset = 0
    while True:
        words = ("provider", "list", "-o", "json", "--limit", str(_PAGE), "--offset", str(offset))
        with reading(cli, *words):
            page = text.json_of(cli.call(*words))
            for entry in page:
                if entry["name"] == name:
                    return ProviderSeen(
                        id=entry["id"],
                        name=name,
                        type=entry["type"],
                        resource_version=int(entry["resource_version"]),
                        credential_keys=sorted(entry.get("credential_keys", [])),
                        config_keys=sorted(entry.get("config_keys", [])),
                    )
        if len(page) < _PAGE:
            return None
        offset += _PAGE


def _find_in_text(cli: OpenShell, name: str) -> ProviderSeen | None:
    words = ("provider", "get", name)
    try:
        found = text.fields_of(cli.call(*words))
    except Failure as failure:
        if failure.code == "openshell_provider_missing":
            return None
        raise
    with reading(cli, *words):
        return ProviderSeen(
            id=found["id"],
            name=name,
            type=found["type"],
            resource_version=int(found["resource version"]),
            credential_keys=text.keys_of(found["credential keys"]),
            config_keys=text.keys_of(found["config keys"]),
        )


def find_standing_route(cli: OpenShell) -> RouteSeen | None:
    """Return the user's route, None where none is set.

    Raises:
        Failure: C(route_dangling); its provider is gone. A sandbox that runs keeps the route that it read last, so that its answers prove
            nothing, and one that starts then has inference switched off for as long as it runs (upstream-facts O11).

    """
    route = find_route(cli) if cli.way == ROUTE else None
    if route is None or find_provider(cli, route.provider) is not None:
        return route
    raise Failure(
        "route_dangling",
        f"The gateway routes to {route.model} by the provider {route.provider}, and somebody deleted that provider. Sandboxes that "
        "run go on with what they read last, its key included, and one that starts now would never get inference. Make the provider "
        "again (openshell_provider), or set another route (openshell_inference), and run this again.",
        provider=route.provider,
        model=route.model,
    )


def recall(cli: OpenShell) -> fingerprints.Remembered:
    """Return what was last given to the providers of this user's gateways from here."""
    path = fingerprints.state_path(cli.account.home)
    with acting_as(cli.account):
        return fingerprints.read_state(path)


def compare(desired: Desired, before: ProviderSeen | None, remembered: fingerprints.Remembered) -> Outcome:
    """Return what has to be done for a checked desired provider: nothing where this version of the provider is what was given last.

    Raises:
        Failure: C(provider_type_differs).

    """
    wanted = remembered.fingerprint(desired.type, desired.credentials, desired.config)
    outcome = Outcome(before, before, fingerprint_after=wanted, warnings=loopback_warnings(desired))
    if before is None:
        outcome.actions = [f"create {desired.name}"]
    else:
        outcome.fingerprint_before = remembered.fingerprint_of(before.id)
        if before.type.lower() != desired.type.lower():
            _refuse_other_type(desired, before)
            outcome.actions = [f"delete {desired.name} of type {before.type}", f"create {desired.name}"]
        elif not remembered.holds(before.id, before.resource_version, wanted) or desired.force:
            outcome.actions = [f"update {desired.name}"]
    outcome.changed = bool(outcome.actions)
    return outcome


def have(cli: OpenShell, desired: Desired, check_mode: bool) -> Outcome:
    """Bring the provider into the state that is wanted, in as few calls as possible.

    Raises:
        Failure: Those of check_desired, C(provider_type_differs), C(openshell_state_unwritable), or one of the CLI.

    """
    desired = check_desired(desired)
    path = fingerprints.state_path(cli.account.home)
    remembered = recall(cli)
    before = find_provider(cli, desired.name)
    outcome = compare(desired, before, remembered)
    if check_mode or not outcome.changed:
        return outcome
    if before is not None:
        remembered.providers.pop(before.id, None)
    # Before the gateway: where this cannot be kept, nothing may change.
    try:
        with acting_as(cli.account):
            fingerprints.write_state(path, remembered)
    except Failure as failure:
        raise Failure(failure.code, f"{failure.message} The gateway is as it was.", **failure.details) from failure
    if before is not None and len(outcome.actions) == 2:
        cli.call("provider", "delete", desired.name)
        before = None
    cli.call(*_words(desired, before), environment=desired.credentials)
    outcome.after = find_provider(cli, desired.name)
    if outcome.after is None:
        raise cli.trouble(("provider", "get"), "Error: provider not found", None)
    seen = outcome.after
    remembered.providers[seen.id] = {
        "name": seen.name,
        "resource_version": seen.resource_version,
        "fingerprint": outcome.fingerprint_after,
    }
    try:
        with acting_as(cli.account):
            fingerprints.write_state(path, remembered)
    except Failure as failure:
        # The gateway has the values, so nothing is to be restored. The next run gives them once more.
        outcome.warnings.append(f"The provider {desired.name} has its values, but {failure.message}")
    return outcome


def _words(desired: Desired, before: ProviderSeen | None) -> list[str]:
    """Return the command: an update takes away what is there and no longer wanted, since it merges."""
    words = (
        ["provider", "update", desired.name]
        if before
        else ["provider", "create", "--name", desired.name, "--type", desired.type]
    )
    for name in desired.credentials:
        words += ["--credential", name]
    for name, value in desired.config.items():
        words += ["--config", f"{name}={value}"]
    if before:
        for name in before.credential_keys:
            words += [] if name in desired.credentials else ["--credential", f"{name}="]
        for name in before.config_keys:
            words += [] if name in desired.config else ["--config", f"{name}="]
    return words


def _refuse_other_type(desired: Desired, before: ProviderSeen) -> None:
    if desired.replace_other:
        return
    raise Failure(
        "provider_type_differs",
        f"The gateway has a provider {desired.name} of type {before.type}, and {desired.type} is wanted. OpenShell changes no type, "
        f"and between deleting and creating it the route reaches no server. Delete it (openshell provider delete {desired.name}), or allow "
        "that: replace: true for the module, sandbox_replace_provider: true for the role.",
        type=before.type,
    )


def remove(cli: OpenShell, desired: Desired, check_mode: bool) -> Outcome:
    """Delete the provider; absent is fine, and so is one that nobody gave its values from here, where ours alone are meant.

    Raises:
        Failure: C(provider_in_use) while the route uses it, C(provider_attached), or another of the CLI.

    """
    check_name("provider", desired.name)
    before = find_provider(cli, desired.name)
    outcome = Outcome(before, before)
    path = fingerprints.state_path(cli.account.home)
    remembered = recall(cli)
    if before is None or (desired.ours_only and before.id not in remembered.providers):
        return outcome
    route = find_route(cli) if cli.way == ROUTE else None
    if route is not None and route.provider == desired.name:
        if cli.release.deletes_routes and not desired.force:
            raise Failure(
                "provider_in_use",
                f"The inference route of the gateway uses the provider {desired.name}, and every sandbox would get "
                "errors without it. Set another route or remove it first (openshell_inference), or allow that with force: true.",
                model=route.model,
            )
        outcome.warnings.append(
            f"The inference route still names the provider {desired.name}, which is gone: sandboxes get errors until a new route "
            f"is set. OpenShell {cli.release} "
            + ("was told so by force." if cli.release.deletes_routes else "has no command that removes a route.")
        )
    outcome.actions, outcome.changed = [f"delete {desired.name}"], True
    if check_mode:
        return outcome
    cli.call("provider", "delete", desired.name)
    outcome.after = None
    if remembered.providers.pop(before.id, None) is not None:
        with acting_as(cli.account):
            fingerprints.write_state(path, remembered)
            if not remembered.providers:
                Path(path).unlink()
    return outcome


def as_result(outcome: Outcome, desired: Desired) -> dict[str, Any]:
    """Return the module's result with its diff: names and fingerprints, never a value that may be secret."""
    after = {**_shown(outcome.after, outcome.fingerprint_after), "config": dict(desired.config)} if desired.type else {}
    if outcome.changed and desired.type:
        after.update(type=desired.type, credential_keys=sorted(desired.credentials), config_keys=sorted(desired.config))
    before = _shown(outcome.before, outcome.fingerprint_before)
    return {
        "changed": outcome.changed,
        "actions": outcome.actions,
        "known_values": outcome.known_values,
        "provider": None if outcome.after is None else vars(outcome.after),
        "diff": {"before": before, "after": after} if outcome.changed else {"before": {}, "after": {}},
    }


def _shown(seen: ProviderSeen | None, fingerprint: str | None) -> dict[str, Any]:
    if seen is None and fingerprint is None:
        return {}
    shown: dict[str, Any] = {"fingerprint": (fingerprint or "unknown")[:16]}
    if seen is not None:
        shown.update(type=seen.type, credential_keys=seen.credential_keys, config_keys=seen.config_keys)
    return shown
