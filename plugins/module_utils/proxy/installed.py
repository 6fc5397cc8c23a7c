# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a host has of the gate already, so that a converged host needs no look of its own for each part."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.names import GATE_USER, UNIT


def find_gate(machine: Machine) -> dict[str, Any]:
    """Return C({nginx, account, unit}): the path of nginx or None, and whether our account and our unit are there."""
    accounts = machine.read("/etc/passwd") or ""
    return {
        "nginx": machine.find_command("nginx"),
        "account": any(line.startswith(f"{GATE_USER}:") for line in accounts.splitlines()),
        "unit": machine.exists(f"/etc/systemd/system/{UNIT}"),
    }
