# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is to be done for Ollama to run on loopback, as a service or a process, and with which context. Looks only; service.py acts.

Ollama cuts a prompt that is longer than its context, says so in its log alone, and takes 4096 tokens where there is no large GPU: a model
is judged then by a prompt whose tools it never saw.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..failure import Failure, format_bytes
from ..host.gpus import find_gpus, parse_meminfo
from ..host.machine import Account, Machine, acting_as, find_account
from ..host.platform import read_platform
from ..host.sockets import find_peers
from ..host.systemd import Systemd, UnitState
from . import dropin, presence
from .catalogue import STARTERS
from .client import find_ollama_client
from .daemon import Address, Daemon, identify, loaded_models, model_details
from .names import is_same
from .presence import UNIT, Found, Holder, look, named_holder, refuse_what_is_not_ours


@dataclass(frozen=True)
class Desired:
    """What is wanted: C(started), C(stopped) or C(absent) (our drop-in), on a port, with more variables for the service.

    Attributes:
        least_context: Tokens of context that models get at least where nobody has set another length; 0 leaves it to Ollama.
        model: The model that it is for, with C(model_bytes) where it is not on the host yet.

    """

    state: str
    port: int
    environment: dict[str, Any]
    enabled: bool
    timeout: float
    least_context: int = 0
    model: str | None = None
    model_bytes: int = 0


@dataclass
class Report:
    """What the module returns."""

    changed: bool = False
    restarted: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    path: str | None = None
    context: str = ""  # what was decided about the context, as sentences
    keep_alive: str | None = None  # what the service's owner has set
    closed: dict[str, Any] | None = None  # what was open to the network, to whom, and who was connected

    def plan(self, action: str) -> None:
        """Note something that is done, or would be in check mode."""
        self.changed = True
        self.actions.append(action)


VARIABLE = "OLLAMA_CONTEXT_LENGTH"
# Ollama server/routes.go: from 23 GiB of GPU memory on the default is 32768 tokens, from 47 GiB on 262144, below it is 4096.
DEFAULT = 4096
_LARGE_GPU_MIB = 23 * 1024
# A model whose parameters nobody knows yet is taken for one with 32 layers of 8 heads of 128 numbers, as Llama 3 with 8 billion has.
_USUAL_BYTES_PER_TOKEN = 131_072
# What a runner needs besides weights and cache: its compute buffers, by what the daemon logs for models of 7 to 30 billion parameters.
_OVERHEAD = 1024**3
_MIB = 1024**2


class Room(NamedTuple):
    """Memory that models may use, in MiB.

    Attributes:
        gpu: Of all trusted GPUs together; 0 without one.
        host: Of the host, where what does not fit on the GPU runs; None where nobody knows.
        unified: Whether both are the same memory.

    """

    gpu: int
    host: int | None
    unified: bool


class Choice(NamedTuple):
    """Tokens to set, None to leave them to Ollama, and what has to be said about it; empty where there is nothing to say."""

    length: int | None
    reason: str


def choose_context(least: int, model: str, weights: int | None, per_token: int | None, room: Room) -> Choice:
    """Return the context for a host on which nobody has set one.

    Args:
        least: Tokens that an agent needs.
        model: Its name, for the sentence.
        weights: Bytes of the model on disk, None where nobody knows.
        per_token: Bytes of its cache for each token of context, None where nobody knows.
        room: The host's memory.

    """
    if room.gpu >= _LARGE_GPU_MIB:
        return Choice(None, "")
    needed = (weights or 0) + least * (per_token or _USUAL_BYTES_PER_TOKEN) + _OVERHEAD
    # A quarter of the host's memory is for everything else that runs there.
    host = 0 if room.host is None or room.unified else room.host * 3 // 4
    have = (room.gpu + host) * _MIB
    if room.host is not None and needed > have:
        return Choice(
            None,
            f"The context stays at Ollama's default, about {DEFAULT} tokens: {model} with the {least} tokens that an agent needs would "
            f"take about {format_bytes(needed)} of memory, and this host has {format_bytes(have)} for it. Choose a smaller model, or set "
            "ollama_context_length to try it all the same.",
        )
    partly = (
        " A part of it will run on the CPU then." if room.gpu and needed > room.gpu * _MIB and not room.unified else ""
    )
    return Choice(
        least,
        f"Models get a context of {least} tokens ({VARIABLE}), since an agent's prompts need that and Ollama's default on this host is "
        f"{DEFAULT}: {model} will take about {format_bytes(needed)} of memory.{partly} Set ollama_context_length for another length.",
    )


def judge_own(least: int, value: str, place: str) -> Choice:
    """Return what there is to say about a length that the host's owner has set: it stays."""
    if not value.isdecimal() or int(value) >= least:
        return Choice(None, "")
    return Choice(
        None,
        f"{VARIABLE} is {value} by {place}, and an agent's prompts need about {least} tokens: Ollama cuts what is longer. It was left as "
        "it is. Change that line, or set ollama_context_length.",
    )


def cache_bytes(details: Mapping[str, Any]) -> int | None:
    """Return the bytes of cache that a token of context takes, from C(model_info) of /api/show; None where that does not tell.

    Two bytes for each number: f16, Ollama's default (OLLAMA_KV_CACHE_TYPE). Layers without a cache of their own are counted in.
    """
    family = details.get("general.architecture")
    values = {
        name: details.get(f"{family}.{path}")
        for name, path in {
            "layers": "block_count",
            "heads": "attention.head_count",
            "cached": "attention.head_count_kv",
            "width": "embedding_length",
            "key": "attention.key_length",
            "value": "attention.value_length",
        }.items()
    }
    known = {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**7
    }
    if "layers" not in known or "cached" not in known:
        return None
    if "key" not in known or "value" not in known:
        if "width" not in known or "heads" not in known:
            return None
        known["key"] = known["value"] = known["width"] // known["heads"]
    return known["layers"] * known["cached"] * (known["key"] + known["value"]) * 2


NOTHING = Choice(None, "")
# A drop-in is readable by everybody: OLLAMA_API_KEY and its like stay out of it.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH", re.IGNORECASE)


def own_setting(machine: Machine, unit: UnitState, name: str) -> dropin.Setting | None:
    """Return what the host's owner has set for the service in files that are not ours, None where nothing."""
    found = [
        *(one for one in dropin.in_units(machine, unit, name) if not one.path.endswith(dropin.FILE_NAME)),
        *dropin.in_files(machine, unit, name),
    ]
    return found[-1] if found and found[-1].value is not None else None


def plan_context(machine: Machine, found: Found, unit: UnitState | None, desired: Desired, before: str) -> Choice:
    """Return the context that the service should get where nobody asked for one."""
    if not desired.least_context or VARIABLE in desired.environment:
        return NOTHING
    ours = dropin.variables(before).get(VARIABLE)
    if ours == str(desired.least_context):  # once set it stays, whatever else uses the memory by now
        return Choice(desired.least_context, "")
    own = own_setting(machine, unit, VARIABLE) if unit else None
    if own:
        return judge_own(desired.least_context, str(own.value), str(own))
    daemon = Daemon(Address("127.0.0.1", desired.port))
    model = desired.model or "a model"
    weights, per_token = desired.model_bytes or None, None
    if found.is_local:
        try:
            loaded = [one["context_length"] or 0 for one in loaded_models(daemon) if is_same(one["name"], model)]
            if ours is None and loaded and max(loaded) >= desired.least_context:
                return NOTHING
            weights = next((one["size"] for one in identify(daemon)[1] if is_same(one["name"], model)), weights)
            per_token = cache_bytes(model_details(daemon, model)) if desired.model else None
        except Failure:  # what is asked here only makes the estimate better
            pass
    weights = weights or next((one.bytes for one in STARTERS if one.name == model), None)
    memory = parse_meminfo(machine.read("/proc/meminfo"))
    gpus = find_gpus(machine, read_platform(machine).name, memory)
    room = Room(gpus["memory_total_mib"], memory.total_mib, gpus["unified_memory"])
    return choose_context(desired.least_context, model, weights, per_token, room)


def plan_adoption(
    machine: Machine, found: Found, unit: UnitState, wanted: Mapping[str, str], before: str
) -> tuple[dict[str, str], list[str]]:
    """Return what the service has to get to be the daemon that somebody started by hand, and what has to be said about it.

    At the next boot at the latest the service runs in its place: without these variables with another model store, for example. What an
    earlier run took over stays, until somebody sets it otherwise.
    """
    adopted = {name: value for name, value in dropin.adopted(before).items() if name not in wanted}
    stray = next(iter(found.open_strays or (found.strays if not found.own else [])), None)
    if stray is None or stray.is_contained or stray.origin.is_users:
        return adopted, []
    given = presence.environment_of(machine, stray.pid) or {}
    known = ("OLLAMA_HOST", *wanted, *unit.environment)
    for name, value in given.items():
        is_setting = name.startswith("OLLAMA_") and not _SECRET.search(name) and value.isprintable()
        if is_setting and name not in known:
            adopted[name] = value
    warnings = []
    store = _store_of(stray, given)
    if store and store != _store_of_unit(unit, wanted):
        if _may_write(unit.user or "root", store, machine):
            adopted["OLLAMA_MODELS"] = store
        else:
            adopted.pop("OLLAMA_MODELS", None)
            user = unit.user or "root"
            warnings.append(
                f"The models of process {stray.pid}, which {stray.owner} started by hand, lie in {store}. The service {unit.name}, which "
                f"runs in its place from now on or from the next boot, runs as {user} and may not write there: it will not have these "
                f"models. Give it the folder (chown -R {user} {store}), and set OLLAMA_MODELS to it (ollama_environment)."
            )
    return adopted, warnings


def _store_of(stray: Holder, given: Mapping[str, str]) -> str | None:
    if given.get("OLLAMA_MODELS"):
        return given["OLLAMA_MODELS"]
    home = given.get("HOME") or (find_account(stray.owner).home if stray.owner else None)
    return f"{home}/.ollama/models" if home else None


def _store_of_unit(unit: UnitState, variables: Mapping[str, str]) -> str | None:
    if "OLLAMA_MODELS" in variables or "OLLAMA_MODELS" in unit.environment:
        return variables.get("OLLAMA_MODELS", unit.environment.get("OLLAMA_MODELS"))
    try:
        return f"{find_account(unit.user or 'root').home}/.ollama/models"
    except Failure:
        return None


def _may_write(user: str, folder: str, machine: Machine) -> bool:
    try:
        with acting_as(find_account(user)):
            return os.access(machine.path(folder), os.W_OK | os.X_OK, effective_ids=True)
    except (Failure, OSError, NotImplementedError):
        return False


# Of those who are connected, so many are named.
_NAMED = 10


def announce(machine: Machine, found: Found, port: int, report: Report, check_mode: bool) -> None:
    """Put into the report what is open, to whom, and who is connected to it now."""
    clients = Counter(find_peers(machine, port))
    report.closed = {
        "listeners": found.open_listeners,
        "clients": [{"address": address, "connections": count} for address, count in sorted(clients.items())],
    }
    report.warnings.append(describe(found.open_listeners, clients, port, check_mode))


def describe(listeners: list[dict[str, Any]], clients: Counter[str], port: int, check_mode: bool) -> str:
    """Return that as sentences."""
    where = ", ".join(f"{one['address']} ({named_holder(one)})" for one in listeners)
    every = any(one["scope"] == "any" for one in listeners)
    names = [f"{name} ({count} connection{'s' if count > 1 else ''})" for name, count in clients.most_common(_NAMED)]
    more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
    connected = f"Connected just now: {', '.join(names)}{more}." if names else "Nobody was connected just now."
    whom = "every network of this host" if every else "the network of that address"
    closed = "would be closed to them" if check_mode else "is closed to them now"
    return (
        f"Ollama on port {port} was found open to {whom}, without any password: it listened on {where}, and whoever reaches it could use, "
        f"pull and delete models. It {closed}, and on 127.0.0.1 alone. {connected} Whoever needs it from outside uses the auth proxy with "
        "its token."
    )


@dataclass(frozen=True)
class UnitPlan:
    """What is to be done about the unit: the drop-in with these variables written or not, the unit started or not."""

    wanted: dict[str, str]
    writes: bool
    starts: bool


def plan_unit(
    machine: Machine, found: Found, unit: UnitState, desired: Desired, report: Report, check_mode: bool
) -> UnitPlan:
    """Put into the report what has to be done for the service to run as wanted, and return it.

    Raises:
        Failure: C(ollama_exposed), C(root_needed) and C(drop_in_overruled): nothing that may be done would help.

    """
    own = found.own
    program = presence.program_of(machine, own.pid) if own else None
    program = program or find_ollama_client(machine, find_account())["path"]
    spark = dropin.spark_environment(machine, read_platform(machine).name, program)
    chosen = plan_context(machine, found, unit, desired, report.before)
    context = {VARIABLE: chosen.length} if chosen.length else {}
    wanted = dropin.wanted_environment(desired.port, {**spark, **context, **desired.environment})
    adopted, warnings = plan_adoption(machine, found, unit, wanted, report.before)
    report.context = chosen.reason
    report.warnings += warnings
    own_keep_alive = own_setting(machine, unit, "OLLAMA_KEEP_ALIVE")
    report.keep_alive = wanted.get("OLLAMA_KEEP_ALIVE") or (own_keep_alive.value if own_keep_alive else None)
    report.after = dropin.render(wanted, adopted)
    wanted = {**wanted, **adopted}
    path = report.path or ""
    write = report.before != report.after
    needs = not found.is_taken if own is None else own.is_misplaced or _lacks(machine, own.pid, wanted, write)
    if write:
        report.plan(f"write {path}")
    if desired.enabled and not unit.enabled:
        report.plan(f"enable {unit.name}")
    if found.exposed:
        refuse_what_is_not_ours(found, desired.port)
        announce(machine, found, desired.port, report, check_mode)
    for one in found.open_strays:
        report.plan(f"stop process {one.pid}")
    if own is None and found.is_taken:
        report.warnings.append(
            f"Ollama on port {desired.port} is not the service {unit.name}, but {_named(found)}: at the next boot the "
            f"service runs in its place."
        )
    elif needs:
        report.plan(f"{'restart' if own else 'start'} {unit.name}")
    if own and own.is_misplaced and not write and not unit.stale and _has_read(machine, unit, path):
        raise _cannot_help(machine, unit, own.pid, wanted)
    if check_mode:
        failure = dropin.overruled_by(machine, dropin.foresee(machine, unit, path, wanted), wanted)
        if failure:
            raise failure
    return UnitPlan(wanted, write, needs)


def _named(found: Found) -> str:
    return ", ".join(f"process {one.pid}{' in a container' if one.is_contained else ''}" for one in found.strays) or (
        "another user's process"
    )


def _has_read(machine: Machine, unit: UnitState, path: str) -> bool:
    """Tell whether the unit's process was started when our drop-in was there already, so that another start would be the same."""
    try:
        written = time.time() - machine.path(path).stat().st_mtime
    except OSError:
        return False
    return unit.started > 0 and time.monotonic() - unit.started < written


def _cannot_help(machine: Machine, unit: UnitState, pid: int, wanted: dict[str, str]) -> Failure:
    """Return the failure for a daemon that was started with our drop-in and is not on 127.0.0.1 all the same."""
    failure = dropin.overruled_by(machine, unit, wanted)
    if failure:
        return failure
    got = (presence.environment_of(machine, pid) or {}).get("OLLAMA_HOST")
    given = f"was given OLLAMA_HOST={got}" if got is not None else "has no OLLAMA_HOST in its environment"
    place = dropin.command_of(machine, unit)
    return dropin.overruled(
        {"OLLAMA_HOST": place},
        f"The service {unit.name} was started with our drop-in, and its process {pid} {given} and is not on 127.0.0.1: the command of "
        f"ExecStart= ({place}) sets it, so another start would be the same.",
    )


def _lacks(machine: Machine, pid: int, wanted: dict[str, str], write: bool) -> bool:
    """A daemon that listens where it should keeps its loaded models, however it came to do so; it may lack a variable."""
    more = {name: value for name, value in wanted.items() if name != "OLLAMA_HOST"}
    running = presence.environment_of(machine, pid)
    if running is None:
        return write and bool(more)
    return any(running.get(name) != value for name, value in more.items())


@dataclass(frozen=True)
class ProcessPlan:
    """What is to be done where no unit runs Ollama: the processes to stop, and the program to start, None for none."""

    stopped: list[Holder]
    program: str | None
    account: Account
    environment: dict[str, str]


def plan_process(
    machine: Machine, account: Account, found: Found, desired: Desired, report: Report, check_mode: bool
) -> ProcessPlan:
    """Without a unit: bring back what is exposed as whoever ran it, start what does not run as C(account).

    Raises:
        Failure: C(ollama_not_installed), C(ollama_exposed), C(root_needed).

    """
    report.path, report.before, report.after = None, "", ""
    wanted = dropin.wanted_environment(desired.port, desired.environment)
    report.warnings.append(
        f"Ollama on port {desired.port} is a process and no service: nothing starts it again after a reboot. Give this host a unit "
        f"{UNIT} (ollama_install makes one with the Ollama that it installs in mode: system)."
        if Systemd.is_running(machine)
        else f"Ollama on port {desired.port} is a process and no service, since no systemd runs here: nothing starts it again after a "
        "reboot."
    )
    local = presence.environment_of(machine, found.local.pid) if found.local else None
    report.keep_alive = desired.environment.get("OLLAMA_KEEP_ALIVE") or (local or {}).get("OLLAMA_KEEP_ALIVE")
    # Beside one that is right already, one on another address of loopback does no harm.
    stopped = found.open_strays if found.is_taken else found.misplaced_strays
    if found.is_taken and not found.exposed:
        return ProcessPlan([], None, account, {})
    if found.exposed:
        refuse_what_is_not_ours(found, desired.port)
        announce(machine, found, desired.port, report, check_mode)
    chosen = plan_context(machine, found, None, desired, "")
    program: str | None = None
    environment = {"PATH": machine.environ.get("PATH", os.defpath)}
    if stopped:
        first = stopped[0]
        account = find_account(first.owner)
        program = presence.program_of(machine, first.pid)
        environment = presence.environment_of(machine, first.pid) or environment
    if chosen.length and VARIABLE not in environment:
        report.context = chosen.reason
        wanted = {**wanted, VARIABLE: str(chosen.length)}
    # Looked for as well where the program that runs was replaced by another.
    program = program or find_ollama_client(machine, account)["path"]
    if program is None and not found.is_taken:
        raise Failure(
            "ollama_not_installed",
            f"Looked for the program ollama on PATH, in the system's folders and in {account.home}/.local/bin, and found none. "
            "Install it (module ollama_install).",
        )
    for one in stopped:
        report.plan(f"stop process {one.pid}")
    if not found.is_taken:
        report.plan(f"start {program} serve as {account.name}")
        report.restarted = found.running
    return ProcessPlan(stopped, None if found.is_taken else program, account, {**environment, **wanted})


def begin(machine: Machine, port: int) -> tuple[Report, Found]:
    """Return a report of what our drop-in is now, and what there is on the port."""
    found = look(machine, port)
    report = Report(path=dropin.path_for(found.unit.name if found.unit else UNIT))
    report.before = report.after = dropin.read(machine, report.path or "") or ""
    return report, found


def plan_start(machine: Machine, account: Account, desired: Desired) -> tuple[Report, Found]:
    """Return what would be done for Ollama to run on loopback, and what there is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, section Ollama.

    """
    report, found = begin(machine, desired.port)
    if found.unit:
        plan_unit(machine, found, found.unit, desired, report, check_mode=True)
    else:
        plan_process(machine, account, found, desired, report, check_mode=True)
    return report, found
