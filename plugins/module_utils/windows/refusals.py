# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is wanted of Ollama on Windows, and what is refused before anything there is changed, or only said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from ..fetch.download import Source, parse_source
from ..host.sockets import check_ports
from ..ollama.archive import check_version
from ..ollama.daemon import Address
from ..ollama.info import parse_address
from ..ollama.names import is_older
from . import presence
from .presence import Found

# The page, section WSL with Windows-Host Ollama, writes 0.0.0.0; NemoClaw's later releases 127.0.0.1 (upstream-facts P1).
_HOSTS = {"all": "0.0.0.0", "loopback": "127.0.0.1"}  # noqa: S104 - what the page asks for, with a warning


@dataclass(frozen=True)
class Desired:
    """What is wanted.

    Attributes:
        state: C(running), C(restarted) or C(installed); each does what the one before it does, and more.
        bind: C(all) or C(loopback).
        address: Where WSL asks the daemon.
        installer: C(install.ps1) or C(OllamaSetup.exe).
        version: What the installer is asked for; None for its newest.
        minimum_version: What is older is upgraded by C(installed), and refused otherwise; None takes every release.
        require_reachable: Whether WSL itself has to reach it, where it is bound to all addresses.
        tries: How often the endpoint is asked after a start.
        interval: Seconds between two tries.
        timeout: Seconds for one call of PowerShell.
        install_timeout: Seconds for the installer, and as many to fetch it.

    """

    state: str
    bind: str
    address: Address
    installer: Source
    version: str | None
    minimum_version: str | None
    require_reachable: bool
    tries: int
    interval: float
    timeout: float
    install_timeout: float

    @property
    def host(self) -> str:
        """What OLLAMA_HOST becomes."""
        return f"{_HOSTS[self.bind]}:{self.address.port}"


@dataclass
class Report:
    """What the module returns besides what it found."""

    changed: bool = False
    restarted: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # What of summary() will be otherwise.
    expected: dict[str, Any] = field(default_factory=dict)

    def plan(self, action: str, **expected: Any) -> None:
        """Note something that is done, or would be in check mode, and what it changes."""
        self.changed = True
        self.actions.append(action)
        self.expected.update(expected)


def make_desired(params: dict[str, Any]) -> Desired:
    """Return what is desired by a module's options.

    Raises:
        Failure: C(port_invalid), C(ollama_host_invalid), C(windows_limit_invalid), C(version_invalid), and those of parse_source().

    """
    check_ports([params["port"]])
    address = parse_address(params["host"])
    for name, least in (("tries", 1), ("interval", 0), ("timeout", 10), ("install_timeout", 10)):
        if params[name] < least:
            raise Failure(
                "windows_limit_invalid",
                f"The option {name} is {params[name]}, but must be {least} or more. Nothing was sent to Windows.",
            )
    installer = parse_source(params["url"], params["checksum"])
    if installer.url.startswith("http:") and installer.sha256 is None:
        raise Failure(
            "checksum_missing",
            f"The installer {installer} would come over plain HTTP, but no checksum is set. Use https, or set the checksum.",
        )
    limits = {name: params[name] for name in ("tries", "interval", "timeout", "install_timeout")}
    return Desired(
        state=params["state"],
        bind=params["bind"],
        address=Address(address.host, params["port"]),
        installer=installer,
        version=check_version(params["version"]) if params["version"] else None,
        minimum_version=check_version(params["minimum_version"]) if params["minimum_version"] else None,
        require_reachable=params["require_reachable"],
        **limits,
    )


# Windows programs that hold a port for somebody else, and who that is.
_RELAYS = {
    "wslrelay": "It forwards the port to a server inside WSL, most likely Ollama there: stop that one (systemctl stop ollama), or use it "
    "with the provider ollama. Only one Ollama can have the port (page, WSL with Windows-Host Ollama).",
    "com.docker.backend": "It publishes a container's port: check 'docker ps', and stop the container or give it another port.",
    "svchost": "It may be a forwarding rule: check 'netsh interface portproxy show all' on Windows.",
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
        f"Ollama on Windows ({whose}) is {found.version}, but at least {desired.minimum_version} is required (minimum_version, "
        f"ollama_minimum_version in the role): older ones return tool calls as text. Upgrade it there with its installer (irm "
        f"https://ollama.com/install.ps1 | iex in PowerShell) or the app's own update, or use state=installed (provider "
        f"install-windows-ollama), which upgrades this user's. Your own installer must bring a recent enough release.",
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
        f"{desired.address.port}: it may listen on another one, or not yet. state=running leaves a running daemon alone, since a restart "
        f"unloads its models: use state=restarted, or set the option port to its port (ollama_port in the role).",
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
            or "Stop it or move it to another port, or choose another one for Ollama with the option port (ollama_port in the role)."
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
            f"Ollama on Windows runs and listens on {holders}, but {desired.host} is required. state=running leaves a running daemon "
            f"alone, since a restart unloads its models: use state=restarted, or change bind.",
            diagnosis=presence.commands(desired.address.port),
        )
    said = []
    if found.foreign:
        said.append(
            f"The Ollama that listens on Windows ({holders}) belongs to another user, a service or an administrator's session, not to "
            f"{found.user}. It is used as is, and its OLLAMA_HOST is left alone."
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
