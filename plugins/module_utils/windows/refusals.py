# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is refused before anything on Windows is changed, and what is only said."""

from __future__ import annotations

from typing import Any

from ..failure import Failure
from ..ollama.names import is_older
from . import presence
from .desired import Desired
from .presence import Found

# Windows programs that hold a port for somebody else, and who that is.
_RELAYS = {
    "wslrelay": "It hands the port on to a server inside WSL, most likely an Ollama there: stop that one (systemctl stop ollama), "
    "or take it by the provider ollama. Only one Ollama can have the port (page, WSL with Windows-Host Ollama).",
    "com.docker.backend": "It publishes the port of a container: look at 'docker ps', and stop the container or give it another port.",
    "svchost": "It may be a forwarding rule: look at 'netsh interface portproxy show all' on Windows.",
}


def check(found: Found, desired: Desired) -> list[str]:
    """Return what has to be said of what is there.

    Raises:
        Failure: C(windows_port_taken), C(windows_ollama_not_installed), C(windows_ollama_other_user),
            C(windows_ollama_too_old), C(windows_restart_needed).

    """
    _refuse_strangers(found, desired)
    # One that is this user's is upgraded.
    if desired.state != "installed" or found.foreign or not found.installed:
        refuse_old(found, desired)
    if found.running:
        return _check_running(found, desired)
    _refuse_restart(found, desired)
    if found.installed:
        return []
    others = _others(found)
    if desired.state != "installed":
        raise _missing(others)
    if not others:
        return []
    return [f"Ollama is installed on Windows for {others} too. Each user has an installation and models of their own."]


def is_old(found: Found, desired: Desired) -> bool:
    """Tell whether what is there is below the minimum; one that does not tell its version is not."""
    return bool(desired.minimum_version and found.version and is_older(found.version, desired.minimum_version))


def refuse_old(found: Found, desired: Desired) -> None:
    """Refuse a release that is too old.

    Raises:
        Failure: C(windows_ollama_too_old).

    """
    if not is_old(found, desired):
        return
    whose = "another user's" if found.foreign else "this user's"
    raise Failure(
        "windows_ollama_too_old",
        f"Ollama on Windows ({whose}) is {found.version}, and {desired.minimum_version} is the least that will do (minimum_version, "
        "ollama_minimum_version in the role): older ones give tool calls back as text. Upgrade it there by its installer (irm "
        "https://ollama.com/install.ps1 | iex in PowerShell) or by the app's own update, or use state=installed (provider "
        "install-windows-ollama), which upgrades this user's. An installer of your own has to bring a release that is new enough.",
        version=found.version,
        diagnosis=presence.commands(desired.address.port),
    )


def _refuse_restart(found: Found, desired: Desired) -> None:
    """Refuse to stop a daemon that listens elsewhere, where a restart was not asked for."""
    if not found.elsewhere or desired.state != "running":
        return
    raise Failure(
        "windows_restart_needed",
        f"Ollama of {found.user} runs on Windows (process {found.elsewhere[0].get('pid')}) and does not listen on port "
        f"{desired.address.port}: it may listen on another one, or not yet. state=running leaves a daemon that runs alone, since a restart "
        "takes its models out of memory: use state=restarted, or give its port by the option port (ollama_port in the role).",
        diagnosis=presence.commands(desired.address.port),
    )


def _refuse_strangers(found: Found, desired: Desired) -> None:
    taken = found.shadows if found.running else found.strangers
    if not taken:
        return
    beside = " beside Ollama, so that what is sent to Windows' loopback does not reach Ollama" if found.running else ""
    raise Failure(
        "windows_port_taken",
        f"Port {desired.address.port} on Windows is taken by another program{beside}: {presence.holders(taken)}. It was not touched. "
        + (
            _hints(taken)
            or "End it or move it to another port, or give Ollama another one by the option port (ollama_port in the role)."
        ),
        diagnosis=presence.commands(desired.address.port),
        listeners=taken,
    )


def _hints(listeners: list[dict[str, Any]]) -> str:
    names = [str(one.get("process") or "").lower() for one in listeners]
    return " ".join(dict.fromkeys(_RELAYS[name] for name in names if name in _RELAYS))


def _check_running(found: Found, desired: Desired) -> list[str]:
    holders = presence.holders(found.daemons)
    if found.bind != desired.bind and found.foreign:
        raise Failure(
            "windows_ollama_other_user",
            f"Ollama on Windows listens on {holders} and belongs to another user or to a service, not to {found.user}, so it can neither "
            f"be stopped nor bound to {desired.host} from here. Have its owner quit it, or set OLLAMA_HOST={desired.host} and restart it.",
            diagnosis=presence.commands(desired.address.port),
        )
    if found.bind != desired.bind and desired.state == "running":
        raise Failure(
            "windows_restart_needed",
            f"Ollama on Windows runs and listens on {holders}, and {desired.host} is wanted. state=running leaves a daemon that runs "
            "alone, since a restart takes its models out of memory: use state=restarted, or bind it otherwise.",
            diagnosis=presence.commands(desired.address.port),
        )
    said = []
    if found.foreign:
        said.append(
            f"The Ollama that listens on Windows ({holders}) belongs to another user, a service or an administrator's session, not to "
            f"{found.user}. It is used as it is, and its OLLAMA_HOST is left alone."
        )
    if found.strangers:
        said.append(
            f"Beside Ollama, another program listens on that port of Windows: {presence.holders(found.strangers)}. Requests to its "
            f"address do not reach Ollama. {_hints(found.strangers)}".strip()
        )
    return said


def _others(found: Found) -> str:
    # Windows tells nobody but an administrator whose the processes of others are.
    owners = {
        str(one.get("owner") or "").rpartition("\\")[2] or "unknown" for one in found.processes if not one.get("mine")
    }
    return ", ".join(sorted({str(one.get("user")) for one in found.others} | owners))


def _missing(others: str) -> Failure:
    if others:
        return Failure(
            "windows_ollama_other_user",
            f"Looked for Ollama on Windows and found one of another user ({others}), which this one cannot start: each user has an "
            "installation of their own. Run WSL as that Windows user, or use state=installed (provider install-windows-ollama).",
            diagnosis=["Get-ChildItem C:\\Users\\*\\AppData\\Local\\Programs\\Ollama"],
        )
    return Failure(
        "windows_ollama_not_installed",
        "Looked for Ollama on Windows by its command, its processes, in the known folders and in the registry, and found none. Use "
        "state=installed (provider install-windows-ollama), or install it on Windows: irm https://ollama.com/install.ps1 | iex",
        diagnosis=["Get-Command ollama.exe", 'Get-ChildItem "$env:LOCALAPPDATA\\Programs\\Ollama"'],
    )
