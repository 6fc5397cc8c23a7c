# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What there is of Ollama at an address, as people write it: the program, the daemon, who listens, the models it has and has loaded."""

from __future__ import annotations

import re
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.sockets import find_listeners
from .client import find_ollama_client
from .daemon import QUESTION_LIMIT, Address, Daemon, capabilities, identify, loaded_models

DEFAULT_PORT = 11434
_HOST = re.compile(r"(?:http://)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?/?")
# Seconds for all models together; /api/show takes a few milliseconds each where the model files are not on a slow disk.
_CAPABILITIES_LIMIT = 15.0


def parse_address(text: str) -> Address:
    """Return the address of C(HOST), C(HOST:PORT), C([IPV6]:PORT), with or without C(http://) before it.

    Raises:
        Failure: C(ollama_host_invalid).

    """
    found = _HOST.fullmatch(text.strip())
    port = int((found and found["port"]) or DEFAULT_PORT)
    if not found or not 1 <= port <= 65_535:
        raise Failure(
            "ollama_host_invalid",
            f"The address {text!r} of the Ollama daemon cannot be read. Write it like 127.0.0.1:11434: a host name or an IP "
            "address, and a port from 1 to 65535. Ollama's own API is plain HTTP without a path.",
        )
    return Address(found["six"] or found["name"], port)


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
