# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Load a model into memory and unload it, and how much context it gets: what an agent needs, where the host has memory for it.

By the native API: C(keep_alive) on /v1 is silently ignored (upstream-facts P3). Ollama cuts a prompt that is longer than its context, says
so in its log alone, and takes 4096 tokens where there is no large GPU: a model is judged then by a prompt whose tools it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...clock import Deadline
from ...failure import Failure
from ...sizes import format_bytes
from ..daemon import Answer, Daemon
from ..info import loaded_models
from ..names import is_same

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
                f"Ollama at {daemon} did not load {model} within {timeout:g} s. Large models on slow disks need longer: raise "
                "ollama_load_timeout (option timeout), and OLLAMA_LOAD_TIMEOUT (5 minutes by default) in the daemon's service.",
                model=model,
            ) from None
        if failure.code == "ollama_lost":
            raise Failure(
                "load_failed",
                f"Ollama at {daemon} ended while it loaded {model}. Look at its log ({daemon.log}): it may have run out of "
                "memory, or the model does not fit this version of Ollama.",
                model=model,
            ) from None
        raise
    if answer.status != 200:
        raise _refusal(daemon, model, answer)


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
                f"Asked Ollama at {daemon} to unload {model}, and it is still in memory after {deadline.seconds:g} s. A request may "
                "still run on it, or somebody loads it again: look who uses it.",
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


def _refusal(daemon: Daemon, model: str, answer: Answer) -> Failure:
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
        f"Ollama at {daemon} could not load {model}: HTTP {answer.status} {answer.error}. Look at its log ({daemon.log}). Where no other "
        "model loads either, the installation may be broken: ollama_reinstall (option reinstall of ollama_install) installs it once "
        "more.",
        **details,
    )


def _duration(text: str) -> int | str:
    """Return a duration as Ollama wants it: bare numbers are seconds, as a number; negative means for ever."""
    try:
        return int(text)
    except ValueError:
        return text
