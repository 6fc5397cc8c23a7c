# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is refused before anything on Windows is changed, and what is only said."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows import diagnosis
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.presence import Found
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.wish import Wish

# Windows programs that hold a port for somebody else, and who that is.
_RELAYS = {
    "wslrelay": "It hands the port on to a server inside WSL, most likely an Ollama there: stop that one (systemctl stop ollama), "
    "or take it by the provider ollama. Only one Ollama can have the port (page, WSL with Windows-Host Ollama).",
    "com.docker.backend": "It publishes the port of a container: look at 'docker ps', and stop the container or give it another port.",
    "svchost": "It may be a forwarding rule: look at 'netsh interface portproxy show all' on Windows.",
}


def check(found: Found, wish: Wish) -> list[str]:
    """Return what has to be said of what is there.

    Raises:
        Failure: C(windows_port_taken), C(windows_ollama_not_installed), C(windows_ollama_other_user),
            C(windows_restart_needed).

    """
    _refuse_strangers(found, wish)
    if found.running:
        return _check_running(found, wish)
    if found.installed:
        return []
    others = _others(found)
    if wish.state != "installed":
        raise _missing(others)
    if not others:
        return []
    return [f"Ollama is installed on Windows for {others} too. Each user has an installation and models of their own."]


def _refuse_strangers(found: Found, wish: Wish) -> None:
    if found.running or not found.strangers:
        return
    raise Failure(
        "windows_port_taken",
        f"Port {wish.address.port} on Windows is taken by another program: {diagnosis.holders(found.strangers)}. It was not touched. "
        + (_hints(found) or "End it or move it to another port, or give Ollama another one by the option port."),
        diagnosis=diagnosis.commands(wish.address.port),
        listeners=found.strangers,
    )


def _hints(found: Found) -> str:
    names = [str(one.get("process") or "").lower() for one in found.strangers]
    return " ".join(dict.fromkeys(_RELAYS[name] for name in names if name in _RELAYS))


def _check_running(found: Found, wish: Wish) -> list[str]:
    holders = diagnosis.holders(found.daemons)
    if found.bind != wish.bind and found.foreign:
        raise Failure(
            "windows_ollama_other_user",
            f"Ollama on Windows listens on {holders} and belongs to another user or to a service, not to {found.user}, so it can neither "
            f"be stopped nor bound to {wish.host} from here. Have its owner quit it, or set OLLAMA_HOST={wish.host} and restart it.",
            diagnosis=diagnosis.commands(wish.address.port),
        )
    if found.bind != wish.bind and wish.state == "running":
        raise Failure(
            "windows_restart_needed",
            f"Ollama on Windows runs and listens on {holders}, and {wish.host} is wanted. state=running leaves a daemon that runs "
            "alone, since a restart takes its models out of memory: use state=restarted, or bind it otherwise.",
            diagnosis=diagnosis.commands(wish.address.port),
        )
    said = []
    if found.foreign:
        said.append(
            f"The Ollama that listens on Windows ({holders}) belongs to another user, a service or an administrator's session, not to "
            f"{found.user}. It is used as it is, and its OLLAMA_HOST is left alone."
        )
    if found.strangers:
        said.append(
            f"Beside Ollama, another program listens on that port of Windows: {diagnosis.holders(found.strangers)}. Requests to its "
            f"address do not reach Ollama. {_hints(found)}".strip()
        )
    return said


def _others(found: Found) -> str:
    owners = {
        str(one.get("owner")).rpartition("\\")[2] for one in found.processes if one.get("owner") and not one.get("mine")
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
