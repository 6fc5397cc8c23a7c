# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which firewall a host runs, and its command that lets a sandbox through (nemoclaw-facts 6, the page's firewall hint)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine

_LIMIT_S = 5.0
_UFW_ON = re.compile(r"^ENABLED=yes\s*$", re.MULTILINE)
_CHAIN = re.compile(r"^table (\S+) (\S+) \{|^\s+chain (\S+) \{|^\s+type filter hook input\b", re.MULTILINE)


@dataclass(frozen=True)
class Firewall:
    """kind: ufw, firewalld, nftables, iptables or unknown. zone and chain: where the rule has to go, where that matters."""

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
    if firewall_cmd and machine.run([firewall_cmd, "--state"], _LIMIT_S).code == 0:
        words = [firewall_cmd, f"--get-zone-of-interface={bridge}"]
        zone = machine.run(words, _LIMIT_S) if bridge else None
        return Firewall("firewalld", zone=zone.output.strip() if zone and zone.code == 0 else None)
    nft = machine.find_command("nft")
    ruleset = machine.run([nft, "list", "ruleset"], _LIMIT_S) if nft else None
    chain = input_chain(ruleset.output) if ruleset and ruleset.code == 0 else None
    if chain:
        return Firewall("nftables", chain=chain)
    if machine.find_command("iptables"):
        return Firewall("iptables")
    return Firewall("nftables") if nft else Firewall("unknown")


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
    rule = f'rule family="ipv4" source address="{subnet}" destination address="{gateway}" port port="{port}" protocol="tcp" accept'
    zone = f" --zone={shlex.quote(firewall.zone)}" if firewall.zone else ""
    return {
        "ufw": f"sudo ufw allow from {subnet} to {gateway} port {port} proto tcp",
        "firewalld": f"sudo firewall-cmd --permanent{zone} --add-rich-rule='{rule}' && sudo firewall-cmd --reload",
        "nftables": f"sudo nft insert rule {firewall.chain} ip saddr {subnet} ip daddr {gateway} tcp dport {port} accept",
        "iptables": f"sudo iptables -I INPUT -s {subnet} -d {gateway} -p tcp --dport {port} -j ACCEPT",
    }.get(firewall.kind)


# Rules that are gone after a reboot, unless they are kept as well (pains 21: no volatile state).
KEEP = {
    "nftables": "Put the rule into /etc/nftables.conf too, or it is gone after a reboot.",
    "iptables": "Keep it with the package iptables-persistent (netfilter-persistent save), or it is gone after a reboot.",
}
