# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the controller adds to a plan: what other modules say in their check mode."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..module_utils.failure import Failure
from ..module_utils.plan import consulted, steps
from ..module_utils.plan.choice import WINDOWS, Choice, choose, choose_side, install_reasons, refuse_side
from ..module_utils.plan.consulted import foresee_managed
from ..module_utils.plan.make import finish, keep_what_is_recorded
from ..module_utils.plan.settings import Settings
from .ollama import look_at_windows

# What a container module takes from the role's settings, by the same names.
_CONTAINER_OPTIONS = (
    "name",
    "model",
    "models",
    "image",
    "port",
    "gpus",
    "share_gpus",
    "cache_dir",
    "environment",
    "docker_host",
    "ngc_api_key",
    "allow_download",
    "wait_timeout",
    "stall_timeout",
)
_MORE_OPTIONS = {
    "vllm": ("extra_args", "hf_token", "hf_endpoint"),
    "nim": ("registry", "served_model", "keyless"),
}

# As meta/runtime.yml has it: what is older fails somewhere later, in words that do not tell why.
_LEAST_CORE = (2, 19)

Ask = Callable[[str, "dict[str, Any]", bool], "dict[str, Any]"]


def refuse_core(version: str) -> list[Failure]:
    """Return why the controller's ansible-core cannot run the collection; nothing where it can."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= _LEAST_CORE:
        return []
    least = ".".join(map(str, _LEAST_CORE))
    return [
        Failure(
            "ansible_core_too_old",
            f"This is ansible-core {version}, and the collection needs {least} or newer. Install it yourself, for example with pipx "
            f"install ansible-core: distribution packages are older.",
        )
    ]


# What ssh adds to what a program says.
_OF_SSH = ("Shared connection to ", "Connection to ", "Warning: Permanently added ", "OpenSSH_", "debug")
_BECOME = ("sudo:", "doas:", "su:")


# The secrets with which a look asks a server.
KEYS_TO_ASK_WITH = ("endpoint_api_key", "compatible_api_key", "compatible_anthropic_api_key", "vllm_api_key")
# Of "sorry, you must have a tty to run sudo" (sudo's plugins/sudoers/policy.c).
_NO_TERMINAL = "tty"


def become_remedy(reason: str) -> str:
    """Return what to do where sudo or its like has refused, by the line in which it says why."""
    if _NO_TERMINAL in reason:
        return (
            "Set -e ansible_pipelining=false: sudoers on this host has requiretty, and pipelining has no terminal. Or exempt the play's "
            "user there (Defaults:USER !requiretty)."
        )
    return "Correct nemoclaw_user, or the settings with which the play becomes that user (--ask-become-pass where sudo wants a password)."


def why_not_become(result: Mapping[str, Any]) -> str | None:
    """Return the line with which sudo or its like has refused a task, None where it did not."""
    lines = [line.strip() for name in ("module_stderr", "msg") for line in str(result.get(name) or "").splitlines()]
    # Ansible's own words where sudo asks and it has no password to give.
    return next((line for line in lines if line.startswith(_BECOME) or re.search(r"Missing \w+ password", line)), None)


def explain_silence(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the failed result of a look whose module returned nothing, with the reason in place of what Ansible could not parse."""
    said = [
        line.strip()
        for name in ("module_stderr", "module_stdout")
        for line in str(result.get(name) or "").splitlines()
        if line.strip() and not line.startswith(_OF_SSH)
    ]
    # The last line of a traceback is the error; a shell or a shim says it first, and advice follows.
    is_traceback = any(line.startswith("Traceback ") for line in said)
    reason = (said[-1] if is_traceback else said[0]) if said else f"nothing, and the exit status {result.get('rc')}"
    got = f"Started Python on this host, and got: {reason.rstrip('.')}."
    failure = Failure(
        "python_unusable",
        f"{got} Set ansible_python_interpreter for this host in the inventory to a Python of version 3.9 or newer that starts, for example "
        "/usr/bin/python3.",
    )
    if reason.startswith(_BECOME):
        failure = Failure("become_failed", f"{got} {become_remedy(reason)}")
    return {
        "failed": True,
        "changed": False,
        "msg": failure.message,
        "failure": failure.as_result(),
        "rc": result.get("rc"),
    }


def complete(plan: dict[str, Any], settings: Settings, keep_route: bool, ask: Ask) -> dict[str, Any]:
    """Return the plan with what the controller knows, and what the modules say that the host named.

    Args:
        plan: Of the host.
        settings: What is wanted, secrets included.
        keep_route: As of the module.
        ask: Runs a module in check mode, as root or as the owner, and returns its result.

    """
    host = plan["host"]
    keep_what_is_recorded(settings, host, keep_route)
    choice = choose(host, settings, keep_route)
    refusals = [{"code": one.code, "message": one.message} for one in foresee_managed(host, settings, choice)]
    plan["refusals"] += [one for one in refusals if one not in plan["refusals"]]
    if plan["refusals"]:
        plan["consult"] = []
    else:
        plan["steps"] += [one.as_result() for one in consulted.leave_steps(host, choice, plan["route"])]
    for name in plan["consult"]:
        _consult(name, plan, settings, choice, ask)
    plan["consult"] = []
    return finish(plan)


def _consult(name: str, plan: dict[str, Any], settings: Settings, choice: Choice, ask: Ask) -> None:
    if name == "ollama_windows":
        _consult_windows(plan, settings, choice, ask)
        return
    if name == "ollama_install":
        as_root = settings["ollama_install_mode"] == "system"
        result = ask(name, _install_options(settings, plan["host"]), as_root)
        found = [] if result.get("failed") else consulted.install_steps(result)
        if not found:
            reason = "; ".join(install_reasons(plan["host"], choice, settings))
            found = [] if result.get("failed") else steps.verify("ollama", reason)
    else:
        result = ask(name, _container_options(choice.role, plan["recorded"] or {}, settings), False)
        found = [] if result.get("failed") else consulted.container_steps(result, _container_reason(plan, result))
        if not result.get("failed"):
            found += _server_steps(plan, result)
    plan["steps"] += [one.as_result() for one in found]
    if result.get("failed"):
        failure = result.get("failure") or {"code": "plan_incomplete", "message": str(result.get("msg"))}
        plan["refusals"].append({"code": failure["code"], "message": failure["message"]})


def _consult_windows(plan: dict[str, Any], settings: Settings, choice: Choice, ask: Ask) -> None:
    """Choose the side of a WSL by what Windows says of its Ollama, where only it can tell."""
    host = plan["host"]
    try:
        seen = look_at_windows(host, settings, lambda name, options: ask(name, options, False))
    except Failure as failure:
        plan["refusals"].append({"code": failure.code, "message": failure.message})
        return
    side = choose_side(host, settings, choice.provider, seen)
    plan["choice"] = replace(choice, side=side).as_result()
    found = [
        {"code": one.code, "message": one.message} for one in refuse_side(host, settings, choice.provider, side, seen)
    ]
    plan["refusals"] += [one for one in found if one not in plan["refusals"]]
    whose = "Windows" if side.name == WINDOWS else "this WSL"
    reason = f"only the role ollama checks the Ollama of {whose}"
    plan["steps"] += [one.as_result() for one in steps.verify("windows", reason)]


def _container_reason(plan: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    return result.get("choice_reason") or f"{plan['choice']['provider']} serves {result.get('model')}"


def _server_steps(plan: Mapping[str, Any], result: Mapping[str, Any]) -> list[steps.Step]:
    """Return a step where the server is ready, and is not that of the route that was proved, or the one before is still kept.

    The host itself does not ask a server of ours that its record does not lead to.
    """
    route, recorded = plan["route"], plan["recorded"] or {}
    is_named = any(one["component"] == "route" for one in plan["steps"])
    if route is None and recorded and recorded["provider"] != plan["choice"]["provider"] and not is_named:
        reason, model = "the route is recorded once the server is proved", result.get("model")
        return [steps.step("route", "record", reason, before=recorded["model"], after=model)]
    if result.get("phase") != "ready" or route is None:
        return []
    if result.get("previous"):
        return steps.verify("server", f"an interrupted run left {result['previous']} to remove once this one is proved")
    found = (result.get("model"), result.get("base_url"))
    wanted = (route["model"], route["base_url_host"])
    return [] if found == wanted else steps.verify("server", f"the container serves {found[0]} at {found[1]}")


def _install_options(settings: Settings, host: Mapping[str, Any]) -> dict[str, Any]:
    names = ("version", "minimum_version", "method", "mode", "url", "checksum", "jetpack_url", "jetpack_checksum")
    given = {
        name: settings[f"ollama_{name}" if name.endswith("version") else f"ollama_install_{name}"] for name in names
    }
    found = {name: value for name, value in given.items() if value}
    found.setdefault("minimum_version", found["version"])
    user = settings["preflight_user"] or host["user"]["name"]
    return {**found, "user": user, "port": settings["preflight_ollama_port"], "keep_previous": True}


def _container_options(role: str, recorded: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    found = {name: settings[f"{role}_{name}"] for name in (*_CONTAINER_OPTIONS, *_MORE_OPTIONS[role])}
    publish = settings[f"{role}_publish"]
    found["publish"] = publish or (["127.0.0.1"] if settings[f"{role}_gate_port"] else [])
    if settings[f"{role}_make_room"]:
        found["instead_of"] = recorded.get("container") or ""
    found["keep_previous"] = True
    if role == "vllm":
        found["nemoclaw_profile"] = settings["vllm_profile"]
    return {name: value for name, value in found.items() if value not in ("", None)}
