# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The validation of a server as in the roles, the route that follows from it, and the status of the route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..endpoint import expect
from ..endpoint.report import Report
from ..endpoint.validate import Demands, Endpoint, validate
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.platform import reach_windows
from ..proxy.token import token_path
from ..route import record
from ..route.route import build_route
from ..status.check import Check, check_proxy, check_server, render
from ..status.states import HEALTHY, NOT_PROBED
from ..transport.url import parse_base_url
from .choice import MANAGED
from .refusals import endpoint_api, endpoint_key
from .settings import Settings
from .steps import Context, as_user, route_steps, verify

if TYPE_CHECKING:
    from ..status.look import Access

LADDER, COMPLETION = "ladder", "completion"
# Seconds for the questions to the server, as of the playbook status.
_STATUS_TIMEOUT = 60


def endpoint_of(at: Context, url: str, api: str, key: str) -> Endpoint:
    """Return where the server is, with the settings of the role."""
    is_own = at.choice.role == "endpoint"
    return Endpoint(
        url,
        api,
        key or None,
        at.setting("timeout"),
        (at.settings["endpoint_ca_path"] or None) if is_own else None,
        at.settings["endpoint_validate_certs"] if is_own else True,
    )


def compare_endpoint(at: Context) -> None:
    """Prove a server of the user's own, and add the route that it would get."""
    settings, api = at.settings, endpoint_api(at.settings, at.choice)
    endpoint = endpoint_of(at, settings["endpoint_url"], api, endpoint_key(settings, at.choice))
    more = {"provider": at.choice.provider, "base_url_sandbox": settings["endpoint_sandbox_url"] or None}
    prove(at, endpoint, at.choice.model or None, {**more, "sandbox_host": settings["endpoint_sandbox_host"]})


def compare_server(at: Context) -> None:
    """Prove a vLLM or a NIM; one that we run and that does not answer is for its role to start."""
    role, settings = at.choice.role, at.settings
    is_managed = at.choice.provider in MANAGED
    if is_managed and at.recorded.get("provider") != at.choice.provider:
        return
    model = at.recorded["model"] if is_managed else at.choice.model or None
    url = f"http://127.0.0.1:{settings[f'{role}_port']}/v1"
    host, gate = settings[f"{role}_sandbox_host"], settings[f"{role}_gate_port"]
    prove(
        at,
        endpoint_of(at, url, "openai-completions", settings["vllm_api_key"] if role == "vllm" else ""),
        model,
        {
            "provider": at.choice.provider,
            "base_url_sandbox": f"http://{host}:{gate}/v1" if gate else None,
            "sandbox_host": host,
            "container": settings[f"{role}_name"] if is_managed else None,
            "origin": "managed" if is_managed else "external",
        },
    )


def prove(at: Context, endpoint: Endpoint, model: str | None, more: dict[str, Any]) -> None:
    """Prove the server and set the route and the report of the plan, or add why it cannot be proved."""
    report = Report(endpoint.api, model)
    demands = Demands(at.setting("require_tools"), _least_context(at), at.setting("agent_prompt_tokens"))
    try:
        if at.proof == LADDER or not _is_recorded(at, endpoint, model):
            queries = expect.compile_queries(at.settings["endpoint_expect"] if at.choice.role == "endpoint" else [])
            validate(endpoint, demands, report)
            expect.check(queries, report.as_result())
        else:
            _complete(at, endpoint, report)
    except expect.LibraryMissing:
        at.steps += verify("server", "endpoint_expect needs jmespath, which is not installed yet")
    except Failure as failure:
        if at.choice.provider in MANAGED:
            at.steps += verify("server", f"the server does not pass validation yet: {failure.message}")
        else:
            at.refusals.append(failure)
    else:
        at.report = report
        fields = {"base_url": report.base_url, "context_window": report.context_window, **more}
        at.route = build_route(model=str(report.model), api=report.api, timeout=int(endpoint.timeout), **fields)


def _least_context(at: Context) -> int:
    # Ollama's list says nothing of it; its role looks at what is in memory.
    return 0 if at.choice.role == "ollama" else int(at.setting("min_context_window"))


def _is_recorded(at: Context, endpoint: Endpoint, model: str | None) -> bool:
    """Tell whether the record was proved with the same server, model and API."""
    found = at.recorded
    try:
        url = str(parse_base_url(endpoint.base_url, endpoint.api))
    except Failure:
        return False
    known = (found.get("base_url_host"), found.get("api"), found.get("provider"))
    return known == (url, endpoint.api, at.choice.provider) and model in (None, found.get("model"))


def _complete(at: Context, endpoint: Endpoint, report: Report) -> None:
    """Ask one question, and take the rest from the record."""
    at.checks = check_server(at.recorded, endpoint)
    for check in at.checks:
        if check.state != HEALTHY:
            raise Failure(check.code or "server_error", check.detail)
    report.base_url, report.model = at.recorded["base_url_host"], at.recorded["model"]
    report.context_window = at.recorded["context_window"]


def compare_record(at: Context) -> None:
    """Add the step that the route record needs."""
    if at.route is None:
        return
    path = at.settings["preflight_route_path"] or record.record_path(at.account.home)
    is_closed = record.permissions_are_right(path, at.account.uid)
    at.steps += route_steps(at.host["route"], at.route, is_closed, at.host["route_problem"])


def look_at_status(at: Context, gateway_checks: list[Check]) -> None:
    """Add the checks of the status and their lines, from what was proved just now; what is not healthy is for site to set right."""
    route = at.recorded
    proxy_checks = check_proxy(route, _token_file(at), at.account)
    for check in (*proxy_checks, *gateway_checks):
        if check.state not in (HEALTHY, NOT_PROBED):
            component = "proxy" if check in proxy_checks else "sandbox"
            at.steps += verify(component, f"{check.name} is {check.state}: {check.detail}")
    record = Check("route", HEALTHY, detail="a route is recorded")
    at.checks = [record, *(at.checks or _proved(at)), *proxy_checks, *gateway_checks]
    at.lines = render(route, at.checks)


def _proved(at: Context) -> list[Check]:
    """Return the checks of the server that the whole proof has answered."""
    probes = at.report.probes if at.report else []
    took = {probe.name: probe.latency for probe in probes}
    said = "; ".join(probe.reason for probe in probes if probe.name in ("models", "completion"))
    url = reach_windows(at.machine, at.recorded["base_url_host"])
    serves = f"serves {at.recorded['model']}"
    return [
        Check("backend", HEALTHY, url=url, detail=serves, latency=took.get("models")),
        Check("completion", HEALTHY, url=url, detail=said, latency=took.get("completion")),
    ]


def _token_file(at: Context) -> str:
    return at.settings["sandbox_token_path"] or at.settings["proxy_token_path"] or token_path(at.account.home)


def ask_route(machine: Machine, account: Account, settings: Settings, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a collector wants to know beside the plan: the checks of the route, asked by a process of the account.

    A host that is as it has to be was asked by its plan.
    """
    if plan["checks"]:
        return list(plan["checks"])
    # Here, because a run of site would pay for the import.
    from ..status.look import look_at_route

    path = settings["preflight_route_path"] or record.record_path(account.home)

    def work() -> dict[str, Any]:
        return {"checks": [one.as_result() for one in look_at_route(machine, account, path, access(settings))[1]]}

    checks: list[dict[str, Any]] = as_user(account, work)["checks"]
    return checks


def access(settings: Settings) -> Access:
    """Return how a recorded server is asked, by the settings of its role."""
    from ..status.look import Access, Wanted

    own = settings["endpoint_api_key"]
    backend = settings["sandbox_backend"]
    return Access(
        credentials={
            "COMPATIBLE_API_KEY": own or settings["compatible_api_key"],
            "COMPATIBLE_ANTHROPIC_API_KEY": own or settings["compatible_anthropic_api_key"],
            # Of a vLLM that was started with a key; Ollama is asked where it wants none.
            "OPENAI_API_KEY": settings["vllm_api_key"],
        },
        timeout=_STATUS_TIMEOUT,
        ca_path=settings["endpoint_ca_path"] or None,
        validate_certs=settings["endpoint_validate_certs"],
        token_path=settings["sandbox_token_path"] or settings["proxy_token_path"] or None,
        wanted=None
        if backend == "none"
        else Wanted(backend, settings["sandbox_gateway"] or None, settings["sandbox_name"] or None),
    )
