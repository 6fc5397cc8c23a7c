# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which model fits a host when none was named: the starter models of the page, by memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

MIB = 1024 * 1024


class Starter(NamedTuple):
    """A model that is offered where none is installed.

    Attributes:
        name: Its tag in Ollama's registry.
        total_mib: GPU memory, all of it, below which it is not offered. 32 GiB is the page's rule ("hosts with at least 32
            GiB of detected GPU memory"); NemoClaw counts NVIDIA GPUs for it.
        available_mib: Free memory that it needs (upstream ollama-model-registry.ts, upstream-facts N12, June 2026).
        bytes: What it weighs, for where the registry does not tell (upstream-facts N12, fallback sizes).

    """

    name: str
    total_mib: int
    available_mib: int
    bytes: int


# Best first; the last one is for every host (upstream-facts N12).
STARTERS = (
    Starter("qwen3.6:35b", 32_768, 26_000, 24_000_000_000),
    Starter("nemotron-3-nano:30b", 32_768, 22_000, 19_000_000_000),
    Starter("qwen2.5:7b", 0, 0, 4_683_073_184),
)
# NemoClaw takes this one where it is installed (upstream-facts N12).
_PREFERRED = "nemotron-3-nano:30b"


class Choice(NamedTuple):
    """A model and the reason for it, as part of a sentence."""

    name: str
    reason: str


def choose(
    installed: Sequence[dict[str, Any]], loaded: Sequence[dict[str, Any]], gpus: dict[str, Any], require_tools: bool
) -> Choice:
    """Return the model for a host.

    Args:
        installed: C({name, size, capabilities}) in Ollama's order.
        loaded: C({name, size, size_vram}): their memory is given back when another model is loaded, so it counts as available. Else
            a second run would find too little and choose another model.
        gpus: C(nemoclaw_host.gpus): C(memory_total_mib), C(memory_available_mib), on unified memory the host's own. And
            C(host_available_mib), in which models run where there is no GPU; None where nobody knows it.
        require_tools: Leave out installed models that declare that they cannot use tools.

    """
    total = gpus["memory_total_mib"] or 0
    free = gpus["memory_available_mib"]
    ours = sum(one["size_vram"] or 0 for one in loaded) // MIB
    available = min(total, free + ours) if free is not None else total
    fitting = {one.name for one in STARTERS if total >= one.total_mib and available >= one.available_mib}
    memory = f"{total} MiB of GPU memory, {available} MiB of it for a model" if total else "no GPU memory"
    known = {one.name for one in STARTERS}
    room: int | None = available
    if not total:
        room = gpus.get("host_available_mib")
        room = room + sum(one["size"] or 0 for one in loaded) // MIB if room is not None else None
    usable = [
        one["name"]
        for one in installed
        if (one["name"] in fitting if one["name"] in known else _fits(one["size"], room))
        and _can(one["capabilities"], "completion")
        and (not require_tools or _can(one["capabilities"], "tools"))
    ]
    if _PREFERRED in usable:
        return Choice(_PREFERRED, f"it is installed and fits ({memory})")
    if usable:
        return Choice(usable[0], f"it is the first of the installed models that fit and can be used ({memory})")
    largest = next(one.name for one in STARTERS if one.name in fitting)
    return Choice(largest, f"it is the largest starter model that fits this host ({memory})")


def _fits(size: int | None, room: int | None) -> bool:
    """Tell whether the files of a model, which is the least that it needs in memory, have room."""
    return size is None or room is None or size <= room * MIB


def _can(capabilities: Sequence[str] | None, what: str) -> bool:
    return capabilities is None or what in capabilities
