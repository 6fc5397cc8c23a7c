# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the service should get: the context that agents need where the host has memory, and what a daemon started by hand was given.

Ollama cuts a prompt that is longer than its context, says so in its log alone, and takes 4096 tokens where there is no large GPU: a model
is judged then by a prompt whose tools it never saw.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..failure import Failure
from ..host.gpus import find_gpus, parse_meminfo
from ..host.machine import Machine, acting_as, find_account
from ..host.platform import read_platform
from ..sizes import format_bytes
from . import dropin, presence
from .catalogue import STARTERS
from .daemon import Address, Daemon, identify, loaded_models, model_details
from .names import is_same
from .presence import Found, Holder
from .systemd import UnitState


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
