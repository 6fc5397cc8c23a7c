# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Who uses a daemon that is open to the network, told before it is closed to them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import find_peers
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import (
    Found,
    named_holder,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import Report

_NAMED = 10


def announce(machine: Machine, found: Found, port: int, report: Report, check_mode: bool) -> None:
    """Put into the report what is open, to whom, and who is connected to it now."""
    clients = Counter(find_peers(machine, port))
    report.closed = {
        "listeners": found.open_listeners,
        "clients": [{"address": address, "connections": count} for address, count in sorted(clients.items())],
    }
    report.warnings.append(describe(found.open_listeners, clients, port, check_mode))


def describe(listeners: list[dict[str, Any]], clients: Counter[str], port: int, check_mode: bool) -> str:
    """Return that as sentences."""
    where = ", ".join(f"{one['address']} ({named_holder(one)})" for one in listeners)
    every = any(one["scope"] == "any" for one in listeners)
    names = [f"{name} ({count} connection{'s' if count > 1 else ''})" for name, count in clients.most_common(_NAMED)]
    more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
    connected = f"Connected just now: {', '.join(names)}{more}." if names else "Nobody was connected just now."
    whom = "every network of this host" if every else "the network of that address"
    closed = "would be closed to them" if check_mode else "is closed to them now"
    return (
        f"Ollama on port {port} was found open to {whom}, without any password: it listened on {where}, and whoever reaches it could use, "
        f"pull and delete models. It {closed}, and on 127.0.0.1 alone. {connected} Whoever needs it from outside uses the auth proxy with "
        "its token."
    )
