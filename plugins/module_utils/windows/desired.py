# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is wanted of Ollama on Windows, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from ..fetch.source import Source, parse_source
from ..host.facts import check_ports
from ..ollama.archive import check_version
from ..ollama.daemon import Address, parse_address

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
                f"The option {name} is {params[name]}, and has to be {least} or more. Nothing was sent to Windows.",
            )
    installer = parse_source(params["url"], params["checksum"])
    if installer.url.startswith("http:") and installer.sha256 is None:
        raise Failure(
            "checksum_missing",
            f"The installer {installer} would come by plain HTTP, and no checksum is given. Use https, or give the checksum.",
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
