# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the controller adds to a plan: what stands against a managed vLLM or a NIM, what a switch leaves, and steps by what other modules
say in check mode.

The controller asks it, with the facts that the host returned: the catalogues need not travel, and a bare host has no Docker SDK by which
the modules of the containers could say it themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..failure import Failure
from ..host.docker_codes import FAILURE_CODES as DOCKER_FAILURE_CODES
from ..nim import catalogue as nim_catalogue
from ..preconditions import choose_gpus
from ..profiles import BY_NAME
from ..route.write import to_free
from ..vllm import catalogue as vllm_catalogue
from .choice import Choice, Host
from .refusals import may_consult
from .settings import Settings
from .steps import MODEL, NOTHING, Step, step, verify


@dataclass(frozen=True)
class Wanted:
    """A host, and what is wanted of it."""

    host: Host
    settings: Settings
    choice: Choice


def foresee_managed(host: Host, settings: Settings, choice: Choice) -> list[Failure]:
    """Return everything that stands against the container, in the order in which a user would correct it."""
    at = Wanted(host, settings, choice)
    return [*_install_vllm(at), *_nim(at)]


def _experimental(at: Wanted, setting: str, what: str) -> Iterator[Failure]:
    if not at.settings[setting]:
        yield Failure(
            "experimental_not_allowed",
            f"{what} is experimental: set nemoclaw_experimental in the inventory to true, or NEMOCLAW_EXPERIMENTAL=1 in the environment, "
            "to have it installed and run.",
        )


def _install_vllm(at: Wanted) -> Iterator[Failure]:
    if at.choice.provider != "install-vllm":
        return
    yield from _experimental(at, "vllm_experimental", "Managed vLLM")
    yield from _several(_vllm_model, _vllm_gpus, _engine, at=at)


def _vllm_model(at: Wanted) -> None:
    settings, host = at.settings, at.host
    known = vllm_catalogue.build_catalogue(settings["vllm_models"])
    named, profile = settings["vllm_model"], host["profile"]
    of = BY_NAME[settings["vllm_profile"]]
    model = vllm_catalogue.find_model(named, known) if named else vllm_catalogue.default_model(profile, known, of)
    # With the weights in the cache it would start all the same, which only the engine's own look tells.
    if not may_consult(host, settings, "vllm"):
        vllm_catalogue.check_token(model, settings["vllm_hf_token"])
    if not settings["vllm_image"]:
        vllm_catalogue.find_image(profile, host["architecture"])


def _vllm_gpus(at: Wanted) -> None:
    wanted, profile = at.settings["vllm_gpus"], at.host["profile"]
    # Without a profile that has been said already.
    if wanted != "none" and profile != "none":
        choose_gpus(wanted, at.host["gpus"], vllm_catalogue.gpu_names(profile))


def _nim(at: Wanted) -> Iterator[Failure]:
    if at.choice.provider != "nim":
        return
    yield from _experimental(at, "nim_experimental", "NVIDIA NIM")
    yield from _several(_nim_model, _nim_gpus, _nim_key, _engine, at=at)


def _nim_model(at: Wanted) -> None:
    settings = at.settings
    catalogue = nim_catalogue.build_catalogue(settings["nim_models"])
    if settings["nim_model"] and not settings["nim_image"]:
        nim_catalogue.find_model(settings["nim_model"], catalogue)


def _nim_gpus(at: Wanted) -> None:
    if at.settings["nim_gpus"] != "none":
        choose_gpus(at.settings["nim_gpus"], at.host["gpus"])


def _nim_key(at: Wanted) -> None:
    settings = at.settings
    if settings["nim_ngc_api_key"] or settings["nim_keyless"] or may_consult(at.host, settings, "nim"):
        return
    raise Failure(
        "ngc_key_missing",
        "A NIM downloads its image and its model with an NGC key, and none is set. Create one at https://org.ngc.nvidia.com/setup/api-key "
        "and set NGC_API_KEY (ngc_api_key in the inventory, vault-encrypted). Nothing was pulled.",
    )


def _engine(at: Wanted) -> None:
    docker = at.host["docker"]
    if at.settings[f"{at.choice.role}_docker_host"] or docker["reachable"]:
        return
    raise Failure(DOCKER_FAILURE_CODES.get(docker["code"], "docker_unexpected_answer"), str(docker["reason"]))


def _several(*looks: Callable[[Wanted], None], at: Wanted) -> Iterator[Failure]:
    """Yield what each look raises: a user corrects all of it at once."""
    for look in looks:
        try:
            look(at)
        except Failure as failure:
            yield failure


def leave_steps(host: Host, choice: Choice, route: Mapping[str, Any] | None) -> list[Step]:
    """Return what becomes of the servers that the host is switched away from, by this run or by one that was broken off.

    Args:
        host: C(nemoclaw_host).
        choice: What the host gets.
        route: The route that would be recorded, None as long as nobody knows it.

    """
    before: Mapping[str, Any] = host["route"] or {}
    is_same = choice.previous_role == choice.role
    model, found = (route or {}).get("model") or choice.model, []
    if is_same and choice.role == "ollama" and model and model != before["model"]:
        found.append(step("previous", "unload", f"{before['model']} is unloaded", before=before["model"]))
    for one in to_free(before, route or (before if is_same else {})):
        name = one["container"]
        if name:
            reason = f"{name} is stopped, which frees its GPU, and kept"
            found.append(step("previous", "stop", reason, before=name, interrupts=MODEL))
        else:
            name = one["model"]
            found.append(step("previous", "unload", f"{name} is unloaded from Ollama", before=name))
    return found


def install_steps(result: Mapping[str, Any]) -> list[Step]:
    """Return the steps of C(ollama_install), by its result in check mode."""
    if not result.get("changed"):
        return []
    found, actions = [], list(result["actions"])
    before = result.get("previous_version")
    reason = f"Ollama {before} is too old" if before else "Ollama is not installed"
    if before and before == result.get("version"):
        reason = "the daemon still runs an older release than the program"
    restarts = bool(result.get("daemon_restarted"))
    for action in actions:
        verb = action.split(" ", 1)[0]
        found.append(
            step(
                "ollama",
                {"run": "install", "put": "restore"}.get(verb, verb),
                f"{reason}: {action}",
                before=before and f"Ollama {before}",
                after=f"Ollama {result.get('version')}",
                download_bytes=result.get("size") if verb in ("install", "run") else 0,
                interrupts=MODEL if verb == "restart" or (restarts and verb == "install") else NOTHING,
            )
        )
    return found


def container_steps(result: Mapping[str, Any], reason: str) -> list[Step]:
    """Return the steps of C(vllm_container) or C(nim_container), by its result in check mode."""
    found = []
    container = (result.get("container") or {}).get("name")
    for action in result.get("actions") or []:
        verb = action.split(" ", 1)[0]
        fetches = verb in ("pull", "download")
        size = result.get("image_bytes") if verb == "pull" else None
        stops = verb in ("replace", "stop", "update")
        found.append(
            step(
                "container",
                verb,
                f"{reason}: {action}",
                after=str(result.get("model") or container),
                download_bytes=size if fetches else 0,
                interrupts=MODEL if stops else NOTHING,
            )
        )
    if not found and result.get("phase") != "ready":
        found = verify("container", f"{container} does not answer yet")
    return found
