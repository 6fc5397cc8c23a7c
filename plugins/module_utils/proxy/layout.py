# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The parts of the auth proxy on a host: what they are called, where they lie, and what of them is there."""

from __future__ import annotations

import re
from typing import Any

from ..host.machine import READ_LIMIT, Machine

# The system account that nginx runs as, and its group.
ACCOUNT = "nemoclaw-proxy"
UNIT = "nemoclaw-ollama-proxy.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
# What nginx is started with, and what that includes. In /etc itself: folders of their own would be more to make and to remove.
CONFIG = "/etc/nemoclaw-ollama-proxy.conf"
TOKENS = "/etc/nemoclaw-ollama-proxy.tokens"
RUN = "/run/nemoclaw-ollama-proxy"
# The sums of both as nginx read them last, written by the unit.
LOADED = f"{RUN}/loaded"
PID = f"{RUN}/nginx.pid"
# The first is root's, so that nobody else can put a link in place of the second.
STATE = "/var/lib/nemoclaw-ollama-proxy"
TEMP = f"{STATE}/temp"
# What the two files held before a change that is not proved yet.
BEFORE = f"{STATE}/before.json"
# How the auth proxy says that an answer is its own and not that of the server behind it.
REALM = "nemoclaw.local_inference"
# What distributions call nginx, for a host that is still to get it.
USUAL_NGINX = "/usr/sbin/nginx"

# What the configuration has above each server.
_GATE = re.compile(r"^\s*# gate: ([a-z][a-z0-9_]*) (\d{1,5}) (/\S*)$", re.MULTILINE)


def find_gate(machine: Machine) -> dict[str, Any]:
    """Return C({nginx, account, unit, gates}).

    That is the path of nginx or None, whether our account and our unit are there, and what the gates are as C(proxy_gate) takes
    them: by the configuration that is there, which the settings of another play need not describe.
    """
    # All of it: a system account stands at the end, and hosts with a thousand users have more than a usual read takes.
    accounts = machine.read("/etc/passwd", READ_LIMIT) or ""
    return {
        "nginx": _file_itself(machine, machine.find_system_command("nginx")),
        "account": any(line.startswith(f"{ACCOUNT}:") for line in accounts.splitlines()),
        "unit": machine.exists(UNIT_PATH),
        "gates": [
            {"name": name, "port": int(port), "probe_path": path}
            for name, port, path in _GATE.findall(machine.read(CONFIG, READ_LIMIT) or "")
        ],
    }


def _file_itself(machine: Machine, path: str | None) -> str | None:
    """Return the path without links: where C(/sbin) is a link, each user's PATH finds another name of the same program."""
    return f"/{machine.path(path).resolve().relative_to(machine.root.resolve())}" if path else None
