# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The sandboxes: whether OpenShell and NemoClaw have them on the route, compared by the functions that the role's modules decide with."""

from __future__ import annotations

from ..failure import Failure
from ..nemoclaw.records import GATEWAY, changes_api, find_nemoclaw, find_recorded, routed
from ..openshell.cli import ATTACHMENT, ROUTE, OpenShell, find_openshell
from ..openshell.look import DesiredSandbox, find_usable, has_to_be_made
from ..openshell.route import Decision, Desired, Seen, decide, position_of, see
from ..proxy.token import read_token, token_path
from ..route.record import Note, read_note, record_path
from ..status.check import Check
from ..status.look import Wanted, check_gateway
from ..status.states import NOT_PROBED
from .choice import NEMOCLAW, OPENSHELL
from .refusals import endpoint_key
from .steps import Context, step, verify

# NemoClaw's name for a first sandbox.
_FIRST = "my-assistant"

# What a release that site installs puts right.
_MENDED_BY_INSTALLING = (
    "openshell_missing",
    "openshell_release_mismatch",
    "openshell_too_old",
    "openshell_version_unknown",
)


def compare_sandbox(at: Context, backend: str) -> list[Check]:
    """Add the steps that give the sandboxes the route, complete the route, and return the checks of the gateway for the status."""
    if at.route is None:
        return []
    installs = at.settings["sandbox_install_openshell"] and backend == OPENSHELL
    if installs:
        at.steps += verify("sandbox", "sandbox_install_openshell is set, so site compares the OpenShell release")
    gateway = at.settings["sandbox_gateway"] or (GATEWAY if backend == NEMOCLAW else "")
    try:
        ways = (ROUTE,) if backend == NEMOCLAW else (ROUTE, ATTACHMENT)
        cli = find_openshell(at.machine, at.account, gateway=gateway or None, ways=ways)
        return _compare(at, cli, backend, gateway)
    except Failure as failure:
        never_used = not at.settings["sandbox_gateway"] and not at.recorded.get("gateway")
        absent = failure.code == "openshell_missing" or (failure.code == "openshell_gateway_unset" and never_used)
        if absent and backend == OPENSHELL and at.settings["sandbox_backend"] == "auto":
            return []
        if backend == NEMOCLAW and failure.code in (
            "openshell_missing",
            "openshell_gateway_unset",
            "openshell_gateway_down",
        ):
            at.steps += verify("sandbox", f"NemoClaw's gateway cannot be queried: {failure.message}")
        elif not (installs and failure.code in _MENDED_BY_INSTALLING):
            at.refusals.append(failure)
    return []


def _compare(at: Context, cli: OpenShell, backend: str, gateway: str) -> list[Check]:
    route, settings = at.route or {}, at.settings
    known = at.recorded.get("sandbox") if gateway in ("", at.recorded.get("gateway")) else None
    name = settings["sandbox_name"] or ((known or _FIRST) if backend == NEMOCLAW else "")
    own = name or known or ""
    if backend == NEMOCLAW:
        route.update(routed(find_nemoclaw(at.machine, at.account), name, route))
        _nemoclaw(at, name)
    desired = Desired(
        route,
        _credential(at),
        at.recorded,
        gateway,
        own if cli.way == ROUTE else name,
        ready_timeout=settings["sandbox_ready_timeout"],
        may_share=bool(settings["sandbox_change_shared_route"]),
        may_replace=bool(settings["sandbox_replace_provider"]),
        may_restart=bool(settings["sandbox_restart"]),
        binaries=tuple(settings["sandbox_binaries"]),
    )
    note = read_note(settings["preflight_route_path"] or record_path(at.account.home), at.account)
    if cli.way == ROUTE:
        _gateway_route(at, cli, backend, desired, note)
    else:
        # Here, because a module is compiled anew on each call: most hosts need the other one alone.
        from .attachment import compare_attachment

        at.steps += compare_attachment(cli, desired, settings["sandbox_image"] or None, note)
    route.update(gateway=cli.gateway or None, sandbox=own or None, way=cli.way)
    if at.steps:
        return []
    return _ask(at, Wanted(backend, cli.gateway, own or None))


def _gateway_route(at: Context, cli: OpenShell, backend: str, desired: Desired, note: Note | None) -> None:
    """Add the steps that give the gateway the route, and make the sandbox where it is missing."""
    route, settings = at.route or {}, at.settings
    seen = see(cli, route["provider_name"])
    now = position_of(seen.route)
    previous = note.previous if note is not None and note.explains(now) else now
    decision = decide(desired, seen, previous)
    _provider(at, decision, seen)
    if now != decision.plan.positions[-1]:
        before = seen.route
        words = f"{before.model} via {before.provider} with {before.timeout} s" if before else None
        after = f"{route['model']} via {route['provider_name']} with {route['timeout']} s"
        at.steps.append(step("sandbox", "route", "inference.local does not have this route", before=words, after=after))
    wanted = DesiredSandbox(
        settings["sandbox_name"], settings["sandbox_image"] or None, timeout=settings["sandbox_ready_timeout"]
    )
    if wanted.name and backend == OPENSHELL and has_to_be_made(find_usable(cli, wanted)):
        at.steps.append(
            step("sandbox", "create", f"there is no sandbox {settings['sandbox_name']}", after=settings["sandbox_name"])
        )


def _ask(at: Context, wanted: Wanted) -> list[Check]:
    """Ask from inside a sandbox, which proves the path from its network as well."""
    route = at.route or {}
    checks = check_gateway(at.machine, at.account, route, wanted, route["timeout"])
    asked = next((one for one in checks if one.name == "sandbox"), None)
    if asked is not None and asked.state == NOT_PROBED:
        at.steps += verify(
            "sandbox", f"site proves the path from the sandboxes' network with a container: {asked.detail}"
        )
    return checks


def _nemoclaw(at: Context, name: str) -> None:
    route = at.route or {}
    found = find_recorded(at.account.home, name)
    if found is None:
        if not at.settings["sandbox_accept_third_party_software"]:
            at.refusals.append(
                Failure(
                    "nemoclaw_terms_not_accepted",
                    f"NemoClaw must create the sandbox {name}, which it does unattended only if you accept its third-party software. Read "
                    f"its notice (nemoclaw onboard shows it), then set sandbox_accept_third_party_software to true.",
                )
            )
        at.steps.append(step("sandbox", "onboard", f"NemoClaw has no sandbox {name}", after=name, download_bytes=None))
    elif (found.provider, found.model) != (route["provider_name"], route["model"]) or changes_api(found, route):
        before = f"{found.model} via {found.provider}"
        after = f"{route['model']} via {route['provider_name']}"
        at.steps.append(step("sandbox", "tell", f"NemoClaw has another route for {name}", before=before, after=after))


def _provider(at: Context, decision: Decision, seen: Seen) -> None:
    outcome, route = decision.provider, at.route or {}
    for action in outcome.actions:
        verb, what = action.split(" ", 1)
        reason = (
            "the gateway has not got address and key of the server"
            if outcome.before
            else "the gateway has no such provider"
        )
        at.steps.append(step("sandbox", verb, f"{reason}: {what}", after=route["base_url_sandbox"]))
    if seen.staged is not None:
        at.steps.append(
            step("sandbox", "delete", f"an interrupted run left it: {seen.staged.name}", before=seen.staged.name)
        )


def _credential(at: Context) -> str:
    if at.is_gated:
        stored = read_token(at.settings["sandbox_token_path"] or token_path(at.account.home))
        return stored.value if stored else "token-still-to-be-made"
    if at.choice.role == "vllm":
        return at.settings["vllm_api_key"] or "dummy"
    return (endpoint_key(at.settings, at.choice) if at.choice.role == "endpoint" else "") or "dummy"
