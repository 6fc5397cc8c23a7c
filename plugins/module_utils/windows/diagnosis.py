# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The commands that a person runs on Windows to see what is going on there (page, WSL with Windows-Host Ollama)."""

from __future__ import annotations

from typing import Any

# The addresses from which WSL hands out those of its own network behind NAT.
_WSL_NETWORKS = "172.16.0.0/12"
# How Hyper-V's firewall calls WSL (learn.microsoft.com/windows/wsl/networking).
_WSL_CREATOR = "{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}"


def commands(port: int) -> list[str]:
    """Return PowerShell commands that look at processes, port, variable, answer and log, and change nothing."""
    return [
        "Get-Process -Name 'ollama','ollama app' -ErrorAction SilentlyContinue | Select-Object 'Id','ProcessName','Path'",
        f"Get-NetTCPConnection -State Listen -LocalPort {port} | Select-Object 'LocalAddress','OwningProcess',"
        "@{ Name = 'Process'; Expression = { (Get-Process -Id $_.OwningProcess).ProcessName } }",
        "[Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User')",
        f"Invoke-RestMethod http://127.0.0.1:{port}/api/version",
        'Get-Content "$env:LOCALAPPDATA\\Ollama\\server.log" -Tail 40',
    ]


def firewall_commands(port: int) -> list[str]:
    """Return the commands that show the firewall's rules for Ollama, and that open the port for WSL alone."""
    return [
        "Get-NetFirewallRule -DisplayName '*ollama*' | Select-Object 'DisplayName','Enabled','Direction','Action','Profile'",
        f"New-NetFirewallRule -DisplayName 'Ollama for WSL' -Direction Inbound -Action Allow -Protocol TCP -LocalPort {port} "
        f"-RemoteAddress {_WSL_NETWORKS}",
    ]


def hyper_v_command(port: int) -> str:
    """Return the command for mirrored networking, where the firewall of Hyper-V decides what WSL may reach (Microsoft, WSL networking)."""
    return (
        "New-NetFirewallHyperVRule -Name OllamaForWSL -DisplayName 'Ollama for WSL' -Direction Outbound -Action Allow "
        f"-VMCreatorId '{_WSL_CREATOR}' -Protocol TCP -RemotePorts {port}"
    )


def set_command(value: str | None) -> str:
    """Return the command that sets OLLAMA_HOST of the user, None to remove it."""
    quoted = "$null" if value is None else "'" + value.replace("'", "''") + "'"
    return f"[Environment]::SetEnvironmentVariable('OLLAMA_HOST', {quoted}, 'User')"


def holders(listeners: list[dict[str, Any]]) -> str:
    """Return who listens, for people: C(wslrelay (process 4711) on 127.0.0.1)."""
    return ", ".join(
        f"{one.get('process') or 'an unknown program'} (process {one.get('pid')}) on {one.get('address')}"
        for one in listeners
    )
