# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The Ollama of Windows beside that of WSL, as far as this Linux can see it without PowerShell."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from ..host.machine import Machine
from ..host.sockets import find_listeners, is_of_this_host
from ..host.wsl import ways_to_windows
from .client import ask_ollama_daemon

AskDaemon = Callable[..., "tuple[str | None, str | None]"]


class Side(NamedTuple):
    """The Ollama of Windows: C(HOST:PORT) where WSL reaches it, its version, and what is wrong; each None without one."""

    host: str | None = None
    daemon_version: str | None = None
    problem: str | None = None


def find_windows_ollama(
    machine: Machine, port: int, mode: str | None, ask: AskDaemon = ask_ollama_daemon, resolve: Any = None
) -> Side:
    """Return the Ollama of Windows, as far as WSL reaches it.

    With mirrored networking both sides share their addresses and ports: what answers is Windows' own where no process of
    this Linux listens. Otherwise an address of this Linux is never Windows.

    Args:
        machine: The host to look at.
        port: Ollama's port.
        mode: The networking mode.
        ask: What asks a daemon for its version, by port, seconds and host.
        resolve: What gives the IPv4 address of a name, or raises OSError; by default the resolver.

    """
    is_shared = mode == "mirrored"
    if is_shared and find_listeners(machine, [port]):
        return Side(
            problem=f"With mirrored networking Windows and WSL share port {port}, and a process of this Linux holds it."
        )
    problems = []
    for host in ways_to_windows(machine, mode):
        try:
            address = (resolve or socket.gethostbyname)(host)
        except OSError:
            problems.append(f"{host} does not resolve in this Linux.")
            continue
        if not is_shared and is_of_this_host(address):
            problems.append(f"{host} resolves to this Linux itself ({address}), not to Windows.")
            continue
        version, problem = ask(port, 1.0, host)
        if version is not None:
            return Side(f"{host}:{port}", version)
        problems.append(problem or f"Nothing answers at {host}:{port}.")
    return Side(problem=" ".join(problems) or None)


def tell_sides_apart(machine: Machine, ollama: dict[str, Any], windows: Side, port: int, mode: str | None) -> None:
    """Add C(windows) and C(both_running) to the facts of Ollama.

    What 127.0.0.1 answers with mirrored networking may be the daemon of Windows: it is not counted twice.
    """
    if mode == "mirrored" and windows.daemon_version and not find_listeners(machine, [port]):
        ollama["daemon_version"] = None
    ollama["windows"] = windows._asdict()
    ollama["both_running"] = bool(ollama["daemon_version"] and windows.daemon_version)
