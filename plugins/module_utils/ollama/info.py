# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What there is of Ollama on a host: the program, the daemon, who listens, which models it has and which are loaded."""

from __future__ import annotations

import re
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.sockets import find_listeners
from ..host.tools import find_ollama_client
from ..untrusted import list_of, object_of
from .daemon import (
    QUESTION_LIMIT,
    Address,
    Daemon,
)
from .names import is_same

# Seconds for all models together; /api/show takes a few milliseconds each where the model files are not on a slow disk.
_CAPABILITIES_LIMIT = 15.0
# The path of a blob, with a dash or a colon after the algorithm by version. Adapters have lines of their own.
_FROM = re.compile(r"^FROM .*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)


def describe(machine: Machine, account: Account, address: Address, limit: float = QUESTION_LIMIT) -> dict[str, Any]:
    """Return the facts that the RETURN block of the ollama_info module documents; never raises for what it meets."""
    client = find_ollama_client(machine, account)
    listeners = find_listeners(machine, [address.port]) if address.is_loopback else []
    found: dict[str, Any] = {
        "installed": client["path"] is not None,
        "path": client["path"],
        "running": False,
        "version": {"client": client["version"], "daemon": None},
        "listeners": listeners,
        "loopback_only": all(one["scope"] == "loopback" for one in listeners) if listeners else None,
        "foreign": None,
        "models": [],
        "loaded": [],
        "problems": [client["problem"]] if client["problem"] else [],
    }
    daemon = Daemon(address, limit)
    try:
        version, tags = identify(daemon)
        found["running"] = True
        found["version"]["daemon"] = version
        found["models"] = [{**model, "capabilities": None} for model in tags]
        found["loaded"] = loaded_models(daemon)
        _add_capabilities(daemon, found)
    except Failure as failure:
        if failure.code == "not_ollama":
            found["foreign"] = {"message": _with_owner(failure.message, listeners), **failure.details}
        if failure.code != "ollama_not_running":
            found["problems"].append(_with_owner(failure.message, listeners))
    return found


def identify(daemon: Daemon) -> tuple[str, list[dict[str, Any]]]:
    """Return the version of a daemon and its models, each C({name, size, digest, parameter_size, quantization}).

    A reachable port proves nothing: it is Ollama when C(/api/version) names a version and C(/api/tags) has an array
    C(models), be it empty (upstream 4275).

    Raises:
        Failure: C(not_ollama) with what answers instead, or a code of Daemon.ask().

    """
    version, tags = daemon.ask("GET", "/api/version"), daemon.ask("GET", "/api/tags")
    name, models = object_of(version.content).get("version"), object_of(tags.content).get("models")
    if version.status == tags.status == 200 and isinstance(name, str) and isinstance(models, list):
        return name, [_model(one) for one in map(object_of, models) if isinstance(one.get("name"), str)]
    seen = f"GET /api/tags gave HTTP {tags.status} " + (
        "with JSON that has no array 'models'" if tags.content is not None else "without JSON"
    )
    called = f" and calls itself {tags.server!r}" if tags.server else ""
    raise Failure(
        "not_ollama",
        f"What listens on {daemon} is not Ollama: {seen}{called}. Another server holds the port: stop it, or give Ollama "
        "another port.",
        status=tags.status,
        server=tags.server or None,
    )


def loaded_models(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what is in memory: C({name, digest, size, size_vram, context_length, expires_at}), unknown values None.

    Old daemons name no context length (0.9.3 has none).

    Raises:
        Failure: A code of Daemon.ask().

    """
    content = daemon.ask("GET", "/api/ps").content
    return [
        {
            "name": one["name"],
            "digest": one.get("digest"),
            "size": _count(one.get("size")),
            "size_vram": _count(one.get("size_vram")),
            "context_length": _count(one.get("context_length")) or None,
            "expires_at": one.get("expires_at"),
        }
        for one in map(object_of, list_of(object_of(content).get("models")))
        if isinstance(one.get("name"), str)
    ]


def capabilities(daemon: Daemon, model: str) -> list[str] | None:
    """Return what a model can do (C(completion), C(tools), C(vision)...), None where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    found = object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("capabilities")
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else None


def model_details(daemon: Daemon, model: str) -> dict[str, Any]:
    """Return C(model_info), the metadata of a model's file; empty where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    return object_of(object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("model_info"))


def find_loaded(daemon: Daemon, model: str, digest: str | None) -> dict[str, Any] | None:
    """Return the entry of loaded_models() that serves a model, None where none does.

    Models that share their weights share a runner, and C(/api/ps) shows it by the name and the digest that it was loaded under: what
    C(ollama cp) made has the same digest, what C(FROM) made with another C(SYSTEM) the same file of weights.

    Raises:
        Failure: A code of Daemon.ask().

    """
    loaded = loaded_models(daemon)
    for entry in loaded:
        if is_same(entry["name"], model):
            return entry
    for entry in loaded:
        if digest is not None and entry["digest"] == digest:
            return entry
    weights = weights_of(daemon, model) if loaded else None
    return next((one for one in loaded if weights and weights_of(daemon, one["name"]) == weights), None)


def weights_of(daemon: Daemon, model: str) -> str | None:
    """Return the digest of a model's weights, from the C(FROM) of its Modelfile; None where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    text = object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("modelfile")
    found = _FROM.search(text) if isinstance(text, str) else None
    return found[1] if found else None


def _add_capabilities(daemon: Daemon, found: dict[str, Any]) -> None:
    deadline = Deadline(_CAPABILITIES_LIMIT)
    for model in found["models"]:
        if not deadline.remaining:
            found["problems"].append(
                f"Asking {daemon} for the capabilities of its models took longer than {_CAPABILITIES_LIMIT:g} s: those from "
                f"{model['name']} on are not known."
            )
            return
        model["capabilities"] = capabilities(daemon, model["name"])


def _model(tag: dict[str, Any]) -> dict[str, Any]:
    details = object_of(tag.get("details"))
    return {
        "name": tag["name"],
        "size": _count(tag.get("size")),
        "digest": tag.get("digest"),
        "parameter_size": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
    }


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _with_owner(message: str, listeners: list[dict[str, Any]]) -> str:
    """Return the sentence with the program that holds the port, where the kernel tells it to us."""
    names = sorted({f"{one['process']} (process {one['pid']})" for one in listeners if one["process"]})
    return f"{message} The port is held by {' and '.join(names)}." if names else message
