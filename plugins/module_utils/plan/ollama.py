# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Ollama, its model and its service, compared by the functions that the acting modules decide with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..endpoint.validate import Endpoint
from ..failure import Failure
from ..ollama import model as models
from ..ollama.daemon import Address, Daemon
from ..ollama.service_plan import Desired as DesiredService
from ..ollama.service_plan import plan_start
from ..route.route import build_route
from .choice import unknown_ollama
from .ollama_decision import decide, route_fields, short_context
from .prove import endpoint_of, prove
from .steps import Context, is_drift, model_steps, service_steps, step, verify

# A daemon that does not run, or not yet: nothing can be said about its models before site has started it.
_NOT_THERE = ("ollama_not_running", "ollama_unreachable", "ollama_timeout", "ollama_lost")


def compare_ollama(at: Context) -> None:
    """Add the steps for Ollama of this Linux, and the route that it would get."""
    if at.choice.side is not None and not at.is_gated:
        # Whose port it is that containers reach, a container is asked (role ollama, serve.yml), which a look cannot.
        at.steps += verify("windows", "on WSL, site checks from a container which Ollama answers there")
    if not at.choice.is_here:
        return
    if unknown_ollama(at.host):
        at.steps += verify("ollama", unknown_ollama(at.host))
        return
    decision = decide(at.host, at.settings, at.choice)
    is_there = bool(at.host["ollama"]["client_version"] or at.host["ollama"]["daemon_version"])
    if is_there:
        _service(at, decision)
    else:
        port = at.settings["preflight_ollama_port"]
        at.steps.append(
            step("service", "start", f"once it is installed, Ollama is started on 127.0.0.1:{port} by our drop-in")
        )
    result = _model(at, decision, is_there)
    if decision["installs"] or result is None or at.refusals:
        return
    if result["loaded"] and not at.steps:
        _prove(at, decision, result)
    elif not is_drift(at.steps):
        # Only what is in memory can be asked, and asking loads it. The record can be compared all the same.
        endpoint, more = _route(at, decision, at.recorded.get("context_window"))
        at.route = build_route(model=str(result["model"]), api=endpoint.api, timeout=int(endpoint.timeout), **more)


def _service(at: Context, decision: Mapping[str, Any]) -> None:
    desired = DesiredService(
        "started",
        at.settings["preflight_ollama_port"],
        decision["environment"],
        enabled=True,
        timeout=60,
        least_context=decision["least_context"],
        model=decision["expected_model"] or None,
    )
    try:
        report, found = plan_start(at.machine, at.account, desired)
    except Failure as failure:
        at.refusals.append(failure)
        return
    at.steps += service_steps(report.actions, report.before, report.after, found.exposed)


def _model(at: Context, decision: Mapping[str, Any], is_there: bool) -> dict[str, Any] | None:
    """Return what the module of the model says in check mode, None where that is still to come."""
    settings, host = at.settings, at.host
    desired = models.Desired(
        decision["model"],
        "loaded",
        allow_download=settings["ollama_allow_download"],
        require_tools=settings["ollama_require_tools"],
        insecure_registry=settings["ollama_insecure_registry"],
        timeout=settings["ollama_load_timeout"],
        stall_timeout=settings["ollama_stall_timeout"],
        nemoclaw_profile=settings["ollama_profile"],
    )
    daemon = Daemon(Address("127.0.0.1", settings["preflight_ollama_port"]))
    gpus = {**host["gpus"], "host_available_mib": host["memory"]["available_mib"]}
    try:
        result = models.plan_model(daemon, desired, lambda: gpus, planning=not is_there).result
    except Failure as failure:
        if is_there and failure.code in _NOT_THERE:
            at.steps += verify("model", f"this host's models are known once Ollama runs: {failure.message}")
        else:
            at.refusals.append(failure)
        return None
    at.steps += model_steps(result)
    return result


def _prove(at: Context, decision: Mapping[str, Any], result: dict[str, Any]) -> None:
    context, least = result["loaded"]["context_length"], at.settings["ollama_min_context_window"]
    if context and context < least:
        at.refusals.append(
            Failure("context_too_small", short_context(str(result["model"]), context, least, is_windows=False))
        )
        return
    endpoint, more = _route(at, decision, context)
    prove(at, endpoint, str(result["model"]), more)


def _route(at: Context, decision: Mapping[str, Any], context: int | None) -> tuple[Endpoint, dict[str, Any]]:
    """Return where the server is asked, and what of its route does not follow from the proof."""
    more = route_fields(decision, at.host, context)
    return endpoint_of(at, more["base_url"], "openai-completions", ""), more
