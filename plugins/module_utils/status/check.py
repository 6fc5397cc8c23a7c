# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The state of a recorded route right now, and the lines that C(nemoclaw <name> status) prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..endpoint.report import FAILED, PASSED, Report
from ..endpoint.validate import Demands, Endpoint, Ladder, open_conversation, start_clock
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.sockets import find_listeners, require_loopback
from ..proxy.configuration import ACCOUNT, UNIT
from ..proxy.gate import explain
from ..proxy.probe import (
    BACKEND_DOWN,
    DEFAULT_PATH,
    FAILURE_CODES,
    REFUSED,
    SERVING,
    SILENT,
    TOKEN_REJECTED,
    address_to_ask,
    probe,
    trust_gate,
)
from ..proxy.token import read_token
from ..transport.url import parse_base_url
from .states import HEALTHY, NOT_PROBED, UNAUTHORIZED, UNHEALTHY, UNREACHABLE

# What a failure means for the person who reads a status: is it the network, the key, or the server?
_STATES = {
    "auth_failed": UNAUTHORIZED,
    "connection_refused": UNREACHABLE,
    "dns_failed": UNREACHABLE,
    "proxy_failed": UNREACHABLE,
    "timeout": UNREACHABLE,
    "tls_failed": UNREACHABLE,
    "unreachable": UNREACHABLE,
}

# Providers whose server somebody else runs, at whatever address: an auth proxy of ours is before none of them.
_ELSEWHERE = ("custom", "anthropicCompatible")
# Ollama's list of models, the path that `nemoclaw status` asks for (upstream-facts N38). The ports of the others pass on
# what agents need alone.
_OLLAMA = ("ollama", "install-ollama")
_OLLAMA_PATH = "/api/tags"

_GATE_STATES = {
    SERVING: HEALTHY,
    BACKEND_DOWN: UNHEALTHY,
    TOKEN_REJECTED: UNAUTHORIZED,
    REFUSED: UNREACHABLE,
    SILENT: UNREACHABLE,
}


@dataclass
class Check:
    """One thing that was looked at: its state, where, and what was seen."""

    name: str
    state: str = NOT_PROBED
    url: str | None = None
    detail: str = ""
    code: str | None = None
    latency: float | None = None

    def as_result(self) -> dict[str, Any]:
        """Return the check as a module gives it back."""
        latency = None if self.latency is None else round(self.latency, 3)
        return {**self.__dict__, "latency": latency}


def state_of(code: str) -> str:
    """Return what a failure's code means for the person who reads a status."""
    return _STATES.get(code, UNHEALTHY)


def check_server(route: dict[str, Any], endpoint: Endpoint) -> list[Check]:
    """Return the checks of the model server: does it answer, and does its model?

    NemoClaw calls any answer healthy (upstream-facts N38; NemoClaw #6192); here the model has to be served, and has to
    answer a real question, judged by the probes that the validation has. Tool calls are left to it, for their time.
    """
    backend, completion = Check("backend", url=endpoint.base_url), Check("completion", url=endpoint.base_url)
    report = Report(endpoint.api, route["model"])
    failure: Failure | None = None
    try:
        conversation = open_conversation(endpoint, endpoint.api, start_clock(endpoint))
        conversation.model = route["model"]
        Ladder(conversation, Demands(), report, ("models", "completion")).validate()
    except Failure as found:
        failure = found
    if failure and not report.probes:
        backend.state, backend.code, backend.detail = UNHEALTHY, failure.code, failure.message
    for check, entry in zip((backend, completion), report.probes):
        if failure and entry.outcome == FAILED:
            check.state, check.code = state_of(failure.code), failure.code
            check.detail, check.latency = failure.message, entry.latency
        elif entry.outcome == PASSED or (check is backend and entry.tries):
            check.state, check.detail, check.latency = HEALTHY, entry.reason, entry.latency
    if completion.state == HEALTHY:
        completion.detail = "answered a completion (tool calls are not asked here)"
    elif completion.state == NOT_PROBED:
        completion.detail = "the server did not pass its own check"
    return [backend, completion]


def check_proxy(route: dict[str, Any], token_file: str, account: Account, gate_user: str = ACCOUNT) -> list[Check]:
    """Return the check of the auth proxy that the sandbox goes through, where there is one: before Ollama, vLLM or NIM.

    There is one where the sandbox is routed to another port than the server's. NemoClaw's own Node proxy may hold Ollama's port as well as
    ours, as a process of C(account), whose token it is. Nobody else gets to see the token.
    """
    port = port_of(route["base_url_sandbox"])
    if route["provider"] in _ELSEWHERE or port == port_of(route["base_url_host"]):
        return []
    check = Check("auth_proxy")
    try:
        is_ollama = route["provider"] in _OLLAMA
        path = _OLLAMA_PATH if is_ollama else DEFAULT_PATH
        found = find_listeners(Machine(), {port})
        address = address_to_ask(found) or "127.0.0.1"
        check.url = f"http://{address}:{port}{path}"
        token = read_token(token_file)
        if token is None:
            raise Failure(
                "token_missing",
                f"There is no token file {token_file}, so the auth proxy cannot be queried as a sandbox does. Run the playbook "
                f"nemoclaw.local_inference.site, which creates a token and gives it to the gateway.",
            )
        trust = trust_gate(gate_user, account if is_ollama else None)
        seen = probe(address, port, token.value, trust, path, ours=not is_ollama)
        check.state = _GATE_STATES.get(seen.outcome, UNHEALTHY)
        check.code, check.detail = FAILURE_CODES.get(seen.outcome), seen.detail
        if check.state == HEALTHY and not seen.passed_on:
            check.state, check.code = UNHEALTHY, "server_error"
        if check.state != HEALTHY:
            check.detail = explain(seen, check.url, UNIT, found)
    except Failure as failure:
        check.state, check.code, check.detail = UNHEALTHY, failure.code, failure.message
    return [check]


def check_exposure(machine: Machine, route: dict[str, Any]) -> list[Check]:
    """Return a check where the route's own server on this host can be reached past its auth proxy, by sockets; else none.

    A server that somebody else runs without an auth proxy of ours is where its owner put it.
    """
    try:
        server = parse_base_url(route["base_url_host"], route["api"])
    except Failure:
        return []  # the check of the server has said it
    port = server.port
    has_gate = route["provider"] not in _ELSEWHERE and port != port_of(route["base_url_sandbox"])
    if not server.is_loopback or not (has_gate or route.get("origin") == "managed"):
        return []
    try:
        require_loopback(machine, port, has_gate)
    except Failure as failure:
        return [Check("exposure", UNHEALTHY, url=route["base_url_host"], code=failure.code, detail=failure.message)]
    return []


def port_of(url: str) -> int:
    """Return the port of a recorded URL; 0, where nothing listens, for what somebody edited until it was no URL."""
    try:
        where = urlsplit(url)
        return where.port or {"https": 443}.get(where.scheme, 80)
    except ValueError:
        return 0


def render(route: dict[str, Any] | None, checks: list[Check], last: dict[str, str] | None = None) -> list[str]:
    """Return the lines for a terminal; what is not healthy, and the last failure, have a second line that says why."""
    lines = []
    if route is not None:
        context = f", context {route['context_window']} tokens" if route.get("context_window") else ""
        lines += [
            f"Provider:   {route['label']} ({route['provider_name']})",
            f"Model:      {route['model']} over {route['api']}{context}",
            f"Sandbox:    {route['base_url_sandbox']}",
        ]
        # A switch was broken off before it left them.
        left = ", ".join(str(one.get("container") or one.get("model")) for one in route.get("to_free", ()))
        lines += [f"Previous:   {left}, in GPU memory until the next run of site"] if left else []
    names = {
        "route": "Route",
        "backend": "Inference",
        "auth_proxy": "Inference (auth proxy)",
        "exposure": "Exposure",
        "completion": "Completion",
        "gateway": "Inference (gateway)",
        "sandbox": "Inference (sandbox)",
        "watch": "Watch",
    }
    for check in checks:
        if route is not None and check.name == "route":
            continue
        where = f" ({check.url})" if check.url else ""
        lines.append(f"{names[check.name] + ':':<11} {check.state}{where}")
        if check.state != HEALTHY:
            lines.append(f"            {check.detail}")
    if last:
        lines += [f"Last failure: {last['when']}, {last['playbook']}: {last['code']}", f"            {last['message']}"]
    return lines
