# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether a model server can be reached past its auth proxy, by the sockets of the host: nothing else tells (decision 0021, D5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..failure import Failure
from .machine import Machine
from .sockets import find_listeners

_DOCKER_PROXY = "docker-proxy"
# What servers take their address from: Ollama its environment, vLLM and llama.cpp an option.
_ADDRESS_VARIABLE = "OLLAMA_HOST"
_ADDRESS_OPTION = "--host"


def open_listeners(listeners: Iterable[dict[str, Any]], has_gate: bool = True) -> list[dict[str, Any]]:
    """Return the listeners (of C(find_listeners)) through which others than this host reach a server.

    Behind an auth proxy, that is every address but loopback: sandboxes come through the auth proxy. Without one they come by the bridge's
    address, so only what listens on all addresses counts.
    """
    return [one for one in listeners if one["scope"] == "any" or (has_gate and one["scope"] == "address")]


def require_loopback(machine: Machine, port: int, has_gate: bool = True) -> None:
    """Let no server pass that is open to the network.

    Raises:
        Failure: C(engine_exposed), naming the addresses, who listens, and why it does as far as this process may see.

    """
    found = open_listeners(find_listeners(machine, [port]), has_gate)
    if found:
        raise exposed(machine, port, found)


def exposed(machine: Machine, port: int, found: list[dict[str, Any]]) -> Failure:
    """Return what is wrong with a port whose listeners C(found) are open to the network, and what to do."""
    where = ", ".join(dict.fromkeys(str(one["address"]) for one in found))
    first = found[0]
    process = f"{first['process']} (process {first['pid']})" if first["pid"] else "a process"
    causes = [cause for cause in (_cause(machine, one) for one in found) if cause]
    return Failure(
        "engine_exposed",
        f"Port {port} is open to the network, past the token of any proxy: {process} of the user {first['user'] or first['uid']} "
        f"listens on {where}. {' '.join(dict.fromkeys(causes)) or _UNSEEN} {_remedy(first)}",
        listeners=found,
    )


def tell_openness(listeners: Iterable[dict[str, Any]] | None, ports: Iterable[int]) -> str:
    """Return in words who is open to the network on these ports right now, where nobody is going to close it.

    Args:
        listeners: Those of the host, None where they cannot be seen.
        ports: Of the servers that a proxy would stand before.

    """
    shown = " or ".join(map(str, sorted(ports)))
    if listeners is None:
        return f"Who listens could not be seen: look with ss -ltn whether port {shown} is open to the network."
    found = [one for one in listeners if one["port"] in ports and one["scope"] != "loopback"]
    if not found:
        return f"Nothing on port {shown} is open to the network right now."
    one = found[0]
    return (
        f"Port {one['port']} is open to the network right now, without a token: {one['process'] or 'a process'} of the user "
        f"{one['user'] or one['uid']} listens on {', '.join(dict.fromkeys(each['address'] for each in found))}. Stop it, and start it on "
        f"127.0.0.1 alone; Ollama listens there where its environment has {_ADDRESS_VARIABLE}=127.0.0.1:{one['port']}."
    )


_UNSEEN = "Why it does cannot be seen by this user."


def _cause(machine: Machine, listener: dict[str, Any]) -> str | None:
    """Return why the process listens there, by what it was started with; None where that is not to be seen."""
    pid = listener["pid"]
    if pid is None:
        return None
    arguments = _words(machine, f"/proc/{pid}/cmdline")
    if listener["process"] == _DOCKER_PROXY:
        to = arguments[arguments.index("-container-ip") + 1] if "-container-ip" in arguments[:-1] else "unknown"
        return f"It is a port that Docker publishes for the container at {to} (docker ps --filter publish={listener['port']})."
    unit = _unit(machine, pid)
    told = [f"{word}" for word in _words(machine, f"/proc/{pid}/environ") if word.startswith(f"{_ADDRESS_VARIABLE}=")]
    for number, word in enumerate(arguments):
        if word == _ADDRESS_OPTION and number + 1 < len(arguments):
            told.append(f"{word} {arguments[number + 1]}")
        elif word.startswith(f"{_ADDRESS_OPTION}="):
            told.append(word)
    return f"It runs in {unit or 'no service'} and was started with {' and '.join(told) or 'no address of its own'}."


def _remedy(listener: dict[str, Any]) -> str:
    port = listener["port"]
    if listener["process"] == _DOCKER_PROXY:
        return f"Publish it on 127.0.0.1 alone (-p 127.0.0.1:{port}:...)."
    if str(listener["process"] or "").startswith("ollama") or listener["user"] == "ollama":
        return "The playbook nemoclaw.local_inference.site, or the role proxy, brings it back to 127.0.0.1 where that is possible."
    return f"Start it on 127.0.0.1 alone (vLLM: --host 127.0.0.1; Ollama: OLLAMA_HOST=127.0.0.1:{port})."


def _words(machine: Machine, path: str) -> list[str]:
    try:
        content = machine.path(path).read_bytes()
    except OSError:
        return []
    return [word for word in content.decode("utf-8", "replace").split("\0") if word]


def _unit(machine: Machine, pid: int) -> str | None:
    """Return the service that a process runs in, by its control group."""
    for line in (machine.read(f"/proc/{pid}/cgroup") or "").splitlines():
        services = [part for part in line.rpartition(":")[2].split("/") if part.endswith(".service")]
        if services:
            return services[-1]
    return None
