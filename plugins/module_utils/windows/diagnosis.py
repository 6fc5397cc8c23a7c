# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The commands that a person runs on Windows to see what is going on there (page, WSL with Windows-Host Ollama)."""

from __future__ import annotations

from typing import Any

# The addresses from which WSL hands out those of its own network behind NAT.
_WSL_NETWORKS = "172.16.0.0/12"


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


def holders(listeners: list[dict[str, Any]]) -> str:
    """Return who listens, for people: C(wslrelay (process 4711) on 127.0.0.1)."""
    return ", ".join(
        f"{one.get('process') or 'an unknown program'} (process {one.get('pid')}) on {one.get('address')}"
        for one in listeners
    )
