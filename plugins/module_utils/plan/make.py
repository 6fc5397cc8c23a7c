# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The plan of a host: one look, the choice, the comparison, the refusals, and on a converged host the status."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..failure import Failure
from ..host.machine import Account, Machine
from .choice import MANAGED, NO_BACKEND, WINDOWS_PROVIDERS, backend_of, choose, install_reasons
from .refusals import foresee, may_consult, missing_libraries
from .settings import Settings
from .steps import Context, Step, as_user, in_order, is_drift, step, verify

# The plan travels as one document of at most 64 KiB; a longer one is refused with plan_too_large.
LIMIT = 64 * 1024
_SHOWN = 20

Gather = Callable[[Machine, Account, Settings], "dict[str, Any]"]


def look_at_host(machine: Machine, account: Account, settings: Settings) -> dict[str, Any]:
    """Return C(nemoclaw_host), as a process of the account sees it."""
    # Here, because the controller has other uses for this file, and compiles what it imports on each run.
    from ..facts import gather

    names = ("preflight_ollama_port", "preflight_ollama_proxy_port", "preflight_vllm_port", "vllm_port", "nim_port")
    gated = (settings["vllm_gate_port"], settings["nim_gate_port"])
    # One that is no number is refused once the host is known (refusals.gates).
    named = (str(one.get("port", "")).strip() for one in settings["proxy_backends"] if isinstance(one, Mapping))
    backends = [port for port in named if port.isdecimal()]
    ports = sorted({int(port) for port in (*(settings[name] for name in names), *gated, *backends) if port})
    # Under sudo the environment is root's, and some look into the home that it names.
    own = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    work = partial(
        gather,
        replace(machine, environ={**machine.environ, **own}),
        account,
        ports,
        settings["preflight_ollama_port"],
        settings["preflight_route_path"] or None,
        settings["preflight_vllm_port"],
    )
    return as_user(account, work)


def make_plan(
    machine: Machine,
    account: Account,
    settings: Settings,
    *,
    keep_route: bool = False,
    proof: str = "ladder",
    apart: list[str] | None = None,
    watch: dict[str, Any] | None = None,
    look: Gather = look_at_host,
) -> dict[str, Any]:
    """Return the plan as the RETURN block of inference_plan documents it.

    Args:
        machine: The host.
        account: Whose inference it is.
        settings: What is wanted.
        keep_route: Whether C(auto), and what is not named, mean the recorded route.
        proof: How much is proved where nothing is to be done.
        apart: Variables by which a role would act for another user than this plan looks for.
        watch: The checksum of the watch's program and the name of the host, where the watch is wanted.
        look: Returns C(nemoclaw_host).

    """
    host = look(machine, account, settings)
    kept = keep_what_is_recorded(settings, host, keep_route)
    choice = choose(host, settings, keep_route)
    at = Context(machine, account, host, settings, choice, proof, keep_route, watch or {})
    at.refusals += [*foresee(host, settings, choice, keep_route), *_missing_home(machine, account, settings)]
    if apart:
        at.steps += verify(
            "server", f"{', '.join(apart)} name another user or record than nemoclaw_user and nemoclaw_route_path do"
        )
    if not at.refusals:
        _compare(at)
    return _result(at, kept)


def _missing_home(machine: Machine, account: Account, settings: Settings) -> list[Failure]:
    """Return why nothing can be kept in a home that is not there."""
    if settings["preflight_route_path"] or machine.exists(account.home):
        return []
    said = f"{account.home}, the home of {account.name}, is not on this host. Create or mount it, or correct nemoclaw_user."
    return [Failure("home_refused", said)]


def keep_what_is_recorded(settings: Settings, host: Mapping[str, Any], keep_route: bool) -> dict[str, Any]:
    """Take from the record what nobody named, and return the endpoint that was kept so, for the role; empty where none was.

    For switch_model, and for a recorded server of the user's own that no setting names: nothing else would know its address.
    """
    route, named = host["route"] or {}, settings["preflight_provider"]
    if not route or named not in ("auto", route["provider"]):
        return {}
    kept: dict[str, Any] = {}
    is_own = route["provider"] in ("custom", "anthropicCompatible")
    if keep_route:
        kept = {f"{role}_timeout": route["timeout"] for role in ("ollama", "endpoint", "vllm", "nim")}
        kept.update({"endpoint_url": route["base_url_host"], "endpoint_preferred_api": route["api"]} if is_own else {})
    elif is_own and named == "auto" and not settings["endpoint_url"]:
        kept = {
            "endpoint_url": route["base_url_host"],
            "endpoint_model": route["model"],
            "endpoint_preferred_api": route["api"],
            "endpoint_sandbox_url": route["base_url_sandbox"],
            "endpoint_timeout": route["timeout"],
        }
    for name, value in kept.items():
        # The API of Anthropic follows from the provider, and is no choice.
        if not settings.is_given(name) and value != "anthropic-messages":
            settings.values[name] = value
    return {} if keep_route else {name: settings[name] for name in kept}


def _compare(at: Context) -> None:
    """Compare everything that site would touch, and look at the status where nothing is to be done.

    The imports stand here because a module is compiled anew on each call: a host pays for what its own provider needs.
    """
    from .prove import compare_endpoint, compare_record, compare_server, look_at_status

    host, settings, choice = at.host, at.settings, at.choice
    for name in missing_libraries(host, settings, choice):
        reason = f"the modules of the provider {choice.provider} need it"
        at.steps.append(step("packages", "install", reason, after=f"python3-{name}", download_bytes=None))
    if choice.role == "ollama":
        from .ollama import compare_ollama

        compare_ollama(at)
    elif choice.role == "endpoint":
        compare_endpoint(at)
    else:
        compare_server(at)
    if at.is_gated:
        from .gate import compare_proxy

        compare_proxy(at)
    checks: list[Any] = []
    backend = backend_of(host, settings)
    if backend != NO_BACKEND:
        from .sandbox import compare_sandbox

        checks += compare_sandbox(at, backend)
    compare_record(at)
    # Where only something could not be looked at, the record may well be what it has to be.
    if at.route is None and not at.refusals and (not at.recorded or is_drift(at.steps)):
        reason = "the route is recorded once the server is proved"
        at.steps.append(step("route", "record", reason, before=at.recorded.get("model"), after=choice.model or None))
    if at.watch:
        from .watch import compare_watch

        compare_watch(at)
    if at.is_clean and at.recorded and at.route:
        look_at_status(at, checks)


def consultations(at: Context) -> list[str]:
    """Return the modules that have more to say in their check mode, which the controller runs next."""
    host, settings, choice = at.host, at.settings, at.choice
    found = []
    if choice.provider in MANAGED and may_consult(host, settings, choice.role):
        found.append(f"{choice.role}_container")
    if install_reasons(host, choice, settings):
        found.append("ollama_install")
    if host["wsl"] is not None and choice.side is not None and choice.side.name in ("unknown", "windows"):
        found.append("ollama_windows")
    return found


def finish(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan with what follows from its steps and refusals."""
    steps = in_order(Step(**one) for one in plan["steps"])
    sizes = [one.download_bytes for one in steps]
    plan["steps"] = [one.as_result() for one in steps]
    is_clean = not steps and not plan["refusals"] and bool(plan["route"])
    plan["converged"] = is_clean and not plan["consult"]
    plan["drift"] = is_drift(steps)
    plan["steady"] = not plan["drift"] and not plan["refusals"]
    plan["download_bytes"] = sum(size or 0 for size in sizes)
    plan["download_unknown"] = None in sizes
    if not is_clean:
        plan["proof"], plan["status"], plan["checks"] = None, [], []
    return plan


def _result(at: Context, kept: dict[str, Any]) -> dict[str, Any]:
    consult = [] if at.refusals else consultations(at)
    is_windows = at.choice.provider in WINDOWS_PROVIDERS or at.choice.is_windows
    if is_windows and "ollama_windows" not in consult and not at.refusals:
        at.steps += verify("windows", "only the role ollama checks Windows")
    refusals = list({(one.code, one.message): one for one in at.refusals}.values())
    plan = {
        "host": dict(at.host),
        "choice": at.choice.as_result(),
        "steps": [one.as_result() for one in at.steps],
        "refusals": [{"code": one.code, "message": one.message} for one in refusals],
        "route": at.route,
        "recorded": at.host["route"],
        "kept": kept,
        "proof": at.report.as_result() if at.report else None,
        "status": at.lines,
        "checks": [one.as_result() for one in at.checks],
        "consult": consult,
    }
    return within_limit(finish(plan))


def within_limit(plan: dict[str, Any]) -> dict[str, Any]:
    """Cut the lists that a server can make long, until the plan is small enough to travel."""
    if plan["proof"]:
        plan["proof"]["models"] = plan["proof"]["models"][:_SHOWN]
    if len(json.dumps(plan)) <= LIMIT:
        return plan
    host = plan["host"]
    for name in ("listeners", "problems"):
        host[name] = None
    host["vllm"] = {**host["vllm"], "models": host["vllm"]["models"][:_SHOWN]}
    host["docker"] = {**host["docker"], "runtimes": host["docker"]["runtimes"][:_SHOWN]}
    if len(json.dumps(plan)) > LIMIT:
        raise Failure(
            "plan_too_large",
            f"The plan of this host is longer than {LIMIT // 1024} KiB: a server lists endless names. Name the model (nemoclaw_model), and "
            f"check what the server answers.",
        )
    return plan
