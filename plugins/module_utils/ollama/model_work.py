# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is done to a model: pulled where there is room for it, with progress and a watchdog for silence; loaded, unloaded, deleted.

By the native API: C(keep_alive) on /v1 is silently ignored (upstream-facts P3).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from ..clock import Deadline
from ..failure import Failure, format_bytes
from ..host.machine import Account, Machine, find_account
from ..host.sockets import find_listeners
from ..host.systemd import Systemd
from ..jobs.progress import Position, Report, silent
from ..preconditions import Need, check_space
from . import dropin, presence
from .catalogue import Size
from .daemon import Address, Answer, Daemon, capabilities, find_loaded, identify, loaded_models
from .model import Desired, Planned, find_listed, lacks_tools, note_loaded, plan_model, require_tools
from .names import ModelName, is_same
from .presence import UNIT
from .pull import pull

_VARIABLE = "OLLAMA_MODELS"
_BELOW_HOME = ".ollama/models"
# Of the user that Ollama's own installer and ollama_install make.
_SYSTEM_STORE = "/usr/share/ollama/.ollama/models"
_BLOCK = 512  # st_blocks of stat(2)


def find_store(machine: Machine, address: Address, account: Account) -> str | None:
    """Return the folder of a daemon's models, None for a daemon that is not on this host.

    By what its process was given, as far as we may see it; else by what its unit gives it, and its user's home. Where no daemon is yet,
    it is where the service will have it.
    """
    if not address.is_loopback:
        return None
    listener = next(iter(find_listeners(machine, [address.port])), None)
    given = presence.environment_of(machine, listener["pid"]) if listener and listener["pid"] else None
    if given is not None:
        return _by(given, None)
    if Systemd.is_running(machine):
        unit = Systemd(machine).show(UNIT)
        if unit.known:
            files = dropin.in_files(machine, unit, _VARIABLE)
            own = {_VARIABLE: str(files[-1].value)} if files else unit.environment
            return _by(own, unit.user or "root")
        return _SYSTEM_STORE
    return _by({}, listener["user"] if listener else account.name)


def check_room(name: ModelName, size: Size, store: str, machine: Machine) -> None:
    """Check that what is still to come of a model has room where it will lie.

    Raises:
        Failure: C(disk_too_small).

    """
    if size.bytes is None:
        return
    place = machine.path(store)
    there = sum(min(_stored(place, digest), whole) for digest, whole in size.layers.items())
    rest = f" (what is still to come of {size})" if there else ""
    check_space(
        [Need(f"the model {name}{rest}", str(place), max(0, size.bytes - there))],
        remedy="Free space there, or have the daemon store its models on a larger file system: OLLAMA_MODELS in its service "
        "(ollama_environment)",
    )


def _by(given: Mapping[str, str], user: str | None) -> str | None:
    if given.get(_VARIABLE):
        return given[_VARIABLE]
    home = given.get("HOME")
    if not home and user:
        try:
            home = find_account(user).home
        except Failure:
            return None
    return f"{home}/{_BELOW_HOME}" if home else None


def _stored(store: Path, digest: str) -> int:
    """Return the bytes of a blob that are on the disk, whole or in part; 0 where we may not look."""
    blob = store / "blobs" / digest.replace(":", "-")
    for path in (blob, Path(f"{blob}-partial")):
        try:
            facts = path.stat()
        except OSError:
            continue
        # A part has its full length from the beginning, with holes in it.
        return min(facts.st_size, facts.st_blocks * _BLOCK)
    return 0


_POLL_S = 0.2


def load(daemon: Daemon, model: str, keep_alive: str, timeout: float) -> None:
    """Have a model loaded; a request without a prompt does that and generates nothing.

    Raises:
        Failure: C(memory_short), C(load_timeout) or C(load_failed).

    """
    body = {"model": model, "keep_alive": _duration(keep_alive), "stream": False}
    try:
        answer = daemon.ask("POST", "/api/generate", body, timeout)
    except Failure as failure:
        if failure.code == "ollama_timeout":
            raise Failure(
                "load_timeout",
                f"Ollama at {daemon} did not load {model} within {timeout:g} s. Large models on slow disks need more time: raise "
                "ollama_load_timeout (option timeout), and OLLAMA_LOAD_TIMEOUT (5 minutes by default) in the daemon's service.",
                model=model,
            ) from None
        if failure.code == "ollama_lost":
            raise Failure(
                "load_failed",
                f"Ollama at {daemon} exited while loading {model}. Check its log ({daemon.log}): it may have run out of memory, or the "
                f"model is incompatible with this version of Ollama.",
                model=model,
            ) from None
        raise
    if answer.status != 200:
        raise _load_refusal(daemon, model, answer)


def unload(daemon: Daemon, model: str, deadline: Deadline) -> None:
    """Have a model unloaded and wait until it is gone: the daemon answers at once and waits for running requests.

    Raises:
        Failure: C(unload_failed).

    """
    answer = daemon.ask("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False}, 30)
    while answer.status in (200, 404) and any(is_same(one["name"], model) for one in loaded_models(daemon)):
        if deadline.remaining < _POLL_S:
            raise Failure(
                "unload_failed",
                f"Asked Ollama at {daemon} to unload {model}, but it is still in memory after {deadline.seconds:g} s. A request may still "
                f"be running on it, or a client loads it again: find out who uses it.",
                model=model,
            )
        deadline.sleep(_POLL_S)
    if answer.status not in (200, 404):
        raise Failure(
            "unload_failed",
            f"Asked Ollama at {daemon} to unload {model}: HTTP {answer.status} {answer.error}. Look at its log "
            f"({daemon.log}).",
            model=model,
        )


def _load_refusal(daemon: Daemon, model: str, answer: Answer) -> Failure:
    details: dict[str, Any] = {"model": model, "status": answer.status, "server_message": answer.error}
    if "system memory" in answer.error:
        return Failure(
            "memory_short",
            f"Ollama at {daemon} has too little memory for {model}: {answer.error}. Unload other models, choose a smaller one, or "
            "lower ollama_context_length (OLLAMA_CONTEXT_LENGTH in the daemon's service).",
            **details,
        )
    return Failure(
        "load_failed",
        f"Ollama at {daemon} could not load {model}: HTTP {answer.status} {answer.error}. Look at its log ({daemon.log}). If no other "
        f"model loads either, the installation may be broken: ollama_reinstall (option reinstall of ollama_install) reinstalls it.",
        **details,
    )


def _duration(text: str) -> int | str:
    """Return a duration as Ollama wants it: bare numbers are seconds, as a number; negative means for ever."""
    try:
        return int(text)
    except ValueError:
        return text


# How long a model that was pulled may be missing from the list, while another pull of it writes its manifest: milliseconds as a rule.
_LISTED_S = 5.0
# Deleting large files takes seconds on a slow disk.
_DELETE_S = 60.0


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
        find_gpus: See plan_model.
        check_mode: Stop before the first change.
        report: Is told how far a download is, and that a load has begun.
        planning: See plan_model. Only with check_mode.
        check_room: See plan_model.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    planned = plan_model(daemon, desired, find_gpus, planning, check_room)
    if not check_mode:
        _apply(daemon, desired, planned, report)
    return planned.result


def _apply(daemon: Daemon, desired: Desired, planned: Planned, report: Report) -> None:
    result, name = planned.result, planned.name
    if planned.deletes is not None:
        _delete(daemon, planned.deletes, str(name))
    deadline = Deadline(desired.timeout)
    for one in planned.unloads:
        unload(daemon, one, deadline)
    if name is not None and planned.size is not None:
        _download(daemon, name, planned.size, desired, result, report)
    if name is None or not planned.loads:
        return
    try:
        _load(daemon, name, desired, result, report)
    except Failure as failure:
        if not result["progress"]:
            raise
        raise Failure(
            failure.code,
            f"{failure.message} What was downloaded of {name} stays on the disk ({format_bytes(result['size'] or 0)}): 'ollama rm "
            f"{result['model']}' on the host deletes it.",
            **failure.details,
        ) from failure


def _download(
    daemon: Daemon, name: ModelName, size: Size, desired: Desired, result: dict[str, Any], report: Report
) -> None:
    result["progress"] = pull(daemon, name, desired.insecure_registry, desired.stall_timeout, size, report)
    found = _await_listed(daemon, name)
    if found is None:
        raise Failure(
            "pull_failed",
            f"Ollama at {daemon} reports that it pulled {name} but does not list it. Check its log ({daemon.log}).",
        )
    result.update(model=found["name"], digest=found["digest"], size=found["size"], size_source="disk")
    known = capabilities(daemon, result["model"])
    afterwards = _take_back(daemon, result["model"]) if lacks_tools(known, desired) else ""
    require_tools(name, known, desired, result, afterwards)


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


def _await_listed(daemon: Daemon, name: ModelName) -> dict[str, Any] | None:
    """Return the model that was pulled, None where it does not come: Ollama does not list one that another pull writes down again."""
    deadline = Deadline(_LISTED_S)
    while True:
        found = find_listed(identify(daemon)[1], name)
        if found is not None or not deadline.remaining:
            return found
        deadline.sleep(0.1)


def _load(daemon: Daemon, name: ModelName, desired: Desired, result: dict[str, Any], report: Report) -> None:
    # The daemon tells nothing more until it has loaded it.
    report(Position("load", message=f"Loading {name}"))
    load(daemon, result["model"], desired.keep_alive, desired.timeout)
    entry = find_loaded(daemon, result["model"], result["digest"])
    if entry is None:
        raise Failure(
            "model_not_loaded",
            f"Ollama at {daemon} reports that it loaded {name}, but it is not in memory: it was evicted at once, or the daemon has "
            f"OLLAMA_KEEP_ALIVE=0. Check its log ({daemon.log}), and who else uses its models.",
        )
    note_loaded(name, entry, result)


def _delete(daemon: Daemon, listed: str, name: str) -> None:
    answer = daemon.ask("DELETE", "/api/delete", {"model": listed}, _DELETE_S)
    if answer.status not in (200, 404):
        raise Failure(
            "model_not_deleted",
            f"Ollama at {daemon} did not delete {name}: HTTP {answer.status} {answer.error}. Look at its log ({daemon.log}).",
        )
