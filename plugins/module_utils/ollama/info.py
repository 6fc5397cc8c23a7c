# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What there is of Ollama on a host: the program, the daemon, who listens, which models it has and which are loaded."""

from __future__ import annotations

from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.sockets import find_listeners
from .client import find_ollama_client
from .daemon import QUESTION_LIMIT, Address, Daemon, capabilities, identify, loaded_models

# Seconds for all models together; /api/show takes a few milliseconds each where the model files are not on a slow disk.
_CAPABILITIES_LIMIT = 15.0


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


def _with_owner(message: str, listeners: list[dict[str, Any]]) -> str:
    """Return the sentence with the program that holds the port, where the kernel tells it to us."""
    names = sorted({f"{one['process']} (process {one['pid']})" for one in listeners if one["process"]})
    return f"{message} The port is held by {' and '.join(names)}." if names else message
