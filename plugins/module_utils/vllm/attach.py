# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Whether what listens on vLLM's port is vLLM, and what it serves (the page: detected on localhost:8000; upstream-facts N26)."""

from __future__ import annotations

import http.client
from typing import Any

from ..endpoint.models import context_window
from ..transport.client import NotAnswering, get_json
from ..untrusted import list_of, object_of

# Upstream gives the question 5 s; a vLLM under load answers its models list at once.
_LIMIT_S = 5.0
# vLLM writes this into every entry (entrypoints/openai/protocol.py, ModelCard), llama.cpp "llamacpp", Ollama "library".
_OWNER = "vllm"


def find_vllm(port: int, limit_s: float = _LIMIT_S) -> dict[str, Any]:
    """Return C(nemoclaw_host.vllm): C({running, port, models, model, context_window, problem}).

    C(models) are the served ids and C(model) the first of them, as the page takes it. A refused connection is an absent
    server, without a problem; a server that is not vLLM is one with a problem. vLLM with a key keeps its models list to itself
    and tells its version to everybody: it runs, and C(models) is empty.
    """
    url = f"http://127.0.0.1:{port}/v1/models"
    try:
        answer = _get(port, "/v1/models", limit_s)
    except ConnectionRefusedError:
        return _facts(False, port)
    except NotAnswering as error:
        if error.status == http.client.UNAUTHORIZED and _has_version(port, limit_s):
            return _facts(True, port)
        return _facts(
            False, port, problem=f"Asked {url} for vLLM's models, but {error}: another server may hold the port."
        )
    except OSError as error:
        return _facts(False, port, problem=f"Asked {url} for vLLM's models within {limit_s:g} s, but: {error}.")
    entries = [entry for entry in map(object_of, list_of(answer.get("data"))) if entry.get("id")]
    owners = sorted({str(entry.get("owned_by")) for entry in entries})
    if _OWNER not in owners:
        whose = ", ".join(owners) or "nobody"
        problem = f"Asked {url} for vLLM's models, and the server there is not vLLM (its models are owned by {whose})."
        return _facts(False, port, problem=problem)
    return _facts(True, port, entries)


def _get(port: int, path: str, limit_s: float) -> dict[str, Any]:
    return get_json(http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s), path, limit_s)


def _has_version(port: int, limit_s: float) -> bool:
    """Tell whether it answers vLLM's own question, which other servers with a key do not (llama.cpp: 401, Ollama: /api/version)."""
    try:
        return isinstance(_get(port, "/version", limit_s).get("version"), str)
    except (OSError, NotAnswering):
        return False


def _facts(
    running: bool, port: int, entries: list[dict[str, Any]] | None = None, problem: str | None = None
) -> dict[str, Any]:
    entries = entries or []
    return {
        "running": running,
        "port": port,
        "models": [str(entry["id"]) for entry in entries],
        "model": str(entries[0]["id"]) if entries else None,
        "context_window": context_window(entries[0]) if entries else None,
        "problem": problem,
    }
