# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is changed on a gateway, each only where it differs: a provider and the route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import acting_as
from ..host.replace import replace_file
from . import provider
from .cli import ROUTE, OpenShell, check_name
from .look import (
    ProviderSeen,
    find_provider,
    find_route,
    list_sandboxes,
)
from .provider import Desired, Outcome, Remembered, check_desired, compare, recall
from .route import DesiredRoute, RouteOutcome, check_route, compare_route, in_words, route_as_dict


def write_state(path: str, remembered: Remembered) -> None:
    """Replace the file in one step.

    Raises:
        Failure: C(openshell_state_unwritable).

    """
    content = json.dumps({"schema": 1, "key": remembered.key, "providers": remembered.providers}, indent=2) + "\n"
    try:
        Path(path).parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, content, 0o600)
    except OSError as error:
        raise Failure(
            "openshell_state_unwritable",
            f"{path}, which holds the fingerprints of the gateway's providers, cannot be written: {error.strerror or error}. Check the "
            f"folder's owner and the disk space.",
            path=path,
        ) from error


def provider_result(outcome: Outcome, desired: Desired) -> dict[str, Any]:
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


def ensure_provider(cli: OpenShell, desired: Desired, check_mode: bool) -> Outcome:
    """Bring the provider into the state that is wanted, in as few calls as possible.

    Raises:
        Failure: Those of check_desired, C(provider_type_differs), C(openshell_state_unwritable), or one of the CLI.

    """
    desired = check_desired(desired)
    path = provider.state_path(cli.account.home)
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
            write_state(path, remembered)
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
            write_state(path, remembered)
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


def delete_provider(cli: OpenShell, desired: Desired, check_mode: bool) -> Outcome:
    """Delete the provider; absent is fine, and so is one that nobody gave its values from here, where ours alone are meant.

    Raises:
        Failure: C(provider_in_use) while the route uses it, C(provider_attached), or another of the CLI.

    """
    check_name("provider", desired.name)
    before = find_provider(cli, desired.name)
    outcome = Outcome(before, before)
    path = provider.state_path(cli.account.home)
    remembered = recall(cli)
    if before is None or (desired.ours_only and before.id not in remembered.providers):
        return outcome
    route = find_route(cli) if cli.way == ROUTE else None
    if route is not None and route.provider == desired.name:
        if cli.release.deletes_routes and not desired.force:
            raise Failure(
                "provider_in_use",
                f"The inference route of the gateway uses the provider {desired.name}, and without it every sandbox would get errors. Set "
                f"another route or remove it first (openshell_inference), or allow this with force: true.",
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
            write_state(path, remembered)
            if not remembered.providers:
                Path(path).unlink()
    return outcome


# The gateway asks the server itself for up to 30 s for each protocol (upstream-facts O6).
_VERIFY_LIMIT_S = 180.0


def ensure_route(cli: OpenShell, desired: DesiredRoute, check_mode: bool) -> RouteOutcome:
    """Set the route, where it is another one: setting it always raises its version.

    Raises:
        Failure: C(route_timeout_invalid), C(openshell_name_invalid), C(route_shared),
            C(route_not_set), or one of the CLI. The previous route is then still in force.

    """
    check_route(desired)
    outcome = compare_route(desired, find_route(cli), [sandbox.name for sandbox in list_sandboxes(cli)])
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
            f"Ran openshell inference set for {desired.model} via {desired.provider} with {desired.timeout} s, but the gateway now reports "
            f"{in_words(seen)}. Someone else may have set it at the same time: run this again.",
            route=route_as_dict(seen),
        )
    return outcome


def remove_route(cli: OpenShell, check_mode: bool) -> RouteOutcome:
    """Remove the route; absent is fine. Releases before 0.0.88 cannot, and then it stays with a warning."""
    before = find_route(cli)
    outcome = RouteOutcome(before, before)
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
