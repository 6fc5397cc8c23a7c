# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which backend routes the sandboxes of a host: NemoClaw, OpenShell, or none. And what is done by it beside a change of the route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..failure import Failure
from ..host.machine import Account, Machine, acting_as
from ..nemoclaw.records import GATEWAY, find_nemoclaw, routed
from ..openshell.cli import find_openshell
from ..openshell.gateway_route import Backend, GatewayRoute
from ..openshell.provider import read_state, state_path
from ..openshell.route import DONE, NEEDED, Desired, Plan, own_sandbox
from ..route.record import ATTACHMENT, ROUTE, read_note
from ..route.route import PROVIDERS

CHOICES = ("auto", "nemoclaw", "openshell", "none")
# A server elsewhere has no auth proxy of ours before it.
_NEVER_GATED = ("custom", "anthropicCompatible")
_ANY = next(iter(PROVIDERS.values())).provider_name
# What does not hold an uninstall up: there is no previous route to keep.
_OUT_OF_REACH = ("openshell_missing", "openshell_gateway_down", "openshell_gateway_unset")


def by_its_provider(wanted: str, machine: Machine, account: Account, desired: Desired) -> Desired:
    """Return what is desired with the provider that the release of NemoClaw can have; as it is with OpenShell alone (decision 0028).

    Raises:
        Failure: C(nemoclaw_missing), C(nemoclaw_registry_unreadable).

    """
    if wanted != "nemoclaw" and not (wanted == "auto" and has_nemoclaw(machine, account)):
        return desired
    from ..nemoclaw.desired import DEFAULT_SANDBOX  # as in of_nemoclaw

    # The one of the record is another's where that is on another gateway, as NemoClawRoute has it.
    sandbox = own_sandbox(replace(desired, gateway=desired.gateway or GATEWAY)) or DEFAULT_SANDBOX
    return replace(desired, route=routed(find_nemoclaw(machine, account), sandbox, desired.route))


def choose(wanted: str, machine: Machine, account: Account, desired: Desired) -> tuple[str, Backend | None, str]:
    """Return the backend by name and as an object, and why no sandbox is routed where that is none.

    Raises:
        Failure: C(nemoclaw_missing), or what keeps a gateway from being used that is there, or was asked for.

    """
    if wanted == "none":
        return wanted, None, "No sandbox was created, as sandbox_backend says: the route is only recorded."
    if wanted == "nemoclaw" or (wanted == "auto" and has_nemoclaw(machine, account)):
        return "nemoclaw", of_nemoclaw(machine, account, desired), ""
    try:
        return "openshell", of_openshell(machine, account, desired), ""
    except Failure as failure:
        never_used = not desired.gateway and not desired.recorded.get("gateway")
        why = why_absent(failure, never_used=never_used) if wanted == "auto" else None
        if why is None:
            raise
        return "none", None, why


def of_nemoclaw(machine: Machine, account: Account, desired: Desired) -> Backend:
    """Return the backend for NemoClaw.

    Raises:
        Failure: One of find_nemoclaw.

    """
    # Here, because a module is compiled anew on each call: a host without NemoClaw does not need it.
    from ..nemoclaw.backend import NemoClawRoute

    return NemoClawRoute(machine, account, desired, find_nemoclaw(machine, account))


def of_openshell(machine: Machine, account: Account, desired: Desired) -> Backend:
    """Return the backend for the release of OpenShell that is there, by what its command line can do.

    Raises:
        Failure: One of find_openshell.

    """
    gateway, secret = desired.gateway or None, desired.credential
    cli = find_openshell(machine, account, gateway=gateway, secret=secret, ways=(ROUTE, ATTACHMENT))
    if cli.way == ROUTE:
        return GatewayRoute(machine, account, desired, cli)
    # Here, because a module is compiled anew on each call: most hosts need the other one alone.
    from ..openshell.attached_route import AttachedRoute

    return AttachedRoute(cli, desired)


def has_nemoclaw(machine: Machine, account: Account) -> bool:
    """Tell whether NemoClaw is installed for this user."""
    return machine.find_command("nemoclaw", [f"{account.home}/.local/bin"]) is not None


def why_absent(failure: Failure, *, never_used: bool) -> str | None:
    """Return why a host has no sandboxes: no OpenShell, or one that was never used. None where the failure means something else.

    A gateway that does not answer is none of these: its sandboxes may run, and go on to where it routed them last.
    """
    if failure.code == "openshell_missing":
        return (
            "No sandbox was created, since this host has no OpenShell: the route is only recorded. To get one, install OpenShell, start "
            "its gateway, and run this again."
        )
    if failure.code == "openshell_gateway_unset" and never_used:
        return (
            f"No sandbox was created, since this host has no OpenShell gateway ({failure.message}): the route is only recorded. To get "
            f"one, fix that and run this again; with sandbox_backend=openshell it is an error."
        )
    return None


def is_gated(route: Mapping[str, Any]) -> bool:
    """Tell whether sandboxes reach the server of a route through the auth proxy: then its token is the credential."""
    if not route or route.get("provider") in _NEVER_GATED:
        return False
    return urlsplit(route["base_url_host"]).port != urlsplit(route["base_url_sandbox"]).port


def rotate(
    wanted: str, machine: Machine, account: Account, desired: Desired, check_mode: bool, previous: str = ""
) -> dict[str, Any]:
    """Give the provider of the recorded route the credential, and prove it from inside a sandbox.

    A new process in the sandbox has the credential at once, so it is proved before anything is restarted, and once more afterwards.

    Args:
        wanted: The backend, as for choose().
        machine: The host.
        account: Whose gateway it is.
        desired: The recorded route, with the credential.
        check_mode: Whether nothing is changed.
        previous: What the provider gets again where the proof fails; empty where nobody knows it.

    Raises:
        Failure: As of choose(); with C(auto), a host without OpenShell is no error. Those of the proof.

    """
    result: dict[str, Any] = {"changed": False, "backend": "none", "actions": [], "proved": False, "summary": []}
    is_given = restarts = False
    try:
        result["backend"], backend, _why = choose(wanted, machine, account, desired)
        if backend is None:
            return result
        backend.look()
        is_given = not check_mode
        done = backend.rotate(check_mode)
        result.update(changed=bool(done.actions), actions=done.actions, warnings=done.warnings)
        result.update(restart_needed=backend.restart == NEEDED, restarted=backend.restart == DONE)
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in done.actions)}
        if done.actions and not check_mode:
            result["proved"] = backend.prove().reason is None
            restarts = backend.restart == DONE
            if backend.renew():
                backend.prove()
    except Failure as failure:
        now = "Nothing was changed."
        if is_given:
            # A sandbox that could not be asked says nothing against the new one.
            known = "" if failure.code == "sandbox_not_ready" else previous
            now = _give_back(wanted, machine, account, replace(desired, credential=known), restarts)
        raise Failure(
            failure.code,
            f"{failure.message} So the sandboxes are not proved to have the new token. {now} The auth proxy still accepts the previous one "
            f"for a while: fix that, and run the playbook site before it expires.",
            **failure.details,
        ) from failure
    return result


def _give_back(wanted: str, machine: Machine, account: Account, desired: Desired, restarts: bool) -> str:
    """Give the provider the previous credential, and the processes of sandboxes that were restarted too; return what it has now."""
    provider = f"The provider {desired.route['provider_name']}"
    if not desired.credential:
        return f"{provider} has the new one."
    try:
        backend = choose(wanted, machine, account, desired)[1]
        if backend is None:
            return f"{provider} may have the new one."
        backend.look()
        backend.rotate(False)
        restarted = ", and its sandboxes were stopped and started" if restarts and backend.renew() else ""
    except Failure as again:
        return f"{provider} could not be given back the previous one: {again.message}"
    return f"{provider} has the previous one again{restarted}."


def remove(
    wanted: str, machine: Machine, account: Account, desired: Desired, check_mode: bool, path: str = ""
) -> dict[str, Any]:
    """Remove what the gateway has of the recorded route, and of one that a run was interrupted before it recorded it.

    Args:
        wanted: The backend, as for choose().
        machine: The host.
        account: Whose gateway it is.
        desired: The recorded route, if any.
        check_mode: Whether nothing is removed.
        path: Of the record.

    Raises:
        Failure: As of the backend; with C(auto), a gateway that cannot be asked is told of in C(out_of_reach).

    """
    done = Plan()
    result: dict[str, Any] = {"backend": "none", "out_of_reach": None}
    if wanted == "nemoclaw" or (wanted == "auto" and has_nemoclaw(machine, account)):
        result["backend"] = "nemoclaw"
        done = of_nemoclaw(machine, account, desired).remove(check_mode)
    elif wanted != "none" and (desired.recorded or _left_something(account, path)):
        # Without a record none is the route's own: all that got their key from here are looked for.
        desired = desired if desired.recorded else replace(desired, route={"provider_name": _ANY})
        try:
            done = of_openshell(machine, account, desired).remove(check_mode)
            result["backend"] = "openshell"
        except Failure as failure:
            if wanted != "auto" or failure.code not in _OUT_OF_REACH:
                raise
            result["out_of_reach"] = failure.as_result()
            done.notes.append(
                f"OpenShell was left unchanged, since its gateway cannot be queried: {failure.message} Its route and its provider "
                f"{desired.route['provider_name']} stay, if it has them."
            )
    lines = {"before": "".join(f"{action}\n" for action in done.actions), "after": ""}
    return {
        **result,
        "changed": bool(done.actions),
        "actions": done.actions,
        "summary": done.notes,
        "warnings": done.warnings,
        "diff": lines if done.actions else {"before": "", "after": ""},
    }


def _left_something(account: Account, path: str) -> bool:
    """Tell whether a run gave a provider a key, or began to, on a host without a record."""
    if path and read_note(path, account) is not None:
        return True
    with acting_as(account):
        return bool(read_state(state_path(account.home)).providers)


def summary(route: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return the sentence on where the sandboxes are routed."""
    led = [*result["sandboxes"], *([result["sandbox"]] if result["sandbox"] else [])]
    whom = ", ".join(led) or "every sandbox of the gateway. It has none yet: sandbox_name creates one"
    proof = result["proof"]
    proved = (
        f"Proved from inside {proof['sandbox']}: an answer, and a tool call that is {proof['tool_calling']}."
        if result["proved"]
        else "Not proved from inside a sandbox."
    )
    if result["way"] == ROUTE:
        return (
            f"https://inference.local routes to {route['model']} at {route['base_url_sandbox']}, for {whom}. {proved}"
        )
    settings = ", ".join(f"{name}={value}" for name, value in result["environment"].items())
    return (
        f"{route['provider_name']} is attached to {whom}. {proved} OpenShell 0.1 sets neither model nor timeout: the agent's own "
        f"configuration needs {settings}, the key from ${route['credential_env']}, the model {route['model']} and {route['timeout']} s "
        "for a request."
    )
