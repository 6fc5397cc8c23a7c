# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the role ollama does on a host, decided before it does anything. Pure functions, which the plan compares by as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..endpoint.models import CONTEXT_FLOOR
from ..ollama.names import is_older
from ..route.route import SANDBOX_HOST
from .choice import (
    Choice,
    Host,
    install_reasons,
    is_gated,
    least_version,
    ollama_route,
    runs_on_windows,
    unknown_ollama,
)
from .settings import AUTO, Settings

Result = Mapping[str, Any]

# What the tasks compare later; no secret among them.
_KEPT = (
    "ollama_keep_alive",
    "ollama_context_length",
    "ollama_min_context_window",
    "ollama_timeout",
    "ollama_sandbox_host",
    "preflight_ollama_port",
    "preflight_ollama_proxy_port",
)


def decide(
    host: Host,
    settings: Settings,
    choice: Choice,
    seen: Result | None = None,
    planned: Result | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Return what the tasks of the role read.

    Args:
        host: C(nemoclaw_host).
        settings: What the user wants.
        choice: Which Ollama, and which model.
        seen: What C(ollama_windows) with C(state=detected) returned, None where nobody had to ask.
        planned: What C(ollama_model) says in check mode, None where the daemon need not be asked.
        check_mode: Whether nothing may be changed.

    """
    is_windows, is_behind_proxy = choice.is_windows, is_gated(host, choice, settings)
    model, versions = choice.model or AUTO, _versions(host)
    expected = planned or {}
    decision = {
        "provider": choice.provider,
        "is_windows": is_windows,
        "is_wsl": host["wsl"] is not None,
        "is_gated": is_behind_proxy,
        "installs": wants_install(host, choice, settings),
        "is_bare": is_bare(host, choice, seen),
        "model": model,
        # The inventory's own store counts before the service has it, too; the module finds every other one.
        "models_path": "" if is_windows else settings["ollama_environment"].get("OLLAMA_MODELS", ""),
        "environment": service_environment(settings),
        "least_context": least_context(settings),
        # Which model the memory is estimated for.
        "expected_model": expected.get("model") or ("" if model == AUTO else model),
        "expected_bytes": expected.get("size") or 0,
        "container_host": container_host(settings),
        "starts_service": not is_windows and (not check_mode or bool(versions)),
        "is_stopped": check_mode and _is_stopped(host, is_windows),
        # What answers is right already, as far as that can be seen without asking Windows.
        "uses_windows_as_it_is": is_windows and _answers_here(host) and not host["wsl"]["interop"],
        "minimum_version": least_version(settings),
        "check_mode": check_mode,
        "settings": {name: settings[name] for name in _KEPT},
    }
    decision["asks_for_model"] = _asks_for_model(host, decision)
    decision["lines"] = _lines(host, settings, choice, decision, seen, planned)
    return decision


def wants_install(host: Host, choice: Choice, settings: Settings) -> bool:
    """Tell whether the installer has to run: also where nobody knows which Ollama this is, since it finds that out."""
    return choice.is_here and bool(install_reasons(host, choice, settings) or unknown_ollama(host))


def is_bare(host: Host, choice: Choice, seen: Result | None) -> bool:
    """Tell whether there is no Ollama yet, neither here nor on a Windows that is to have it."""
    if _versions(host):
        return False
    if not choice.is_windows:
        return True
    is_there = (seen or {}).get("installed", True)
    return not (runs_on_windows(host, seen) or choice.provider == "start-windows-ollama" or is_there)


def service_environment(settings: Settings) -> dict[str, Any]:
    """Return the variables that the service is to have."""
    context = settings["ollama_context_length"]
    more = {"OLLAMA_CONTEXT_LENGTH": context} if context > 0 else {}
    return {**settings["ollama_environment"], **more}


def least_context(settings: Settings) -> int:
    """Return the tokens of context that the service is given where its own default is less, 0 where the user says how many."""
    return 0 if settings["ollama_context_length"] else CONTEXT_FLOOR


def container_host(settings: Settings) -> str:
    """Return by which name a container of Docker Desktop reaches Windows and its loopback (upstream-facts N8)."""
    name = str(settings["ollama_sandbox_host"])
    return "host.docker.internal" if name == SANDBOX_HOST else name


def _versions(host: Host) -> list[str]:
    """Both sides count: a daemon that still runs an older release than the program on disk serves the older one."""
    ollama = host["ollama"]
    return [one for one in (ollama["client_version"], ollama["daemon_version"]) if one]


def _answers_here(host: Host) -> bool:
    return bool((host["ollama"]["windows"] or {}).get("daemon_version"))


def _is_stopped(host: Host, is_windows: bool) -> bool:
    if is_windows:
        return not _answers_here(host)
    return bool(_versions(host)) and host["ollama"]["daemon_version"] is None


def _asks_for_model(host: Host, decision: Mapping[str, Any]) -> bool:
    """Tell whether a daemon has to say what is missing of the model, as long as that may be another answer than on the run before."""
    if decision["is_bare"]:
        return True
    if decision["is_windows"] or not host["ollama"]["daemon_version"]:
        return False
    return decision["installs"] or ollama_route(host).get("model") != decision["model"]


def _lines(
    host: Host,
    settings: Settings,
    choice: Choice,
    decision: Mapping[str, Any],
    seen: Result | None,
    planned: Result | None,
) -> list[str]:
    """Return what is said before anything is done."""
    found = []
    if seen and "failure" in seen:
        found.append(
            f"{seen.get('msg')} The play continues as long as that is not needed. A container checks whether another Ollama gets what "
            f"sandboxes send, once the model is in memory."
        )
    if choice.side is not None:
        found.append(_side_in_words(host, settings, choice, decision, seen))
    actions = (planned or {}).get("actions")
    if actions:
        found.append(_actions_in_words(host, settings, decision, planned or {}))
    return found


def _side_in_words(
    host: Host, settings: Settings, choice: Choice, decision: Mapping[str, Any], seen: Result | None
) -> str:
    whose = "Windows" if choice.is_windows else "this WSL"
    url = f"http://{decision['container_host']}:{settings['preflight_ollama_port']}"
    way = (
        "Sandboxes reach it through the auth proxy."
        if decision["is_gated"]
        else f"Sandboxes reach it at {url}, without an auth proxy: a container of Docker Desktop cannot reach one inside WSL."
    )
    both = host["ollama"]["daemon_version"] and runs_on_windows(host, seen)
    other = " The other one runs as well: stop it, so that no model is pulled into the wrong one." if both else ""
    return f"The Ollama of {whose}, {choice.side.reason if choice.side else ''}. {way}{other}"


def _actions_in_words(host: Host, settings: Settings, decision: Mapping[str, Any], planned: Result) -> str:
    is_windows = decision["is_windows"]
    is_old = any(is_older(one, decision["minimum_version"]) for one in _versions(host))
    what = "for Windows" if is_windows else settings["ollama_version"]
    installs = decision["is_bare"] or (not is_windows and (is_old or not _versions(host)))
    first = f"Ollama {what} will be installed, then: " if installs else "To do: "
    why = f", because {planned['choice_reason']}" if planned.get("choice_reason") else ""
    return f"{first}{', '.join(planned['actions'])}{why}."


def route_fields(
    decision: Mapping[str, Any], host: Host, context: int | None, is_installed_now: bool = False
) -> dict[str, Any]:
    """Return what of the route does not follow from the proof."""
    settings, is_windows = decision["settings"], decision["is_windows"]
    port, address = settings["preflight_ollama_port"], (host["ollama"]["windows"] or {}).get("host") or ""
    # Windows is recorded by its name, and not by an address that it gives out anew at each start (NAT).
    is_named = is_windows and not address.startswith("127.0.0.1:")
    proxy = f"{settings['ollama_sandbox_host']}:{settings['preflight_ollama_proxy_port']}"
    # An installation that was interrupted before the route was recorded is ours all the same: its manifest says so.
    is_ours = is_installed_now or (host["ollama"].get("recorded_version") and not is_windows)
    return {
        "provider": "start-windows-ollama" if is_windows else "ollama",
        "base_url": f"http://{'host.docker.internal' if is_named else '127.0.0.1'}:{port}/v1",
        "base_url_sandbox": f"http://{proxy if decision['is_gated'] else decision['container_host'] + ':' + str(port)}/v1",
        "context_window": context,
        "origin": "managed" if is_ours else ollama_route(host).get("origin") or "external",
    }


def short_context(model: str, context: int, least: int, is_windows: bool) -> str:
    """Return why a model whose context is below what the user asks for does not do."""
    return (
        f"{model} runs with a context of {context} tokens, but ollama_min_context_window requires {least}. "
        f"{context_remedy(is_windows)} to that, which needs more memory, or choose a smaller model."
    )


def context_remedy(is_windows: bool) -> str:
    if is_windows:
        return "On Windows, set the user variable OLLAMA_CONTEXT_LENGTH (and restart Ollama)"
    return "Set ollama_context_length"
