# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is to be done for a model of a daemon: there, in memory, out of memory, gone. Looks only; model_work.py acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure, format_bytes
from ..profiles import BY_NAME, PAGE
from .catalogue import Size, choose, find_size
from .daemon import Daemon, capabilities, find_loaded, identify, loaded_models
from .names import ModelName, is_same, parse_name

AUTO = "auto"
ALL = "all"


@dataclass(frozen=True)
class Desired:
    """What is wanted.

    Attributes:
        name: The model, C(auto) to choose one by memory, or C(all) to unload everything.
        state: C(present), C(loaded), C(unloaded) or C(absent).
        allow_download: The consent; without it nothing is downloaded.
        require_tools: Refuse a model that declares that it cannot use tools.
        insecure_registry: Plain HTTP to the registry.
        timeout: Seconds for loading and for unloading.
        stall_timeout: Seconds without progress after which a download is given up.
        keep_alive: How long the model stays loaded without a request, as Ollama writes durations.
        nemoclaw_profile: Whose starter models C(auto) offers.

    """

    name: str
    state: str
    allow_download: bool = False
    require_tools: bool = True
    insecure_registry: bool = False
    timeout: float = 600
    stall_timeout: float = 120
    keep_alive: str = "15m"
    nemoclaw_profile: str = PAGE.name


@dataclass
class Planned:
    """What is to be done for a model.

    Attributes:
        result: As the RETURN block of ollama_model documents it, as far as it is known before anything is done.
        name: The model, None for all.
        size: What has to be downloaded, None where nothing has.
        loads: Whether it has to be loaded.
        unloads: What has to be unloaded, by the daemon's names.
        deletes: What has to be deleted, by the daemon's name, None for nothing.

    """

    result: dict[str, Any]
    name: ModelName | None
    size: Size | None = None
    loads: bool = False
    unloads: list[str] = field(default_factory=list)
    deletes: str | None = None


def plan_model(
    daemon: Daemon,
    desired: Desired,
    find_gpus: Callable[[], dict[str, Any]],
    planning: bool = False,
    check_room: Callable[[ModelName, Size], None] = lambda _name, _size: None,
) -> Planned:
    """Return what is to be done, and change nothing.

    Args:
        daemon: Whose models.
        desired: What is wanted.
        find_gpus: Returns C(nemoclaw_host.gpus), with C(host_available_mib) for where there is no GPU; called only to choose a model.
        planning: Ollama is not installed yet, so there is no daemon to ask and no model on the host.
        check_room: Raises its Failure where a download would not fit on the disk.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    if desired.timeout <= 0 or desired.stall_timeout <= 0:
        raise Failure(
            "timeout_invalid",
            f"timeout (ollama_load_timeout) is {desired.timeout:g} and stall_timeout (ollama_stall_timeout) {desired.stall_timeout:g}: "
            "set both to a number of seconds above 0.",
        )
    if desired.state == "unloaded":
        return _plan_unload(daemon, desired)
    name = _check_name(desired)
    installed = [] if planning else identify(daemon)[1]
    if desired.state == "absent":
        return _plan_removal(parse_name(desired.name), installed)
    reason = None
    if name is None:
        desires = [{**one, "capabilities": capabilities(daemon, one["name"])} for one in installed]
        loaded = [] if planning else loaded_models(daemon)
        profile = BY_NAME[desired.nemoclaw_profile]
        chosen, reason = choose(desires, loaded, find_gpus(), desired.require_tools, profile)
        name = parse_name(chosen)
    planned = _plan_presence(daemon, name, installed, desired, check_room)
    planned.result["choice_reason"] = reason
    if desired.state == "loaded":
        _plan_load(daemon, name, planned)
    return planned


def _check_name(desired: Desired) -> ModelName | None:
    """Return the name, None for C(auto); refuses the words that make no sense for the state."""
    if desired.name == AUTO and desired.state in ("present", "loaded"):
        return None
    if desired.name in (AUTO, ALL):
        raise Failure(
            "model_name_invalid",
            f"The name {desired.name!r} does not go with state {desired.state}: 'auto' chooses a model to have, 'all' unloads "
            "everything. Name the model.",
        )
    return parse_name(desired.name)


def _plan_presence(
    daemon: Daemon,
    name: ModelName,
    installed: list[dict[str, Any]],
    desired: Desired,
    check_room: Callable[[ModelName, Size], None],
) -> Planned:
    found = find_listed(installed, name)
    planned = Planned(_result(name, found), name)
    if found is not None:
        require_tools(name, capabilities(daemon, found["name"]), desired, planned.result)
        return planned
    planned.size = size = find_size(name, desired.insecure_registry)
    if not desired.allow_download:
        raise _no_consent(name, size)
    check_room(name, size)
    planned.result.update(
        changed=True, size=size.bytes, size_source=size.source, actions=[f"pull {name}, {size}"], after="present"
    )
    return planned


def require_tools(
    name: ModelName, known: list[str] | None, desired: Desired, result: dict[str, Any], afterwards: str = ""
) -> None:
    """Put into the result what the daemon says that a model can do; C(afterwards) ends the sentence of a refusal.

    Raises:
        Failure: C(model_without_tools).

    """
    result["capabilities"] = known
    if known is None and desired.require_tools:
        result["warnings"].append(
            f"Ollama does not tell the capabilities of {name}, so only endpoint_validate shows whether it can use tools."
        )
    if lacks_tools(known, desired):
        raise Failure(
            "model_without_tools",
            f"{name} declares the capabilities {', '.join(known or []) or 'none'}, and 'tools' is not among them, so an agent cannot work "
            "with it. Choose a model whose 'ollama show <model>' capabilities include tools. Only for plain chat, set "
            f"nemoclaw_require_tools (option require_tools) to false.{afterwards}",
            model=str(name),
            capabilities=known,
        )


def lacks_tools(known: list[str] | None, desired: Desired) -> bool:
    """Tell whether a model declares that it cannot do what is asked of it."""
    return known is not None and "tools" not in known and desired.require_tools


def _plan_load(daemon: Daemon, name: ModelName, planned: Planned) -> None:
    result = planned.result
    entry = find_loaded(daemon, result["model"], result["digest"]) if result["before"] != "absent" else None
    result["after"] = "loaded"
    if entry is None:
        planned.loads = result["changed"] = True
        result["actions"].append(f"load {name}")
    else:
        result["before"] = "loaded"
        note_loaded(name, entry, result)


def note_loaded(name: ModelName, entry: dict[str, Any], result: dict[str, Any]) -> None:
    """Put into the result how a model lies in memory, with a warning where that makes it slow."""
    result["loaded"] = entry
    if entry["size"] and entry["size_vram"] == 0:
        result["warnings"].append(f"{name} is loaded without any GPU memory: it runs on the CPU.")
    elif entry["size"] and entry["size_vram"] and entry["size_vram"] < entry["size"]:
        share = 100 * entry["size_vram"] // entry["size"]
        result["warnings"].append(
            f"Only {share} % of {name} is in GPU memory ({format_bytes(entry['size_vram'])} of {format_bytes(entry['size'])}), the rest "
            "runs on the CPU, which makes it slow. Free GPU memory, shorten the context (ollama_context_length), or choose a smaller model."
        )


def _plan_unload(daemon: Daemon, desired: Desired) -> Planned:
    """Best effort as on the page: a daemon that does not run has nothing loaded."""
    name = None if desired.name == ALL else _check_name(desired)
    try:
        installed = identify(daemon)[1]
        found = loaded_models(daemon)
    except Failure as failure:
        if failure.code != "ollama_not_running":
            raise
        installed, found = [], []
    if name is None:
        wanted = [one["name"] for one in found]
    else:
        listed = find_listed(installed, name)
        entry = find_loaded(daemon, listed["name"], listed["digest"]) if found and listed else find_listed(found, name)
        wanted = [entry["name"]] if entry else []
    result = _result(name, None)
    result.update(
        changed=bool(wanted),
        before="loaded" if wanted else "unloaded",
        after="unloaded",
        actions=[f"unload {one}" for one in wanted],
    )
    return Planned(result, name, unloads=wanted)


def _plan_removal(name: ModelName, installed: list[dict[str, Any]]) -> Planned:
    found = find_listed(installed, name)
    planned = Planned(_result(name, found), name)
    planned.result["after"] = "absent"
    if found is not None:
        planned.deletes = found["name"]
        planned.result.update(changed=True, actions=[f"delete {found['name']}"])
    return planned


def _result(name: ModelName | None, found: dict[str, Any] | None) -> dict[str, Any]:
    state = "present" if found else "absent"
    return {
        "changed": False,
        "model": found["name"] if found else str(name) if name else None,
        "digest": found["digest"] if found else None,
        "size": found["size"] if found else None,
        "size_source": "disk" if found else None,
        "capabilities": None,
        "choice_reason": None,
        "loaded": None,
        "progress": None,
        "actions": [],
        "warnings": [],
        "before": state,
        "after": state,
    }


def find_listed(models: list[dict[str, Any]], name: ModelName) -> dict[str, Any] | None:
    """Return the entry of a model in a list of the daemon's."""
    return next((one for one in models if is_same(one["name"], str(name))), None)


def _no_consent(name: ModelName, size: Size) -> Failure:
    return Failure(
        "download_not_allowed",
        f"{name} is not on this host and would have to be downloaded ({size}). Nothing was downloaded, because there is no consent: set "
        f"nemoclaw_yes (option allow_download) to true, or name a model that is installed.",
        model=str(name),
        size=size.bytes,
        size_source=size.source,
    )
