# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Load a model into memory and unload it, by the native API: C(keep_alive) on /v1 is silently ignored (upstream-facts P3)."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Answer, Daemon
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import loaded_models
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.models.names import is_same

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
