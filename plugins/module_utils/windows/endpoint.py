# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Wait until Ollama on Windows answers where it is wanted, and say what is in the way where it does not."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Callable

from ..failure import Failure
from ..ollama.daemon import Address, Daemon
from ..untrusted import object_of
from . import presence
from .desired import Desired
from .host import Windows
from .presence import ALL, LOOPBACK, Found

Sleep = Callable[[float], None]


def resolves(address: Address) -> bool:
    """Tell whether the WSL shell knows the name at all: host.docker.internal may exist in containers only (upstream 8127)."""
    with contextlib.suppress(OSError, UnicodeError):
        return bool(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    return False


def is_reachable(address: Address) -> bool:
    """Tell whether an Ollama answers there: a list of models and not any page of a portal (upstream 4275)."""
    try:
        answer = Daemon(address).ask("GET", "/api/tags")
    except Failure:
        return False
    return answer.status == 200 and isinstance(object_of(answer.content).get("models"), list)


def wait(windows: Windows, desired: Desired, sleep: Sleep = time.sleep) -> tuple[Found, bool]:
    """Return what is there as soon as it is right, or after the last try, and whether it is right on Windows.

    Where WSL has to reach it and knows the name, it is asked from here, so that a slow firewall prompt has its time too.
    """
    from_here = desired.require_reachable and desired.bind == ALL and resolves(desired.address)
    for number in range(desired.tries):
        if number:
            sleep(desired.interval)
        # A call of PowerShell takes seconds, so it is asked only where the answer from here says nothing.
        if not from_here or is_reachable(desired.address):
            found = windows.look()
            if is_right(found, desired):
                return found, True
    found = windows.look()
    return found, is_right(found, desired)


def is_right(found: Found, desired: Desired) -> bool:
    """Tell whether the daemon answers on Windows and listens where it is wanted."""
    return found.answers and found.bind == desired.bind


def trouble(found: Found, desired: Desired) -> Failure:
    """Return why the daemon is not where it is wanted after the last try."""
    port, seconds = desired.address.port, desired.tries * desired.interval
    look = presence.commands(port)
    if found.running and found.bind != desired.bind:
        return Failure(
            "windows_ollama_bind",
            f"Started Ollama on Windows with OLLAMA_HOST={desired.host}, and it listens on {presence.holders(found.daemons)}. Another "
            "setting wins there: the switch 'Expose Ollama to the network' in the app's settings, or OLLAMA_HOST of the machine "
            f"({found.machine_variable or 'not set'}). Look by the commands of failure.diagnosis.",
            diagnosis=look,
        )
    if found.running:
        return Failure(
            "windows_ollama_no_answer",
            f"Ollama on Windows listens on {presence.holders(found.daemons)}, and Windows itself gets no answer from it. Look at its log "
            "by the commands of failure.diagnosis, in PowerShell on Windows, and restart it there.",
            diagnosis=look,
        )
    names = ", ".join(sorted({str(one.get("name")) for one in found.processes})) or "no process of it"
    return Failure(
        "windows_ollama_not_started",
        f"Started Ollama on Windows ({found.path}) and waited {seconds:g} s: nothing listens on port {port} there. Now runs: {names}. "
        "Look at its log by the commands of failure.diagnosis, in PowerShell on Windows.",
        diagnosis=look,
    )


def check_way(found: Found, desired: Desired, reachable: bool) -> list[str]:
    """Return what has to be said about the way from WSL to a daemon that is right on Windows.

    Raises:
        Failure: C(windows_firewall), where it listens on every address and the way is closed all the same, and
            C(windows_ollama_no_answer), where Windows itself gets no answer.

    """
    if reachable:
        return []
    if not found.answers:
        raise trouble(found, desired)
    if found.bind == LOOPBACK:
        return [
            f"Ollama on Windows listens on its loopback only, so WSL behind NAT does not reach {desired.address}. Containers of Docker "
            "Desktop do: whether they do here, only a probe from a container can tell."
        ]
    if not resolves(desired.address):
        return [
            f"The name {desired.address.host} cannot be resolved in WSL, so nothing was asked from here. It may exist in containers "
            "alone: a probe from a container can tell."
        ]
    port = desired.address.port
    command = presence.firewall_commands(port)[-1]
    if not desired.require_reachable:
        return [
            f"WSL gets no answer from {desired.address}, which the Windows firewall may keep from it. A probe from a container can tell "
            f"whether containers do. This opens the port for WSL, in PowerShell as administrator: {command} (with mirrored "
            f"networking: {presence.hyper_v_command(port)})."
        ]
    raise Failure(
        "windows_firewall",
        f"Ollama answers on Windows and listens on {presence.holders(found.daemons)}, and WSL gets no answer from {desired.address}. The "
        "Windows firewall, or that of another vendor, is in the way: open the port for WSL in PowerShell as administrator by the "
        "command failure.firewall_command (with mirrored networking, by the last one of failure.diagnosis), and run the play again.",
        diagnosis=[*presence.commands(port), *presence.firewall_commands(port), presence.hyper_v_command(port)],
        firewall_command=command,
    )
