# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which models a server says it serves, and how much context each has."""

from __future__ import annotations

import difflib
from typing import Any

from ..failure import Failure, quote
from ..untrusted import list_of, object_of

# Most names that an error message lists.
_SHOWN = 20

# Where the context size stands in an entry: vLLM, llama.cpp (the served size, not the trained one), LM Studio, routers.
_CONTEXT_FIELDS = ("max_model_len", "loaded_context_length", "context_length", "context_window", "max_context_length")


def entries(content: dict[str, Any], url: str) -> list[dict[str, Any]]:
    """Return the entries of a models list, each a dictionary with an C(id).

    Raises:
        Failure: C(wrong_shape) for JSON that is no such list. Ollama without a model sends C(null) for it.

    """
    if "data" not in content:
        raise Failure("wrong_shape", f"{url} answered with JSON that is not a list of models. Check the base URL.")
    return [entry for entry in map(object_of, list_of(content.get("data"))) if entry.get("id")]


def choose(model: str | None, served: list[dict[str, Any]], url: str, key: str) -> dict[str, Any]:
    """Return the entry of the model to use; without a name, the only one there is.

    Raises:
        Failure: C(no_models), C(model_ambiguous), C(model_not_served); the last two with C(served_models).

    """
    names = [quote(str(entry["id"]), key) for entry in served]
    if not names:
        raise Failure("no_models", f"{url} lists no models. Load a model into the server, then run this again.")
    if not model:
        if len(names) == 1:
            return served[0]
        raise Failure(
            "model_ambiguous",
            f"The server serves {len(names)} models and none was named. Set nemoclaw_model to one of: {_listing(names)}.",
            served_models=names,
        )
    for entry in served:
        # Ollama's and Gemini's lists have more of the name than requests need.
        names_of_entry = (entry["id"], *list_of(entry.get("aliases")))
        if any(name in names_of_entry for name in (model, f"{model}:latest", f"models/{model}")):
            return entry
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(model.lower(), by_lower, n=1)
    meant = f" Did you mean {by_lower[near[0]]}?" if near else ""
    raise Failure(
        "model_not_served",
        f"The server does not serve the model {model!r}. It serves: {_listing(names)}.{meant} Set nemoclaw_model to one of these, or load "
        f"that model into the server.",
        served_models=names,
    )


def has_patterns(served: list[dict[str, Any]]) -> bool:
    """Tell whether a router lists patterns instead of names, C(openai/*): then the list does not say what is served."""
    return any("*" in str(entry["id"]) for entry in served)


def context_window(entry: dict[str, Any]) -> int | None:
    """Return the context size in tokens that an entry states, None when it states none."""
    stated = [object_of(entry.get("meta")).get("n_ctx"), *(entry.get(field) for field in _CONTEXT_FIELDS)]
    return next(filter(None, map(_tokens, stated)), None)


def context_source(entry: dict[str, Any]) -> str | None:
    """Return the path, from the server's root, that states the context of a server whose list does not."""
    return {"llamacpp": "/props", "library": "/api/ps"}.get(str(entry.get("owned_by")))


def context_from_source(content: dict[str, Any], model: str) -> int | None:
    """Return the context size from llama.cpp's C(/props) or from Ollama's list of loaded models."""
    value = object_of(content.get("default_generation_settings")).get("n_ctx")
    for loaded in map(object_of, list_of(content.get("models"))):
        if model in (loaded.get("name"), loaded.get("model")):
            value = loaded.get("context_length")
    return _tokens(value)


def _tokens(value: Any) -> int | None:
    """Return a number of tokens; JSON's true is no number, though Python thinks so."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _listing(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


# upstream-facts P2: OpenClaw's floor; below it the agent's own prompt leaves no room for work.
CONTEXT_FLOOR = 16384
