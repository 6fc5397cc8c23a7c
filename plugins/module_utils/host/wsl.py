# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""WSL: what it is, and how this Linux reaches the Windows that it runs on."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from .machine import Machine
from .platform import KERNEL_RELEASE, read_platform
from .sockets import is_of_this_host

# What Docker Desktop calls Windows, in containers and in WSL (page, WSL with Windows-Host Ollama).
WINDOWS_HOST = "host.docker.internal"
# Where WSL registers Windows programs with the kernel; the second name is that of distributions that systemd runs.
INTEROP_ENTRIES = ("/proc/sys/fs/binfmt_misc/WSLInterop", "/proc/sys/fs/binfmt_misc/WSLInterop-late")
_INTEROP_OF_ALL = "/proc/sys/fs/binfmt_misc/status"
_ROUTES = "/proc/net/route"
_NO_ADDRESS = "00000000"
_WSLINFO_LIMIT_S = 2.0


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
    for host in ways_to_windows(machine, mode):
        with contextlib.suppress(OSError):
            address = (resolve or socket.gethostbyname)(host)
            if mode == "mirrored" or not is_of_this_host(address):
                port = f":{parts.port}" if parts.port else ""
                return parts._replace(netloc=f"{host}{port}").geturl()
    return url


def default_gateway(table: str | None) -> str | None:
    """Return the IPv4 gateway of the default route of a /proc/net/route text: with NAT that is Windows."""
    for line in (table or "").splitlines():
        fields = line.split()
        is_default = len(fields) > 3 and fields[1] == _NO_ADDRESS
        if is_default and fields[2] != _NO_ADDRESS and re.fullmatch(r"[0-9A-F]{8}", fields[2]):
            return socket.inet_ntoa(struct.pack("<I", int(fields[2], 16)))
    return None


def ways_to_windows(machine: Machine, mode: str | None) -> list[str]:
    """Return the names and addresses that may reach Windows, the page's first."""
    if mode == "mirrored":
        return [WINDOWS_HOST, "127.0.0.1"]
    gateway = default_gateway(machine.read(_ROUTES))
    return [WINDOWS_HOST, gateway] if gateway else [WINDOWS_HOST]


def _runs_windows_programs(machine: Machine) -> bool:
    if (machine.read(_INTEROP_OF_ALL) or "enabled").strip() != "enabled":
        return False
    return any((machine.read(path) or "").startswith("enabled") for path in INTEROP_ENTRIES)
