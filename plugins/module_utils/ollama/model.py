# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Bring a model of a daemon into the state that is wanted: there, in memory, out of memory, gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from ..clock import Deadline
from ..failure import Failure
from ..jobs.progress import Position, Report, silent
from ..sizes import format_bytes
from . import model_work
from .catalogue import Size, choose, find_size
from .daemon import Daemon, capabilities, find_loaded, identify, loaded_models
from .model_work import pull
from .names import ModelName, is_same, parse_name

AUTO = "auto"
ALL = "all"


# How long a model that was pulled may be missing from the list, while another pull of it writes its manifest: milliseconds as a rule.
_LISTED_S = 5.0
# Deleting large files takes seconds on a slow disk.
_DELETE_S = 60.0


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

    """

    name: str
    state: str
    allow_download: bool = False
    require_tools: bool = True
    insecure_registry: bool = False
    timeout: float = 600
    stall_timeout: float = 120
    keep_alive: str = "15m"


def converge(
    daemon: Daemon,
    desired: Desired,
    find_gpus: Callable[[], dict[str, Any]],
    check_mode: bool,
    report: Report = silent,
    planning: bool = False,
    check_room: Callable[[ModelName, Size], None] = lambda _name, _size: None,
) -> dict[str, Any]:
    """Return the result of the module, as its RETURN block documents it, after doing what is wanted unless only checking.

    Args:
        daemon: Whose models.
        desired: What is wanted.
        find_gpus: Returns C(nemoclaw_host.gpus), with C(host_available_mib) for where there is no GPU; called only to choose a model.
        check_mode: Stop before the first change.
        report: Is told how far a download is, and that a load has begun.
        planning: Ollama is not installed yet, so there is no daemon to ask and no model on the host. Only with check_mode.
        check_room: Raises its Failure where a download would not fit on the disk.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    if desired.timeout <= 0 or desired.stall_timeout <= 0:
        raise Failure(
            "timeout_invalid",
            f"timeout (ollama_load_timeout) is {desired.timeout:g} and stall_timeout (ollama_stall_timeout) {desired.stall_timeout:g}: "
            "give both "
            "a number of seconds above 0.",
        )
    if desired.state == "unloaded":
        return _unload(daemon, desired, check_mode)
    name = _check_name(desired)
    installed = [] if planning else identify(daemon)[1]
    if desired.state == "absent":
        return _remove(daemon, parse_name(desired.name), installed, check_mode)
    reason = None
    if name is None:
        desires = [{**one, "capabilities": capabilities(daemon, one["name"])} for one in installed]
        loaded = [] if planning else loaded_models(daemon)
        chosen, reason = choose(desires, loaded, find_gpus(), desired.require_tools)
        name = parse_name(chosen)
    result = _make_present(daemon, name, installed, desired, check_mode, report, check_room)
    result["choice_reason"] = reason
    if desired.state == "loaded":
        try:
            _make_loaded(daemon, name, desired, result, check_mode, report)
        except Failure as failure:
            if not result["progress"]:
                raise
            raise Failure(
                failure.code,
                f"{failure.message} What was downloaded of {name} stays on the disk ({format_bytes(result['size'] or 0)}): 'ollama rm "
                f"{result['model']}' on the host deletes it.",
                **failure.details,
            ) from failure
    return result


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


def _make_present(
    daemon: Daemon,
    name: ModelName,
    installed: list[dict[str, Any]],
    desired: Desired,
    check_mode: bool,
    report: Report,
    check_room: Callable[[ModelName, Size], None],
) -> dict[str, Any]:
    found = _find(installed, name)
    result = _result(name, found)
    if found is None:
        size = find_size(name, desired.insecure_registry)
        if not desired.allow_download:
            raise _no_consent(name, size)
        check_room(name, size)
        result.update(
            changed=True, size=size.bytes, size_source=size.source, actions=[f"pull {name}, {size}"], after="present"
        )
        if check_mode:
            return result
        result["progress"] = pull(daemon, name, desired.insecure_registry, desired.stall_timeout, size, report)
        found = _await_listed(daemon, name)
        if found is None:
            raise Failure(
                "pull_failed",
                f"Ollama at {daemon} says that it has pulled {name} and does not list it. Look at its log ({daemon.log}).",
            )
        result.update(model=found["name"], digest=found["digest"], size=found["size"], size_source="disk")
    result["capabilities"] = known = capabilities(daemon, result["model"])
    if known is None and desired.require_tools:
        result["warnings"].append(
            f"Ollama does not tell the capabilities of {name}, so whether it can use tools is shown only by endpoint_validate."
        )
    if known is not None and "tools" not in known and desired.require_tools:
        afterwards = _take_back(daemon, result["model"]) if result["progress"] else ""
        raise Failure(
            "model_without_tools",
            f"{name} declares the capabilities {', '.join(known) or 'none'}, and 'tools' is not among them, so an agent cannot work "
            "with it. Choose a model whose 'ollama show <model>' capabilities include tools. For plain chat alone, set "
            f"nemoclaw_require_tools (option require_tools) to false.{afterwards}",
            model=str(name),
            capabilities=known,
        )
    return result


def _take_back(daemon: Daemon, name: str) -> str:
    """Delete what this run has downloaded for nothing, and say so: what a model can do is known only once it is there."""
    try:
        deleted = daemon.ask("DELETE", "/api/delete", {"model": name}, _DELETE_S).status == 200
    except Failure:
        deleted = False
    return (
        " What was downloaded of it is deleted again."
        if deleted
        else " What was downloaded of it could not be deleted."
    )


def _make_loaded(
    daemon: Daemon, name: ModelName, desired: Desired, result: dict[str, Any], check_mode: bool, report: Report
) -> None:
    entry = find_loaded(daemon, result["model"], result["digest"]) if result["before"] != "absent" else None
    result["after"] = "loaded"
    if entry is None:
        result["changed"] = True
        result["actions"].append(f"load {name}")
        if check_mode:
            return
        # The daemon tells nothing more until it has loaded it.
        report(Position("load", message=f"Loading {name}"))
        model_work.load(daemon, result["model"], desired.keep_alive, desired.timeout)
        entry = find_loaded(daemon, result["model"], result["digest"])
        if entry is None:
            raise Failure(
                "model_not_loaded",
                f"Ollama at {daemon} says that it has loaded {name}, but it is not in memory: it was pushed out at once, or the "
                f"daemon has OLLAMA_KEEP_ALIVE=0. Look at its log ({daemon.log}), and at who else uses its models.",
            )
    else:
        result["before"] = "loaded"
    result["loaded"] = entry
    if entry["size"] and entry["size_vram"] == 0:
        result["warnings"].append(f"{name} is loaded without any GPU memory: it runs on the CPU.")
    elif entry["size"] and entry["size_vram"] and entry["size_vram"] < entry["size"]:
        share = 100 * entry["size_vram"] // entry["size"]
        result["warnings"].append(
            f"Only {share} % of {name} is in GPU memory ({format_bytes(entry['size_vram'])} of {format_bytes(entry['size'])}), the rest "
            "runs on the CPU, which makes it slow. Free GPU memory, shorten the context (ollama_context_length), or choose a smaller model."
        )


def _unload(daemon: Daemon, desired: Desired, check_mode: bool) -> dict[str, Any]:
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
        listed = _find(installed, name)
        entry = find_loaded(daemon, listed["name"], listed["digest"]) if found and listed else _find(found, name)
        wanted = [entry["name"]] if entry else []
    result = _result(name, None)
    result.update(
        changed=bool(wanted),
        before="loaded" if wanted else "unloaded",
        after="unloaded",
        actions=[f"unload {one}" for one in wanted],
    )
    if not check_mode:
        deadline = Deadline(desired.timeout)
        for one in wanted:
            model_work.unload(daemon, one, deadline)
    return result


def _remove(daemon: Daemon, name: ModelName, installed: list[dict[str, Any]], check_mode: bool) -> dict[str, Any]:
    found = _find(installed, name)
    result = _result(name, found)
    result["after"] = "absent"
    if found is not None:
        result.update(changed=True, actions=[f"delete {found['name']}"])
        if not check_mode:
            answer = daemon.ask("DELETE", "/api/delete", {"model": found["name"]}, _DELETE_S)
            if answer.status not in (200, 404):
                raise Failure(
                    "model_not_deleted",
                    f"Ollama at {daemon} did not delete {name}: HTTP {answer.status} {answer.error}. Look at its log "
                    f"({daemon.log}).",
                )
    return result


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


def _await_listed(daemon: Daemon, name: ModelName) -> dict[str, Any] | None:
    """Return the model that was pulled, None where it does not come: Ollama does not list one that another pull writes down again."""
    deadline = Deadline(_LISTED_S)
    while True:
        found = _find(identify(daemon)[1], name)
        if found is not None or not deadline.remaining:
            return found
        deadline.sleep(0.1)


def _find(models: list[dict[str, Any]], name: ModelName) -> dict[str, Any] | None:
    return next((one for one in models if is_same(one["name"], str(name))), None)


def _no_consent(name: ModelName, size: Size) -> Failure:
    return Failure(
        "download_not_allowed",
        f"{name} is not on this host and would have to be downloaded ({size}). Nothing was downloaded, because nobody consented: "
        "set nemoclaw_yes (option allow_download) to true, or name a model that is installed.",
        model=str(name),
        size=size.bytes,
        size_source=size.source,
    )
