# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Ollama, its model and its service, compared by the functions that the acting modules decide with."""

from __future__ import annotations

from typing import Any

from ..endpoint.context import CONTEXT_FLOOR
from ..endpoint.validate import Endpoint
from ..failure import Failure
from ..ollama.daemon import Address, Daemon
from ..ollama.models import model as models
from ..ollama.service.service import converge as converge_service
from ..ollama.service.wish import Wish as ServiceWish
from ..route.route import build_route
from .choice import install_reasons, unknown_ollama
from .context import Context
from .prove import endpoint_of, prove
from .steps import is_drift, model_steps, service_steps, step, verify

# A daemon that does not run, or not yet: nothing can be said about its models before site has started it.
_NOT_THERE = ("ollama_not_running", "ollama_unreachable", "ollama_timeout", "ollama_lost")


def compare_ollama(at: Context) -> None:
    """Add the steps for Ollama of this Linux, and the route that it would get."""
    if at.choice.side is not None and not at.is_gated:
        # Whose port it is that containers reach, a container is asked (way.yml, identity.yml), which a look cannot.
        at.steps += verify("windows", "on WSL, site asks from a container which Ollama answers there")
    if not at.choice.is_here:
        return
    if unknown_ollama(at.host):
        at.steps += verify("ollama", unknown_ollama(at.host))
        return
    installs = install_reasons(at.host, at.choice, at.settings)
    is_there = bool(at.host["ollama"]["client_version"] or at.host["ollama"]["daemon_version"])
    if is_there:
        _service(at)
    else:
        port = at.settings["preflight_ollama_port"]
        at.steps.append(
            step(
                "service", "start", f"once it is installed, Ollama is started on 127.0.0.1:{port} by a drop-in of ours"
            )
        )
    result = _model(at, is_there)
    if installs or result is None or at.refusals:
        return
    if result["loaded"] and not at.steps:
        _prove(at, result)
    elif not is_drift(at.steps):
        # Only what is in memory can be asked, and asking loads it. The record can be compared all the same.
        endpoint, more = _route(at, at.recorded.get("context_window"))
        at.route = build_route(model=str(result["model"]), api=endpoint.api, timeout=int(endpoint.timeout), **more)


def _service(at: Context) -> None:
    more = dict(at.settings["ollama_environment"])
    if at.settings["ollama_context_length"] > 0:
        more["OLLAMA_CONTEXT_LENGTH"] = at.settings["ollama_context_length"]
    wish = ServiceWish(
        "started",
        at.settings["preflight_ollama_port"],
        more,
        enabled=True,
        timeout=60,
        least_context=0 if at.settings["ollama_context_length"] > 0 else CONTEXT_FLOOR,
        model=at.choice.model or at.recorded.get("model"),
    )
    try:
        report, found = converge_service(at.machine, at.account, wish, check_mode=True)
    except Failure as failure:
        at.refusals.append(failure)
        return
    at.steps += service_steps(report.actions, report.before, report.after, found.exposed)


def _model(at: Context, is_there: bool) -> dict[str, Any] | None:
    """Return what the module of the model says in check mode, None where that is still to come."""
    settings, host = at.settings, at.host
    wish = models.Wish(
        at.choice.model or models.AUTO,
        "loaded",
        allow_download=settings["ollama_allow_download"],
        require_tools=settings["ollama_require_tools"],
        insecure_registry=settings["ollama_insecure_registry"],
        timeout=settings["ollama_load_timeout"],
        stall_timeout=settings["ollama_stall_timeout"],
    )
    daemon = Daemon(Address("127.0.0.1", settings["preflight_ollama_port"]))
    gpus = {**host["gpus"], "host_available_mib": host["memory"]["available_mib"]}
    try:
        result = models.converge(daemon, wish, lambda: gpus, check_mode=True, planning=not is_there)
    except Failure as failure:
        if is_there and failure.code in _NOT_THERE:
            at.steps += verify("model", f"the models of this host are known once Ollama runs: {failure.message}")
        else:
            at.refusals.append(failure)
        return None
    at.steps += model_steps(result)
    return result


def _prove(at: Context, result: dict[str, Any]) -> None:
    settings = at.settings
    context = result["loaded"]["context_length"]
    least = settings["ollama_min_context_window"]
    if context and context < least:
        at.refusals.append(
            Failure(
                "context_too_small",
                f"{result['model']} runs with a context of {context} tokens, and ollama_min_context_window asks for {least}. Set "
                "ollama_context_length to that, which needs more memory, or choose a smaller model.",
            )
        )
        return
    endpoint, more = _route(at, context)
    prove(at, endpoint, str(result["model"]), more)


def _route(at: Context, context: int | None) -> tuple[Endpoint, dict[str, Any]]:
    """Return where the server is asked, and what of its route does not follow from the proof."""
    settings = at.settings
    url = f"http://127.0.0.1:{settings['preflight_ollama_port']}/v1"
    host, port = settings["ollama_sandbox_host"], settings["preflight_ollama_proxy_port"]
    is_ours = at.host["ollama"].get("recorded_version")
    return endpoint_of(at, url, "openai-completions", ""), {
        "provider": "ollama",
        "base_url": url,
        "base_url_sandbox": f"http://{host}:{port}/v1" if at.is_gated else None,
        "context_window": context,
        "origin": "managed" if is_ours else at.recorded.get("origin") or "external",
    }
