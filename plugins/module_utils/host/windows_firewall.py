# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a person types on Windows so that its firewalls let WSL and containers reach a port."""

from __future__ import annotations

# The addresses from which WSL hands out those of its own network behind NAT.
_WSL_NETWORKS = "172.16.0.0/12"
# How Hyper-V's firewall calls WSL (learn.microsoft.com/windows/wsl/networking).
_WSL_CREATOR = "{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}"


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
