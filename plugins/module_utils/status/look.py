# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""All checks of a host's route: what inference_status and a collector look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..endpoint.report import Report
from ..endpoint.validate import Endpoint
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.platform import reach_windows
from ..nemoclaw.records import GATEWAY
from ..openshell import proof
from ..openshell.cli import ATTACHMENT, ROUTE, OpenShell, find_openshell
from ..openshell.look import find_route
from ..proxy.token import token_path
from ..route.record import read_record
from .check import Check, check_exposure, check_proxy, check_server
from .states import DIFFERS, HEALTHY, NOT_CONFIGURED, NOT_PROBED, UNAUTHORIZED, UNHEALTHY, UNREACHABLE

# What the sandbox asks, whatever the gateway's own address is (page, introduction).
_URL = "https://inference.local"
# Without a program or a registered gateway there are no sandboxes to route, as for sandbox_backend: auto. Why, in words.
_NO_SANDBOXES = {
    "openshell_missing": "no program openshell was found for the user {user}, so there are no sandboxes to route",
    "openshell_gateway_unset": "the user {user} has no such gateway of OpenShell registered, so there are no sandboxes to route",
}
_STATES = {
    "openshell_gateway_down": UNREACHABLE,
    "openshell_timeout": UNREACHABLE,
    # Nobody asked for an image with curl, and the set-up proves nothing from inside such a sandbox either.
    "sandbox_command_missing": NOT_PROBED,
    "sandbox_key_refused": UNAUTHORIZED,
    "sandbox_route_refused": UNREACHABLE,
    "sandbox_upstream_down": UNREACHABLE,
    "timeout": UNREACHABLE,
}


@dataclass(frozen=True)
class Wanted:
    """Whose sandboxes are looked at, where that is named; what is named has to be there."""

    backend: str = "auto"
    gateway: str | None = None
    sandbox: str | None = None

    @property
    def is_named(self) -> bool:
        """Tell whether somebody said that this host has a gateway."""
        return self.backend != "auto" or bool(self.gateway or self.sandbox)


def choose_gateway(machine: Machine, account: Account, wanted: Wanted) -> str | None:
    """Return the gateway to ask, None for the active one: the one that is named, else NemoClaw's own where it drives."""
    if wanted.gateway:
        return wanted.gateway
    if wanted.backend == "auto":
        # As the role sandbox decides, from the facts.
        return GATEWAY if machine.find_command("nemoclaw", [f"{account.home}/.local/bin"]) else None
    return GATEWAY if wanted.backend == "nemoclaw" else None


def check_gateway(
    machine: Machine, account: Account, route: dict[str, Any], wanted: Wanted, timeout: float
) -> list[Check]:
    """Return the check of the gateway's route, and where that is right the check from inside a sandbox.

    On a host without OpenShell it is not probed, which costs one look at PATH. C(timeout): seconds, for the sandbox's
    question.
    """
    # What the set-up recorded counts as named: the sandboxes were routed there once.
    wanted = Wanted(
        wanted.backend, wanted.gateway or route.get("gateway") or None, wanted.sandbox or route.get("sandbox") or None
    )
    check = Check("gateway", HEALTHY, url=_URL)
    try:
        gateway = choose_gateway(machine, account, wanted)
        cli = find_openshell(machine, account, gateway=gateway, ways=(ROUTE, ATTACHMENT))
        if cli.way == ATTACHMENT:
            return _check_attached(cli, route, wanted.sandbox, timeout)
        seen = find_route(cli)
    except Failure as failure:
        check.state, check.code = _STATES.get(failure.code, UNHEALTHY), failure.code
        check.detail = failure.message
        if failure.code in _NO_SANDBOXES and not wanted.is_named:
            check.state, check.detail = NOT_PROBED, _NO_SANDBOXES[failure.code].format(user=account.name)
        return [check]
    leads_to = (route["provider_name"], route["model"], route["timeout"])
    if seen is None:
        check.state, check.code = NOT_CONFIGURED, "gateway_route_missing"
        check.detail = "The gateway has no route, so inference.local reaches no server. Run the playbook nemoclaw.local_inference.site."
    elif (seen.provider, seen.model, seen.timeout) != leads_to:
        check.state, check.code = DIFFERS, "gateway_route_differs"
        check.detail = (
            f"The gateway routes to {seen.model} via {seen.provider} with {seen.timeout} s, but the record has {leads_to[1]} via "
            f"{leads_to[0]} with {leads_to[2]} s. Run the playbook nemoclaw.local_inference.site to restore it."
        )
    else:
        check.detail = f"routes to {seen.model} via {seen.provider}"
        return [check, _check_sandbox(cli, route, wanted.sandbox, timeout)]
    return [check]


_AGAIN = "Run the playbook nemoclaw.local_inference.site."
# What is not unhealthy, but absent or another one.
_ATTACHMENT_STATES = {
    "sandbox_name_missing": NOT_CONFIGURED,
    "attachment_missing": NOT_CONFIGURED,
    "provider_foreign": DIFFERS,
    "gateway_route_differs": DIFFERS,
}


def _check_attached(cli: OpenShell, route: dict[str, Any], wanted: str | None, timeout: float) -> list[Check]:
    # Here, because a module is compiled anew on each call: most hosts need the other one alone.
    from ..openshell.attachment import called_at, host_of

    url = called_at(route["base_url_sandbox"], route["api"], host_of(cli.path))
    check = Check("gateway", HEALTHY, url=url)
    try:
        check.detail = _check_attachment(cli, route, wanted)
    except Failure as failure:
        check.state = _ATTACHMENT_STATES.get(failure.code) or _STATES.get(failure.code, UNHEALTHY)
        check.code, check.detail = failure.code, failure.message
        return [check]
    return [check, _check_sandbox(cli, route, wanted, timeout, url)]


def _check_attachment(cli: OpenShell, route: dict[str, Any], sandbox: str | None) -> str:
    """Return what is attached, in words, once it is what the record has.

    Raises:
        Failure: C(sandbox_name_missing), C(sandbox_not_ready), C(attachment_missing), C(provider_foreign), C(gateway_route_differs),
            C(attachment_not_ready), or one of the CLI.

    """
    from ..openshell.attached import is_ours, wanted_of
    from ..openshell.attachment import READY, attached_at, host_of, profile_of, same_profile, see
    from ..openshell.look import READY as SANDBOX_READY
    from ..openshell.look import find_provider, find_sandbox
    from ..openshell.route import Desired

    name = route["provider_name"]
    if not sandbox:
        raise Failure(
            "sandbox_name_missing",
            f"OpenShell {cli.release} attaches a server to one sandbox, but the record names none. Set nemoclaw_sandbox_name. {_AGAIN}",
        )
    found = find_sandbox(cli, sandbox)
    if found is None or found.phase != SANDBOX_READY:
        phase = f"is {found.phase}" if found else "is not there"
        raise Failure(
            "sandbox_not_ready",
            f"The sandbox {sandbox}, which the route is for, {phase}. With nemoclaw_sandbox_name set, site creates a missing one.",
        )
    attached = attached_at(cli, sandbox)
    if name not in attached:
        there = "which the gateway has" if find_provider(cli, name) else "which the gateway lacks too"
        raise Failure(
            "attachment_missing", f"The sandbox {sandbox} does not have the provider {name} attached, {there}. {_AGAIN}"
        )
    if not is_ours(cli, name):
        raise Failure(
            "provider_foreign",
            f"The sandbox {sandbox} has a provider {name} attached that did not get its key from here. {_AGAIN} It replaces one of another "
            f"profile only with sandbox_replace_provider=true.",
        )
    wanted = wanted_of(Desired(route, "", route, sandbox=sandbox), cli, name)
    seen = see(cli, wanted, found, attached)
    granted, endpoints = seen.profile or {}, profile_of(wanted, host_of(cli.path))["endpoints"]
    if not same_profile({"endpoints": granted.get("endpoints")}, {"endpoints": endpoints}):
        raise Failure(
            "gateway_route_differs",
            f"The profile of {name} does not grant {wanted.base_url}, which the record has. {_AGAIN}",
        )
    if seen.state != READY:
        raise Failure(
            "attachment_not_ready",
            f"The sandbox {sandbox} has not applied the provider {name} yet: {seen.state}. Check openshell logs {sandbox}.",
        )
    return f"{name} is attached to {sandbox}"


def _check_sandbox(cli: OpenShell, route: dict[str, Any], wanted: str | None, timeout: float, url: str = _URL) -> Check:
    """Return what the sandbox that is named, else the first that is ready, gets from the model.

    NemoClaw takes any HTTP code there for healthy (upstream-facts N38). Without a name, a gateway whose sandboxes are
    still to come is no error.
    """
    check = Check("sandbox", HEALTHY, url=url)
    report = Report(route["api"], route["model"])
    try:
        name = proof.choose_sandbox(cli, wanted)
        if name is None:
            check.state, check.detail = NOT_PROBED, "the gateway has no ready sandbox, so none was asked"
            return check
        asked = proof.Desired(
            route["model"],
            route["api"],
            timeout=timeout,
            probes=proof.COMPLETION,
            base_url=url,
            credential_name=route["credential_env"],
        )
        proof.prove(cli, name, asked, report)
        check.detail = f"answered a completion from inside {name} (tool calls are not asked here)"
    except Failure as failure:
        check.state, check.code = _STATES.get(failure.code, UNHEALTHY), failure.code
        check.detail = failure.message
    check.latency = report.probes[0].latency if report.probes else None
    return check


@dataclass(frozen=True)
class Access:
    """How a recorded server is asked, beside what the record says.

    Args:
        credentials: Keys by the name that the record has as C(credential_env).
        api_key: A key that wins over them.
        timeout: Seconds for all checks of the server together, and as many again for the question from inside a sandbox.
        ca_path: Certificates of the server's authority.
        validate_certs: Whether its certificate is checked.
        trusted_users: Whose servers on this host get the key.
        token_path: The token file of the auth proxy, if it is not where the account's own lies.
        wanted: Whose sandboxes are looked at; None for none.

    """

    credentials: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = None
    timeout: float = 60
    ca_path: str | None = None
    validate_certs: bool = True
    trusted_users: tuple[str, ...] = ()
    token_path: str | None = None
    wanted: Wanted | None = field(default_factory=Wanted)


def look_at_route(
    machine: Machine, account: Account, path: str, access: Access
) -> tuple[dict[str, Any] | None, list[Check]]:
    """Return the recorded route, None without one, and its checks."""
    record = Check("route", HEALTHY, url=path, detail="a route is recorded")
    checks, route = [record], None
    try:
        route = read_record(path)
    except Failure as failure:
        record.state, record.code, record.detail = UNHEALTHY, failure.code, failure.message
    else:
        if route is None:
            record.state, record.code = NOT_CONFIGURED, "route_not_recorded"
            record.detail = f"There is no route record {path}. Run the playbook nemoclaw.local_inference.site first."
    if route is not None:
        endpoint = Endpoint(
            reach_windows(machine, route["base_url_host"]),
            route["api"],
            access.api_key or str(access.credentials.get(route["credential_env"]) or ""),
            access.timeout,
            access.ca_path,
            access.validate_certs,
            access.trusted_users,
        )
        checks += check_server(route, endpoint)
        checks += check_proxy(route, access.token_path or token_path(account.home), account)
        checks += check_exposure(machine, route)
        if access.wanted:
            checks += check_gateway(machine, account, route, access.wanted, access.timeout)
    return route, checks
