# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a Linux inside Windows is: its version, its way to Windows programs, its network, and the Ollama on the Windows side.

Nothing here decides how sandboxes reach a server: a name that the WSL shell resolves says nothing about containers, and the
other way round (NemoClaw #8127). The sandbox_probe module finds that out.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .machine import Machine
from .platform import (
    KERNEL_RELEASE,
    read_platform,
)
from .sockets import find_listeners
from .tools import ask_ollama_daemon

# What Docker Desktop calls Windows, in containers and in WSL (page, WSL with Windows-Host Ollama).
WINDOWS_HOST = "host.docker.internal"
# Where WSL registers Windows programs with the kernel; the second name is that of distributions that systemd runs.
INTEROP_ENTRIES = ("/proc/sys/fs/binfmt_misc/WSLInterop", "/proc/sys/fs/binfmt_misc/WSLInterop-late")
_INTEROP_OF_ALL = "/proc/sys/fs/binfmt_misc/status"
_ROUTES = "/proc/net/route"
_NO_ADDRESS = "00000000"
_WSLINFO_LIMIT_S = 2.0

AskDaemon = Callable[..., "tuple[str | None, str | None]"]


class Side(NamedTuple):
    """The Ollama of Windows: C(HOST:PORT) where WSL reaches it, its version, and what is wrong; each None without one."""

    host: str | None = None
    daemon_version: str | None = None
    problem: str | None = None


def read_wsl(machine: Machine) -> dict[str, Any]:
    """Return version, name, networking mode and interop, None where it cannot be known.

    The mode decides which addresses reach Windows (microsoft/WSL issue 12626), and only C(wslinfo) tells it.
    """
    release = (machine.read(KERNEL_RELEASE) or "").strip()
    mode = None
    wslinfo = machine.find_command("wslinfo")
    if wslinfo is not None:
        answer = machine.run([wslinfo, "--networking-mode"], _WSLINFO_LIMIT_S)
        word = answer.output.strip().lower()
        mode = word if answer.code == 0 and re.fullmatch(r"[a-z]+", word) else None
    return {
        # WSL 1 kernels end in -Microsoft (4.4.0-19041-Microsoft); WSL 2 has its own, microsoft-standard by default.
        "version": 1 if release.endswith("-Microsoft") else 2,
        "distro": machine.environ.get("WSL_DISTRO_NAME") or None,
        "networking_mode": mode,
        "interop": _runs_windows_programs(machine),
    }


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
    for host in _ways_to_windows(machine, mode):
        try:
            address = (resolve or socket.gethostbyname)(host)
        except OSError:
            problems.append(f"{host} does not resolve in this Linux.")
            continue
        if not is_shared and _is_own(address):
            problems.append(f"{host} resolves to this Linux itself ({address}), not to Windows.")
            continue
        version, problem = ask(port, 1.0, host)
        if version is not None:
            return Side(f"{host}:{port}", version)
        problems.append(problem or f"Nothing answers at {host}:{port}.")
    return Side(problem=" ".join(problems) or None)


def reach_windows(machine: Machine, url: str, resolve: Any = None) -> str:
    """Return the URL of a route as this Linux reaches it now.

    A route to Windows is recorded by the name that its containers know. Where this Linux does not know it (NemoClaw #8127), the
    address behind NAT takes its place, which Windows gives out anew at each start: so it is looked up, and recorded nowhere.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a record that somebody edited: who asks it says what is wrong
        return url
    if parts.hostname != WINDOWS_HOST or read_platform(machine).name != "wsl":
        return url
    mode = read_wsl(machine)["networking_mode"]
    for host in _ways_to_windows(machine, mode):
        with contextlib.suppress(OSError):
            address = (resolve or socket.gethostbyname)(host)
            if mode == "mirrored" or not _is_own(address):
                port = f":{parts.port}" if parts.port else ""
                return parts._replace(netloc=f"{host}{port}").geturl()
    return url


def tell_sides_apart(machine: Machine, ollama: dict[str, Any], windows: Side, port: int, mode: str | None) -> None:
    """Add C(windows) and C(both_running) to the facts of Ollama.

    What 127.0.0.1 answers with mirrored networking may be the daemon of Windows: it is not counted twice.
    """
    if mode == "mirrored" and windows.daemon_version and not find_listeners(machine, [port]):
        ollama["daemon_version"] = None
    ollama["windows"] = windows._asdict()
    ollama["both_running"] = bool(ollama["daemon_version"] and windows.daemon_version)


def default_gateway(table: str | None) -> str | None:
    """Return the IPv4 gateway of the default route of a /proc/net/route text: with NAT that is Windows."""
    for line in (table or "").splitlines():
        fields = line.split()
        is_default = len(fields) > 3 and fields[1] == _NO_ADDRESS
        if is_default and fields[2] != _NO_ADDRESS and re.fullmatch(r"[0-9A-F]{8}", fields[2]):
            return socket.inet_ntoa(struct.pack("<I", int(fields[2], 16)))
    return None


def _ways_to_windows(machine: Machine, mode: str | None) -> list[str]:
    """Return the names and addresses that may reach Windows, the page's first."""
    if mode == "mirrored":
        return [WINDOWS_HOST, "127.0.0.1"]
    gateway = default_gateway(machine.read(_ROUTES))
    return [WINDOWS_HOST, gateway] if gateway else [WINDOWS_HOST]


def _runs_windows_programs(machine: Machine) -> bool:
    if (machine.read(_INTEROP_OF_ALL) or "enabled").strip() != "enabled":
        return False
    return any((machine.read(path) or "").startswith("enabled") for path in INTEROP_ENTRIES)


def _is_own(address: str) -> bool:
    """Tell whether an IPv4 address is one of this Linux: only those can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
