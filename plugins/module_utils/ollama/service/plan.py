# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the service should get besides its address: the context that agents need, and what a daemon started by hand was given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ...failure import Failure
from ...host.gpus import find_gpus, parse_meminfo
from ...host.machine import Machine, acting_as, find_account
from ...host.platform import read_platform
from ..daemon import Address, Daemon
from ..info import (
    identify,
    loaded_models,
    model_details,
)
from ..models.choice import STARTERS
from ..models.loading import VARIABLE, Choice, Room, cache_bytes, choose_context, judge_own
from ..names import is_same
from . import dropin, processes
from .desired import Desired
from .presence import Found, Holder
from .systemd import UnitState

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
    given = processes.environment_of(machine, stray.pid) or {}
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
