# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which firewall a host runs, and its command that lets a sandbox through (upstream-facts N22, the page's firewall hint)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ..host.machine import Machine

_LIMIT_S = 5.0
_UFW_ON = re.compile(r"^ENABLED=yes\s*$", re.MULTILINE)
_CHAIN = re.compile(r"^table (\S+) (\S+) \{|^\s+chain (\S+) \{|^\s+type filter hook input\b", re.MULTILINE)


@dataclass(frozen=True)
class Firewall:
    """kind: ufw, firewalld, nftables, iptables or unknown. zone (as a shell reads it) and chain: where the rule has to go."""

    kind: str
    zone: str | None = None
    chain: str = "inet filter input"


def find_firewall(machine: Machine, bridge: str | None = None) -> Firewall:
    """Return what decides about packets that come from a bridge.

    A front end comes first: a rule that is put beside it is gone when it loads its own. Then nftables with an input chain of
    its own, since iptables-nft shows its tables there too, then iptables.
    """
    if _UFW_ON.search(machine.read("/etc/ufw/ufw.conf") or ""):
        return Firewall("ufw")
    firewall_cmd = machine.find_command("firewall-cmd")
    if firewall_cmd and _firewalld_runs(machine, firewall_cmd):
        return Firewall("firewalld", zone=_zone_of(machine, firewall_cmd, bridge) if bridge else None)
    nft = machine.find_command("nft")
    ruleset = machine.run([nft, "list", "ruleset"], _LIMIT_S) if nft else None
    if ruleset and ruleset.code:
        # The kernel shows its rules to root alone; what the service loads is a file that everybody may read on Debian.
        chain = input_chain(machine.read("/etc/nftables.conf") or "") if _is_active(machine, "nftables") else None
    else:
        chain = input_chain(ruleset.output) if ruleset else None
    if chain:
        return Firewall("nftables", chain=chain)
    if machine.find_command("iptables"):
        return Firewall("iptables")
    return Firewall("nftables") if nft else Firewall("unknown")


def _firewalld_runs(machine: Machine, firewall_cmd: str) -> bool:
    """Tell whether it does. Without polkit it says nothing to users, and systemd does."""
    return machine.run([firewall_cmd, "--state"], _LIMIT_S).code == 0 or _is_active(machine, "firewalld")


def _is_active(machine: Machine, unit: str) -> bool:
    systemctl = machine.find_command("systemctl")
    return bool(systemctl) and machine.run([str(systemctl), "is-active", "--quiet", unit], _LIMIT_S).code == 0


def _zone_of(machine: Machine, firewall_cmd: str, bridge: str) -> str | None:
    """Return the bridge's zone, None for the default one; where only root may ask, the command that root asks by."""
    asked = machine.run([firewall_cmd, f"--get-zone-of-interface={bridge}"], _LIMIT_S)
    if asked.code == 0:
        return shlex.quote(asked.output.strip())
    return (
        None if "no zone" in asked.output else f'"$(sudo firewall-cmd --get-zone-of-interface={shlex.quote(bridge)})"'
    )


def input_chain(ruleset: str) -> str | None:
    """Return the first chain at the input hook that is not one of iptables-nft, as C(family table chain)."""
    table = chain = ""
    for found in _CHAIN.finditer(ruleset):
        if found[1]:
            table = f"{found[1]} {found[2]}"
        elif found[3]:
            chain = found[3]
        elif not (table in ("ip filter", "ip6 filter") and chain == "INPUT") and not table.startswith("ip6 "):
            return f"{table} {chain}"
    return None


def allow_command(firewall: Firewall, subnet: str, gateway: str, port: int) -> str | None:
    """Return the command that lets the sandboxes' subnet reach the port, and nothing else; None for no firewall known."""
    return _commands(firewall, subnet, gateway, port, "allow").get(firewall.kind)


def close_command(firewall: Firewall, subnet: str, gateway: str, port: int) -> str | None:
    """Return the command that takes the rule of allow_command away; no error where it is gone already."""
    return _commands(firewall, subnet, gateway, port, "close").get(firewall.kind)


def _commands(firewall: Firewall, subnet: str, gateway: str, port: int, deed: str) -> dict[str, str]:
    """Return the commands for each kind of firewall. Only the two front ends can name a rule that is to go by itself."""
    rule = f'rule family="ipv4" source address="{subnet}" destination address="{gateway}" port port="{port}" protocol="tcp" accept'
    zone = f" --zone={firewall.zone}" if firewall.zone else ""
    opens = deed == "allow"
    commands = {
        "ufw": f"sudo ufw {'' if opens else 'delete '}allow from {subnet} to {gateway} port {port} proto tcp",
        "firewalld": f"sudo firewall-cmd --permanent{zone} --{'add' if opens else 'remove'}-rich-rule='{rule}' && "
        "sudo firewall-cmd --reload",
        "iptables": f"sudo iptables {'-I' if opens else '-D'} INPUT -s {subnet} -d {gateway} -p tcp --dport {port} -j ACCEPT",
    }
    if opens:
        added = f"ip saddr {subnet} ip daddr {gateway} tcp dport {port} accept"
        commands["nftables"] = f"sudo nft insert rule {firewall.chain} {added}"
    return commands


# Rules that are gone after a reboot, unless they are kept as well (upstream-facts P8: no volatile state).
KEEP = {
    "nftables": "Put the rule into /etc/nftables.conf too, or it is gone after a reboot.",
    "iptables": "Keep it with the package iptables-persistent (netfilter-persistent save), or it is gone after a reboot.",
}
