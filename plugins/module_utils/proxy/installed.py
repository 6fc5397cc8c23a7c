# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a host has of the gate already, so that a converged host needs no look of its own for each part."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.names import CONFIG, GATE_USER, UNIT

# What the template writes above each server.
_GATE = re.compile(r"^\s*# gate: ([a-z][a-z0-9_]*) (\d{1,5}) (/\S*)$", re.MULTILINE)


def find_gate(machine: Machine) -> dict[str, Any]:
    """Return C({nginx, account, unit, gates}).

    That is the path of nginx or None, whether our account and our unit are there, and what the gates are as C(proxy_gate) takes
    them: by the configuration that is there, which the settings of another play need not describe.
    """
    accounts = machine.read("/etc/passwd") or ""
    return {
        "nginx": _file_itself(machine, machine.find_system_command("nginx")),
        "account": any(line.startswith(f"{GATE_USER}:") for line in accounts.splitlines()),
        "unit": machine.exists(f"/etc/systemd/system/{UNIT}"),
        "gates": [
            {"name": name, "port": int(port), "probe_path": path}
            for name, port, path in _GATE.findall(machine.read(CONFIG) or "")
        ],
    }


def _file_itself(machine: Machine, path: str | None) -> str | None:
    """Return the path without links: where C(/sbin) is a link, each user's PATH leads to another name of the same program."""
    return f"/{machine.path(path).resolve().relative_to(machine.root.resolve())}" if path else None
