# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How many tokens of context a model should get: what an agent needs, where the host has memory for it.

Ollama cuts a prompt that is longer than its context, says so in its log alone, and takes 4096 tokens where there is no large GPU: a model
is judged then by a prompt whose tools it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sizes import format_bytes

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
